"""Rows out of a stream of blocks: ids become codes, repeated pairs fall away on the way."""

import numpy as np
import pandas as pd

from ld4mrec.preprocessing.steps.interactions import Ids, earliest, user_order
from ld4mrec.preprocessing.steps.raw import RawError


class Codes:
    """Codes for 64-bit keys that come in blocks, numbered in the order they are first seen."""

    def __init__(self):
        self.known = np.empty(0, dtype=np.uint64)  # keys, ascending
        self.code_of_known = np.empty(0, dtype=np.int32)

    def __len__(self) -> int:
        return len(self.known)

    def __call__(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) int32 codes of (n,) uint64 keys, and the rows (m,) where new codes are first seen,
        in the codes' order.
        """
        place, distinct = pd.factorize(keys)
        order = np.argsort(distinct)
        ascending = distinct[order]
        at = np.searchsorted(self.known, ascending)
        is_new = np.ones(len(at), dtype=bool)
        inside = at < len(self.known)
        is_new[inside] = self.known[at[inside]] != ascending[inside]

        codes = np.empty(len(at), dtype=np.int32)
        codes[~is_new] = self.code_of_known[at[~is_new]]
        # factorize numbers keys as rows show them, so new codes do not hang on the block's size
        new = np.sort(order[is_new])
        codes[is_new] = len(self) + np.searchsorted(new, order[is_new])
        self.known = np.insert(self.known, at[is_new], ascending[is_new])
        self.code_of_known = np.insert(self.code_of_known, at[is_new], codes[is_new])
        by_distinct = np.empty(len(at), dtype=np.int32)
        by_distinct[order] = codes
        first_row = np.empty(len(distinct), dtype=np.int64)
        first_row[place[::-1]] = np.arange(len(place) - 1, -1, -1)
        return by_distinct[place], first_row[new]

    def keys(self) -> np.ndarray:
        """(codes,) uint64 key of each code."""
        keys = np.empty_like(self.known)
        keys[self.code_of_known] = self.known
        return keys


class NumberCodes(Codes):
    """Codes for id numbers."""

    def __call__(self, numbers: np.ndarray) -> np.ndarray:
        """(n,) int32 codes of (n,) int64 numbers, none negative."""
        return super().__call__(numbers.astype(np.uint64))[0]

    def ids(self, digits: int = 0) -> Ids:
        """The numbers as ids, written with at least so many digits."""
        return Ids(self.keys().astype(np.int64), digits=digits)


class TextCodes(Codes):
    """Codes for texts of one width.

    A text is looked up by a 64-bit key, a random linear combination of its 8-byte words, and then
    compared with the text that the key stands for.
    """

    def __init__(self, width: int):
        super().__init__()
        if width % 8:
            raise ValueError(f"TextCodes wants a width in whole 8-byte words, got {width}")
        words = np.random.default_rng(0).integers(0, 2**63, width // 8, dtype=np.uint64)
        self.weights = 2 * words + 1
        self.texts = np.empty((1024, width), dtype=np.uint8)  # row: code; grows by doubling

    def __call__(self, texts: np.ndarray) -> np.ndarray:
        """(n,) int32 codes of (n, width) uint8 texts. RawError if two texts share a key."""
        before = len(self)
        words = texts.view(np.uint64)
        codes, first = super().__call__((words * self.weights).sum(axis=1, dtype=np.uint64))
        while len(self) > len(self.texts):
            self.texts = np.concatenate([self.texts, np.empty_like(self.texts)])
        self.texts[before : len(self)] = texts[first]
        if not np.array_equal(self.texts.view(np.uint64)[codes], words):
            raise RawError("two different ids share a 64-bit key; please report this download")
        return codes

    def ids(self) -> Ids:
        """The texts as ids."""
        texts = np.ascontiguousarray(self.texts[: len(self)])
        return Ids(texts.view(f"S{texts.shape[1]}").ravel(), text_keys=self.keys())


class Collector:
    """Rows (user, item, time) out of a stream: distinct pairs with their earliest time.

    most_users: keep only the rows of that many users, those that come first in the seeded order of
    `user_order`; a user's key is its number. What was added is compacted whenever it has grown to
    MOST_PENDING rows and beyond what is kept, so memory follows the distinct rows, not the added.
    """

    PART = 1 << 20  # rows that are stored together
    MOST_PENDING = 1 << 25  # 400 MB

    def __init__(self, most_users: int | None = None, seed: int = 0):
        self.most_users, self.seed = most_users, seed
        self.limit = None  # place in the seeded order, of the last user that is kept
        self.parts = []  # (users, items, times) each; the first is what the last compacting left
        self.n_kept = self.n_pending = 0
        self.loose, self.n_loose = [], 0

    def add(self, users: np.ndarray, items: np.ndarray, times: np.ndarray) -> None:
        """Integer arrays (n,) each, none negative."""
        if self.limit is not None:
            rows = user_order(users.astype(np.uint64), self.seed) <= self.limit
            users, items, times = users[rows], items[rows], times[rows]
        self.loose.append((users, items, times))
        self.n_loose += len(users)
        if self.n_loose >= self.PART:
            self._store()
        if self.n_pending > max(self.MOST_PENDING, self.n_kept):
            self._compact()

    def _store(self):
        """Move the loose rows into arrays of their own: many small ones would scatter the heap."""
        self.parts.append(tuple(map(np.concatenate, zip(*self.loose, strict=True))))
        self.n_pending += self.n_loose
        self.loose, self.n_loose = [], 0

    def _compact(self):
        if self.most_users is not None:
            self._keep_the_first_users()
        kept = earliest(self.parts)
        self.parts = [kept]
        self.n_kept, self.n_pending = len(kept[0]), 0

    def _keep_the_first_users(self):
        users = pd.unique(np.concatenate([pd.unique(part[0]) for part in self.parts]))
        if len(users) <= self.most_users:
            return
        order = user_order(users.astype(np.uint64), self.seed)
        self.limit = np.partition(order, self.most_users - 1)[self.most_users - 1]
        for place, part in enumerate(self.parts):
            rows = user_order(part[0].astype(np.uint64), self.seed) <= self.limit
            self.parts[place] = tuple(column[rows] for column in part)

    def result(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(users, items, times), distinct pairs, by user and item; the collector is empty then."""
        if self.n_loose or not self.parts:
            self.loose = self.loose or [(np.empty(0, dtype=np.int32),) * 3]
            self._store()
        self._compact()
        return self.parts.pop()
