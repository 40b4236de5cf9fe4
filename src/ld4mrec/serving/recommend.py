"""Recommendations of a finished run: for its own users, for new ones, or as an export."""

import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from common.graph import HistoryRows, binary_csr
from ld4mrec.errors import DataError, counted
from ld4mrec.serving import ranking
from ld4mrec.serving.choices import LISTED
from ld4mrec.serving.export import write_export
from ld4mrec.serving.ids import Ids
from ld4mrec.serving.lists import (
    check_suffix,
    for_spreadsheets,
    formulas,
    read_table,
    write_table,
    write_text,
)
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
    skip_unknown: bool = False
    spreadsheet: bool = False
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
            "%s, %.1f MB, in %s",
            *(counted(len(manifest["files"]) + 1, "file"), size / 1e6, wanted.export),
        )
        return
    if wanted.history:
        history_scores(trained)  # a model that cannot says so before anything is read
        table, where = read_table(wanted.history, ("user", "item")), str(wanted.history)
        audience = new_users(trained, table, wanted.mask, where, wanted.skip_unknown)
    else:
        users = None
        if wanted.users is not None:
            users = chosen(wanted.users, trained.users, wanted.skip_unknown)
        audience = own_users(trained, users, wanted.mask)
    frames = lists_of(trained, audience, wanted.k or LISTED)
    if wanted.spreadsheet:
        frames = map(for_spreadsheets, frames)
    elif wanted.out is None or wanted.out.suffix == ".csv":
        _warn_of_formulas(audience.names, trained.items.all())
    if wanted.out is None:
        write_text(sys.stdout, frames)
        return
    write_table(wanted.out, frames)
    logger.info("lists of %s in %s", counted(len(audience.users), "user"), wanted.out)


def lists_of(trained: Trained, audience: Audience, k: int) -> Iterator[pd.DataFrame]:
    """`ranking.recommendations` of an audience; DataError if it is empty or no item is left."""
    if not len(audience.users):
        raise DataError("there is no user to recommend to")
    _warn_if_short(audience, k)
    return recommendations(audience, k, trained.run.config, trained.items)


def own_users(trained: Trained, chosen_users: np.ndarray | None, mask: str) -> Audience:
    """The run's own users: integer ids (n,), None for all. mask: one of choices.MASKS."""
    users = np.arange(trained.users.n) if chosen_users is None else chosen_users
    users, without = ranking.with_history(trained.model, users, trained.train)
    if len(without):
        text = (
            f"{counted(len(without), 'user has', 'users have')} no training history, of which "
            f"{trained.name} has learned nothing: {_named(trained.users.of(without))}"
        )
        if chosen_users is not None:
            raise DataError(f"{text}; take them out of --users ({for_anybody()} serves anybody)")
        logger.warning("left out: %s", text)
    known, names = trained.known(mask), trained.users.all()
    return Audience(users, ranking.model_scores(trained), known, names)


def new_users(
    trained: Trained, table: pd.DataFrame, mask: str, where: str, skip_unknown: bool = False
) -> Audience:
    """The users of a table of histories, numbered in the order of their first rows.

    table: columns user and item, texts. where: its name, for messages. skip_unknown: rows of items
    that the run does not know are left out and counted; without it, UnknownIdError.
    """
    score = history_scores(trained)
    if skip_unknown:
        table = table[trained.items.known(table["item"], f"the rows of {where}")]
    row, names = pd.factorize(table["user"])
    column = trained.items.numbers(table["item"], f"{where}, column item,")
    entries = (np.ones(len(row)), (row, column))
    histories = binary_csr(sp.coo_matrix(entries, shape=(len(names), trained.items.n)))
    usable = ranking.known_part(histories, trained.train)
    ignored = histories.nnz - usable.nnz
    if ignored:
        logger.info(
            "%s in %s of items without training rows, left out", counted(ignored, "row"), where
        )
    users, without = ranking.with_history(trained.model, np.arange(len(names)), usable)
    names = np.asarray(names, dtype=object)
    if len(without):
        logger.warning(
            "left out: %s without an item that the training data has: %s",
            counted(len(without), "user"),
            _named(names[without]),
        )
    known = histories if mask != "none" else sp.csr_matrix(histories.shape)
    rows = HistoryRows(usable).to(trained.run.config["device"])
    return Audience(users, lambda users, mask: score(rows, users), known, names)


def chosen(text: str, ids: Ids, skip_unknown: bool = False) -> np.ndarray:
    """Integer ids (n,) of the users that --users names, each once, in its order.

    skip_unknown: ids that the run does not know are left out and counted; without it,
    UnknownIdError.
    """
    file = Path(text).expanduser()
    if os.path.isfile(file):  # a long list of ids is no path at all
        try:
            words = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} cannot be read as text: {error}") from error
        where = str(file)
    else:
        words, where = text.split(","), f"--users (there is no file {text})"
    words = [ids.as_known(word) for word in words if word.strip()]
    if not words:
        raise DataError(f"{where} names no user")
    if skip_unknown:
        words = np.asarray(words, dtype=object)[ids.known(words, where)]
    return pd.unique(ids.numbers(words, where))


def _warn_of_formulas(*names):
    """Warn of ids that a spreadsheet would run as formulas. names: arrays of ids."""
    ids = pd.Series(np.concatenate([texts for texts in names if texts.dtype == object] or [[]]))
    if (found := formulas(ids)).any():
        logger.warning(
            "%s a spreadsheet would run as formulas (the first: %r); for one, write the table with "
            "--spreadsheet, which puts ' before them",
            *(counted(int(found.sum()), "id"), ids[found].iloc[0]),
        )


def _warn_if_short(audience, k):
    """Warn how many users have fewer than k items left; DataError if nobody has any."""
    known = audience.known
    left = known.shape[1] - np.diff(known.indptr)[audience.users]
    if not left.any():
        raise DataError("these users are known to have every item; --mask none leaves none out")
    if (left < k).any():
        logger.warning(
            "%s fewer than %s: of %d that many are left, %d at least",
            counted(int((left < k).sum()), "user gets", "users get"),
            counted(k, "item"),
            known.shape[1],
            int(left.min()),
        )


def _named(ids):
    return ", ".join(map(str, ids[:NAMED])) + ", ..." * (len(ids) > NAMED)
