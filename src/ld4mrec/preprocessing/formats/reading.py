"""Rows of any layout as blocks of Arrow columns.

Arrow's own readers do the work; no line of a separated text becomes a Python object. Lines that
cannot be cut into their columns are counted, as everywhere in preprocessing.
"""

import hashlib
import io
import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from ld4mrec.errors import DataError, counted
from ld4mrec.preprocessing.formats.layout import Layout
from ld4mrec.preprocessing.steps.raw import BadLines, RawError, blocks
from ld4mrec.preprocessing.steps.sources import reading
from ld4mrec.progress import progress

BLOCK = 1 << 24  # bytes of text that are cut at once
ROWS = 1 << 18  # rows of JSON lines and pairs that make a block
UNCLOSED = "a quote that is not closed? --no-quotes takes quotes as they are"
UNIT = b"\x1f"  # takes the place of a separator of several characters
CODES = pa.dictionary(pa.int32(), pa.binary())  # ids: the bytes are checked once for each id

Block = dict[str, pa.Array]  # {role: column}


def blocks_of(
    source: Path | pd.DataFrame,
    layout: Layout,
    columns: dict[str, str],
    bad: BadLines,
    records: list[dict],
) -> Iterator[Block]:
    """Yield the columns that are wanted, {role: column's name}, block by block.

    Columns of `user` and `item` are dictionaries of bytes, others are texts or what the file's own
    types are. records: gets the file's record. RawError for what cannot be read.
    """
    if isinstance(source, pd.DataFrame):
        yield from _of_frame(source, columns, bad, records)
        return
    readers = {"delimited": _delimited, "jsonl": _json_lines, "pairs": _pairs}
    if layout.kind == "parquet":
        yield from _parquet(source, columns, bad, records)
        return
    with _explained(source), reading(source) as (stream, size, of_file):
        found = readers[layout.kind](stream, layout, columns, bad)
        total = None if source.suffix.lower() == ".gz" else -(-size // BLOCK)
        yield from progress(found, source.name, total)
    records += of_file


@contextmanager
def _explained(source):
    try:
        yield
    except pa.ArrowException as error:
        text = str(error)
        quote = any(word in text for word in ("straddling", "out of sync", "quoted"))
        hint = f"; {UNCLOSED}" * quote
        raise RawError(
            f"{source} cannot be read as it is said to be written: {text}{hint}"
        ) from error
    except (UnicodeDecodeError, UnicodeError) as error:
        raise RawError(f"{source}: {error}; --encoding names another encoding") from error


def _delimited(stream, layout, columns, bad):
    separator = layout.separator
    if len(separator) > 1:
        stream, separator = _Replaced(stream, separator, bad.path), UNIT.decode()
    types = {
        name: CODES if role in ("user", "item") else pa.string() for role, name in columns.items()
    }

    def skip(row):
        text = (row.text or "").replace(UNIT.decode(), layout.separator)
        why = f"{counted(row.actual_columns, 'field')}, not {row.expected_columns}"
        if layout.quotes and text.count('"') % 2:
            why += f", {UNCLOSED}"
        bad.add(why, [row.number or 0], [text.encode()])
        bad.lines += 1
        return "skip"

    encoding = "utf8" if layout.encoding in ("utf-8", "utf-8-sig") else layout.encoding
    names = None if layout.header else list(layout.names)
    with _lines_of_no_text():
        reader = arrow_csv.open_csv(
            stream,
            read_options=arrow_csv.ReadOptions(
                use_threads=False, block_size=BLOCK, encoding=encoding, column_names=names
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=separator,
                quote_char='"' if layout.quotes else False,
                newlines_in_values=layout.quotes,
                invalid_row_handler=skip,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=types,
                include_columns=list(columns.values()),
                strings_can_be_null=False,
                check_utf8=True,
            ),
        )
        bad.lines += layout.header
        for batch in reader:
            bad.lines += len(batch)
            yield {role: batch.column(name) for role, name in columns.items()}
            bad.check_early()


@contextmanager
def _lines_of_no_text():
    """Where a line that pyarrow cannot cut is no UTF-8, it prints a traceback and raises an error
    that says it all: without the traceback.
    """
    hook = sys.unraisablehook

    def tell(told):
        if not isinstance(told.exc_value, UnicodeDecodeError):
            hook(told)

    sys.unraisablehook = tell
    try:
        yield
    finally:
        sys.unraisablehook = hook


class _Replaced(io.RawIOBase):
    """A stream in which another byte takes the place of the separator."""

    def __init__(self, stream, separator, path):
        self._blocks = blocks(stream, path)
        self._old, self._rest = separator.encode(), b""

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self._rest:
            self._rest = next(self._blocks, b"").replace(self._old, UNIT)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _json_lines(stream, layout, columns, bad):
    numbered = enumerate(stream, 1)
    while some := list(itertools.islice(numbered, ROWS)):
        rows = []
        for number, line in some:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("no object")
                rows.append(row)
            except (ValueError, RecursionError):
                bad.add("no JSON object", [number], [line.rstrip(b"\n")])
        bad.lines += len(some)
        if rows:
            yield {
                role: pa.array([as_text(row.get(name)) for row in rows], pa.string())
                for role, name in columns.items()
            }
        bad.check_early()


def _pairs(stream, layout, columns, bad):
    """LightGCN's lines: a user and all of its items, blanks between."""
    numbered = enumerate(stream, 1)
    while some := list(itertools.islice(numbered, ROWS)):
        words = []
        for number, line in some:
            row = line.decode("utf-8").split()
            if b"\0" in line or len(row) == 1:
                why = "a NUL" if b"\0" in line else "a user without an item"
                bad.add(why, [number], [line.rstrip(b"\n")])
            else:
                words.append(row)
        bad.lines += len(some)
        users = [row[0] for row in words if row]
        lengths = [len(row) - 1 for row in words if row]
        items = [item for row in words for item in row[1:]]
        yield {
            "user": pa.array(np.repeat(np.array(users, dtype=object), lengths), pa.string()),
            "item": pa.array(items, pa.string()),
        }


def _parquet(source, columns, bad, records):
    names = list(columns.values())
    with _explained(source), reading(source) as (stream, _, of_file):
        seekable = source if source.suffix.lower() == ".parquet" else io.BytesIO(stream.read())
        file = parquet.ParquetFile(seekable)
        batches = file.iter_batches(batch_size=1 << 20, columns=names)
        for batch in progress(batches, source.name):
            batch.validate(full=True)
            bad.lines += len(batch)
            yield {role: _usable(batch.column(name)) for role, name in columns.items()}
    records += of_file


def _of_frame(frame, columns, bad, records):
    table = {}
    for role, name in columns.items():
        series = frame[next(column for column in frame.columns if str(column) == name)]
        try:
            table[role] = _usable(pa.array(series, from_pandas=True))
        except pa.ArrowException:  # a column of mixed objects
            table[role] = pa.array([as_text(value) for value in series], pa.string())
    bad.lines += len(frame)
    records.append({"file": "a DataFrame", "rows": len(frame), "hash": hash_of(frame)})
    for start in range(0, len(frame), ROWS):
        yield {role: column.slice(start, ROWS) for role, column in table.items()}


def hash_of(frame: pd.DataFrame) -> str:
    """A hash of a DataFrame's columns and values."""
    rows = pd.util.hash_pandas_object(frame.astype(str), index=False).to_numpy()
    return hashlib.sha256(repr(list(map(str, frame.columns))).encode() + rows.tobytes()).hexdigest()


def _usable(column):
    """A column as texts where it holds texts, whole numbers as they are written, times as such."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_struct(kind):
        return pa.array([as_text(value) for value in column.to_pylist()], pa.string())
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return column
    if pa.types.is_floating(kind):
        whole = pc.all(pc.equal(pc.floor(column), column)).as_py()  # integers with a gap, by pandas
        if whole:
            column = column.cast(pa.int64(), safe=False)
    return column.cast(pa.string())


def as_text(value: object) -> str:
    """A value of JSON or Parquet as text: parts of lists by commas, nothing for null."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(filter(None, map(as_text, value)))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def texts_of(column: pa.Array) -> list[str]:
    """A column as texts, '' for null. RawError for bytes that are no UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return ["" if value is None else value for value in column.cast(pa.string()).to_pylist()]
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise DataError(
            f"a text is no UTF-8 ({error}); --encoding names another encoding"
        ) from error
