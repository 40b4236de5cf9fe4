import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import golden
import models.itemknn as module
import support
from models.itemknn import USER_WEIGHTS, nearest_items, weighted

PLAIN = {"user_weight": "none", "alpha": 0.5, "shrinkage": 0.0}


def slow_similarities(x, k, shrinkage, power=0.5):
    """Pair by pair; x: dense (U, I). The k largest of each row."""
    n = x.shape[1]
    result = np.zeros((n, n))
    for i in range(n):
        values = {}
        for j in range(n):
            both = (x[:, i] * x[:, j]).sum()
            if i != j and both:
                squares = (x[:, i] ** 2).sum() ** power * (x[:, j] ** 2).sum() ** (1 - power)
                values[j] = both / (squares + shrinkage)
        for j in sorted(values, key=lambda j: (-values[j], j))[:k]:
            result[i, j] = values[j]
    return result


def slow_weights(x, how):
    """Of the users, (U, 1); x: dense (U, I)."""
    owned = [row.sum() for row in x]
    n_items = x.shape[1]
    weights = {
        "none": [1 for _ in owned],
        "length": [1 / math.sqrt(n) if n else 0 for n in owned],
        "idf": [math.log(n_items / n) if n else 0 for n in owned],
    }
    return np.array(weights[how])[:, None]


def tastes(users=30, items=23, seed=0):
    generator = np.random.default_rng(seed)
    return sp.csr_matrix((generator.random((users, items)) < 0.15).astype(float))


@pytest.mark.parametrize("block", [1, 5, 1024])
@pytest.mark.parametrize(
    ("k", "shrinkage", "power"),
    [(1, 0.0, 0.5), (3, 0.0, 0.5), (4, 2.5, 0.0), (5, 0.0, 0.3), (100, 10.0, 1.0)],
)
def test_neighbours_are_the_slow_ones(monkeypatch, block, k, shrinkage, power):
    monkeypatch.setattr(module, "BLOCK", block)
    matrix = tastes()
    got = nearest_items(matrix, k, shrinkage, power)
    expected = slow_similarities(matrix.toarray(), k, shrinkage, power)
    np.testing.assert_allclose(got.toarray(), expected, rtol=1e-12)
    assert np.diff(got.indptr).max() <= k


def test_of_equals_the_lower_id_stays():
    matrix = sp.csr_matrix(np.ones((2, 5)))
    assert nearest_items(matrix, 2, 0.0).tolil().rows.tolist() == [
        [1, 2],
        [0, 2],
        [0, 1],
        [0, 1],
        [0, 1],
    ]


@pytest.mark.parametrize("how", USER_WEIGHTS)
def test_weights_of_users(how):
    x = tastes(users=8).toarray()
    x[3] = 0  # a user without items
    x[5] = 1  # a user with all
    got = weighted(sp.csr_matrix(x), how)
    np.testing.assert_allclose(got.toarray(), slow_weights(x, how) * x)


def test_rows_of_length_one():
    x = weighted(golden.matrix(support.TRAIN).tocsr(), "length")
    np.testing.assert_allclose(x.power(2).sum(1), 1)


@pytest.mark.parametrize("weight", USER_WEIGHTS)
@pytest.mark.parametrize(("alpha", "shrinkage"), [(0.5, 0.0), (0.1, 0.5)])
@pytest.mark.parametrize("rows", [2, 5])
def test_scores_are_sums_over_the_users_items(toy, monkeypatch, weight, alpha, shrinkage, rows):
    monkeypatch.setattr(module, "SCORE_ROWS", rows)
    binary = golden.matrix(support.TRAIN).toarray()
    options = {"user_weight": weight, "alpha": alpha, "shrinkage": shrinkage}
    model = golden.build("ItemKNN", toy, n_neighbours=2, **options)
    x = slow_weights(binary, weight) * binary
    expected = binary @ slow_similarities(x, 2, shrinkage, alpha).T
    np.testing.assert_allclose(golden.scores(model).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(golden.scores(model, [4, 0]).numpy(), expected[[4, 0]], atol=1e-6)
    assert expected.any()


def test_by_hand(toy):
    # users 0 and 1 own item 0, user 1 also item 1: cos = 1 / (sqrt 2 sqrt 1)
    interactions = golden.matrix([(0, 0), (1, 0), (1, 1)], 3, 3)
    model = golden.build("ItemKNN", toy, interactions=interactions, **PLAIN | {"shrinkage": 1.0})
    scores = golden.scores(model, range(3))
    value = 1 / (math.sqrt(2) + 1)
    assert scores.tolist() == [
        pytest.approx([0, value, 0]),
        pytest.approx([value, value, 0]),
        [0, 0, 0],  # a user without training items
    ]


def test_alpha_0_with_rows_of_length_1_walks_at_random(toy):
    # from an item to a user, from there to an item; users 0 and 1 own 1 and 2 items
    interactions = golden.matrix([(0, 0), (1, 0), (1, 1)], 3, 3)
    options = {"user_weight": "length", "alpha": 0.0, "shrinkage": 0.0}
    scores = golden.scores(
        golden.build("ItemKNN", toy, interactions=interactions, **options), range(2)
    )
    # item 0 weighs 1 + 1/2, item 1 weighs 1/2, together they have 1/2
    assert scores.tolist() == [pytest.approx([0, 1 / 3, 0]), pytest.approx([1, 1 / 3, 0])]


def test_weights_make_light_of_users_who_own_everything():
    # users 0 to 3 own all ten items; users 4 and 5 only 0 and 1
    pairs = [*((u, i) for u in range(4) for i in range(10)), (4, 0), (4, 1), (5, 0), (5, 1)]
    matrix = golden.matrix(pairs, 6, 10).tocsr()
    value = {how: nearest_items(weighted(matrix, how), 10, 0.0)[0, 2] for how in USER_WEIGHTS}
    assert value["none"] == pytest.approx(4 / math.sqrt(6 * 4))
    assert value["length"] == pytest.approx(0.4 / math.sqrt(1.4 * 0.4))
    assert value["idf"] == 0  # who owns all items says nothing of any


def test_shrinkage_prefers_what_was_seen_often():
    # items 0 and 1 share one user and have no other; 2 and 3 share eight of ten
    pairs = [(0, 0), (0, 1), *((u, i) for u in range(1, 9) for i in (2, 3)), (9, 2), (10, 3)]
    matrix = golden.matrix(pairs, 11, 4).tocsr()
    plain, shrunk = (nearest_items(matrix, 1, shrinkage) for shrinkage in (0.0, 10.0))
    assert plain[0, 1] > plain[2, 3]
    assert shrunk[0, 1] < shrunk[2, 3]


def test_repeated_pairs_count_once(toy):
    once = golden.scores(golden.build("ItemKNN", toy))
    twice = golden.build("ItemKNN", toy, interactions=golden.matrix(support.TRAIN * 2))
    assert golden.scores(twice).equal(once)


def test_nothing_dense_is_kept_and_nothing_is_state(toy):
    interactions = golden.matrix(np.random.default_rng(0).integers(0, 3000, (9000, 2)), 3000, 3000)
    model = golden.build("ItemKNN", toy, interactions=interactions, n_neighbours=5)
    assert max(buffer.numel() for buffer in model.buffers()) <= 5 * 3000
    assert not model.state_dict()
    assert not list(model.parameters())


def test_users_alone_with_their_items(toy):
    model = golden.build("ItemKNN", toy, interactions=golden.matrix([(0, 0), (1, 1)]))
    assert golden.scores(model).equal(torch.zeros(5, 7, dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_neighbours": 0}, "n_neighbours must be an integer >= 1, got 0"),
        ({"shrinkage": -1}, r"shrinkage must be a number in \[0, inf\], got -1"),
        ({"alpha": 1.5}, r"alpha must be a number in \[0, 1\], got 1.5"),
        ({"user_weight": "bm25"}, "user_weight must be one of none, length, idf, got 'bm25'"),
    ],
)
def test_refused_options(toy, options, message):
    with pytest.raises(ValueError, match=message):
        golden.build("ItemKNN", toy, **options)
