"""Files of a raw download: found by name, read from start to end through their packing, hashed."""

import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ld4mrec.files import known_sha256
from ld4mrec.preprocessing.steps.raw import BLOCK, BadLines, RawError, Table, blocks
from ld4mrec.progress import progress

DAMAGE = (
    *(zipfile.BadZipFile, gzip.BadGzipFile, tarfile.TarError),
    *(zlib.error, lzma.LZMAError, EOFError),
)


class HashedFile(io.RawIOBase):
    """Files, such as the pieces of an archive, read as if they were one and hashed on the way.

    records: {file, bytes, sha256} of each, for the manifest; complete when all was read.
    """

    def __init__(self, paths: Iterable[str | Path]):
        self.paths = [Path(path) for path in paths]
        self.records = []
        self._next = iter(self.paths)
        self._open_next()

    def _open_next(self):
        self._path = next(self._next, None)
        self._file = self._path.open("rb") if self._path else None
        self._hash, self._bytes = hashlib.sha256(), 0

    def readable(self):
        return True

    def readinto(self, buffer):
        while self._file:
            count = self._file.readinto(buffer)
            if count:
                self._hash.update(memoryview(buffer)[:count])
                self._bytes += count
                return count
            self._file.close()
            facts = {"bytes": self._bytes, "sha256": self._hash.hexdigest()}
            self.records.append({"file": self._path.name, **facts})
            self._open_next()
        return 0

    def finish(self) -> list[dict]:
        """Read what is left, so that the records are complete; returns them."""
        scratch = bytearray(BLOCK)
        while self.readinto(scratch):
            pass
        return self.records

    def close(self):
        if self._file:
            self._file.close()
        super().close()


def contents_of(folder: Path, most: int = 12) -> str:
    """What a folder holds, in words, for the message that something was not found in it."""
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"it holds {', '.join(names[:most])}{more}" if names else "it is empty"


def raw_folder(path: str | Path) -> Path:
    """The folder of a raw download; RawError if it is none."""
    folder = Path(path)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise RawError(f"--raw {folder} {what}; it must name the folder of the download's files")
    return folder


def added_by_systems(name: str) -> bool:
    """Whether a path is what macOS adds to files and archives, ._name and __MACOSX."""
    return any(part.startswith("._") or part == "__MACOSX" for part in name.split("/"))


def inside(folder: Path) -> list[Path]:
    """Files of a raw folder, and then those one folder down, where unpackers put them."""
    here = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    below = [path for place in here if place.is_dir() for path in sorted(place.iterdir())]
    there = [path for path in (*here, *below) if path.is_file()]
    return [path for path in there if not added_by_systems(path.as_posix())]


def zips(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """(path, names of its members) of each zip in a raw folder."""
    for path in inside(folder):
        if path.suffix.lower() == ".zip":
            with damage_named(path), zipfile.ZipFile(path) as archive:
                yield path, archive.namelist()


def find(folder: Path, *names: str) -> Path:
    """Path of the file in a raw folder that has the first of the names that is there: plain, packed
    as NAME.zip or within any zip, also one folder down; RawError if there is none.
    """
    files = inside(folder)
    for name in names:
        for path in files:
            if path.name in (name, f"{name}.zip"):
                return path
    for path, members in zips(folder):
        for name in names:
            if any(m.split("/")[-1] == name and not added_by_systems(m) for m in members):
                return path
    raise RawError(
        f"{folder} has no {' or '.join(names)} (nor {names[0]}.zip, nor a zip with it); "
        f"{contents_of(folder)}; see docs/data.md"
    )


def check_header(path: Path, line: bytes, wanted: list[str]) -> None:
    """RawError unless a file's first line (bytes) names the columns wanted."""
    got = line.decode("utf-8-sig", "replace").strip().replace('"', "").split(",")
    if got != wanted:
        raise RawError(
            f"{path} line 1: the header is {','.join(got)[:200]!r}; wanted {','.join(wanted)!r}. "
            "This is another file, or was changed"
        )


@contextmanager
def reading(
    path: str | Path, wanted: Callable[[str], bool] = lambda name: True
) -> Iterator[tuple[BinaryIO, int, list[dict]]]:
    """Open a plain file, one packed by gzip (.gz), or the one member of a zip; wanted: tells the
    member by its name.

    Yields a stream, the bytes in it (in a .gz, of the file itself), and a list that holds the
    file's record when it is closed.
    """
    records = []
    path = Path(path)
    size = path.stat().st_size
    if path.suffix.lower() == ".zip":
        with damage_named(path), zipfile.ZipFile(path) as archive:
            member = the_member(path, archive, wanted)
            with damage_named(f"{path}:{member.filename}"), archive.open(member) as stream:
                yield stream, member.file_size, records
        records.append({"file": path.name, "bytes": size, "sha256": known_sha256(path)})
        return
    with HashedFile([path]) as file:
        stream = io.BufferedReader(file, BLOCK)
        if path.suffix.lower() == ".gz":
            with damage_named(path), gzip.GzipFile(fileobj=stream) as unpacked:
                yield unpacked, size, records
        else:
            yield stream, size, records
        records += file.finish()


def the_member(
    path: str | Path, archive: zipfile.ZipFile, wanted: Callable[[str], bool]
) -> zipfile.ZipInfo:
    """The one data file in a zip; what packers add beside it (folders, __MACOSX) is passed over."""
    members = [
        member
        for member in archive.infolist()
        if not member.is_dir() and not added_by_systems(member.filename) and wanted(member.filename)
    ]
    if len(members) == 1:
        return members[0]
    names = [member.filename for member in archive.infolist()][:8]
    raise RawError(f"{path} should pack one data file; {len(members)} of its members fit: {names}")


@contextmanager
def damage_named(path: str | Path) -> Iterator[None]:
    """Turn what the packing's reader says of damage into a RawError with the file's name.

    Readers compare a checksum at the end of a zip's member, and of what gzip packed.
    """
    try:
        yield
    except DAMAGE as error:
        raise RawError(
            f"{path} is damaged or incomplete ({error}); compare its size with docs/data.md and "
            "download it again"
        ) from error
    except NotImplementedError as error:
        raise RawError(f"{path}: {error}; unpack it yourself, unpacked files are read") from error


def tables(
    stream: BinaryIO, size: int, separator: str, n_fields: int, bad: BadLines
) -> Iterator[Table]:
    """The Table of each block of a stream of `size` bytes, with progress.

    RawError where most lines are bad, so that a wrong file is not read to its end.
    """
    n_blocks = -(-size // BLOCK)
    for block in progress(blocks(stream, bad.path), Path(bad.path).name, n_blocks):
        yield Table(block, separator, n_fields, bad)
        bad.check_early()
