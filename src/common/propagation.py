"""The user-item graph as one sparse matrix, and LightGCN's propagation over it.

Nodes are users first, then items. Equation numbers are LightGCN's (He et al., SIGIR 2020).
"""

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from common.graph import binary_csr, normalized
from common.sparse import csr_tensor, product


def bipartite(block: sp.csr_matrix) -> sp.csr_matrix:
    """[[0, R], [R^T, 0]] of a block R (U, I), CSR (U+I, U+I)."""
    return sp.bmat([[None, block], [block.T, None]], format="csr")


def looped(interactions: sp.spmatrix) -> sp.csr_matrix:
    """The user-item graph of R (U, I) with a self-loop at each node, CSR of ones (U+I, U+I);
    repeated pairs count once.
    """
    block = binary_csr(interactions)
    return (bipartite(block) + sp.identity(sum(block.shape))).tocsr()


def bipartite_adjacency(
    interactions: sp.spmatrix, layout: torch.layout = torch.sparse_coo
) -> Tensor:
    """D^-1/2 [[0, R], [R^T, 0]] D^-1/2 as a float32 tensor, (U+I, U+I), symmetric to the last bit.

    interactions: scipy matrix R (U, I); repeated pairs count once, nodes without any keep a zero
    row. layout: torch.sparse_coo (coalesced; what `drop_edges` takes) or torch.sparse_csr (faster
    to multiply with).
    """
    full = bipartite(normalized(binary_csr(interactions))).astype(np.float32)
    if layout == torch.sparse_csr:
        return csr_tensor(full)
    full.sort_indices()  # row by row, column by column: what coalesced means
    full = full.tocoo()
    place = torch.from_numpy(np.stack([full.row, full.col])).long()
    return torch.sparse_coo_tensor(
        place, torch.from_numpy(full.data), full.shape, is_coalesced=True, check_invariants=True
    )


def mean_of_layers(
    adjacency: Tensor, users: Tensor, items: Tensor, n_layers: int
) -> tuple[Tensor, Tensor]:
    """LightGCN's embeddings, the mean over layers 0..n_layers: (U, D) and (I, D).

    adjacency: symmetric, (U+I, U+I); users (U, D), items (I, D): layer 0.
    """
    nodes = layer_mean(adjacency, torch.cat([users, items]), n_layers)
    return nodes.split([len(users), len(items)])


def layer_mean(
    adjacency: Tensor, nodes: Tensor, n_layers: int, transposed: Tensor | None = None
) -> Tensor:
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
