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

from ld4mrec.config.parsing import Parser
from ld4mrec.config.schema import read_word
from ld4mrec.errors import ConfigError, exit_status
from ld4mrec.serving.choices import FREE, LISTED, MASKS
from ld4mrec.terminal import handled_by


def parser(prog: str = "recommend.py") -> Parser:
    usage = (
        "%(prog)s RUN [--users FILE|IDS | --history FILE] [-k K] [--mask WHAT] [--out FILE]\n"
        "       %(prog)s RUN --export FOLDER [--mask WHAT]"
    )
    words = Parser(prog, __doc__, usage, takes_keys=False)
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
    k = f"items for each user; default: {LISTED}"
    words.add_argument("-k", "--k", "--topk", dest="k", metavar="K", type=int, help=k)
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
        "--skip-unknown",
        action="store_true",
        help="leave out, and count, what the run does not know: rows of --history by their item, "
        "ids of --users; without it they are an error",
    )
    words.add_argument(
        "--spreadsheet",
        action="store_true",
        help="write ' before ids that a spreadsheet would run as formulas (=, +, -, @ in front); "
        "CSV only, and not for programs, which would find no such id",
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
    if options.spreadsheet and options.out and options.out.suffix != ".csv":
        raise ConfigError(f"--spreadsheet is for CSV, and --out is {options.out}; leave one out")
    if options.skip_unknown and options.users is None and not options.history:
        raise ConfigError("--skip-unknown goes with --users or --history")
    if options.export:
        for name in ("users", "history", "out", "k", "skip_unknown", "spreadsheet"):
            if getattr(options, name) not in (None, False):
                name = name.replace("_", "-")
                dashes = "-" * min(2, len(name))
                raise ConfigError(f"--export does without {dashes}{name}; make two commands of it")


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    check_options(options)
    words = vars(options)
    given = {key: words.pop(key) for key in FREE}
    keys = {key: read_word(key, text, ()) for key, text in given.items() if text is not None}
    from ld4mrec.serving.recommend import Wanted, recommend

    recommend(Wanted(**words, keys=keys))


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
        return exit_status(lambda: run(options), "interrupted; no file was written")


if __name__ == "__main__":
    sys.exit(main())
