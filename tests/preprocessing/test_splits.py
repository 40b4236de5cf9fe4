"""The three splits: disjoint, complete, seeded, by their rules, whatever the order of the rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ld4mrec.data import splits
from ld4mrec.errors import UserError
from ld4mrec.preprocessing.steps.interactions import coded

COUNTS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def rows(counts, seed=0, times=50):
    """(users, items, times): a user with n rows per entry of counts, in random order."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(len(counts)), counts)
    items = np.concatenate([rng.choice(60, n, replace=False) for n in counts])
    order = rng.permutation(len(users))
    return users[order], items[order], rng.integers(times, size=len(users))


@given(COUNTS, st.integers(0, 50))
def test_mmrec_gives_every_user_its_share(counts, seed):
    users, items, times = rows(counts, seed)
    labels = splits.mmrec(users, items, times, seed)
    for user, n in enumerate(counts):
        held_out = int(0.2 * n)
        validation, test = (1, 1) if n < 10 else (held_out // 2, held_out - held_out // 2)
        if n < 3:
            validation = test = 0
        got = np.bincount(labels[users == user], minlength=3).tolist()
        assert got == [n - validation - test, validation, test]


@given(COUNTS, st.integers(0, 50), st.sampled_from(sorted(splits.RULES)))
def test_labels_do_not_hang_on_the_order_of_the_rows(counts, seed, rule):
    users, items, times = rows(counts, seed)
    labels = splits.RULES[rule](users, items, times, seed)
    order = np.random.default_rng(seed + 1).permutation(len(users))
    again = splits.RULES[rule](users[order], items[order], times[order], seed)
    assert (again == labels[order]).all()
    assert set(labels.tolist()) <= {0, 1, 2}


def test_mmrec_is_seeded_and_random():
    users, items, times = rows([20] * 200)
    one, same, other = (splits.mmrec(users, items, times, seed) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).mean() > 0.2
    # no item or place of the file is favoured: 4 of 20 are held out
    assert (one != 0)[: len(one) // 2].mean() == pytest.approx(0.2, abs=0.03)


@given(COUNTS, st.integers(0, 50))
def test_leave_one_out_takes_the_last_two(counts, seed):
    users, items, times = rows(counts, seed, times=5)
    labels = splits.leave_one_out(users, items, times, seed)
    for user, n in enumerate(counts):
        mine = sorted(zip(*(c[users == user] for c in (times, items, labels)), strict=True))
        wanted = [0] * (n - 2) + [1, 2] if n >= 3 else [0] * n
        assert [label for _, _, label in mine] == wanted


@given(COUNTS, st.integers(0, 50), st.integers(1, 500))
def test_temporal_never_trains_on_the_future(counts, seed, spread):
    users, items, times = rows(counts, seed, times=spread)
    labels = splits.temporal(users, items, times, seed)
    for earlier, later in ((0, 1), (0, 2), (1, 2)):
        if (labels == earlier).any() and (labels == later).any():
            assert times[labels == earlier].max() < times[labels == later].min()
    assert (labels == 0).mean() >= 0.8 - 1e-9


def test_temporal_is_8_1_1_where_times_differ():
    n = 1000
    times = np.random.default_rng(0).permutation(n)
    labels = splits.temporal(np.zeros(n, int), np.arange(n), times, 0)
    assert np.bincount(labels).tolist() == [800, 100, 100]


def test_an_empty_part_is_refused():
    some = coded(np.arange(20), np.arange(20), np.zeros(20, dtype=int))
    with pytest.raises(UserError, match=r"--split temporal leaves a part empty \(20 train, 0 val"):
        splits.split("temporal", some, 0)


def test_describe_counts_what_training_never_shows():
    users, items = np.array([0, 0, 0, 1, 2]), np.array([0, 1, 2, 3, 0])
    some = coded(users, items, np.arange(5))
    assert splits.describe(some, np.array([0, 0, 1, 2, 2])) == {
        "train": 2,
        "validation": 1,
        "test": 2,
        "users_not_in_train": 2,
        "held_out_rows_of_users_not_in_train": 2,
        "items_not_in_train": 2,
        "held_out_rows_of_items_not_in_train": 2,
    }
