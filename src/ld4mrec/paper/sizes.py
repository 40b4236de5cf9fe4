"""Generated data of the sizes of the paper's three data sets, for times and memory.

Exact: the numbers of users, items and interactions; each user and item has at least LEAST; no pair
occurs twice. Beyond LEAST, what a user or an item has is drawn with long-tailed weights: log-normal
for users, a power of the rank for items. Users and items are paired at random and the features are
noise, so there is nothing to learn here: cost only. The split is MMRec's (ld4mrec/data/splits.py):
every user has training rows. Same seed and numpy, same bytes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ld4mrec.data.counts import TABLE_1
from ld4mrec.data.splits import mmrec
from ld4mrec.files import staged

LEAST = 5  # interactions of a user and of an item: data sets of this kind are 5-cores
ACTIVITY_SPREAD = 1.2  # standard deviation of the logarithm of a user's weight
POPULARITY_POWER = 0.8  # an item's weight is its rank to minus this
FEATURES = {"text": 512, "image": 512}  # dimensions


@dataclass(frozen=True)
class Size:
    """How much of what. ValueError for too few interactions, or too many for random pairing."""

    users: int
    items: int
    interactions: int

    def __post_init__(self) -> None:
        users, items, n = self.users, self.items, self.interactions
        low, high = LEAST * max(users, items), users * items // 10
        if not low <= n <= high:
            raise ValueError(
                f"{self} cannot be made: wanted interactions from {LEAST} for each user and item "
                f"to a tenth of all pairs, here {low} to {high}"
            )


SIZES = {name: Size(*counts) for name, counts in TABLE_1.items()}


def pairs(size: Size, seed: int = 0) -> np.ndarray:
    """(N, 2) int64 user and item of each interaction, sorted; no two rows are equal."""
    generator = np.random.default_rng(seed)
    activity = generator.lognormal(0, ACTIVITY_SPREAD, size.users)
    popularity = np.arange(1.0, size.items + 1) ** -POPULARITY_POWER
    users = _owners(size.interactions, activity, size.items, generator)
    items = _owners(size.interactions, popularity, size.users, generator)
    items = _without_repeats(users, generator.permutation(items), generator)
    items = generator.permutation(size.items)[items]  # an id says nothing of popularity
    return np.stack([users, items], axis=1)[np.lexsort((items, users))]


def _owners(n: int, weights: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    """(n,) owners 0, 0, ..., 1, ...: LEAST for each, the others by weight, below `most` / 2."""
    room = most // 2 - LEAST  # an owner of nearly all others could not be paired without repeats
    extra = np.zeros(len(weights), dtype=np.int64)
    while left := n - LEAST * len(weights) - int(extra.sum()):
        open_weights = np.where(extra < room, weights, 0)
        extra += generator.multinomial(left, open_weights / open_weights.sum())
        extra = np.minimum(extra, room)
    return np.repeat(np.arange(len(weights)), LEAST + extra)


def _without_repeats(users, items, generator):
    """The items in another order, such that no (user, item) pair occurs twice.

    In each round the items of the repeats and of as many random rows change places, so that the
    numbers of users and items stay.
    """
    items = items.copy()
    while True:
        keys = users * (items.max() + 1) + items
        order = np.argsort(keys, kind="stable")
        repeats = order[1:][np.diff(keys[order]) == 0]  # all but the first of equal pairs
        if not len(repeats):
            return items
        others = generator.choice(len(keys), len(repeats), replace=False)
        rows = np.union1d(repeats, others)  # each once
        items[rows] = items[generator.permutation(rows)]


def write(
    parent: Path, name: str, size: Size, seed: int = 0, features: dict[str, int] = FEATURES
) -> Path:
    """Write the data folder `<parent>/<name>`, whole or not at all; returns its path.

    features: {modality: dimensions}.
    """
    rows = pairs(size, seed)
    labels = mmrec(rows[:, 0], rows[:, 1], None, seed)
    frame = pd.DataFrame({"userID": rows[:, 0], "itemID": rows[:, 1], "x_label": labels})
    generator = np.random.default_rng([seed, 1])
    with staged(parent / name) as made:
        frame.to_csv(made / f"{name}.inter", sep="\t", index=False)
        for modality, width in features.items():
            noise = generator.standard_normal((size.items, width), dtype=np.float32)
            np.save(made / f"{modality}_feat.npy", noise)
    return parent / name
