"""Interactions as arrays of integer codes: distinct ones, samples of users, the k-core."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ld4mrec.data.counts import Counts
from ld4mrec.errors import UserError

SLICE = 1 << 21  # rows that are sorted at once: bounds what sorting takes beside the rows
LARGEST_TABLE = 1 << 27  # id numbers below it are looked up in a table, others are sorted
TOLERANCE = 0.01  # of the users that --target-users asks for


@dataclass(frozen=True)
class Ids:
    """Original ids of the codes 0, 1, 2, ...: numbers, bytes of one width, or any texts.

    values: (n,) int64, S bytes, or objects (str). A number n is written as `prefix` and n, filled
    with zeros to `digits`. keys: (n,) uint64 that a sample ranks users by, for numbers the numbers.
    """

    values: np.ndarray
    prefix: str = ""
    digits: int = 0
    text_keys: np.ndarray | None = None

    @property
    def keys(self) -> np.ndarray:
        return self.values.astype(np.uint64) if self.text_keys is None else self.text_keys

    def __len__(self) -> int:
        return len(self.values)

    def take(self, codes: np.ndarray) -> "Ids":
        """The ids of some codes, which become 0, 1, 2, ..."""
        keys = None if self.text_keys is None else self.text_keys[codes]
        return Ids(self.values[codes], self.prefix, self.digits, keys)

    def texts(self) -> list[str]:
        """The ids as the raw files write them."""
        if self.values.dtype.kind == "O":
            return self.values.tolist()
        if self.values.dtype.kind == "S":
            return np.char.decode(self.values, "ascii").tolist()
        digits = np.char.zfill(self.values.astype(str), self.digits)
        return np.char.add(self.prefix, digits).tolist()


def ids_of(texts: list[str]) -> Ids:
    """Ids of distinct texts. Where all are whole numbers as one writes them they sort by size."""
    series = pd.Series(texts, dtype=object)
    if len(texts) and series.str.fullmatch("0|[1-9][0-9]{0,17}").all():
        return Ids(series.astype(np.int64).to_numpy())
    values = np.empty(len(texts), dtype=object)
    values[:] = texts
    return Ids(values, text_keys=pd.util.hash_array(values, categorize=False))


@dataclass(frozen=True)
class Interactions:
    """users, items: (N,) codes into user_ids and item_ids; times: (N,) in the data set's unit.

    labels: (N,) int8 of a split that the source gives, as in data.splits; None where it gives none.
    """

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray
    user_ids: Ids
    item_ids: Ids
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: np.ndarray) -> "Interactions":
        """The rows of a mask or index; the ids keep their codes."""
        columns = self.users[rows], self.items[rows], self.times[rows]
        labels = None if self.labels is None else self.labels[rows]
        return Interactions(*columns, self.user_ids, self.item_ids, labels)

    def counts(self) -> Counts:
        """Users, items and interactions that occur."""
        columns = (self.users, self.user_ids), (self.items, self.item_ids)
        n = (int(np.count_nonzero(counted(codes, len(ids)))) for codes, ids in columns)
        return Counts(*n, len(self))

    def renumbered(self) -> "Interactions":
        """Codes without gaps in the order of the original ids; ids without rows are dropped."""
        users, user_ids = renumber(self.users, self.user_ids)
        items, item_ids = renumber(self.items, self.item_ids)
        return Interactions(users, items, self.times, user_ids, item_ids, self.labels)


def counted(codes: np.ndarray, n: int) -> np.ndarray:
    """(n,) rows per code, as numpy.bincount; in slices, for numpy makes 8 bytes of each code."""
    counts = np.zeros(n, dtype=np.int64)
    for start in range(0, len(codes), SLICE):
        counts += np.bincount(codes[start : start + SLICE], minlength=n)
    return counts


def looked_up(table: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """table[codes], in slices for the same reason."""
    values = np.empty(len(codes), dtype=table.dtype)
    for start in range(0, len(codes), SLICE):
        values[start : start + SLICE] = table[codes[start : start + SLICE]]
    return values


def renumber(codes: np.ndarray, ids: Ids) -> tuple[np.ndarray, Ids]:
    """Codes without gaps in the order of the ids, and the ids that occur."""
    used = np.flatnonzero(counted(codes, len(ids)))
    used = used[np.argsort(ids.values[used], kind="stable")]
    place = np.empty(len(ids), dtype=np.int32)
    place[used] = np.arange(len(used), dtype=np.int32)
    return looked_up(place, codes), ids.take(used)


def coded(
    users: np.ndarray, items: np.ndarray, times: np.ndarray, user_prefix: str = ""
) -> Interactions:
    """Interactions of id numbers (N,), which become codes in ascending order."""
    users, user_numbers = compressed(users)
    items, item_numbers = compressed(items)
    return Interactions(users, items, times, Ids(user_numbers, user_prefix), Ids(item_numbers))


def compressed(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) int32 codes of numbers, none negative, and the (n,) int64 numbers they stand for."""
    if len(values) and values.max() < LARGEST_TABLE:
        present = np.zeros(int(values.max()) + 1, dtype=bool)
        for start in range(0, len(values), SLICE):
            present[values[start : start + SLICE]] = True
        code = np.cumsum(present, dtype=np.int32) - 1
        return looked_up(code, values), np.flatnonzero(present)
    distinct, codes = np.unique(values, return_inverse=True)
    return codes.astype(np.int32), distinct.astype(np.int64)


def earliest(
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct (user, item) pairs with their earliest time, sorted by user, then item.

    parts: list of (users, items, times), integer arrays (n,) each, none negative; it is emptied.
    Returns three arrays of the same types. The rows are sorted in slices of users, and the parts
    freed before the slices are joined: beside rows and result little memory is needed.
    """
    parts[:] = [part for part in parts if len(part[0])] or parts[:1]
    n_rows = sum(len(users) for users, _, _ in parts)
    n_slices = -(-n_rows // SLICE)
    some = np.concatenate([users[:: max(1, n_rows // 100_000)] for users, _, _ in parts])
    inner = np.linspace(0, 1, n_slices + 1)[1:-1]
    bounds = np.unique(np.quantile(some, inner, method="lower")) if n_slices > 1 else []
    done, low = [], -1
    for high in [*bounds, np.inf]:
        rows = [np.flatnonzero((users > low) & (users <= high)) for users, _, _ in parts]
        columns = (
            np.concatenate([part[place][chosen] for part, chosen in zip(parts, rows, strict=True)])
            for place in range(3)
        )
        done.append(list(_earliest(*columns)))
        low = high
    parts.clear()
    return tuple(np.concatenate([part.pop(0) for part in done]) for _ in range(3))


def _earliest(users, items, times):
    if not len(users):
        return users, items, times
    columns = users, items, times
    lows = [int(column.min()) for column in columns]
    bits = [int(column.max() - low).bit_length() for column, low in zip(columns, lows, strict=True)]
    pair = (users.astype(np.int64) - lows[0]) << bits[1]
    pair |= items - np.int64(lows[1])
    if sum(bits) > 63:
        order = np.lexsort((times, pair))
        order = order[np.diff(pair[order], prepend=-1) != 0]
        return users[order], items[order], times[order]
    packed = pair  # one number per row, sorted in place: much faster
    packed <<= bits[2]
    packed |= times - np.int64(lows[2])
    packed.sort()
    pair = packed >> bits[2]
    first = np.append(True, pair[1:] != pair[:-1])
    pair, packed = pair[first], packed[first]
    return (
        ((pair >> bits[1]) + lows[0]).astype(users.dtype),
        ((pair & ((1 << bits[1]) - 1)) + lows[1]).astype(items.dtype),
        ((packed & ((1 << bits[2]) - 1)) + lows[2]).astype(times.dtype),
    )


def user_order(keys: np.ndarray, seed: int) -> np.ndarray:
    """(n,) uint64 places of users in a seeded random order, from their keys alone.

    SplitMix64 (Steele et al., OOPSLA 2014), a bijection: different keys never share a place. So
    the first n users are the same whatever the order of the rows, and samples are nested.
    """
    offset = ((seed + 1) * 0x9E3779B97F4A7C15) % 2**64
    z = keys + np.uint64(offset)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def places(interactions: Interactions, seed: int) -> np.ndarray:
    """(users,) rank of each user with rows in the seeded order; users without rows come last."""
    order = user_order(interactions.user_ids.keys, seed)
    present = counted(interactions.users, len(order)) > 0
    place = np.empty(len(order), dtype=np.int64)
    place[np.lexsort((order, ~present))] = np.arange(len(order))
    return place


def sample_users(interactions: Interactions, n: int, seed: int) -> Interactions:
    """The rows of n users: the first in the seeded order. UserError if there are fewer."""
    there = interactions.counts().users
    if n > there:
        raise UserError(f"--users {n}: the data has {there} users at this step; ask for fewer")
    return of_the_first(interactions, places(interactions, seed), n)


def of_the_first(interactions: Interactions, place: np.ndarray, n: int) -> Interactions:
    """The rows of the users whose place is below n."""
    return interactions.take(looked_up(place < n, interactions.users))


def k_core(interactions: Interactions, k: int) -> tuple[Interactions, list[Counts]]:
    """The largest part in which every user and every item has at least k interactions.

    Returns it and the Counts before each round; the last is the result. In a round all users and
    items below k go at once; rounds repeat until nothing changes.
    """
    users, items, times = interactions.users, interactions.items, interactions.times
    ids, labels = (interactions.user_ids, interactions.item_ids), interactions.labels
    per_user, per_item = counted(users, len(ids[0])), counted(items, len(ids[1]))
    rounds = []
    while True:
        present = np.count_nonzero(per_user), np.count_nonzero(per_item)
        rounds.append(Counts(*map(int, present), len(users)))
        stays = looked_up(per_user >= k, users) & looked_up(per_item >= k, items)
        if stays.all():
            return Interactions(users, items, times, *ids, labels), rounds
        per_user -= counted(users[~stays], len(per_user))
        per_item -= counted(items[~stays], len(per_item))
        users = users[stays]  # one by one: an old column is freed before the next is copied
        items = items[stays]
        times = times[stays]
        labels = None if labels is None else labels[stays]


def sample_for_core(
    interactions: Interactions, k: int, target: int, seed: int
) -> tuple[Interactions, int]:
    """The seeded sample of users whose k-core has `target` users, within TOLERANCE.

    Returns the sample's rows and its number of users. Samples are nested, so the core grows with
    the sample: bisection finds the smallest sample whose core has at least `target` users, looking
    only at the rows in the core of the smallest so far that is large enough. UserError where
    neither it nor the next smaller sample is within the tolerance.
    """
    place = places(interactions, seed)
    n_users = interactions.counts().users

    def core_of(rows, size):
        core, rounds = k_core(of_the_first(rows, place, size), k)
        return core, rounds[-1].users

    low, high = 0, min(target, n_users)
    core, found = core_of(interactions, high)
    while found < target and high < n_users:
        low, high = high, min(2 * high, n_users)
        core, found = core_of(interactions, high)
    while found >= target and high - low > 1:
        middle = (low + high) // 2
        smaller, size = core_of(core, middle)
        if size >= target:
            high, core, found = middle, smaller, size
        else:
            low = middle
    sizes = {high: found}
    if high > 1:
        sizes[high - 1] = core_of(core, high - 1)[1]
    best = min(sizes, key=lambda size: abs(sizes[size] - target))
    if abs(sizes[best] - target) > TOLERANCE * target:
        tried = " and ".join(f"{core} users out of a sample of {n}" for n, core in sizes.items())
        raise UserError(
            f"no sample of users has a {k}-core of {target} users within {TOLERANCE:.0%}: the "
            f"nearest are {tried}; ask for another number, or use --users"
        )
    return of_the_first(interactions, place, best), best
