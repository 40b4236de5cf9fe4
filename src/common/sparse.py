"""Fixed sparse matrices as tensors, and their products with a cheap backward pass."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor


@contextmanager
def _without_beta_warning() -> Iterator[None]:
    """Torch calls the CSR layout a beta, once a process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        yield


def csr_tensor(matrix: sp.csr_matrix) -> Tensor:
    """A scipy CSR matrix, whose indices are sorted, as a CSR tensor of the same type of numbers."""
    matrix.sort_indices()
    start, place = (
        torch.from_numpy(part.astype(np.int64)) for part in (matrix.indptr, matrix.indices)
    )
    value = torch.from_numpy(matrix.data.copy())
    with _without_beta_warning():
        return torch.sparse_csr_tensor(start, place, value, matrix.shape, check_invariants=True)


def csr_of_pairs(pairs: Tensor, values: Tensor, shape: Sequence[int]) -> Tensor:
    """Entries at pairs (2, E) of row and column as a CSR tensor; those of one place add up."""
    matrix = torch.sparse_coo_tensor(pairs, values, tuple(shape), check_invariants=True)
    with _without_beta_warning():
        return matrix.to_sparse_csr()


def product(matrix: Tensor, x: Tensor) -> Tensor:
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


def sparse_product(matrix: Tensor, x: Tensor, transposed: Tensor | None = None) -> Tensor:
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
