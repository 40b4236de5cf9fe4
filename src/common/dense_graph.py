"""Item graphs as MMRec's `utils.utils` builds them, for third-party models.

Similarities are dense, (I, I): 63,001 items take 15.9 GB. Our own models build their graphs in
blocks. Everything is differentiable, since some models learn the features. Where we differ from
MMRec: a zero feature row, a zero or a negative row sum gives similarity or weight 0, where MMRec
gives NaN (and top-k, which ranks NaN first, then spreads it over the graph). Which of several equal
similarities is among the top k is torch.topk's choice.
"""

import torch
from torch import Tensor

from common.rows import unit_rows, where_positive


def build_sim(context: Tensor) -> Tensor:
    """Cosine similarity of all pairs of rows of (I, F), dense (I, I); 0 for a zero row."""
    unit = unit_rows(context)
    return unit @ unit.T


def build_knn_neighbourhood(adj: Tensor, topk: int) -> Tensor:
    """The matrix with only the `topk` largest values of each row, dense; the others are 0.

    Raises ValueError unless 1 <= topk <= I, as `build_knn_normalized_graph`.
    """
    value, place = _largest(adj, topk)
    return torch.zeros_like(adj).scatter(-1, place, value)


def compute_normalized_laplacian(adj: Tensor) -> Tensor:
    """D^-1/2 A D^-1/2 of a dense matrix, D the row sums, on both sides."""
    factor = _power(adj.sum(-1), -0.5)
    return factor.unsqueeze(-1) * adj * factor


def get_sparse_laplacian(
    edge_index: Tensor, edge_weight: Tensor, num_nodes: int, normalization: str = "none"
) -> tuple[Tensor, Tensor]:
    """Edges and their normalized weights: (edge_index (2, E), weights (E,)).

    edge_index holds (row, column) of A's entries, D the sums of its rows. normalization: 'sym'
    D^-1/2 A D^-1/2, 'rw' D^-1 A, 'none' A. Raises ValueError for another word.
    """
    _check_normalization(normalization)
    if normalization == "none":
        return edge_index, edge_weight
    row, col = edge_index
    degree = edge_weight.new_zeros(num_nodes).index_add(0, row, edge_weight)
    if normalization == "rw":
        return edge_index, _power(degree, -1.0)[row] * edge_weight
    factor = _power(degree, -0.5)
    return edge_index, factor[row] * edge_weight * factor[col]


def get_dense_laplacian(adj: Tensor, normalization: str = "none") -> Tensor:
    """`get_sparse_laplacian` of a dense matrix: 'sym' D^-1/2 A D^-1/2, 'rw' D^-1 A, 'none' A."""
    _check_normalization(normalization)
    if normalization == "none":
        return adj
    if normalization == "rw":
        return _power(adj.sum(-1), -1.0).unsqueeze(-1) * adj
    return compute_normalized_laplacian(adj)


def build_knn_normalized_graph(adj: Tensor, topk: int, is_sparse: bool, norm_type: str) -> Tensor:
    """Directed graph of each row's `topk` largest values, (I, I), sparse COO or dense.

    norm_type: 'sym', 'rw' or 'none', see `get_sparse_laplacian`.
    """
    if not is_sparse:
        return get_dense_laplacian(build_knn_neighbourhood(adj, topk), norm_type)
    value, place = _largest(adj, topk)
    row = torch.arange(len(adj), device=adj.device).repeat_interleave(topk)
    edges = torch.stack([row, place.flatten()])
    edges, weights = get_sparse_laplacian(edges, value.flatten(), len(adj), norm_type)
    return torch.sparse_coo_tensor(edges, weights, adj.shape, check_invariants=False)


def _largest(adj, topk):
    width = adj.shape[-1]
    if not 0 < topk <= width:
        raise ValueError(f"wanted the {topk} largest of {width} values in a row; change knn_k")
    return torch.topk(adj, topk, dim=-1)


def _power(degree, exponent):
    return where_positive(degree, lambda positive: positive.pow(exponent))


def _check_normalization(normalization):
    if normalization not in ("sym", "rw", "none"):
        raise ValueError(f"normalization must be 'sym', 'rw' or 'none', got {normalization!r}")
