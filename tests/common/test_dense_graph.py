import math

import pytest
import torch

from common.dense_graph import (
    build_knn_neighbourhood,
    build_knn_normalized_graph,
    build_sim,
    compute_normalized_laplacian,
    get_dense_laplacian,
    get_sparse_laplacian,
)


@pytest.fixture
def features():
    return torch.rand(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def slow_knn_graph(features, k, norm):
    n = len(features)
    weight = [[0.0] * n for _ in range(n)]
    for i in range(n):
        sims = [
            float(features[i] @ features[j] / (features[i].norm() * features[j].norm()))
            for j in range(n)
        ]
        for j in sorted(range(n), key=lambda j: -sims[j])[:k]:
            weight[i][j] = sims[j]
    sums = [sum(row) for row in weight]
    for i in range(n):
        for j in range(n):
            if norm == "sym":
                weight[i][j] /= math.sqrt(sums[i]) * math.sqrt(sums[j])
            elif norm == "rw":
                weight[i][j] /= sums[i]
    return torch.tensor(weight, dtype=torch.float64)


@pytest.mark.parametrize("norm", ["sym", "rw", "none"])
@pytest.mark.parametrize("is_sparse", [True, False])
def test_knn_graph_is_the_slow_one(features, norm, is_sparse):
    graph = build_knn_normalized_graph(build_sim(features), 3, is_sparse, norm)
    assert graph.is_sparse == is_sparse
    dense = graph.to_dense() if is_sparse else graph
    torch.testing.assert_close(dense, slow_knn_graph(features, 3, norm))


def test_knn_neighbourhood_keeps_the_largest_of_each_row():
    adj = torch.tensor([[1.0, 3.0, 2.0], [-1.0, -3.0, -2.0]])
    kept = torch.tensor([[0.0, 3.0, 2.0], [-1.0, 0.0, -2.0]])
    assert build_knn_neighbourhood(adj, 2).equal(kept)


def test_normalized_laplacian_by_hand():
    adj = torch.tensor([[1.0, 3.0], [0.0, 9.0]])  # row sums 4 and 9
    expected = torch.tensor([[1 / 4, 3 / 6], [0.0, 1.0]])
    torch.testing.assert_close(compute_normalized_laplacian(adj), expected)


@pytest.mark.parametrize("norm", ["sym", "rw", "none"])
def test_sparse_and_dense_laplacian_agree(norm):
    adj = torch.tensor([[0.5, 0.0, 0.2], [0.0, 0.0, 0.0], [0.3, 0.4, 0.0]])
    edges = adj.nonzero().T
    same_edges, weights = get_sparse_laplacian(edges, adj[tuple(edges)], 3, norm)
    assert same_edges is edges
    dense = torch.sparse_coo_tensor(edges, weights, (3, 3)).to_dense()
    torch.testing.assert_close(dense, get_dense_laplacian(adj, norm))


def test_zero_row_is_an_isolated_item_and_spoils_no_gradient(features):
    features[2] = 0
    features.requires_grad_()
    similarity = build_sim(features)
    assert similarity[2].eq(0).all()
    for graph in (
        build_knn_normalized_graph(similarity, 3, True, "sym").to_dense(),
        compute_normalized_laplacian(build_knn_neighbourhood(similarity, 3)),
    ):
        assert graph.isfinite().all()
        assert graph[2].eq(0).all()
        gradient = torch.autograd.grad(graph.square().sum(), features, retain_graph=True)[0]
        assert gradient.isfinite().all()


def test_negative_row_sum_gives_no_weight():
    adj = torch.tensor([[-1.0, 0.5], [0.5, 0.5]])
    assert compute_normalized_laplacian(adj)[0].eq(0).all()
    assert get_dense_laplacian(adj, "rw")[0].eq(0).all()


@pytest.mark.parametrize("topk", [0, 3])
def test_topk_beyond_the_catalogue(topk):
    with pytest.raises(ValueError, match=f"the {topk} largest of 2 values"):
        build_knn_neighbourhood(torch.eye(2), topk)


def test_unknown_normalization():
    with pytest.raises(ValueError, match="'sym', 'rw' or 'none', got 'left'"):
        get_dense_laplacian(torch.eye(2), "left")
    with pytest.raises(ValueError, match="'sym', 'rw' or 'none', got 'left'"):
        build_knn_normalized_graph(torch.eye(2), 1, True, "left")
