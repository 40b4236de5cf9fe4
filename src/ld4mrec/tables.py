"""Text tables with a header: what would be misread, refused before a table is read.

pandas takes the first column for an index where rows have a field more than the header, makes up
names for columns without one, and reads zero bytes as nothing.
"""

import csv
from pathlib import Path

from ld4mrec.errors import DataError, counted

BLOCK = 2**24  # bytes read at a time
SHOWN = 12  # names that a message shows


def refuse_nul(path: Path) -> None:
    """DataError for a file with zero bytes, as a power cut may leave it."""
    read = 0
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            if (place := block.find(b"\0")) >= 0:
                raise DataError(
                    f"{path} has a zero byte at byte {read + place}: it is damaged; make it again"
                )
            read += len(block)


def has_byte(path: Path, byte: int) -> bool:
    """Whether a file holds a byte of this value."""
    with open(path, "rb") as file:
        return any(byte in block for block in iter(lambda: file.read(BLOCK), b""))


def check_header(path: Path, separator: str) -> list[str]:
    """The names in a table's first line. separator: between the fields, which may be quoted.

    DataError for an empty file, an empty or a repeated name, or a first row of another width;
    UnicodeDecodeError for what is no UTF-8.
    """
    refuse_nul(path)
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator)
        try:
            names = next(reader, [])
            row = next((row for row in reader if row), names)
        except csv.Error as error:
            raise DataError(f"{path} line {reader.line_num} cannot be read: {error}") from error
    shown = f"{names[:SHOWN]}{' ...' if len(names) > SHOWN else ''}"
    if not names:
        raise DataError(f"{path} has no header in its first line")
    if any(not name.strip() for name in names):
        raise DataError(
            f"{path} has the columns {shown}, one of them without a name; was it written with an "
            "index? Write it without, or name the column"
        )
    if len(set(names)) < len(names):
        again = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path} has two columns named {again!r}; rename one of them")
    if len(row) != len(names):
        raise DataError(
            f"{path} line {reader.line_num} has {counted(len(row), 'field')} and the header "
            f"{len(names)}: which column is which cannot be told; mend the header or the rows"
        )
    return names


def is_number(text: str) -> bool:
    """Whether a cell reads as a number, also nan and inf."""
    try:
        float(text)
    except ValueError:
        return False
    return True
