"""Recommendations of a finished run: for its own users, for new ones, or as an export."""

import logging
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from common.graph import HistoryRows, binary_csr
from ld4mrec.errors import DataError
from ld4mrec.serving import ranking
from ld4mrec.serving.choices import LISTED
from ld4mrec.serving.export import write_export
from ld4mrec.serving.ids import Ids
from ld4mrec.serving.lists import check_suffix, read_table, write_table, write_text
from ld4mrec.serving.offers import for_anybody, history_scores
from ld4mrec.serving.ranking import Audience, recommendations
from ld4mrec.serving.trained import Trained, find_run, open_run
from ld4mrec.training.memory import keep_freed_memory

logger = logging.getLogger(__name__)

NAMED = 5  # users that a message names


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the words of the command `recommend` ask for, under their names. keys: {key: value} of
    choices.FREE.
    """

    run: str
    users: str | None = None
    history: Path | None = None
    k: int | None = None
    mask: str = "all"
    out: Path | None = None
    export: Path | None = None
    keys: dict = field(default_factory=dict)


def recommend(wanted: Wanted) -> None:
    """Write the lists or the export, or print the lists. Raises UserError."""
    for name in ("out", "history"):
        if getattr(wanted, name) is not None:
            check_suffix(getattr(wanted, name), f"--{name}")
    keys = wanted.keys | ({"use_gpu": False} if wanted.export else {})  # an export runs anywhere
    keep_freed_memory()
    trained = open_run(find_run(wanted.run), keys)
    ranking.check_same_lists(trained)
    for ids in (trained.users, trained.items):
        if ids.texts is None:
            logger.info("no map of original %s ids in the data folder: integer ids", ids.kind)
    if wanted.export:
        manifest = write_export(trained, wanted.export, wanted.mask)
        size = sum(file["bytes"] for file in manifest["files"].values())
        logger.info(
            "%d files, %.1f MB, in %s", len(manifest["files"]) + 1, size / 1e6, wanted.export
        )
        return
    k = wanted.k or LISTED
    audience = (_new_users if wanted.history else _own_users)(trained, wanted)
    if not len(audience.users):
        raise DataError("there is no user to recommend to")
    _warn_if_short(audience, k)
    frames = recommendations(audience, k, trained.run.config, trained.items)
    if wanted.out is None:
        write_text(sys.stdout, frames)
        return
    write_table(wanted.out, frames)
    logger.info("%d users' lists in %s", len(audience.users), wanted.out)


def _own_users(trained: Trained, wanted: Wanted) -> Audience:
    """The run's own users."""
    users = np.arange(trained.users.n)
    if wanted.users is not None:
        users = chosen(wanted.users, trained.users)
    users, without = ranking.with_history(trained.model, users, trained.train)
    if len(without):
        text = (
            f"{len(without)} users have no training history, of which {trained.name} has learned "
            f"nothing: {_named(trained.users.of(without))}"
        )
        if wanted.users is not None:
            raise DataError(f"{text}; take them out of --users ({for_anybody()} serves anybody)")
        logger.warning("left out: %s", text)
    known, names = trained.known(wanted.mask), trained.users.all()
    return Audience(users, ranking.model_scores(trained), known, names)


def _new_users(trained: Trained, wanted: Wanted) -> Audience:
    """The users in a history file, numbered in the order of their first rows."""
    score = history_scores(trained)
    table = read_table(wanted.history, ("user", "item"))
    row, names = pd.factorize(table["user"])
    column = trained.items.numbers(table["item"], f"{wanted.history}, column item,")
    entries = (np.ones(len(row)), (row, column))
    histories = binary_csr(sp.coo_matrix(entries, shape=(len(names), trained.items.n)))
    usable = ranking.known_part(histories, trained.train)
    ignored = histories.nnz - usable.nnz
    if ignored:
        logger.info("%d rows of %s are of items without training rows", ignored, wanted.history)
    users, without = ranking.with_history(trained.model, np.arange(len(names)), usable)
    names = np.asarray(names, dtype=object)
    if len(without):
        logger.warning(
            "left out: %d users without an item that the training data has: %s",
            len(without),
            _named(names[without]),
        )
    known = histories if wanted.mask != "none" else sp.csr_matrix(histories.shape)
    rows = HistoryRows(usable).to(trained.run.config["device"])
    return Audience(users, lambda users, mask: score(rows, users), known, names)


def chosen(text: str, ids: Ids) -> np.ndarray:
    """Integer ids (n,) of the users that --users names, each once, in its order."""
    file = Path(text).expanduser()
    if os.path.isfile(file):  # a long list of ids is no path at all
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
