"""Reading large text files as arrays of bytes: block by block, lines cut into fields, counted.

No line becomes a Python object, and the memory does not grow with the file. Lines that cannot be
used are counted, and a file with too many of them is refused.
"""

import csv
import functools
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from ld4mrec.errors import DataError, counted

BLOCK = 1 << 22  # bytes; larger ones fall out of the cache and take memory
LONGEST_LINE = 1 << 26  # beyond this it is no text file of lines
LF, CR = ord("\n"), ord("\r")
SHOWN = 3  # bad lines that a message quotes
MOST_DIGITS = 15  # a float64 holds them exactly
SECONDS_PER_DAY = 86_400
ENOUGH = 1000  # lines by which a wrong file is told


class RawError(DataError):
    """A raw download: a file that is absent, is something else, or holds too many bad lines."""


@dataclass
class BadLines:
    """Lines of one file that were left out; the first are kept, to be shown with their number.

    wanted: what a line should be. share: of the `lines` read, a header among them, may be bad.
    """

    path: str
    wanted: str
    share: float
    lines: int = 0
    bad: int = 0
    first: list[str] = field(default_factory=list)
    quoted: bool = False  # the first bad line begins with a quote

    def add(self, why: str, numbers: Sequence[int], contents: Iterable[bytes]) -> None:
        """Count lines: numbers (n,) from 1; contents gives the bytes of the first few."""
        self.bad += len(numbers)
        room = SHOWN - len(self.first)
        for number, content in zip(numbers[:room], contents, strict=False):
            self.quoted |= content.startswith(b'"')
            text = content[:80].decode("utf-8", "backslashreplace") + "..." * (len(content) > 80)
            self.first.append(f"line {number}: {why}: {text!r}")

    def check_early(self) -> None:
        """RawError where most lines are bad, so that a wrong file is not read to its end."""
        if self.lines >= ENOUGH and self.bad > self.lines / 2:
            self.check()

    def check(self) -> None:
        """RawError where the share is passed."""
        if self.bad > self.share * self.lines:
            raise RawError(
                f"{self.path}: {self.describe()}. A line should be: {self.wanted}. More than "
                f"{self.share:.2%} of them (--max-bad-lines) mean another file, or a damaged one"
                + "; its fields are in quotes, which the source's are not"
                * self.quoted
            )

    def describe(self) -> str:
        """How many lines are bad, and the first of them, in words."""
        more = "; ..." if self.bad > len(self.first) else ""
        bad = f"{self.bad:,} of {counted(self.lines, 'line')} cannot be used"
        return f"{bad} ({'; '.join(self.first)}{more})"

    def as_dict(self) -> dict:
        """What the manifest says of the file's lines."""
        return {"lines": self.lines, "bad": self.bad, "first": self.first}


def blocks(stream: BinaryIO, path: str | Path, size: int = BLOCK) -> Iterator[bytes]:
    """Yield the bytes of a binary stream in pieces of whole lines, each ended by LF.

    A last line without LF gets one. RawError where a line has no end.
    """
    rest = b""
    while chunk := stream.read(size):
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield rest + chunk[:cut]
            rest = chunk[cut:]
        else:
            rest += chunk
        if len(rest) > LONGEST_LINE:
            raise RawError(f"{path}: a line of more than {LONGEST_LINE} bytes; this is no text")
    if rest:
        yield rest + b"\n"


def csv_rows(
    stream: BinaryIO, n_fields: int, bad: BadLines, first: int = 2
) -> Iterator[tuple[int, list[str]]]:
    """Yield (number, fields) of the records of CSV in UTF-8, behind a header that was read.

    Records are numbered from `first` on; a quoted field may hold line ends. Those that cannot be
    used are counted in `bad`; blank ones are passed over.
    """
    csv.field_size_limit(2**31 - 1)
    # what is no UTF-8 becomes lone surrogates, so that its record can be told
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")
    reader = csv.reader(text, strict=True)
    for number in itertools.count(first):
        row, why = [], ""
        try:
            row = next(reader, None)
        except csv.Error as error:  # the reader goes on behind it
            why = str(error)
        if row is None:
            break
        bad.lines += 1
        joined = ",".join(row)
        if row and len(row) != n_fields:
            why = f"not {n_fields} fields"
        elif re.search("[\ud800-\udfff]", joined):
            why = "bytes that are no UTF-8"
        if why:
            bad.add(why, [number], [joined.encode("utf-8", "surrogateescape")])
        elif row:
            yield number, row
    text.detach()


class Table:
    """The lines of a block that have the right number of fields, as positions in its bytes.

    data: (bytes,) uint8; line_start: (lines,), end: (lines, fields); number: (lines,) from 1 in the
    file. Other lines are counted in `bad`; blank ones are passed over.
    """

    def __init__(self, block: bytes, separator: str, n_fields: int, bad: BadLines):
        self.data = np.frombuffer(block, dtype=np.uint8)
        self.bad = bad
        first_line = bad.lines + 1
        n_lines = block.count(b"\n")
        bad.lines += n_lines
        marks = np.flatnonzero((self.data == ord(separator)) | (self.data == LF))
        line_end = marks[n_fields - 1 :: n_fields]
        # the usual case: every line has its fields, and then no other mark ends a line
        if len(marks) == n_lines * n_fields and (self.data[line_end] == LF).all():
            self.end = marks.reshape(n_lines, n_fields)
            self.line_start = np.concatenate([[0], line_end + 1])[:n_lines]
            self.number = np.arange(first_line, first_line + n_lines)
        else:
            self._only_good(marks, block, n_fields, first_line)
        if len(self):
            self.end[:, -1] -= self.data[self.end[:, -1] - 1] == CR

    def _only_good(self, marks, block, n_fields, first_line):
        last = np.flatnonzero(self.data[marks] == LF)  # the mark that ends each line
        line_end = marks[last]
        line_start = np.concatenate([[0], line_end[:-1] + 1])
        good = np.diff(last, prepend=-1) == n_fields
        end = line_end - (self.data[line_end - 1] == CR)
        other = np.flatnonzero(~good & (end > line_start))
        contents = (block[line_start[line] : end[line]] for line in other)
        self.bad.add(f"not {n_fields} fields", first_line + other, contents)
        self.number = first_line + np.flatnonzero(good)
        self.end = marks[last[good][:, None] + np.arange(1 - n_fields, 1)]
        self.line_start = line_start[good]

    def __len__(self) -> int:
        return len(self.number)

    def keep(self, rows: np.ndarray, why: str | None = None) -> None:
        """Go on with the rows of a mask; with `why`, count the others as bad lines."""
        if rows.all():
            return
        if why is not None:
            other = np.flatnonzero(~rows)
            bounds = zip(self.line_start[other], self.end[other, -1], strict=True)
            contents = (self.data[start:end].tobytes() for start, end in bounds)
            self.bad.add(why, self.number[other], contents)
        rows = np.flatnonzero(rows)
        self.end, self.number = self.end[rows], self.number[rows]
        self.line_start = self.line_start[rows]

    def start(self, column: int) -> np.ndarray:
        """(lines,) position of the first byte of each field of a column."""
        return self.end[:, column - 1] + 1 if column else self.line_start

    def width(self, column: int) -> np.ndarray:
        """(lines,) bytes of each field of a column."""
        return self.end[:, column] - self.start(column)

    def first_byte(self, column: int) -> np.ndarray:
        """(lines,) uint8: the first byte of each field; of an empty one the mark behind it."""
        return self.data[self.start(column)]

    def text(self, column: int, width: int) -> np.ndarray:
        """(lines, width) uint8: a column all of whose fields have this many bytes."""
        return self._windows(self.start(column), width)

    def equals(self, column: int, value: bytes) -> np.ndarray:
        """Mask of the rows whose field is `value`, bytes."""
        same = self.width(column) == len(value)
        rows = np.flatnonzero(same)
        content = self._windows(self.start(column)[rows], len(value))
        same[rows] = (content == np.frombuffer(value, np.uint8)).all(axis=1)
        return same

    def strings(self, column: int) -> list[bytes]:
        """The fields of a column as bytes objects, one by one: for few rows."""
        bounds = zip(self.start(column).tolist(), self.end[:, column].tolist(), strict=True)
        return [self.data[start:end].tobytes() for start, end in bounds]

    def integers(self, column: int, skip: int = 0) -> np.ndarray:
        """(lines,) int64: digits behind `skip` bytes; -1 where not, or too many."""
        start, width = self.start(column) + skip, self.width(column) - skip
        values = np.full(len(self), -1, dtype=np.int64)
        for size in np.flatnonzero(np.bincount(np.maximum(width, 0))):
            if 1 <= size <= MOST_DIGITS:
                rows = np.flatnonzero(width == size)
                values[rows] = decimal(self._windows(start[rows], size))
        return values

    def days(self, column: int) -> np.ndarray:
        """(lines,) int64 days since 1970 of dates YYYY-MM-DD in the first ten bytes; -1: none."""
        rows = np.flatnonzero(self.width(column) >= 10)
        digits = self._windows(self.start(column)[rows], 10)
        dashes = (digits[:, [4, 7]] == ord("-")).all(axis=1)
        code = decimal(digits[:, [0, 1, 2, 3, 5, 6, 8, 9]])  # 20130826
        place, known = pd.factorize(np.where(dashes, code, -1))
        values = np.full(len(self), -1, dtype=np.int64)
        values[rows] = np.array([day_of(int(code)) for code in known], dtype=np.int64)[place]
        return values

    def seconds(self, column: int) -> np.ndarray:
        """(lines,) int64 seconds since 1970, zone unknown, of YYYY-MM-DD HH:MM:SS; -1: none."""
        days = self.days(column)
        rows = np.flatnonzero((days >= 0) & (self.width(column) == 19))
        clock = self._windows(self.start(column)[rows] + 10, 9)
        marks = (clock[:, [0, 3, 6]] == np.frombuffer(b" ::", np.uint8)).all(axis=1)
        hour, minute, second = (decimal(clock[:, at : at + 2]) for at in (1, 4, 7))
        right = marks & (hour >= 0) & (minute >= 0) & (second >= 0)
        right &= (hour < 24) & (minute < 60) & (second < 60)
        values = np.full(len(self), -1, dtype=np.int64)
        time = days[rows] * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second
        values[rows] = np.where(right, time, -1)
        return values

    def _windows(self, start, width):
        """(rows, width) bytes from each start on."""
        if not len(start):  # the block may be shorter than a window
            return np.empty((0, width), dtype=np.uint8)
        return np.lib.stride_tricks.sliding_window_view(self.data, width)[start]


def decimal(content: np.ndarray) -> np.ndarray:
    """(rows,) int64 values of (rows, digits) bytes; -1 where one is no digit."""
    digits = content - np.uint8(ord("0"))  # below "0" wraps around to more than 9
    powers = 10.0 ** np.arange(content.shape[1] - 1, -1, -1)
    return np.where((digits <= 9).all(axis=1), digits @ powers, -1).astype(np.int64)


@functools.cache
def day_of(code: int) -> int:
    """Days since 1970 of 20130826; -1 for a date that no calendar has."""
    year, rest = divmod(code, 10_000)
    month, day = divmod(rest, 100)
    try:
        return np.datetime64(f"{year:04d}-{month:02d}-{day:02d}", "D").astype(int)
    except ValueError:
        return -1
