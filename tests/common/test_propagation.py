import warnings

import numpy as np
import pytest
import torch

import golden
import support
from common.propagation import bipartite_adjacency, layer_mean, looped, mean_of_layers

N = golden.N_USERS + golden.N_ITEMS


def adjacency():
    return bipartite_adjacency(golden.matrix(support.TRAIN), torch.sparse_csr).double()


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def test_both_layouts_hold_the_same_symmetric_matrix():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = bipartite_adjacency(golden.matrix(support.TRAIN), torch.sparse_csr)
    pairs = bipartite_adjacency(golden.matrix(support.TRAIN))
    assert (rows.layout, pairs.layout) == (torch.sparse_csr, torch.sparse_coo)
    assert rows.to_dense().equal(pairs.to_dense())
    assert rows.to_dense().equal(rows.to_dense().T)
    assert rows._nnz() == 2 * len(support.TRAIN)


def test_loops_stand_beside_the_edges():
    graph = looped(golden.matrix(support.TRAIN * 2)).toarray()
    edges = adjacency().to_dense().numpy() > 0
    assert np.array_equal(graph, edges + np.eye(N))


def test_layers_of_a_matrix_that_is_not_symmetric():
    matrix = adjacency().to_dense() * torch.arange(1.0, N + 1, dtype=torch.float64)
    x, weight = random(N, 3), random(N, 3)
    pair = matrix.to_sparse_csr(), matrix.T.contiguous().to_sparse_csr()
    mean = layer_mean(pair[0], x, 2, pair[1])
    expected = (x + matrix @ x + matrix @ matrix @ x) / 3
    torch.testing.assert_close(mean, expected)
    (wanted,) = torch.autograd.grad((expected * weight).sum(), x)
    for _ in range(2):  # a graph that is kept gives the same again
        (got,) = torch.autograd.grad((mean * weight).sum(), x, retain_graph=True)
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_mean_of_layers_and_its_gradient_are_the_slow_ones(n_layers):
    users, items = random(golden.N_USERS, 4), random(golden.N_ITEMS, 4)
    before = users.detach().clone(), items.detach().clone()
    power, total = torch.eye(N, dtype=torch.float64), torch.zeros(N, N, dtype=torch.float64)
    for _ in range(n_layers + 1):
        total, power = total + power / (n_layers + 1), adjacency().to_dense() @ power
    expected = (total @ torch.cat([users, items])).split([golden.N_USERS, golden.N_ITEMS])
    got = mean_of_layers(adjacency(), users, items, n_layers)
    weights = random(golden.N_USERS, 4), random(golden.N_ITEMS, 4)
    gradients = []
    for out in (got, expected):
        loss = sum((x * w).sum() for x, w in zip(out, weights, strict=True))
        gradients.append(torch.autograd.grad(loss, [users, items]))
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(*gradients)
    assert users.equal(before[0])
    assert items.equal(before[1])


def test_the_gradient_of_a_part_is_left_as_it_is():
    users, items = random(golden.N_USERS, 4), random(golden.N_ITEMS, 4)
    out = torch.cat(mean_of_layers(adjacency(), users, items, 2))
    out.retain_grad()
    out.sum().backward()
    assert np.array_equal(out.grad, np.ones((N, 4)))  # not written into on the way back
