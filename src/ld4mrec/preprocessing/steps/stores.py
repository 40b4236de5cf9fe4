"""Arrays on disk under the hash of what they were made from, in LMDB.

A store is a folder with one LMDB environment. It holds any number of spaces; a space is what one
maker (an encoder of one revision with one preprocessing) made, arrays of one dtype and shape:

    space record:  b"space:" + id  ->  JSON: description, dtype, shape, format, first made with
    array:         id + content    ->  the array's raw bytes, C order, little-endian
    checksum:      b"sum:" + id + content  ->  8 bytes of BLAKE2b over key and bytes of the array

id is the first 16 bytes of the SHA-256 of the description, content a SHA-256 of 32 bytes. A write
is one transaction, on the disk when it returns: a process killed at any moment leaves all of it or
nothing. Several processes may use a store at once, on a local disk (LMDB's locks need one). They
write in turn, under a lock of ours: LMDB's own waits without a word, and is deaf to Ctrl-C.

Arrays are verified when they are read; a damaged one is absent, and so made anew. LMDB itself takes
its file as it is, and a damaged one can end the process, so another process walks through it first.
Arrays without a checksum are of before there were any.
"""

import hashlib
import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

import filelock
import numpy as np
from numpy.typing import DTypeLike

from ld4mrec import files
from ld4mrec.errors import UserError
from ld4mrec.preprocessing.steps.encoders.base import needed

T = TypeVar("T")
FORMAT = 1
FIRST_MAP = 64 * 2**20  # bytes; grows when full
LARGEST_STEP = 8 * 2**30
WALK_SECONDS = 600
PATIENCE = 2  # seconds of waiting for another writer without a word; a write is shorter
# What a new interpreter does with a store's folder; it ends with an error, or worse, at damage.
WALK = """
import os, sys
import lmdb
folder = sys.argv[1]
with lmdb.open(folder, readonly=True) as env:
    wanted = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    size = os.path.getsize(os.path.join(folder, "data.mdb"))
    if wanted > size:
        sys.exit("it is cut short")
    main = env.open_db()
    with env.begin(buffers=True) as transaction:
        last, entries = b"", 0
        for key, value in transaction.cursor():
            key, entries = bytes(key), entries + 1
            if key <= last or len(value) > size:
                sys.exit("its entries are out of order")
            last = key
        if entries != transaction.stat(main)["entries"]:
            sys.exit("entries are gone")
"""

logger = logging.getLogger(__name__)


class StoreError(UserError):
    """A store that cannot be opened, read or written."""


class ArrayStore(AbstractContextManager):
    """An LMDB environment in `folder`, made when absent.

    A process may open a folder once at a time. StoreError if it cannot be opened.
    """

    def __init__(self, folder: str | Path, map_size: int = FIRST_MAP):
        self._lmdb = needed("lmdb", "the store of encoded features", "preprocessing")
        self.folder = Path(folder)
        with self._explained():
            self.folder.mkdir(parents=True, exist_ok=True)
            held = self.folder / "data.mdb"
            if held.exists() and held.stat().st_size:
                _walk(self.folder)
            size = max(map_size, held.stat().st_size if held.exists() else 0)
            self._env = self._lmdb.open(str(self.folder), map_size=size)
            self._env.reader_check()  # frees the places of readers that were killed
        self._writer = filelock.FileLock(self.folder / "writer.lock")
        self._waited = False  # said once

    def __exit__(self, *_):
        self._env.close()

    def space(
        self, description: object, shape: Sequence[int], dtype: DTypeLike, made_with: object = None
    ) -> "Space":
        """The Space of what `description`, a JSON value, describes.

        made_with: JSON value kept for information from the first use, no part of the identity.
        """
        return Space(self, description, tuple(shape), np.dtype(dtype).newbyteorder("<"), made_with)

    def transact(self, action: Callable[[object], T], write: bool = False) -> T:
        """action(transaction), all of it or nothing, whatever the map's size; returns its value.

        Another process that writes is waited for, and named where that takes long.
        """
        with self._turn() if write else nullcontext():
            return self._transact(action, write)

    @contextmanager
    def _turn(self):
        """The block is the only writer."""
        with self._explained():
            try:
                self._writer.acquire(timeout=PATIENCE)
            except filelock.Timeout:
                if not self._waited:
                    logger.warning(
                        "%s writes into the store %s; waiting for it",
                        *(files.holder(self._writer.lock_file), self.folder),
                    )
                self._waited = True
                self._writer.acquire()
        try:
            yield
        finally:
            self._writer.release()

    def _transact(self, action, write):
        while True:
            try:
                with self._explained(), self._env.begin(write=write, buffers=True) as transaction:
                    return action(transaction)
            except self._lmdb.MapFullError:
                size = self._env.info()["map_size"]
                with self._explained():
                    self._env.set_mapsize(size + min(size, LARGEST_STEP))
            except self._lmdb.MapResizedError:  # another process has made it larger
                with self._explained():
                    self._env.set_mapsize(0)

    @contextmanager
    def _explained(self):
        lmdb = self._lmdb
        try:
            yield
        except (lmdb.MapFullError, lmdb.MapResizedError):
            raise
        except (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError) as error:
            raise StoreError(
                f"{self.folder} is not a readable store ({error}); it only saves work, so remove "
                "the folder, or name another one with --store"
            ) from error
        except (lmdb.Error, OSError) as error:
            raise StoreError(
                f"the store {self.folder} cannot be used ({error}); is the disk full or the "
                "folder read-only? Name another one with --store. What is stored stays valid"
            ) from error


def _walk(folder: Path) -> None:
    """StoreError unless the structure of a store's file is whole."""
    command = [sys.executable, "-P", "-c", WALK, str(folder)]
    quiet = os.environ | {"PYTHONFAULTHANDLER": ""}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=WALK_SECONDS, env=quiet
        )
    except subprocess.TimeoutExpired:
        return  # a very large one: it is verified array by array
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or [f"signal {-done.returncode}"]
        raise StoreError(
            f"{folder / 'data.mdb'} is not a readable store ({why[0]}); it only saves work, so "
            f"remove the folder {folder}, or name another one with --store"
        )


class Space:
    """The arrays of one maker in a store. `keys` below are bytes, SHA-256 digests of content."""

    def __init__(self, store, description, shape, dtype, made_with):
        self._store = store
        self.shape, self.dtype = shape, dtype
        self._bytes = dtype.itemsize * math.prod(shape)
        form = {"dtype": dtype.str, "shape": list(shape), "format": FORMAT}
        identity = {"description": description, **form}
        text = json.dumps(identity, sort_keys=True, ensure_ascii=True)
        self.id = hashlib.sha256(text.encode()).digest()[:16]
        self._record = json.dumps({**identity, "first made with": made_with}).encode()

    def absent(self, keys: Sequence[bytes]) -> list[bytes]:
        """Those of `keys` that have no array, or a damaged one, in the same order."""
        damaged = []

        def look(transaction):
            damaged.clear()
            lacking = []
            for key in keys:
                value = transaction.get(self.id + key)
                whole = value is not None and self._is_whole(transaction, key, value)
                if not whole:
                    lacking.append(key)
                    damaged.extend([key] * (value is not None))
            return lacking

        lacking = self._store.transact(look)
        if damaged:
            logger.warning(
                "%s: %d stored arrays are damaged and made anew (the first: %s)",
                *(self._store.folder, len(damaged), damaged[0].hex()[:16]),
            )
        return lacking

    def read(self, keys: Sequence[bytes]) -> np.ndarray:
        """The arrays of `keys`, (n, *shape). Raises StoreError if one is absent or damaged."""
        rows = np.empty((len(keys), *self.shape), dtype=self.dtype)

        def copy(transaction):
            for row, key in enumerate(keys):
                value = transaction.get(self.id + key)
                if value is None or not self._is_whole(transaction, key, value):
                    raise StoreError(
                        f"{self._store.folder} holds {'nothing' if value is None else 'damage'} "
                        f"under {key.hex()}; remove the folder, it only saves work"
                    )
                rows[row] = np.frombuffer(value, dtype=self.dtype).reshape(self.shape)

        self._store.transact(copy)
        return rows

    def _is_whole(self, transaction, key, value):
        """Whether bytes under a key are what was written."""
        if len(value) != self._bytes:
            return False
        held = transaction.get(b"sum:" + self.id + key)
        return held is None or bytes(held) == self._sum_of(key, value)

    def _sum_of(self, key, value):
        digest = hashlib.blake2b(self.id + key, digest_size=8)
        digest.update(value)
        return digest.digest()

    def write(self, keys: Sequence[bytes], rows: Sequence[np.ndarray]) -> None:
        """Store one array per key, in one transaction; what is there is replaced.

        rows: (n, *shape), or n arrays. ValueError for another number, shape or dtype.
        """
        if len(keys) != len(rows):
            raise ValueError(f"{len(keys)} keys for {len(rows)} arrays")
        for row in rows:
            if row.shape != self.shape or row.dtype != self.dtype:
                got = f"{row.dtype} of shape {row.shape}"
                raise ValueError(f"it holds {self.dtype} of shape {self.shape}, got {got}")
        values = [np.ascontiguousarray(row).tobytes() for row in rows]

        def put(transaction):
            transaction.put(b"space:" + self.id, self._record, overwrite=False)
            for key, value in zip(keys, values, strict=True):
                transaction.put(self.id + key, value)
                transaction.put(b"sum:" + self.id + key, self._sum_of(key, value))

        self._store.transact(put, write=True)

    def record(self) -> dict | None:
        """The space's record as stored, None before the first write; StoreError if damaged."""

        def look(transaction):
            text = transaction.get(b"space:" + self.id)
            return None if text is None else bytes(text)

        text = self._store.transact(look)
        try:
            record = None if text is None else json.loads(text)
        except ValueError as error:
            record = error
        if record is None or isinstance(record, dict):
            return record
        raise StoreError(
            f"{self._store.folder} holds a damaged record; remove the folder, it only saves work"
        )


def content_key(content: bytes | str) -> bytes:
    """The key of bytes or of a text: the SHA-256 digest."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).digest()
