"""Files of a raw download: found by name, read from start to end through their packing, hashed."""

import hashlib
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ld4mrec.files import sha256
from ld4mrec.preprocessing.steps.raw import BLOCK, RawError, blocks
from ld4mrec.progress import progress

PACKINGS = (".zip",)  # what a single file may be packed in, beside lying there unpacked


class HashedFile(io.RawIOBase):
    """Files read one after the other as if they were one, and hashed on the way.

    Splits of a large archive (x.tar.gz.001, .002, ...) are such files. `records` is complete when
    everything was read.
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
            self.records.append(record(self._path, self._bytes, self._hash.hexdigest()))
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


def record(path: str | Path, size: int, digest: str) -> dict:
    """What the manifest says of a file."""
    return {"file": Path(path).name, "bytes": size, "sha256": digest}


def file_record(path: str | Path) -> dict:
    """The record of a file that lies there."""
    return record(path, Path(path).stat().st_size, sha256(path))


def contents_of(folder: Path, most: int = 12) -> str:
    """What a folder holds, in words, for the message that something was not found in it."""
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    if not names:
        return "it is empty"
    return f"it holds {', '.join(names[:most])}" + f" and {len(names) - most} more" * (
        len(names) > most
    )


def raw_folder(path: str | Path) -> Path:
    """The folder of a raw download; RawError if it is none."""
    folder = Path(path)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise RawError(f"--raw {folder} {what}; it must name the folder of the download's files")
    return folder


def find(folder: Path, name: str) -> Path:
    """Path of the file `name` in a raw folder, also packed as `name`.zip; RawError if absent."""
    for candidate in (name, *(name + packing for packing in PACKINGS)):
        if (folder / candidate).is_file():
            return folder / candidate
    raise RawError(
        f"{folder} has no {name} (nor {name}.zip); {contents_of(folder)}. docs/data.md says where "
        "each file comes from"
    )


def check_header(path: Path, line: bytes, wanted: list[str]) -> None:
    """RawError unless a file's first line (bytes) names the columns wanted."""
    got = line.decode("utf-8-sig", "replace").strip().replace('"', "").split(",")
    if got != wanted:
        raise RawError(
            f"{path} line 1: the header is {','.join(got)[:200]!r}; wanted {','.join(wanted)!r}. "
            "This is another file, or was changed"
        )


class Opened(NamedTuple):
    """A stream, the bytes in it, and a list that holds the file's record when it is closed."""

    stream: BinaryIO
    size: int
    records: list[dict]


@contextmanager
def reading(
    path: str | Path, wanted: Callable[[str], bool] = lambda name: True
) -> Iterator[Opened]:
    """Open a plain file or the one member of a zip; wanted: tells the member by its name."""
    records = []
    if Path(path).suffix.lower() == ".zip":
        with damage_named(path), zipfile.ZipFile(path) as archive:
            member = the_member(path, archive, wanted)
            with archive.open(member) as stream:
                yield Opened(stream, member.file_size, records)
        records.append(file_record(path))
        return
    with HashedFile([path]) as file:
        yield Opened(io.BufferedReader(file, BLOCK), Path(path).stat().st_size, records)
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
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise RawError(
            f"{path} is damaged or incomplete ({error}); compare its size with docs/data.md and "
            "download it again"
        ) from error
    except NotImplementedError as error:
        raise RawError(f"{path}: {error}; unpack it yourself, unpacked files are read") from error


def shown_blocks(stream: BinaryIO, size: int | None, path: str | Path) -> Iterator[bytes]:
    """The stream's blocks of whole lines, with progress; size: its bytes, None if unknown."""
    total = None if size is None else -(-size // BLOCK)
    return progress(blocks(stream, path), Path(path).name, total)
