"""Item graphs in blocks against dense formulas; ties, zero rows and the cache."""

import logging

import numpy as np
import pytest
import torch

from common import dense_graph, item_graph
from common.item_graph import (
    edge_matrix,
    knn_graph,
    largest,
    nearest,
    neighbours,
    symmetric_weights,
)

K = 4


@pytest.fixture
def rows():
    return torch.from_numpy(np.random.default_rng(0).random((60, 9)))


@pytest.mark.parametrize("entries", [1, 60 * 7, 2**24])  # blocks of 1, 7 and all rows
def test_equals_the_dense_graph(rows, entries, monkeypatch):
    monkeypatch.setattr(item_graph, "BLOCK_ENTRIES", entries)
    similarity = dense_graph.build_sim(rows)
    expected = dense_graph.build_knn_normalized_graph(similarity, K, False, "sym")
    graph, transposed = knn_graph(rows, K, None)
    torch.testing.assert_close(graph.to_dense().double(), expected, rtol=0, atol=1e-6)
    assert torch.equal(transposed.to_dense(), graph.to_dense().T)


def test_an_item_is_its_own_first_neighbour(rows):
    items, cosines = nearest(rows, K)
    assert torch.equal(items[:, 0], torch.arange(60))
    assert (cosines[:, 0] == 1).all()
    assert (cosines.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("entries", [60, 2**24])
def test_of_identical_rows_the_lowest_items_win(rows, entries, monkeypatch):
    monkeypatch.setattr(item_graph, "BLOCK_ENTRIES", entries)
    same = [3, 8, 20, 31, 45, 59]
    rows[same] = rows[3].clone()
    items, cosines = nearest(rows, K)
    assert items[same].tolist() == [same[:K]] * 6  # the last two lose their self-loop
    assert (cosines[same] == 1).all()
    first = {tuple(sorted(set(row) & set(same))) for row in items.tolist()}
    assert all(found == tuple(same[: len(found)]) for found in first)


def test_largest_by_hand():
    values = torch.tensor([[1.0, 3, 3, 3, 2], [5, 4, 3, 2, 1], [0, 0, 0, 0, 0]])
    top, place = largest(values, 2)
    assert top.tolist() == [[3, 3], [5, 4], [0, 0]]
    assert place.tolist() == [[1, 2], [0, 1], [0, 1]]
    top, place = largest(values, 5)
    assert place.tolist() == [[1, 2, 3, 4, 0], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    assert largest(torch.ones(3, 1), 1)[1].tolist() == [[0], [0], [0]]


def test_an_item_without_features_is_isolated(rows, caplog):
    rows[[5, 9]] = 0
    with caplog.at_level(logging.WARNING):
        graph, _ = knn_graph(rows, K, None, "image")
    dense = graph.to_dense()
    assert dense.isfinite().all()
    assert (dense[[5, 9]] == 0).all()
    assert (dense[:, [5, 9]] == 0).all()
    assert "2 items have no image features (zero rows)" in caplog.text


def test_a_row_sum_that_is_not_positive_gives_no_weight():
    items = torch.tensor([[0, 1], [1, 0]])
    weights = torch.tensor([[1.0, -2.0], [1.0, 3.0]], requires_grad=True)
    out = symmetric_weights(items, weights)
    assert out.tolist() == [[0, 0], [0.25, 0]]
    out.sum().backward()
    assert weights.grad.isfinite().all()


def test_weights_by_hand():
    # r = (3, 4): w_00 / 3, w_01 / sqrt(12); the row sums also scale the columns
    items, weights = torch.tensor([[0, 1], [1, 0]]), torch.tensor([[1.0, 2.0], [1.0, 3.0]])
    expected = torch.tensor([[1 / 3, 2 / 12**0.5], [1 / 4, 3 / 12**0.5]])
    torch.testing.assert_close(symmetric_weights(items, weights), expected)


def test_repeated_edges_add_up():
    items, weights = torch.tensor([[1, 1], [0, 1]]), torch.tensor([[1.0, 2.0], [4.0, 8.0]])
    graph, transposed = edge_matrix(items, weights)
    assert graph.to_dense().tolist() == [[0, 3], [4, 8]]
    assert transposed.to_dense().tolist() == [[0, 4], [3, 8]]


def test_the_edges_stay_as_they_are():
    items, weights = torch.tensor([[1, 0], [1, 0]]), torch.tensor([[1.0, 2.0], [4.0, 8.0]])
    edge_matrix(items, weights)
    assert items.tolist() == [[1, 0], [1, 0]]
    assert weights.tolist() == [[1, 2], [4, 8]]


def test_what_is_kept_is_never_stale(rows, tmp_path, monkeypatch):
    fresh = neighbours(rows, K, None)
    built = []
    monkeypatch.setattr(item_graph, "nearest", lambda *args: built.append(1) or nearest(*args))
    for _ in range(2):
        kept = neighbours(rows, K, tmp_path)
        assert all(map(torch.equal, kept, fresh))
    assert len(built) == 1
    neighbours(rows, K + 1, tmp_path)
    rows[0, 0] += 1e-9
    neighbours(rows, K, tmp_path)
    monkeypatch.setattr(item_graph, "CODE", "other")
    neighbours(rows, K, tmp_path)
    assert len(built) == 4
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    ("k", "message"),
    [
        (61, "knn_k must be at most the 60 items of the data set, got 61"),
        (0, "knn_k must be an integer >= 1, got 0"),
        (2.0, "knn_k must be an integer >= 1, got 2.0"),
    ],
)
def test_refuses_other_numbers_of_neighbours(rows, k, message):
    with pytest.raises(ValueError, match=message):
        knn_graph(rows, k, None)
