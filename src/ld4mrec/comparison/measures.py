"""What accuracy does not show: coverage, novelty, popularity, diversity; and accuracy by group.

topk: (n, K) item ids, the list of each user, best first, -1 behind the last of a shorter one.
users: (n,) whose lists they are. train, truth: sparse (U, I), training and test pairs; repeated
pairs count once. Raises ValueError for lists with ids out of range or an item twice, if all are
empty, and for users that are not one for each list. Nothing loops over users or items; no (I, I)
matrix is made.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from common.graph import binary_csr
from ld4mrec.data.batches import PairSet
from ld4mrec.evaluation import metrics

Matrix = sp.spmatrix  # (U, I)
BLOCK_ENTRIES = 2**24  # feature values held at a time: 128 MiB in float64


def beyond_accuracy(
    topk: np.ndarray, users: ArrayLike, train: Matrix, features: Mapping[str, np.ndarray]
) -> dict[str, float | None]:
    """{name: value} of every measure here that needs no test split; None where undefined.

    features: {modality: (I, F)}; each has a 'diversity_<modality>'.
    """
    n_items = train.shape[1]
    popularity = popularity_lift(topk, users, train)
    return {
        "coverage": coverage(topk, n_items),
        "gini": gini(topk, n_items),
        "novelty": novelty(topk, train),
        "popularity": popularity.recommended,
        "popularity_history": popularity.history,
        "popularity_lift": popularity.lift,
        "personalisation": personalisation(topk, n_items),
    } | {
        f"diversity_{modality}": intra_list_diversity(topk, table)
        for modality, table in features.items()
    }


def coverage(topk: np.ndarray, n_items: int) -> float:
    """Catalogue coverage@K: the share of all items that are listed; Ge et al., RecSys 2010."""
    return float((_exposure(topk, n_items) > 0).mean())


def gini(topk: np.ndarray, n_items: int) -> float:
    """Gini index@K of how often each of all I items is listed, items in no list included.

    sum_j (2j - I - 1) p_(j) / (I - 1), p_(j) the j-th smallest share: 0 if all are listed equally
    often, 1 if one takes all places; Shani & Gunawardana, Recommender Systems Handbook 2011.
    """
    exposure = np.sort(_exposure(topk, n_items))
    share = exposure / exposure.sum()
    weight = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float((weight * share).sum() / max(n_items - 1, 1))


def novelty(topk: np.ndarray, train: Matrix) -> float:
    """Mean self-information@K: the mean of -log2(users of the item / U) over all places.

    Zhou et al., PNAS 2010. An item without training rows counts as if it had one, log2 U.
    """
    n_users, n_items = train.shape
    information = np.log2(n_users / np.maximum(item_counts(train), 1))  # (I,), bits
    topk = _lists(topk, n_items)
    return float(information[topk[topk >= 0]].mean())


class Popularity(NamedTuple):
    """Mean popularity of lists and of histories, and lift = recommended / history - 1."""

    recommended: float
    history: float
    lift: float


def popularity_lift(topk: np.ndarray, users: ArrayLike, train: Matrix) -> Popularity:
    """Group average popularity of the lists and of the same users' training items.

    An item's popularity is its number of training users; each user counts once (GAP and Delta GAP
    of Abdollahpouri et al., RMSE workshop at RecSys 2019). Users without training items, or without
    a list, are left out of all three. Raises ValueError if nobody has any.
    """
    topk, counts = _lists(topk, train.shape[1]), item_counts(train)
    histories = binary_csr(train.copy())[_users(users, topk)]  # (n, I)
    length, listed = np.diff(histories.indptr), topk >= 0
    kept = (length > 0) & listed[:, 0]
    if not kept.any():
        raise ValueError("popularity_lift needs training items of some user, got none")
    of_places = np.where(listed, counts[topk], 0)[kept]
    recommended = (of_places.sum(axis=1) / listed[kept].sum(axis=1)).mean()
    history = ((histories @ counts)[kept] / length[kept]).mean()
    return Popularity(float(recommended), float(history), float(recommended / history - 1))


def personalisation(topk: np.ndarray, n_items: int) -> float | None:
    """1 - the mean share of items that two users' lists have in common; None for a single list.

    Zhou et al., PNAS 2010. An item in c lists is common to c (c - 1) ordered pairs. The share is of
    K places, also where a list is shorter.
    """
    exposure, (n, k) = _exposure(topk, n_items), topk.shape
    return float(1 - (exposure * (exposure - 1)).sum() / (n * (n - 1) * k)) if n > 1 else None


def intra_list_diversity(topk: np.ndarray, features: np.ndarray) -> float | None:
    """Mean over lists of 1 - mean pairwise cosine, in [0, 2]; features: (I, F).

    Ziegler et al., WWW 2005. Items without features (zero rows) are left out of their lists, lists
    with fewer than two others out of the mean, which is None if no list is left. Of m unit vectors
    u the cosines of all pairs add up to |sum u|^2 - m: no pairs are made.
    """
    features = np.asarray(features)
    n_items, width = features.shape
    topk = _lists(topk, n_items)
    length = np.sqrt(np.einsum("if,if->i", features, features, dtype=np.float64))  # (I,)
    scale = np.divide(1, length, where=length > 0, out=np.zeros(n_items))
    n, listed = len(topk), topk >= 0
    start = np.concatenate([[0], listed.sum(axis=1).cumsum()])
    items = topk[listed]
    lists = sp.csr_matrix((scale[items], items, start), shape=(n, n_items))
    squared = np.zeros(n)  # |sum u|^2
    block = max(1, BLOCK_ENTRIES // (n + n_items))
    for first in range(0, width, block):
        squared += np.square(lists @ features[:, first : first + block].astype(np.float64)).sum(1)
    m = ((length > 0)[topk] & listed).sum(axis=1)  # (n,) items with features
    several = m > 1
    if not several.any():
        return None
    squared, m = squared[several], m[several]
    return float((1 - (squared - m) / (m * (m - 1))).mean())


class Band(NamedTuple):
    """Recall within a band of users or items with `low` to `high` training rows.

    high: None for no end. size: evaluated users, or items of the catalogue, in the band. targets:
    test pairs in it. recall: None for an empty band.
    """

    low: int
    high: int | None
    size: int
    targets: int
    recall: float | None

    @property
    def label(self) -> str:
        """'3-9', '≤ 2' or '≥ 10'."""
        if self.high is None:
            return f"≥ {self.low}"
        if self.low == self.high:
            return str(self.low)
        return f"{self.low}-{self.high}" if self.low else f"≤ {self.high}"


def user_bands(topk: np.ndarray, users: ArrayLike, truth: Matrix, train: Matrix) -> list[Band]:
    """Recall@K by the user's number of training items, a Band for each quartile of the users given.

    Means over the band's users; weighted by `size` they give the overall mean. Raises ValueError
    for a user without test items.
    """
    activity = np.diff(binary_csr(train.copy()).indptr)[_users(users, topk)]  # (n,)
    hits, targets = _hits(topk, users, truth)
    if not targets.all():
        raise ValueError(f"user {users[np.argmin(targets)]} has no test items to be found")
    ends = quantile_ends(activity)
    band, n_bands = np.searchsorted(ends, activity), len(ends) + 1
    size = np.bincount(band, minlength=n_bands)
    recall = np.bincount(band, metrics.recall(hits, targets)[:, -1], n_bands)
    return _bands(ends, size, np.bincount(band, targets, n_bands), recall, size)


def item_bands(topk: np.ndarray, users: ArrayLike, truth: Matrix, train: Matrix) -> list[Band]:
    """Recall@K by the target's number of training users, a Band for the cold items, never seen in
    training, and for each quartile over training rows.

    Hits over targets in the band, so each target counts once, not each user; weighted by `targets`
    they give the overall hits over targets (Recall2).
    """
    counts = item_counts(train)
    ends = np.union1d([0], quantile_ends(np.repeat(counts, counts)))
    band, n_bands = np.searchsorted(ends, counts), len(ends) + 1  # (I,) band of each item
    hits, _ = _hits(topk, users, truth)
    found = np.bincount(band[topk[hits]], minlength=n_bands)
    targets = np.bincount(band[binary_csr(truth.copy())[users].indices], minlength=n_bands)
    return _bands(ends, np.bincount(band, minlength=n_bands), targets, found, targets)


def quantile_ends(counts: np.ndarray, parts: int = 4) -> np.ndarray:
    """Last counts of at most `parts` bands with about equally many of the counts, none empty."""
    if not len(counts):
        return np.array([], dtype=np.int64)
    ends = np.quantile(counts, np.arange(1, parts) / parts, method="inverted_cdf")
    return np.unique(ends[ends < np.max(counts)]).astype(np.int64)


def item_counts(train: Matrix) -> np.ndarray:
    """Popularity: how many users each item has in training, (I,)."""
    return np.bincount(binary_csr(train.copy()).indices, minlength=train.shape[1])


def _lists(topk: np.ndarray, n_items: int) -> np.ndarray:
    """topk, checked."""
    if topk.ndim != 2 or not topk.size:
        raise ValueError(f"lists must be an (n, K) array with n, K > 0, got shape {topk.shape}")
    ordered = np.sort(topk, axis=1)
    low, high = ordered[:, 0].min(), ordered[:, -1].max()
    if low < -1 or high >= n_items:
        wrong = low if low < -1 else high
        raise ValueError(f"lists must hold item ids from 0 to {n_items - 1}, got {wrong}")
    if high < 0:
        raise ValueError("lists must hold some item, all are empty")
    if low < 0 and ((topk[:, :-1] < 0) & (topk[:, 1:] >= 0)).any():
        raise ValueError("lists must end where they have no item, got an item behind -1")
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1)
    if twice.any():
        raise ValueError(f"list {np.argmax(twice)} names an item twice")
    return topk


def _users(users: ArrayLike, topk: np.ndarray) -> np.ndarray:
    users = np.asarray(users, dtype=np.int64)
    if users.shape != topk.shape[:1]:
        raise ValueError(f"lists of shape {topk.shape} want (n,) users, got shape {users.shape}")
    return users


def _exposure(topk: np.ndarray, n_items: int) -> np.ndarray:
    """(I,) in how many lists each item stands."""
    topk = _lists(topk, n_items)
    return np.bincount(topk[topk >= 0], minlength=n_items)


def _hits(topk: np.ndarray, users: ArrayLike, truth: Matrix) -> tuple[np.ndarray, np.ndarray]:
    """(n, K) booleans, is the place a test item of its user, and (n,) how many the user has."""
    pairs = binary_csr(truth.copy()).tocoo()
    known = PairSet(pairs.row.astype(np.int64), pairs.col.astype(np.int64), truth.shape[1])
    users = _users(users, topk)
    targets = np.bincount(pairs.row, minlength=truth.shape[0])[users]
    topk = _lists(topk, truth.shape[1])
    return known.contains(users[:, None], topk) & (topk >= 0), targets


def _bands(ends, size, targets, parts, wholes):
    """ends: the last count of each band but the open one. Recall is parts / wholes."""
    with np.errstate(invalid="ignore"):
        recall = np.where(wholes > 0, parts / wholes, None).tolist()
    lows, highs = [0, *(ends + 1).tolist()], [*ends.tolist(), None]
    rows = zip(lows, highs, size.tolist(), targets.astype(np.int64).tolist(), recall, strict=True)
    return [Band(*row) for row in rows]
