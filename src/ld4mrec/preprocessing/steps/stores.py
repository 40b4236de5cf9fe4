"""Arrays on disk under the hash of what they were made from, in LMDB.

A store is a folder with one LMDB environment. It holds any number of spaces; a space is what one
maker (an encoder of one revision with one preprocessing) made, arrays of one dtype and shape:

    space record:  b"space:" + id  ->  JSON: description, dtype, shape, format, first made with
    array:         id + content    ->  the array's raw bytes, C order, little-endian

id is the first 16 bytes of the SHA-256 of the description, content a SHA-256 of 32 bytes. A write
is one transaction, on the disk when it returns: a process killed at any moment leaves all of it or
nothing. Several processes may use a store at once, on a local disk (LMDB's locks need one).
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike

from ld4mrec.errors import UserError
from ld4mrec.preprocessing.steps.encoders.base import needed

T = TypeVar("T")
FORMAT = 1
FIRST_MAP = 64 * 2**20  # bytes; grows when full
LARGEST_STEP = 8 * 2**30


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
            size = max(map_size, held.stat().st_size if held.exists() else 0)
            self._env = self._lmdb.open(str(self.folder), map_size=size)
            self._env.reader_check()  # frees the places of readers that were killed

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
        """action(transaction), all of it or nothing, whatever the map's size; returns its value."""
        while True:
            try:
                with self._explained(), self._env.begin(write=write) as transaction:
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


class Space:
    """The arrays of one maker in a store. `keys` below are bytes, SHA-256 digests of content."""

    def __init__(self, store, description, shape, dtype, made_with):
        self._store = store
        self.shape, self.dtype = shape, dtype
        form = {"dtype": dtype.str, "shape": list(shape), "format": FORMAT}
        identity = {"description": description, **form}
        text = json.dumps(identity, sort_keys=True, ensure_ascii=True)
        self.id = hashlib.sha256(text.encode()).digest()[:16]
        self._record = json.dumps({**identity, "first made with": made_with}).encode()

    def absent(self, keys: Sequence[bytes]) -> list[bytes]:
        """Those of `keys` that have no array, in the same order."""

        def look(transaction):
            cursor = transaction.cursor()
            return [key for key in keys if not cursor.set_key(self.id + key)]

        return self._store.transact(look)

    def read(self, keys: Sequence[bytes]) -> np.ndarray:
        """The arrays of `keys`, (n, *shape). Raises KeyError if one is absent."""
        rows = np.empty((len(keys), *self.shape), dtype=self.dtype)

        def copy(transaction):
            for row, key in enumerate(keys):
                value = transaction.get(self.id + key)
                if value is None:
                    raise KeyError(key.hex())
                if len(value) != rows[row].nbytes:
                    raise StoreError(
                        f"{self._store.folder} holds {len(value)} bytes under {key.hex()}, wanted "
                        f"{rows[row].nbytes}; remove the folder, it only saves work"
                    )
                rows[row] = np.frombuffer(value, dtype=self.dtype).reshape(self.shape)

        self._store.transact(copy)
        return rows

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

        self._store.transact(put, write=True)

    def record(self) -> dict | None:
        """The space's record as stored, or None before the first write."""
        text = self._store.transact(lambda transaction: transaction.get(b"space:" + self.id))
        return None if text is None else json.loads(text)


def content_key(content: bytes | str) -> bytes:
    """The key of bytes or of a text: the SHA-256 digest."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).digest()
