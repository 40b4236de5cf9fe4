"""Reading and writing files and folders whole or not at all, links, and fingerprints of content.

What is being written has a temporary name beside its place, `.name.xxxx.tmp`, and is locked by its
process. What a killed process leaves is locked by nobody, and goes when the same name is written
again.
"""

import contextlib
import fcntl
import functools
import glob
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

NAME = 100  # letters of a name that its temporary one keeps; file systems allow 255


@contextmanager
def replacing(path: str | Path, mode: str = "wb") -> Iterator[IO]:
    """Open a temporary file that takes the place of `path` when the block ends without an error.

    The content is on the disk before the rename, so a crash at any moment leaves the old file or
    the new one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    encoding = None if "b" in mode else "utf-8"
    try:
        with _temporary(path, _new_file) as temporary:
            with open(temporary, mode, encoding=encoding) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # of a write: the disk is full
            error.filename = str(path)
        raise


@contextmanager
def staged(folder: str | Path, replace: bool = False) -> Iterator[Path]:
    """Yield a new folder that takes the place of `folder` when the block ends without an error.

    Whatever goes wrong, `folder` is as it was, and nothing of the new one stays. replace: what is
    in `folder` may go; without it, OSError at the end of the block where `folder` is not empty.
    """
    folder = Path(os.path.abspath(folder))  # a link keeps its own name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(folder, os.mkdir) as work:
        new, old = work / "new", work / OLD
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


OLD = "old"  # in the temporary folder of `staged`: what is being replaced


def tidy(path: str | Path) -> None:
    """Remove what killed processes left of writing `path`, and put back a folder that one of them
    was about to replace. What another process is writing stays, and what cannot be looked at.
    """
    path = Path(os.path.abspath(path))
    left = path.parent.glob(f".{glob.escape(path.name[:NAME])}.????????.tmp")
    for work in left if path.parent.is_dir() else ():
        with contextlib.suppress(OSError):
            handle = _lock(work)
            try:
                if (work / OLD).is_dir() and not path.exists():
                    os.replace(work / OLD, path)
                _remove(work)
            finally:
                os.close(handle)


@contextmanager
def _temporary(path, make):
    """A temporary file or folder beside `path`, made by make(name); it is gone after the block."""
    tidy(path)
    handle = None
    while handle is None:
        temporary = path.with_name(f".{path.name[:NAME]}.{secrets.token_hex(4)}.tmp")
        make(temporary)
        try:
            handle = _lock(temporary)
        except (FileNotFoundError, BlockingIOError):  # being taken for left behind: another one
            continue
        except OSError:  # a file system without locks, where nothing is taken for left behind
            handle = os.open(temporary, os.O_RDONLY)
    try:
        yield temporary
    finally:
        _remove(temporary)
        os.close(handle)


def _lock(path):
    """Handle of a file or folder that is locked until it is closed; BlockingIOError if another
    process holds it, FileNotFoundError if it is gone, OSError where there are no locks.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.stat(path)
    except BaseException:
        os.close(handle)
        raise
    return handle


def holder(path: str | Path) -> str:
    """Who holds a file's lock, in words: `process 1234`, or `another process` where the system does
    not tell (it is no Linux, or the process runs on another machine).
    """
    try:
        stat = os.stat(path)
        place = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()  # 1: FLOCK ADVISORY WRITE <process> <file> 0 EOF
            if "->" not in fields and place in fields and int(fields[4]) > 0:
                return f"process {fields[4]}"
    except (OSError, ValueError, LookupError):
        pass
    return "another process"


def _new_file(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # the umask decides


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def place(path: str | Path, make: Callable[[Path], object]) -> None:
    """Call `make` with the name of a file to make, and rename that file to `path`: nobody sees half
    of it.
    """
    with _temporary(Path(path), os.mkdir) as folder:
        temporary = folder / "file"
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
