"""Files of a raw download: found by name, read from start to end through their packing, hashed."""

import gzip
import hashlib
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ld4mrec.files import sha256
from ld4mrec.preprocessing.steps.raw import BLOCK, BadLines, RawError, Table, blocks
from ld4mrec.progress import progress


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


def find(folder: Path, name: str) -> Path:
    """Path of the file `name` in a raw folder, also packed as `name`.zip; RawError if absent."""
    for path in (folder / name, folder / f"{name}.zip"):
        if path.is_file():
            return path
    raise RawError(
        f"{folder} has no {name} (nor {name}.zip); {contents_of(folder)}; see docs/data.md"
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
            with archive.open(member) as stream:
                yield stream, member.file_size, records
        records.append({"file": path.name, "bytes": size, "sha256": sha256(path)})
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
        if not member.is_dir() and "__MACOSX" not in member.filename and wanted(member.filename)
    ]
    if len(members) == 1:
        return members[0]
    names = [member.filename for member in archive.infolist()][:8]
    raise RawError(f"{path} should pack one data file; {len(members)} of its members fit: {names}")


@contextmanager
def damage_named(path: str | Path) -> Iterator[None]:
    """Turn what the packing's reader says of damage into a RawError with the file's name."""
    try:
        yield
    except (zipfile.BadZipFile, gzip.BadGzipFile, tarfile.TarError, zlib.error, EOFError) as error:
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
