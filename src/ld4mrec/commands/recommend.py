"""Recommend items to users with a finished run, or export what a serving system needs of it.

    python src/recommend.py runs/tiktok/LD4MRec/s1-0123456789ab --out top20.csv
        the 20 best items of every user
    python src/recommend.py runs/tiktok/LD4MRec --users u31609,u34385 -k 5
        of two users, printed; the folder has one finished run
    python src/recommend.py runs/tiktok/LD4MRec/s1 --users wanted.txt --out top20.parquet
        of the users in a file, one id per line; the beginning of a run's name will do
    python src/recommend.py RUN --history new.csv --out new_top20.jsonl
        of users who were not in the training data: a file with the columns user and item
    python src/recommend.py RUN --export served/
        arrays, networks, id maps and histories, loadable without this code

Ids are the original ones where the data folder has u_id_mapping.csv and i_id_mapping.csv, else the
integer ids. Tables are .csv, .parquet or .jsonl by the suffix; columns user, rank (from 1), item,
score. Lists are those of the run's evaluation: same scores, of equal scores the lowest integer id
first. What a user is known to have (training, validation and test items) is left out, see --mask; a
user whose other items are fewer than k gets those. Files appear whole or not at all.

The data must be that of the run; --data_path says where it lies now. docs/serving.md has the
rest: which models can do what, and how new users' scores come about.
"""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from common.graph import HistoryRows, binary_csr
from ld4mrec.config.parsing import Parser
from ld4mrec.config.yaml_files import parse_yaml
from ld4mrec.errors import ConfigError, DataError, exit_status
from ld4mrec.serving import ranking
from ld4mrec.serving.export import write_export
from ld4mrec.serving.ids import Ids
from ld4mrec.serving.lists import check_suffix, read_table, write_table, write_text
from ld4mrec.serving.offers import for_anybody, history_scores
from ld4mrec.serving.ranking import Audience, recommendations
from ld4mrec.serving.trained import FREE, MASKS, Trained, find_run, open_run
from ld4mrec.terminal import handled_by
from ld4mrec.training.memory import keep_freed_memory

logger = logging.getLogger(__name__)

LISTED = 20  # items for each user
NAMED = 5  # users that a message names


def parser(prog: str = "recommend.py") -> Parser:
    usage = (
        "%(prog)s RUN [--users FILE|IDS | --history FILE] [-k K] [--mask WHAT] [--out FILE]\n"
        "       %(prog)s RUN --export FOLDER [--mask WHAT]"
    )
    words = Parser(prog, __doc__, usage)
    words.add_argument(
        "run",
        metavar="RUN",
        help="a run's folder, the beginning of its path, or a folder with one finished run in it",
    )
    words.add_argument(
        "--users",
        metavar="FILE|IDS",
        help="a file with one id per line, or ids with commas between; default: everybody",
    )
    words.add_argument(
        "--history",
        metavar="FILE",
        type=Path,
        help="a table with the columns user and item: histories of users who were not in the "
        "training data, or whose histories have grown. The ids of the users are yours to choose",
    )
    words.add_argument("-k", type=int, help=f"items for each user; default: {LISTED}")
    words.add_argument(
        "--mask",
        choices=MASKS,
        default="all",
        help="which of the user's items are left out: of the training split, also of validation, "
        "of all three splits (default), or none. With --history: the history, unless none",
    )
    words.add_argument(
        "--out", metavar="FILE", type=Path, help=".csv, .parquet or .jsonl; default: printed as CSV"
    )
    words.add_argument(
        "--export", metavar="FOLDER", type=Path, help="write the folder, which must be new or empty"
    )
    where = words.add_argument_group("where things are and what computes; else as in the run")
    where.add_argument("--data_path", metavar="FOLDER", help="holds the folder of the data set")
    where.add_argument("--cache_dir", metavar="FOLDER", help="signals are kept here; null: nowhere")
    where.add_argument("--use_gpu", metavar="BOOL", help="False: the CPU, whatever there is")
    where.add_argument("--gpu_id", metavar="N", help="which GPU")
    where.add_argument("--threads", metavar="N", help="CPU threads; 0: one per core")
    where.add_argument("--eval_batch_size", metavar="N", help="users scored at once, at most")
    return words


def check_options(options: argparse.Namespace) -> None:
    """ConfigError for what does not go together."""
    if options.k is not None and options.k < 1:
        raise ConfigError(f"-k is {options.k}; wanted at least 1")
    if options.users is not None and options.history:
        raise ConfigError("--users chooses among the run's users; leave it out with --history")
    if options.export:
        for name in ("users", "history", "out", "k"):
            if getattr(options, name) is not None:
                dashes = "-" * min(2, len(name))
                raise ConfigError(f"--export does without {dashes}{name}; make two commands of it")
    for name in ("out", "history"):
        if getattr(options, name) is not None:
            check_suffix(getattr(options, name), f"--{name}")


def recommend(options: argparse.Namespace) -> None:
    """Do what the options say; see the module's text."""
    check_options(options)
    given = {key: getattr(options, key) for key in FREE if getattr(options, key) is not None}
    keys = {key: parse_yaml(text, f"the value of --{key}") for key, text in given.items()}
    if options.export:
        keys |= {"use_gpu": False}  # what is written runs anywhere
    keep_freed_memory()
    trained = open_run(find_run(options.run), keys)
    ranking.check_same_lists(trained)
    for ids in (trained.users, trained.items):
        if ids.texts is None:
            logger.info("no map of original %s ids in the data folder: integer ids", ids.kind)
    if options.export:
        manifest = write_export(trained, options.export, options.mask)
        size = sum(file["bytes"] for file in manifest["files"].values())
        logger.info(
            "%d files, %.1f MB, in %s", len(manifest["files"]) + 1, size / 1e6, options.export
        )
        return
    k = options.k or LISTED
    audience = (_new_users if options.history else _own_users)(trained, options)
    if not len(audience.users):
        raise DataError("there is no user to recommend to")
    _warn_if_short(audience, k)
    frames = recommendations(audience, k, trained.run.config, trained.items)
    if options.out is None:
        write_text(sys.stdout, frames)
        return
    write_table(options.out, frames)
    logger.info("%d users' lists in %s", len(audience.users), options.out)


def _own_users(trained: Trained, options: argparse.Namespace) -> Audience:
    """The run's own users."""
    users = np.arange(trained.users.n)
    if options.users is not None:
        users = chosen(options.users, trained.users)
    users, without = ranking.with_history(trained.model, users, trained.train)
    if len(without):
        text = (
            f"{len(without)} users have no training history, of which {trained.name} has learned "
            f"nothing: {_named(trained.users.of(without))}"
        )
        if options.users is not None:
            raise DataError(f"{text}; take them out of --users ({for_anybody()} serves anybody)")
        logger.warning("left out: %s", text)
    known, names = trained.known(options.mask), trained.users.all()
    return Audience(users, ranking.model_scores(trained), known, names)


def _new_users(trained: Trained, options: argparse.Namespace) -> Audience:
    """The users in a history file, numbered in the order of their first rows."""
    score = history_scores(trained)
    table = read_table(options.history, ("user", "item"))
    row, names = pd.factorize(table["user"])
    column = trained.items.numbers(table["item"], f"{options.history}, column item,")
    entries = (np.ones(len(row)), (row, column))
    histories = binary_csr(sp.coo_matrix(entries, shape=(len(names), trained.items.n)))
    usable = ranking.known_part(histories, trained.train)
    ignored = histories.nnz - usable.nnz
    if ignored:
        logger.info("%d rows of %s are of items without training rows", ignored, options.history)
    users, without = ranking.with_history(trained.model, np.arange(len(names)), usable)
    names = np.asarray(names, dtype=object)
    if len(without):
        logger.warning(
            "left out: %d users without an item that the training data has: %s",
            len(without),
            _named(names[without]),
        )
    known = histories if options.mask != "none" else sp.csr_matrix(histories.shape)
    rows = HistoryRows(usable).to(trained.run.config["device"])
    return Audience(users, lambda users, mask: score(rows, users), known, names)


def chosen(text: str, ids: Ids) -> np.ndarray:
    """Integer ids (n,) of the users that --users names, each once, in its order."""
    file = Path(text).expanduser()
    if file.is_file():
        try:
            words = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} cannot be read as text: {error}") from error
        where = str(file)
    else:
        words, where = text.split(","), f"--users (there is no file {text})"
    words = [word.strip() for word in words if word.strip()]
    if not words:
        raise DataError(f"{where} names no user")
    return pd.unique(ids.numbers(words, where))


def _warn_if_short(audience, k):
    """Warn how many users have fewer than k items left; DataError if nobody has any."""
    known = audience.known
    left = known.shape[1] - np.diff(known.indptr)[audience.users]
    if not left.any():
        raise DataError("these users are known to have every item; --mask none leaves none out")
    if (left < k).any():
        logger.warning(
            "%d users get fewer than %d items: of %d items that many are left, %d at least",
            int((left < k).sum()),
            k,
            known.shape[1],
            int(left.min()),
        )


def _named(ids):
    return ", ".join(map(str, ids[:NAMED])) + ", ..." * (len(ids) > NAMED)


@contextmanager
def notes_to_stderr() -> Iterator[None]:
    """Log lines go to stderr, as the table may go to stdout."""
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.INFO)
    with handled_by(logging.StreamHandler(sys.stderr)):
        try:
            yield
        finally:
            root.setLevel(level)


def main(arguments: list[str] | None = None, prog: str = "recommend.py") -> int:
    options = parser(prog).parse_args(arguments)
    with notes_to_stderr():
        return exit_status(lambda: recommend(options), "interrupted; no file was written")


if __name__ == "__main__":
    sys.exit(main())
