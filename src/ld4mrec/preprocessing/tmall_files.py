"""Where TMALL's tables lie in a download, in each of its packings, and reading them from there.

Known packings of a table: text files, one zip per text file, a tar.gz (the log's in pieces
.001 to .003), and the small official samples, which are comma-separated with a header.
"""

import gzip
import io
import re
import tarfile
import zipfile
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from ld4mrec.preprocessing.steps.raw import BLOCK, RawError
from ld4mrec.preprocessing.steps.sources import (
    HashedFile,
    contents_of,
    damage_named,
    inside,
    reading,
)

SEPARATOR = "\x01"
NAME = re.compile(r"rec_tmall_(product|log|review)(?:[._]part([a-z]))?", re.IGNORECASE)
PIECE = re.compile(r"\.tar\.gz(?:\.(\d{3}))?$", re.IGNORECASE)
TEXT, ZIP, TAR, CSV = "text", "zip", "tar.gz", "csv"
ENDINGS = {"": TEXT, ".txt": TEXT, ".csv": CSV, ".zip": ZIP}
SAMPLE_HEADERS = {
    "product": ["item_id", "title", "pict_url", "category", "brand_id", "seller_id"],
    "log": ["item_id", "user_id", "action", "vtime"],
}
COMPRESSION = 3.7  # about how many times smaller the packed log is
BYTES_PER_ROW = 41.7  # of the log, unpacked


@dataclass(frozen=True)
class Packed:
    """One file, or the pieces of one, that holds a table or a part of it."""

    paths: tuple[Path, ...]
    packing: str
    part: str | None = None

    def text_bytes(self) -> float:
        """Bytes of the text unpacked; a guess for tar.gz."""
        if self.packing == ZIP:
            with damage_named(self.paths[0]), zipfile.ZipFile(self.paths[0]) as archive:
                return sum(member.file_size for member in archive.infolist())
        size = sum(path.stat().st_size for path in self.paths)
        return size * COMPRESSION if self.packing == TAR else size


def find_table(raw: Path, table: str, parts: str | None = None) -> list[Packed]:
    """The Packed files of a table, `product` or `log`.

    parts: letters of the log's parts that must be there, if it comes in parts. Unpacked files come
    before packed ones, a small sample (.csv) last. RawError for what is absent.
    """
    found = {}  # (part, packing): Packed
    for path in inside(raw):
        match = NAME.search(path.name)
        if match is None or match[1].lower() != table:
            continue
        part = match[2].lower() if match[2] else None
        rest = path.name[match.end() :]
        packing = TAR if PIECE.search(rest) else ENDINGS.get(rest.lower())
        if packing is None:
            continue
        held = found.get((part, packing))
        if held and packing != TAR:
            raise RawError(
                f"{raw} has {held.paths[0].name} and {path.name}: the same {table} table twice; "
                "leave one of them there"
            )
        paths = (*held.paths, path) if held else (path,)
        found[part, packing] = Packed(paths, packing, part)
    wanted = f"tianchi_2014001_rec_tmall_{table}" if table == "product" else "..._rec_tmall_log"
    if not found:
        raise RawError(
            f"{raw} has no {table} file (looked for *{wanted}* as .txt, .zip or .tar.gz); "
            f"{contents_of(raw)}; see docs/data.md"
        )
    letters = {part for part, _ in found if part}
    absent = sorted(set(parts or letters) - letters)
    if letters and absent:
        raise RawError(
            f"{raw} has the parts {sorted(letters)} of the log, {absent} is absent: download it "
            f"too, or read a part of the log with --log-parts {''.join(sorted(letters))}"
        )

    def best(part):
        return next(found[part, how] for how in (TEXT, ZIP, TAR, CSV) if (part, how) in found)

    if letters:
        return [best(letter) for letter in sorted(parts or letters)]
    check_pieces(best(None).paths)
    return [best(None)]


def check_pieces(paths: tuple[Path, ...]) -> None:
    """RawError where pieces of an archive are absent."""
    numbers = [PIECE.search(path.name) for path in paths]
    numbers = [int(match[1]) for match in numbers if match and match[1]]
    if numbers and numbers != list(range(1, len(numbers) + 1)):
        names = [path.name for path in paths]
        raise RawError(f"pieces of the archive are absent: there are {names}, wanted .001 on")


def streams(packed: Packed, table: str, records: list[dict]) -> Iterator[tuple[str, BinaryIO, int]]:
    """Yield (name, stream, bytes) of each text file that is packed.

    records is appended to: the files' records, when all was read.
    """
    if packed.packing != TAR:
        path = packed.paths[0]
        with reading(path, lambda name: NAME.search(name) is not None) as (stream, size, hashed):
            yield str(path), stream, size
        records += hashed
        return
    with HashedFile(packed.paths) as file:
        # tarfile's own r|gz does not look at gzip's checksum
        with gzip.GzipFile(fileobj=io.BufferedReader(file, BLOCK)) as unpacked:
            with tarfile.open(fileobj=unpacked, mode="r|") as archive:
                for member in archive:
                    match = NAME.search(member.name)
                    if member.isfile() and match and match[1].lower() == table:
                        stream = archive.extractfile(member)
                        yield f"{packed.paths[0]}:{member.name}", stream, member.size
            while unpacked.read(BLOCK):  # to the end, where the checksum is
                pass
        records += file.finish()


def is_sample(name: str, stream: BinaryIO, table: str) -> bool:
    """Whether a stream is a small comma-separated sample; RawError for another table."""
    line = stream.peek(1 << 12).split(b"\n", 1)[0]
    if SEPARATOR.encode() in line:
        return False
    header = line.removeprefix(BOM_UTF8).decode("gb18030", "replace").strip().split(",")
    if header == SAMPLE_HEADERS[table]:
        return True
    raise RawError(
        f"{name} line 1: {line[:80]!r} has no byte 0x01 between its fields, as the {table} table "
        f"has, and is not the header of the small sample, {','.join(SAMPLE_HEADERS[table])}"
    )


def read_sample(name: str, stream: BinaryIO) -> pd.DataFrame:
    """A small comma-separated sample as a frame of text, in UTF-8 or GBK."""
    content = stream.read()
    how = {"dtype": str, "keep_default_na": False}
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return pd.read_csv(io.BytesIO(content), encoding=encoding, **how)
        except UnicodeDecodeError:
            continue
        except pd.errors.ParserError as error:
            raise RawError(f"{name} cannot be read as comma-separated text: {error}") from error
    raise RawError(f"{name} is neither UTF-8 nor GBK")
