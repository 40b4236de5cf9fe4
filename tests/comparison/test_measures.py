import itertools
import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import support
from ld4mrec.comparison import measures
from ld4mrec.comparison.measures import (
    Band,
    beyond_accuracy,
    coverage,
    gini,
    intra_list_diversity,
    item_bands,
    item_counts,
    novelty,
    personalisation,
    popularity_lift,
    quantile_ends,
    user_bands,
)
from ld4mrec.evaluation import metrics


def matrix(pairs, shape=(5, 7)):
    users, items = np.array(pairs).reshape(-1, 2).T
    return sp.csr_matrix((np.ones(len(users)), (users, items)), shape=shape)


# the toy world; item counts 2 2 2 2 1 2 0, activity of users 3 2 3 2 1
TRAIN, TEST = matrix(support.TRAIN), matrix(support.TEST)
USERS = np.array([0, 1, 3, 4])
TOP = np.array([[4, 5], [0, 2], [0, 1], [0, 3]])  # hits: item 4 first, item 2 second, -, item 0


@st.composite
def worlds(draw):
    """(topk, users, truth, train) of 1 to 6 users and 3 to 9 items, every user with a test item."""
    n_users, n_items = draw(st.integers(1, 6)), draw(st.integers(3, 9))
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    k = draw(st.integers(1, n_items))
    users = generator.permutation(n_users)[: draw(st.integers(1, n_users))]
    topk = np.array([generator.permutation(n_items)[:k] for _ in users])
    train = generator.random((n_users, n_items)) < draw(st.sampled_from([0.1, 0.5]))
    truth = generator.random((n_users, n_items)) < 0.3
    train[0, 0] = truth[:, 0] = True
    return topk, users, sp.csr_matrix(truth, dtype=float), sp.csr_matrix(train, dtype=float)


# --- catalogue ---


def test_coverage_and_gini_by_hand():
    assert coverage(TOP, 7) == 6 / 7
    # listed 3 1 1 1 1 1 0 times: sorted 0 1 1 1 1 1 3, weights -6 -4 -2 0 2 4 6
    assert gini(TOP, 7) == pytest.approx((-4 - 2 + 0 + 2 + 4 + 18) / (6 * 8))


def test_gini_ends():
    assert gini(np.array([[0, 1], [2, 3], [4, 5]]), 6) == pytest.approx(0)
    assert gini(np.zeros((9, 1), dtype=int), 6) == pytest.approx(1)
    assert gini(np.zeros((1, 1), dtype=int), 1) == 0


@given(worlds())
def test_gini_is_half_the_relative_mean_difference(world):
    topk, *_, train = world
    n_items = train.shape[1]
    listed = np.bincount(topk.ravel(), minlength=n_items)
    gaps = sum(abs(a - b) for a in listed for b in listed)
    assert gini(topk, n_items) == pytest.approx(gaps / (2 * listed.sum() * (n_items - 1)))


@given(worlds())
def test_catalogue_measures_stay_in_their_bounds(world):
    topk, _, _, train = world
    n_items = train.shape[1]
    assert topk.shape[1] / n_items <= coverage(topk, n_items) <= min(1, topk.size / n_items)
    assert -1e-12 <= gini(topk, n_items) <= 1 + 1e-12
    assert 0 <= novelty(topk, train) <= math.log2(train.shape[0])


# --- popularity ---


def test_novelty_by_hand():
    # a count of 2 of 5 users is worth log2 2.5; item 4, with a count of 1, log2 5
    assert novelty(TOP, TRAIN) == pytest.approx((math.log2(5) + 7 * math.log2(2.5)) / 8)
    assert novelty(np.array([[6]]), TRAIN) == pytest.approx(math.log2(5))  # never seen: as if once
    everybody = matrix([(u, 0) for u in range(5)])
    assert novelty(np.array([[0]]), everybody) == 0


def test_popularity_by_hand():
    found = popularity_lift(TOP, USERS, TRAIN)
    assert found.recommended == pytest.approx(15 / 8)
    assert found.history == 2  # the four users' items all have a count of 2
    assert found.lift == pytest.approx(15 / 16 - 1)


def test_each_user_counts_once_in_the_history():
    train = matrix([(0, 0), (0, 1), (0, 2), (1, 0)])  # counts 2 1 1: means 4/3 and 2
    found = popularity_lift(np.array([[3], [0]]), np.array([0, 1]), train)
    assert found.history == pytest.approx((4 / 3 + 2) / 2)
    assert found.recommended == 1


def test_users_without_history_are_left_out():
    train = matrix([(0, 0), (2, 0)])
    users, topk = np.array([0, 1]), np.array([[0], [3]])
    assert popularity_lift(topk, users, train) == popularity_lift(topk[:1], users[:1], train)
    with pytest.raises(ValueError, match="needs training items of some user, got none"):
        popularity_lift(topk[1:], users[1:], train)


@given(worlds())
def test_personalisation_by_pairs(world):
    topk, *_, train = world
    pairs = list(itertools.combinations([set(row) for row in topk.tolist()], 2))
    found = personalisation(topk, train.shape[1])
    if not pairs:
        assert found is None
    else:
        shared = np.mean([len(a & b) / topk.shape[1] for a, b in pairs])
        assert found == pytest.approx(1 - shared)


# --- diversity ---


def slow_diversity(topk, features):
    """By all pairs of each list."""
    values = []
    for row in topk:
        kept = [features[i] / np.linalg.norm(features[i]) for i in row if features[i].any()]
        distances = [1 - a @ b for a, b in itertools.combinations(kept, 2)]
        values += [np.mean(distances)] if distances else []
    return np.mean(values) if values else None


@pytest.mark.parametrize("block", [1, 40, 2**24])
@given(world=worlds())
def test_diversity_equals_all_pairs(block, world):
    topk, _, _, train = world
    n_items = train.shape[1]
    features = np.random.default_rng(n_items).standard_normal((n_items, 5)).astype(np.float32)
    features[::3] = 0  # items without features
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "BLOCK_ENTRIES", block)
        mean = intra_list_diversity(topk, features)
    expected = slow_diversity(topk, features)
    assert mean == (expected if expected is None else pytest.approx(expected, abs=1e-6))


def test_diversity_by_hand():
    features = np.array([[1, 0], [0, 2], [-3, 0], [4, 0], [0, 0]])
    for lists, expected in (
        ([[0, 3]], 0),
        ([[0, 1]], 1),
        ([[0, 2]], 2),
        ([[0, 1, 2]], pytest.approx(4 / 3)),
        ([[0, 4], [1, 0]], 1),
        ([[0, 4]], None),
        ([[0]], None),
    ):
        assert intra_list_diversity(np.array(lists), features) == expected


# --- groups ---


def test_user_bands_by_hand():
    low, middle, high = user_bands(TOP, USERS, TEST, TRAIN)
    # a hit of user 4, one of the users 1 and 3, one of user 0; a target each
    assert low == Band(0, 1, 1, 1, 1)
    assert middle == Band(2, 2, 2, 2, 1 / 2)
    assert high == Band(3, None, 1, 1, 1)
    assert [band.label for band in (low, middle, high)] == ["≤ 1", "2", "≥ 3"]


def test_item_bands_by_hand():
    cold, others = item_bands(TOP, USERS, TEST, TRAIN)
    assert cold == Band(0, 0, 1, 1, 0)  # item 6, the target of user 3
    assert others == Band(1, None, 6, 3, 1)  # items 4, 2 and 0, of users 0, 1 and 4
    assert [band.label for band in (cold, others)] == ["0", "≥ 1"]


def test_item_bands_hold_equally_many_training_rows_by_default():
    train = matrix([(u, i) for i, count in enumerate([1, 2, 3, 10]) for u in range(count)], (10, 5))
    bands = item_bands(np.array([[0]]), [0], train, train)
    # of the 16 rows a quarter are of items with up to 3 rows, the others are all of item 3
    assert [(b.label, b.size) for b in bands] == [("0", 1), ("1-3", 3), ("≥ 4", 1)]


def test_a_world_without_cold_items_says_so():
    train = sp.csr_matrix(np.ones((5, 7)))
    assert item_bands(TOP, USERS, TEST, train)[0] == Band(0, 0, 0, 0, None)


@given(worlds())
def test_bands_weighted_give_the_overall_recall(world):
    topk, users, truth, train = world
    relevant = [set(truth[u].indices.tolist()) for u in users.tolist()]
    hits = np.array([[i in r for i in row] for row, r in zip(topk.tolist(), relevant, strict=True)])
    wanted = np.array([len(r) for r in relevant])
    bands = user_bands(topk, users, truth, train)
    assert sum(b.size for b in bands) == len(users)
    assert sum(b.targets for b in bands) == wanted.sum()
    overall = metrics.recall(hits, wanted)[:, -1].sum()
    assert sum(b.size * b.recall for b in bands) == pytest.approx(overall)
    bands = item_bands(topk, users, truth, train)
    assert sum(b.size for b in bands) == truth.shape[1]
    assert sum(b.targets for b in bands) == wanted.sum()
    assert sum(b.targets * b.recall for b in bands if b.targets) == pytest.approx(hits.sum())


@given(worlds())
def test_item_bands_by_loops(world):
    topk, users, truth, train = world
    count = (train.toarray() > 0).sum(axis=0)
    for band in item_bands(topk, users, truth, train):
        inside = [
            (row, item)
            for row, u in enumerate(users.tolist())
            for item in truth[u].indices.tolist()
            if band.low <= count[item] <= (math.inf if band.high is None else band.high)
        ]
        found = [item in topk[row] for row, item in inside]
        assert band.targets == len(found)
        assert band.recall == (pytest.approx(np.mean(found)) if found else None)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=30), st.integers(1, 6))
def test_quantile_bands_are_few_and_never_empty(counts, parts):
    ends = quantile_ends(np.array(counts), parts)
    assert (np.diff(ends) > 0).all()
    sizes = np.bincount(np.searchsorted(ends, counts), minlength=len(ends) + 1)
    assert len(sizes) <= parts
    assert (sizes > 0).all()


def test_quantile_bands_by_hand():
    assert quantile_ends(np.array([1, 1, 2, 3, 5, 8, 13, 21])).tolist() == [1, 3, 8]
    assert quantile_ends(np.array([3, 3, 3, 3, 3, 7])).tolist() == [3]
    assert quantile_ends(np.array([], dtype=int)).tolist() == []


# --- input ---


def test_repeated_pairs_count_once_and_the_matrices_stay_as_they_were():
    twice, repeated = (
        sp.csr_matrix((np.ones(2 * m.nnz), np.repeat(m.indices, 2), 2 * m.indptr), shape=m.shape)
        for m in (TRAIN, TEST)
    )
    assert item_counts(twice).tolist() == [2, 2, 2, 2, 1, 2, 0]
    assert popularity_lift(TOP, USERS, twice) == popularity_lift(TOP, USERS, TRAIN)
    assert novelty(TOP, twice) == novelty(TOP, TRAIN)
    assert user_bands(TOP, USERS, repeated, twice) == user_bands(TOP, USERS, TEST, TRAIN)
    assert item_bands(TOP, USERS, repeated, twice) == item_bands(TOP, USERS, TEST, TRAIN)
    assert (twice.nnz, repeated.nnz) == (2 * TRAIN.nnz, 2 * TEST.nnz)


def test_lists_of_any_integers_give_the_same():
    features = np.eye(7)
    for function, rest in (
        (beyond_accuracy, (USERS, TRAIN, {"image": features})),
        (user_bands, (USERS, TEST, TRAIN)),
        (item_bands, (USERS, TEST, TRAIN)),
    ):
        assert function(TOP.astype(np.int32), *rest) == function(TOP, *rest)


def test_all_measures_at_once():
    found = beyond_accuracy(TOP, USERS, TRAIN, {"image": np.eye(7), "text": np.zeros((7, 3))})
    lift = popularity_lift(TOP, USERS, TRAIN)
    assert found == {
        "coverage": coverage(TOP, 7),
        "gini": gini(TOP, 7),
        "novelty": novelty(TOP, TRAIN),
        "popularity": lift.recommended,
        "popularity_history": lift.history,
        "popularity_lift": lift.lift,
        "personalisation": personalisation(TOP, 7),
        "diversity_image": 1,
        "diversity_text": None,
    }


@pytest.mark.parametrize(
    ("topk", "message"),
    [
        ([[0, 7]], "item ids from 0 to 6, got 7"),
        ([[0, -2]], "item ids from 0 to 6, got -2"),
        ([[0, -1, 1]], "must end where they have no item, got an item behind -1"),
        ([[-1, -1]], "lists must hold some item, all are empty"),
        ([[0, 1], [2, 2]], "list 1 names an item twice"),
        ([0, 1], r"an \(n, K\) array with n, K > 0, got shape \(2,\)"),
        (np.zeros((0, 2), dtype=int), r"got shape \(0, 2\)"),
    ],
)
def test_wrong_lists_are_refused(topk, message):
    topk = np.array(topk)
    users = np.arange(len(topk))
    calls = [
        lambda: coverage(topk, 7),
        lambda: gini(topk, 7),
        lambda: novelty(topk, TRAIN),
        lambda: personalisation(topk, 7),
        lambda: intra_list_diversity(topk, np.eye(7)),
        lambda: popularity_lift(topk, users, TRAIN),
        lambda: user_bands(topk, users, TRAIN, TRAIN),
        lambda: item_bands(topk, users, TRAIN, TRAIN),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()


def test_wrong_users_are_refused():
    for function, rest in ((popularity_lift, (TRAIN,)), (item_bands, (TEST, TRAIN))):
        with pytest.raises(ValueError, match=r"shape \(4, 2\) want \(n,\) users.*\(3,\)"):
            function(TOP, USERS[:3], *rest)
    with pytest.raises(ValueError, match="user 2 has no test items"):
        user_bands(TOP, [0, 1, 2, 3], TEST, TRAIN)


# --- lists that end where candidates end ----------------------------------------------------


def test_places_without_an_item_count_for_nothing():
    """Two users of five items; the second has two candidates left."""
    topk, users = np.array([[0, 1, 2], [0, 3, -1]]), [0, 1]
    train = sp.csr_matrix(np.array([[0, 0, 0, 1, 1], [0, 1, 1, 0, 1]]))
    features = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1], [1, 1]])
    assert coverage(topk, 5) == 4 / 5
    shares = np.array([0, 1, 1, 1, 2]) / 5  # of five places with an item
    assert gini(topk, 5) == pytest.approx((np.array([-4, -2, 0, 2, 4]) * shares).sum() / 4)
    # items 0 to 3 have 0 (counted as 1), 1, 1 and 1 of two users
    assert novelty(topk, train) == pytest.approx(1.0)
    lift = popularity_lift(topk, users, train)
    assert lift.recommended == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert personalisation(topk, 5) == pytest.approx(1 - 1 / 3)
    first, second = 1 - 1 / 3, 1 - 0  # cosines (1, 0, 0) and (0)
    assert intra_list_diversity(topk, features) == pytest.approx((first + second) / 2)
    truth = sp.csr_matrix(np.array([[1, 0, 0, 0, 0], [0, 0, 0, 1, 0]]))
    assert [band.recall for band in user_bands(topk, users, truth, train)] == [1, 1]
    assert sum(band.targets for band in item_bands(topk, users, truth, train)) == 2


def test_users_without_a_list_are_left_out_of_popularity():
    train = sp.csr_matrix(np.array([[1, 0, 1], [1, 1, 1]]))
    lift = popularity_lift(np.array([[1], [-1]]), [0, 1], train)
    assert (lift.recommended, lift.history) == (1, 2)
