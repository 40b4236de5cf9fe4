"""Blocks of rows to distinct interactions: ids coded, ratings and times read, given splits kept."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ld4mrec.data.splits import NAMES
from ld4mrec.errors import DataError
from ld4mrec.files import sha256
from ld4mrec.preprocessing.formats.layout import Layout
from ld4mrec.preprocessing.formats.reading import blocks_of
from ld4mrec.preprocessing.formats.times import Times
from ld4mrec.preprocessing.steps.interactions import Ids, Interactions, earliest, ids_of
from ld4mrec.preprocessing.steps.options import in_window
from ld4mrec.preprocessing.steps.raw import BadLines

COMPACT_AT = 1 << 25  # rows that are kept before repeated pairs fall away
# A label is packed above the time, so that of a repeated pair the first part of the split wins.
BEYOND = 1 << 48  # more than the span of all times
EPOCH = 1 << 47  # times before 1970 are negative
NO_ID = "an id is empty or no UTF-8, or has control signs"
CONTROL = re.compile("[\0-\b\v\f\x0e-\x1f\x7f]")  # but line ends, which quotes may hold


@dataclass
class Part:
    """A file of interactions, or a DataFrame; label: of a given split, None where it is cut later.

    columns: {role: column's name}. frame: the rows, where they were read from `source` as a whole.
    """

    source: Path | pd.DataFrame
    layout: Layout
    columns: dict[str, str]
    label: int | None = None
    frame: pd.DataFrame | None = None

    @property
    def name(self) -> str:
        return "the DataFrame" if isinstance(self.source, pd.DataFrame) else str(self.source)


@dataclass
class Wish:
    """Which rows count. since, until: days YYYY-MM-DD, until excluded."""

    min_rating: float | None = None
    since: str | None = None
    until: str | None = None
    time_format: str | None = None
    max_bad_lines: float = 0.01


@dataclass
class Read:
    """What was read. n_rows: rows that can be used; n_rated, n_inside: of them with a rating that
    counts, and in the window.
    """

    bad: list[BadLines] = field(default_factory=list)
    records: list[dict] = field(default_factory=list)
    n_rows: int = 0
    n_rated: int = 0
    n_inside: int = 0
    times: Times | None = None
    in_several_parts: int = 0
    interactions: Interactions | None = None


class TextCodes:
    """int32 codes of ids in the order they are first seen; -1 for what cannot be an id."""

    def __init__(self):
        self.texts: list[str] = []
        self._known: dict[bytes, int] = {}

    def __call__(self, column: pa.Array) -> np.ndarray:
        """(n,) codes of a column of bytes or texts."""
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.binary()).dictionary_encode()
        known = self._known
        table = np.empty(len(column.dictionary) + 1, dtype=np.int32)
        table[-1] = -1  # null
        for place, content in enumerate(column.dictionary.to_pylist()):
            code = known.get(content)
            if code is None:
                code = known[content] = self._new(content)
            table[place] = code
        places = column.indices.fill_null(-1) if column.null_count else column.indices
        return table[places.to_numpy(zero_copy_only=False)]

    def _new(self, content):
        try:
            text = content.decode("utf-8") if content else ""
        except UnicodeDecodeError:
            text = ""
        if not text or CONTROL.search(text):
            return -1
        self.texts.append(text)
        return len(self.texts) - 1

    def ids(self) -> Ids:
        """The ids; where all are whole numbers they are sorted by size."""
        return ids_of(self.texts)


def read_parts(parts: list[Part], wish: Wish) -> Read:
    """Read all rows: the distinct pairs of user and item with their earliest time.

    A pair in several parts of a given split counts in the first of them. DataError for what cannot
    be read or for too many bad lines.
    """
    read, users, items = Read(), TextCodes(), TextCodes()
    kept: list[tuple[np.ndarray, ...]] = []
    n_pending = n_kept = 0
    labelled = any(part.label is not None or "label" in part.columns for part in parts)
    for part in parts:
        bad = BadLines(part.name, _wanted(part), wish.max_bad_lines)
        read.bad.append(bad)
        if "time" in part.columns and read.times is None:
            read.times = Times(part.name, part.columns["time"], wish.time_format)
        for block in _blocks(part, bad, read.records):
            rows = _rows(block, part, wish, read, bad, (users, items))
            kept.append(rows)
            n_pending += len(rows[0])
            if n_pending > max(COMPACT_AT, n_kept):
                kept = [earliest(kept)]
                n_kept, n_pending = len(kept[0][0]), 0
        bad.check()
    empty = (np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64))
    kept = kept or [empty]
    n_in_parts = _distinct_in_parts(kept) if labelled else 0
    columns = earliest(kept)
    labels, times = None, columns[2]
    if labelled:
        labels, times = np.divmod(times, BEYOND)
        labels, times = labels.astype(np.int8), times - EPOCH
        read.in_several_parts = n_in_parts - len(times)
    if read.times is not None:
        times = read.times.in_seconds(times)
    read.interactions = Interactions(*columns[:2], times, users.ids(), items.ids(), labels)
    return read


def _blocks(part, bad, records):
    if part.frame is None:
        yield from blocks_of(part.source, part.layout, part.columns, bad, records)
        return
    yield from blocks_of(part.frame, part.layout, part.columns, bad, [])
    facts = {"bytes": part.source.stat().st_size, "sha256": sha256(part.source)}
    records.append({"file": part.source.name, **facts})


def _distinct_in_parts(kept):
    """How many distinct (pair, part of the split) there are."""
    columns = [
        (users, items.astype(np.int64) * len(NAMES) + times // BEYOND, np.zeros_like(users))
        for users, items, times in kept
    ]
    return len(earliest(columns)[0])


def _wanted(part):
    roles = ", ".join(f"{role} ({name})" for role, name in part.columns.items())
    return roles or "a user and its items"


def _rows(block, part, wish, read, bad, codes):
    """(users, items, times) of a block's rows that count; a label is packed into the time."""
    users, items = (code(block[role]) for code, role in zip(codes, ("user", "item"), strict=True))
    n = len(users)
    why = np.zeros(n, dtype=np.int8)  # 0: the row can be used
    why[(users < 0) | (items < 0)] = 1
    times = np.zeros(n, dtype=np.int64)
    if "time" in block:
        times, absent = read.times.read(block["time"])
        why[absent & (why == 0)] = 2
    ratings = None
    if wish.min_rating is not None and "rating" in block:
        ratings = _ratings(block["rating"])
        why[np.isnan(ratings) & (why == 0)] = 3
    labels = None
    if "label" in block:
        labels = _ratings(block["label"])
        known = np.isin(labels, (0, 1, 2))
        why[~known & (why == 0)] = 4
        labels = np.where(known, labels, 0).astype(np.int64)
    if why.any():
        _count_bad(block, why, bad, n)
    good = why == 0
    read.n_rows += int(good.sum())
    if ratings is not None:
        good &= ratings >= wish.min_rating
    read.n_rated += int(good.sum())
    if read.times is not None and (wish.since or wish.until):
        good &= in_window(times, read.times.bounds(wish.since, wish.until))
    read.n_inside += int(good.sum())
    if labels is None and part.label is not None:
        labels = part.label
    if labels is not None:
        times = times + (labels * BEYOND + EPOCH)
    if good.all():
        return users, items, times
    return users[good], items[good], times[good]


REASONS = ("", NO_ID, "no time", "no rating", f"a label that is not 0, 1 or 2 ({', '.join(NAMES)})")


def _count_bad(block, why, bad, n):
    """Count the rows that cannot be used, the first of them shown."""
    for number, reason in enumerate(REASONS):
        places = np.flatnonzero(why == number) if number else ()
        if len(places):
            contents = (_shown(block, int(place)) for place in places[:3])
            bad.add(reason, bad.lines - n + 1 + places, contents)


def _shown(block, place):
    return b" | ".join(_bytes_of(column[place]) for column in block.values())


def _bytes_of(cell):
    """A cell as bytes; texts as they are, as damaged ones are no UTF-8."""
    if cell.is_valid and isinstance(cell, pa.StringScalar | pa.LargeStringScalar):
        return cell.as_buffer().to_pybytes()
    value = cell.as_py()
    return value if isinstance(value, bytes) else str(value).encode()


def _ratings(column):
    """(n,) float64, NaN for what is no number."""
    try:
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    except pa.ArrowInvalid:
        texts = pd.Series(np.asarray(column.cast(pa.string()), dtype=object))
        return pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)


def check_times(times: np.ndarray, rule: str, timed: bool) -> None:
    """DataError where a split in time has no times (N,) to go by; timed: the source has some."""
    if rule == "mmrec":
        return
    if not timed:
        raise DataError(
            f"--split {rule} goes by time and the interactions have none; name their column with "
            "--columns user=...,item=...,time=... or take --split mmrec"
        )
    if len(times) and (times == times[0]).all():
        raise DataError(
            f"--split {rule} goes by time and all times are {int(times[0])}; take --split mmrec"
        )
