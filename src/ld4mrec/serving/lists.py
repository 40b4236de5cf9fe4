"""Tables in files: CSV, Parquet or JSON lines, as the suffix says."""

import importlib
import json
import logging
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import pandas as pd

from ld4mrec.data.interactions import no_likes
from ld4mrec.errors import ConfigError, DataError, counted, nearest
from ld4mrec.files import replacing
from ld4mrec.tables import check_header, is_number, refuse_nul

logger = logging.getLogger(__name__)

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula's beginning


def check_suffix(path: Path, option: str) -> None:
    """ConfigError unless tables of this suffix are read and written with the packages at hand."""
    if path.suffix not in FORMATS:
        raise ConfigError(
            f"{option} is {path}, whose suffix '{path.suffix}' names no format; wanted one of "
            f"{', '.join(FORMATS)}"
        )
    if path.suffix == ".parquet":
        try:
            importlib.import_module("pyarrow.parquet")
        except ImportError as error:
            raise ConfigError(
                "Parquet files need the package pyarrow: pip install --constraint constraints.txt "
                "--editable '.[parquet]'; or choose .csv or .jsonl"
            ) from error


def write_table(path: Path, frames: Iterable[pd.DataFrame]) -> None:
    """Write DataFrames of the same columns as one file, whole or not at all; else DataError."""
    try:
        with replacing(path) as file:
            FORMATS[path.suffix].write(file, frames)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """DataFrame of these columns as texts; DataError where a column, a value or all rows lack."""
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    try:
        frame = FORMATS[path.suffix].read(path)
    except DataError:
        raise
    except Exception as error:  # pandas' and pyarrow's are of many kinds
        raise DataError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from error
    for column in columns:
        if column not in frame:
            found = list(map(str, frame.columns))
            raise DataError(
                f"{path} has no column '{column}'; its columns are {found}.{nearest(column, found)}"
            )
    if not len(frame):
        raise DataError(f"{path} has no rows")
    doubtful = no_likes(frame)
    frame = frame[list(columns)]
    empty = (frame.isna() | (frame == "")).any(axis=1)
    if empty.any():
        raise DataError(
            f"{path}: row {int(empty.to_numpy().argmax()) + 1} after the header lacks a value in "
            f"{' or '.join(columns)} ({counted(int(empty.sum()), 'such row')})"
        )
    if doubtful:
        n, row, value = doubtful
        logger.warning(
            "%s: %s without a rating above 0, taken for interactions all the same (the first: row "
            "%d after the header, %s)",
            *(path, counted(n, "row"), row + 1, value),
        )
    frame = frame.astype(str)
    quoted = frame.apply(lambda texts: texts.str.contains('["\n\r]')).any(axis=1).to_numpy()
    if quoted.any():  # as where a quote has no partner, or one that is lines below
        row = int(quoted.argmax())
        shown = ", ".join(textwrap.shorten(text, 80) or text for text in frame.iloc[row])
        logger.warning(
            "%s: %s with a quote or the end of a line in an id, which is taken as it is (the "
            "first: row %d after the header, %s)",
            *(path, counted(int(quoted.sum()), "row"), row + 1, shown),
        )
    again = frame.duplicated().to_numpy()
    if again.any():
        row = int(again.argmax())
        logger.warning(
            "%s: %s left out as a repeat of another (the first: row %d after the header, %s)",
            *(path, counted(int(again.sum()), "row"), row + 1),
            ", ".join(frame.iloc[row]),
        )
    return frame


def formulas(texts: pd.Series) -> pd.Series:
    """Which cells a spreadsheet would run: a sign of a formula in front, and not just a number."""
    found = [text.startswith(FORMULA) and not is_number(text) for text in map(str, texts)]
    return pd.Series(found, texts.index, dtype=bool)


def for_spreadsheets(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with ' before the texts that a spreadsheet would run."""
    frame = frame.copy()
    for name in frame.columns[[kind.kind not in "if" for kind in frame.dtypes]]:
        frame[name] = frame[name].where(~formulas(frame[name]), "'" + frame[name].astype(str))
    return frame


def write_text(file: IO, frames: Iterable[pd.DataFrame]) -> None:
    """CSV with a header, to a file of texts or of bytes."""
    for place, frame in enumerate(frames):
        frame.to_csv(file, header=place == 0, index=False, lineterminator="\n")


def _write_lines(file, frames):
    for frame in frames:
        row = "{" + ", ".join(f"{json.dumps(name)}: %s" for name in frame) + "}\n"
        columns = [_as_json(frame[name]) for name in frame]
        file.write("".join(map(row.__mod__, zip(*columns, strict=True))).encode())


def _as_json(column):
    """The values as JSON texts; floats so that they read back as they are."""
    if column.dtype.kind == "f":
        return map(("%.9g" if column.dtype.itemsize == 4 else "%.17g").__mod__, column.tolist())
    if column.dtype.kind == "i":
        return column.tolist()
    codes, texts = pd.factorize(column)  # few ids stand in many rows
    return pd.Index([json.dumps(text) for text in texts], dtype=object).take(codes)


def _write_parquet(file, frames):
    import pyarrow as pa
    from pyarrow import parquet

    writer = None
    try:
        for frame in frames:
            table = pa.Table.from_pandas(frame, preserve_index=False)
            writer = writer or parquet.ParquetWriter(file, table.schema.remove_metadata())
            writer.write_table(table.replace_schema_metadata(None))
    finally:
        if writer is not None:
            writer.close()


def _read_csv(path):
    """Also what a spreadsheet calls CSV, with ; or a TAB between the fields."""
    with open(path, encoding="utf-8-sig") as file:
        header = file.readline()
    separator = next((mark for mark in ",;\t" if mark in header), ",")
    check_header(path, separator)
    how = {"sep": separator, "dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
    return pd.read_csv(path, **how)


def _read_parquet(path):
    frame = pd.read_parquet(path)
    for name in frame.columns:
        frame[name].to_numpy()  # texts are decoded now, where damage is named
    return frame


def _read_lines(path):
    """A row per JSON object; numbers as they are written."""
    refuse_nul(path)
    rows = []
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(
                    line, parse_int=str, parse_float=str, object_pairs_hook=_distinct_keys
                )
                if not isinstance(row, dict):
                    raise ValueError(f"it holds a {type(row).__name__}, wanted an object")
                for name in ("user", "item"):
                    if not isinstance(row.get(name, ""), str):
                        raise ValueError(f"{name} is {row[name]!r:.60}, wanted a text or a number")
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path} line {number} cannot be read: {error}") from error
            rows.append(row)
    return pd.DataFrame.from_records(rows) if rows else pd.DataFrame(columns=["user", "item"])


def _distinct_keys(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


class Format(NamedTuple):
    """How a table is written, as frames one after the other, and read, as texts."""

    write: Callable[[IO, Iterable[pd.DataFrame]], None]
    read: Callable[[Path], pd.DataFrame]


FORMATS = {
    ".csv": Format(write_text, _read_csv),
    ".parquet": Format(_write_parquet, _read_parquet),
    ".jsonl": Format(_write_lines, _read_lines),
}
