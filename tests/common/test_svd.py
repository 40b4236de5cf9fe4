"""Singular values and item vectors, beside numpy's dense decomposition."""

import random

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common import graph, svd
from common.svd import item_vectors

USERS, ITEMS = 30, 20


def random_matrix(seed=0, users=USERS, items=ITEMS, density=0.2):
    """A binary CSR with one user and one item without interactions."""
    dense = (np.random.default_rng(seed).random((users, items)) < density).astype(float)
    dense[3], dense[:, 5] = 0, 0
    return graph.binary_csr(sp.coo_matrix(dense))


def clustered(users=120, items=60):
    """Popular and rare items, whose singular values fall quickly."""
    generator = np.random.default_rng(0)
    popular = generator.pareto(1.5, items)[None] * generator.pareto(1.5, users)[:, None]
    return graph.binary_csr(sp.coo_matrix(popular > 0.6))


def parts(*arguments, **options):
    """S (r,) and V (I, r)."""
    stacked = item_vectors(*arguments, **options)
    return stacked[0], stacked[1:]


@settings(max_examples=30)
@given(st.integers(0, 99), st.integers(1, 12))
def test_values_are_those_of_the_dense_decomposition(seed, rank):
    matrix = random_matrix(seed)
    values, vectors = parts(matrix, rank)
    assert values.dtype == vectors.dtype == np.float32
    assert (values.shape, vectors.shape) == ((rank,), (ITEMS, rank))
    expected = np.linalg.svd(matrix.toarray(), compute_uv=False)[:rank]
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(rank), atol=1e-5)


@pytest.mark.parametrize("normal", [True, False])
def test_vectors_are_those_of_the_dense_decomposition(normal):
    matrix = graph.normalized(clustered()) if normal else clustered()
    values, vectors = parts(matrix, 8)
    _, expected_values, transposed = np.linalg.svd(matrix.toarray())
    np.testing.assert_allclose(values, expected_values[:8], rtol=1e-5)
    # no two values are one, which would leave the vectors undecided
    assert np.diff(expected_values[:9]).max() < -0.01
    found = np.abs((transposed[:8] * vectors.T).sum(1))  # cosines
    np.testing.assert_allclose(found, 1, atol=1e-3)


@pytest.mark.parametrize("normal", [True, False])
@pytest.mark.parametrize("rank", [3, 19, 50])
def test_users_vectors_that_follow_are_orthonormal(normal, rank):
    """X V = U S, also for vectors that the iteration has not fully found."""
    matrix = graph.normalized(clustered()) if normal else clustered()
    values, vectors = parts(matrix, rank)
    users = matrix @ vectors.astype(np.float64) / values
    kept = len(values)
    assert kept == min(rank, np.linalg.matrix_rank(matrix.toarray()))
    np.testing.assert_allclose(users.T @ users, np.eye(kept), atol=2e-4)


@pytest.mark.parametrize("rank", [5, 19, 20, 1000])
def test_rank_is_clipped_to_the_matrix(rank):
    matrix = random_matrix()  # one empty item: rank 19
    values, vectors = parts(matrix, rank)
    kept = min(rank, 19)
    assert (values.shape, vectors.shape) == ((kept,), (ITEMS, kept))
    if kept == 19:
        np.testing.assert_allclose(matrix @ vectors @ vectors.T, matrix.toarray(), atol=1e-5)


def test_fewer_users_than_items_and_equal_users_clip_it_too():
    one = random_matrix(users=6)
    assert len(item_vectors(one, 10)[0]) == np.linalg.matrix_rank(one.toarray())
    twice = sp.vstack([one, one]).tocsr()
    values, _ = parts(twice, 10)
    expected = np.linalg.svd(twice.toarray(), compute_uv=False)[: len(values)]
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert len(values) == np.linalg.matrix_rank(one.toarray())


def test_a_matrix_of_nothing_has_rank_0():
    assert item_vectors(sp.csr_matrix((4, 3)), 2).shape == (4, 0)


def random_states():
    numpy_state = np.random.get_state()[1].tolist()  # noqa: NPY002 - the global one is meant
    return random.getstate(), numpy_state, torch.get_rng_state().tolist()


def test_equal_input_gives_equal_output_and_leaves_random_states_alone():
    matrix, before = random_matrix(), random_states()
    assert np.array_equal(item_vectors(matrix, 5), item_vectors(matrix, 5))
    assert random_states() == before


def test_the_matrix_is_left_as_it_was():
    matrix = graph.normalized(random_matrix())
    before = matrix.copy()
    item_vectors(matrix, 5)
    assert (matrix != before).nnz == 0
    assert matrix.dtype == np.float64


@settings(max_examples=30)
@given(st.integers(0, 99), st.integers(0, 9))
def test_signs_are_fixed(seed, start):
    """A vector's largest entry is positive; of those within rounding of it, the first."""
    _, vectors = parts(random_matrix(seed), 12, seed=start)
    for vector in vectors.T:
        size = np.abs(vector)
        assert vector[(size >= (1 - 1e-4) * size.max()).argmax()] > 0


def test_ties_do_not_decide_the_sign():
    """Entries alike but for their sign: 1, -1 and their rounding."""
    pairs = [[1, 0], [1, 0], [0, 1], [0, 1], [1, 0], [0, 1]]
    matrix = sp.csr_matrix(np.array([*pairs, [1, 1]], dtype=float))
    for start in range(5):
        _, vectors = parts(matrix, 2, seed=start)
        assert (vectors[0] > 0).all()  # both entries of each are .7071 and the first decides


@pytest.mark.parametrize("rows", [1, 7, 30])
def test_blocks_of_users_change_nothing_beyond_rounding(monkeypatch, rows):
    matrix = clustered()
    whole_values, whole = parts(matrix, 8)
    monkeypatch.setattr(svd, "ROWS", rows)
    values, vectors = parts(matrix, 8)
    np.testing.assert_allclose(values, whole_values, rtol=1e-5)
    np.testing.assert_allclose(vectors, whole, atol=1e-4)


def test_more_iterations_come_closer():
    """What the default number leaves out of the last of many vectors, the values show."""
    matrix = random_matrix(users=300, items=200, density=0.05)
    expected = np.linalg.svd(matrix.toarray(), compute_uv=False)[:50]
    left = [np.abs(parts(matrix, 50, iterations=n)[0] / expected - 1).max() for n in (0, 2, 6)]
    assert left[0] > left[1] > left[2]
    assert left[2] < 0.02
