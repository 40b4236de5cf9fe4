"""Labels of the interactions: 0 train, 1 validation, 2 test, by one of three rules."""

import numpy as np

from ld4mrec.errors import UserError

TRAIN, VALIDATION, TEST = 0, 1, 2
NAMES = ("train", "validation", "test")
Seed = int | np.random.Generator
FEW = 10  # MMRec's rule: users with fewer interactions give one to validation and one to test


def mmrec(users: np.ndarray, items: np.ndarray, times: np.ndarray | None, seed: Seed) -> np.ndarray:
    """MMRec's split, random per user: its published files are made so, but without a seed.

    A user with n interactions in random order: below 10 the last is for test and the one before
    for validation; else floor(0.2 n) are held out, half of them (rounded down) for validation, the
    rest for test. Users with fewer than 3 only train.
    """
    random = np.random.default_rng(seed).random(len(users))
    # by user and item first: the labels do not hang on the order of the rows
    order = np.lexsort((items, users))
    shuffled = order[np.lexsort((random, users[order]))]
    n = np.bincount(users)
    held_out = np.where(n < FEW, 2, n // 5)
    validation = np.where(n < FEW, 1, held_out // 2)
    return _from_end(users, shuffled, held_out - validation, validation)


def leave_one_out(
    users: np.ndarray, items: np.ndarray, times: np.ndarray, seed: Seed
) -> np.ndarray:
    """Each user's last interaction for test, the one before for validation.

    Equal times are ordered by item. Users with fewer than 3 interactions only train.
    """
    order = np.lexsort((items, times, users))
    ones = np.ones(int(users.max()) + 1, dtype=np.int64)
    return _from_end(users, order, ones, ones)


def _from_end(users, order, n_test, n_validation):
    """Labels where `order` sorts the rows by user and each user's last ones are held out."""
    n = np.bincount(users)
    enough = n >= 3
    n_test, n_validation = n_test * enough, n_validation * enough
    start = np.cumsum(n) - n
    owner = users[order]
    from_end = n[owner] - (np.arange(len(order)) - start[owner])  # 1: the user's last
    labels = np.empty(len(users), dtype=np.int8)
    labels[order] = np.where(
        from_end <= n_test[owner],
        TEST,
        np.where(from_end <= (n_test + n_validation)[owner], VALIDATION, TRAIN),
    )
    return labels


def temporal(users: np.ndarray, items: np.ndarray, times: np.ndarray, seed: Seed) -> np.ndarray:
    """The first 80 % in time train, the next 10 % validate, the last 10 % test, over all users.

    Interactions of equal time stay together, so with coarse times (days) the shares are rough.
    """
    first, second = np.quantile(times, [0.8, 0.9], method="inverted_cdf")
    return np.where(times <= first, TRAIN, np.where(times <= second, VALIDATION, TEST)).astype(
        np.int8
    )


RULES = {"mmrec": mmrec, "temporal": temporal, "leave-one-out": leave_one_out}


def split(rule: str, interactions, seed: Seed) -> np.ndarray:
    """(N,) int8 labels by a rule's name. UserError if one of the three parts gets no row.

    interactions: has the arrays `users`, `items` and `times`, (N,) each.
    """
    if rule not in RULES:
        raise UserError(f"split is {rule!r}; wanted one of {', '.join(RULES)}")
    labels = RULES[rule](interactions.users, interactions.items, interactions.times, seed)
    counts = np.bincount(labels, minlength=3)
    if not counts.all():
        got = ", ".join(f"{n} {name}" for name, n in zip(NAMES, counts, strict=True))
        raise UserError(
            f"--split {rule} leaves a part empty ({got}): too few different times, or too few "
            "interactions per user; choose another rule or a longer window"
        )
    return labels


def describe(interactions, labels: np.ndarray) -> dict[str, int]:
    """Counts of the split for the manifest: sizes, and rows of what training never shows."""
    counts = dict(zip(NAMES, map(int, np.bincount(labels, minlength=3)), strict=True))
    trained = labels == TRAIN
    unseen = {}
    for name, codes in (("users", interactions.users), ("items", interactions.items)):
        seen = np.bincount(codes[trained], minlength=int(codes.max()) + 1) > 0
        unseen[f"{name}_not_in_train"] = int((~seen).sum())
        unseen[f"held_out_rows_of_{name}_not_in_train"] = int((~seen[codes] & ~trained).sum())
    return counts | unseen
