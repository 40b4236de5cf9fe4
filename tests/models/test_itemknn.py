import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import golden
import models.itemknn as module
import support
import toy_world
from models.itemknn import nearest_items


def slow_similarities(x, k, shrinkage):
    """Pair by pair; x: dense (U, I)."""
    n = x.shape[1]
    result = np.zeros((n, n))
    for i in range(n):
        values = {}
        for j in range(n):
            both = (x[:, i] * x[:, j]).sum()
            if i != j and both:
                values[j] = both / (math.sqrt(x[:, i].sum() * x[:, j].sum()) + shrinkage)
        for j in sorted(values, key=lambda j: (-values[j], j))[:k]:
            result[i, j] = values[j]
    return result


def tastes(users=30, items=23, seed=0):
    generator = np.random.default_rng(seed)
    return sp.csr_matrix((generator.random((users, items)) < 0.15).astype(float))


@pytest.mark.parametrize("block", [1, 5, 1024])
@pytest.mark.parametrize(("k", "shrinkage"), [(1, 0.0), (3, 0.0), (4, 2.5), (100, 10.0)])
def test_neighbours_are_the_slow_ones(monkeypatch, block, k, shrinkage):
    monkeypatch.setattr(module, "BLOCK", block)
    matrix = tastes()
    got = nearest_items(matrix, k, shrinkage)
    np.testing.assert_allclose(
        got.toarray(), slow_similarities(matrix.toarray(), k, shrinkage), rtol=1e-12
    )
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


def test_scores_are_sums_over_the_users_items(toy):
    matrix = toy_world.matrix(support.TRAIN)
    model = toy_world.build("ItemKNN", toy, n_neighbours=2, shrinkage=0.5)
    expected = matrix.toarray() @ slow_similarities(matrix.toarray(), 2, 0.5).T
    np.testing.assert_allclose(golden.scores(model).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(golden.scores(model, [4, 0]).numpy(), expected[[4, 0]], atol=1e-6)
    assert expected.any()


def test_by_hand(toy):
    # users 0 and 1 own item 0, user 1 also item 1: cos = 1 / (sqrt 2 sqrt 1)
    interactions = toy_world.matrix([(0, 0), (1, 0), (1, 1)], 3, 3)
    model = toy_world.build("ItemKNN", toy, interactions, shrinkage=1.0)
    scores = golden.scores(model, range(3))
    value = 1 / (math.sqrt(2) + 1)
    assert scores.tolist() == [
        pytest.approx([0, value, 0]),
        pytest.approx([value, value, 0]),
        [0, 0, 0],  # a user without training items
    ]


def test_shrinkage_prefers_what_was_seen_often():
    # items 0 and 1 share one user and have no other; 2 and 3 share eight of ten
    pairs = [(0, 0), (0, 1), *((u, i) for u in range(1, 9) for i in (2, 3)), (9, 2), (10, 3)]
    matrix = toy_world.matrix(pairs, 11, 4).tocsr()
    plain, shrunk = (nearest_items(matrix, 1, shrinkage) for shrinkage in (0.0, 10.0))
    assert plain[0, 1] > plain[2, 3]
    assert shrunk[0, 1] < shrunk[2, 3]


def test_repeated_pairs_count_once(toy):
    once = golden.scores(toy_world.build("ItemKNN", toy))
    twice = toy_world.build("ItemKNN", toy, toy_world.matrix(support.TRAIN * 2))
    assert golden.scores(twice).equal(once)


def test_nothing_dense_is_kept_and_nothing_is_state(toy):
    interactions = toy_world.matrix(
        np.random.default_rng(0).integers(0, 3000, (9000, 2)), 3000, 3000
    )
    model = toy_world.build("ItemKNN", toy, interactions, n_neighbours=5)
    assert max(buffer.numel() for buffer in model.buffers()) <= 5 * 3000
    assert not model.state_dict()
    assert not list(model.parameters())


def test_users_alone_with_their_items(toy):
    model = toy_world.build("ItemKNN", toy, toy_world.matrix([(0, 0), (1, 1)]))
    assert golden.scores(model).equal(torch.zeros(5, 7, dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_neighbours": 0}, "n_neighbours must be an integer >= 1, got 0"),
        ({"shrinkage": -1}, r"shrinkage must be a number in \[0, inf\], got -1"),
    ],
)
def test_refused_options(toy, options, message):
    with pytest.raises(ValueError, match=message):
        toy_world.build("ItemKNN", toy, **options)
