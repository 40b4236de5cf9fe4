"""Reading and writing files and folders whole or not at all, links, and fingerprints of content."""

import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replacing(path: str | Path, mode: str = "wb") -> Iterator[IO]:
    """Open a temporary file that takes the place of `path` when the block ends without an error.

    The content is on the disk before the rename, so a crash at any moment leaves the old file or
    the new one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    encoding = None if "b" in mode else "utf-8"
    try:
        with os.fdopen(handle, mode, encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's files are private
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def staged(folder: str | Path, replace: bool = False) -> Iterator[Path]:
    """Yield a new folder that takes the place of `folder` when the block ends without an error.

    Whatever goes wrong, `folder` is as it was, and nothing of the new one stays. replace: what is
    in `folder` may go; without it, OSError at the end of the block where `folder` is not empty.
    """
    folder = Path(os.path.abspath(folder))  # a link keeps its own name
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    new, old = work / "new", work / "old"
    try:
        new.mkdir()
        yield new
        if replace and folder.is_dir():
            os.replace(folder, old)  # for a moment there is no `folder`: folders cannot be swapped
        try:
            os.replace(new, folder)
        except OSError:
            if old.is_dir():
                os.replace(old, folder)
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def place(path: str | Path, make: Callable[[Path], object]) -> None:
    """Call `make` with the name of a file to make, and rename that file to `path`: nobody sees half
    of it.
    """
    with tempfile.TemporaryDirectory(prefix=".", dir=Path(path).parent) as folder:
        temporary = Path(folder) / "file"
        make(temporary)
        os.replace(temporary, path)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """A symbolic link `target` to the file `source`, or a copy where links cannot be."""
    try:
        place(target, lambda temporary: os.symlink(source, temporary))
    except (OSError, NotImplementedError):  # a file system or account that has no symbolic links
        place(target, lambda temporary: shutil.copy2(source, temporary))


def write_json(path: str | Path, value: object) -> None:
    """Write a JSON value, indented, whole or not at all."""
    with replacing(path, "w") as file:
        json.dump(value, file, indent=2)
        file.write("\n")


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sha256(path: str | Path) -> str:
    """The same, read once in this process as long as the file keeps its size and time."""
    path = Path(path).resolve()
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


@functools.lru_cache(maxsize=1024)
def _digest(path, *stamp):
    return sha256(path)
