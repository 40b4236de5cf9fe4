"""The user-item graph as one sparse matrix, and LightGCN's propagation over it.

Nodes are users first, then items. Equation numbers are LightGCN's (He et al., SIGIR 2020).
"""

import warnings

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F

from common.graph import binary_csr, normalized


def bipartite_adjacency(interactions, layout=torch.sparse_coo):
    """D^-1/2 [[0, R], [R^T, 0]] D^-1/2 as a float32 tensor, (U+I, U+I), symmetric to the last bit.

    interactions: scipy matrix R (U, I); repeated pairs count once, nodes without any keep a zero
    row. layout: torch.sparse_coo (coalesced; what `drop_edges` takes) or torch.sparse_csr (faster
    to multiply with).
    """
    block = normalized(binary_csr(interactions))
    full = sp.bmat([[None, block], [block.T, None]], format="csr")
    full.sort_indices()  # row by row, column by column: what coalesced means
    value = torch.from_numpy(full.data).float()
    if layout == torch.sparse_csr:
        start, place = torch.from_numpy(full.indptr).long(), torch.from_numpy(full.indices).long()
        with warnings.catch_warnings():  # torch calls the layout a beta, once a process
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            return torch.sparse_csr_tensor(start, place, value, full.shape, check_invariants=True)
    full = full.tocoo()
    place = torch.from_numpy(np.stack([full.row, full.col])).long()
    return torch.sparse_coo_tensor(
        place, value, full.shape, is_coalesced=True, check_invariants=True
    )


def product(matrix, x):
    """matrix @ x for a fixed sparse matrix (N, N) and x (N, D), without a backward pass.

    On the CPU a sum of weighted rows is several times as fast as torch's product of CSR matrices
    (benchmarks/models.py); on other devices it is not.
    """
    if matrix.layout != torch.sparse_csr or matrix.device.type != "cpu":
        return matrix @ x
    start, place, weights = matrix.crow_indices(), matrix.col_indices(), matrix.values()
    return F.embedding_bag(  # fast for contiguous rows only
        place,
        x.contiguous(),
        start,
        mode="sum",
        per_sample_weights=weights,
        include_last_offset=True,
    )


def sparse_product(matrix, x, transposed=None):
    """matrix @ x for a fixed sparse matrix (N, N) and x (N, D), with a cheap backward pass.

    transposed: the matrix's transpose; None: the matrix is symmetric. Torch itself would transpose
    the matrix in every backward pass.
    """
    return _SparseProduct.apply(matrix, matrix if transposed is None else transposed, x)


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, matrix, transposed, x):
        ctx.transposed = transposed
        return product(matrix, x)

    @staticmethod
    def backward(ctx, gradient):
        return None, None, product(ctx.transposed, gradient)


def mean_of_layers(adjacency, users, items, n_layers):
    """LightGCN's embeddings, the mean over layers 0..n_layers: (U, D) and (I, D).

    adjacency: symmetric, (U+I, U+I); users (U, D), items (I, D): layer 0.
    """
    nodes = layer_mean(adjacency, torch.cat([users, items]), n_layers)
    return nodes.split([len(users), len(items)])


def layer_mean(adjacency, nodes, n_layers, transposed=None):
    """The same of all nodes in one tensor, (U+I, D). transposed: as for `sparse_product`."""
    transposed = adjacency if transposed is None else transposed
    return _LayerMean.apply(adjacency, transposed, nodes, n_layers)


class _LayerMean(torch.autograd.Function):
    """`_layer_mean`; with A's transpose that is its own backward pass."""

    @staticmethod
    def forward(ctx, adjacency, transposed, x, n_layers):
        ctx.transposed, ctx.n_layers = transposed, n_layers
        return _layer_mean(adjacency, x, n_layers)

    @staticmethod
    def backward(ctx, gradient):
        return None, None, _layer_mean(ctx.transposed, gradient, ctx.n_layers), None


def _layer_mean(adjacency, x, n_layers):
    """(1 + A + ... + A^L) x / (L + 1), by Horner's rule."""
    total = x  # (U+I, D), E^(0)
    for _ in range(n_layers):
        total = product(adjacency, total).add_(x)  # Eq. 7
    # Eq. 8 with alpha_k = 1 / (L + 1)
    return total.div_(n_layers + 1) if n_layers else x.clone()
