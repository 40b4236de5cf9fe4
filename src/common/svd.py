"""Leading singular values and item vectors of a sparse matrix users x items.

Nothing of users x rank is kept: the vectors of users follow from those of their items.
"""

import hashlib

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from common.graph import syntax
from common.sparse import csr_tensor, product

CODE = hashlib.blake2b(syntax(__file__), digest_size=8).hexdigest()
ROWS = 2**15  # users multiplied at a time
# of X^T X; what that leaves out: tests and docs/method.md
ITERATIONS = 6
OVERSAMPLING = 10
SMALLEST = 1e-5  # beside the largest singular value; float32 knows nothing below


def item_vectors(
    matrix: sp.csr_matrix, rank: int, iterations: int = ITERATIONS, seed: int = 0, code: str = CODE
) -> np.ndarray:
    """V S^T stacked: row 0 is S (r,), the rows below are V (I, r); float32 (1 + I, r).

    Block iteration with X^T X from a random start (Halko et al., SIAM Review 2011), then the best
    r directions of the block (Rayleigh-Ritz), so that the columns of X V are orthogonal and have
    lengths S. r is rank, or less where the matrix has fewer singular values above rounding. The
    generator is the function's own and signs are fixed (a vector's largest entry is positive).
    Memory is O(I r + nonzeros). One array, as `graph.cached` keeps one; code is for its key alone:
    a change of this file makes the array anew.
    """
    blocks = _blocks(matrix)
    width = min(rank + OVERSAMPLING, *matrix.shape)
    start = np.random.default_rng(seed).standard_normal((matrix.shape[1], width), dtype=np.float32)
    basis = torch.from_numpy(start)  # (I, r + oversampling)
    for _ in range(iterations):
        basis = torch.linalg.qr(sum(product(t, product(x, basis)) for x, t in blocks)).Q
    projected = torch.zeros(width, width, dtype=torch.float64)  # basis^T X^T X basis
    for x, _ in blocks:
        rows = product(x, basis)
        projected += (rows.T @ rows).double()
    squares, directions = (part.flip(-1)[..., :rank] for part in torch.linalg.eigh(projected))
    keep = int((squares > SMALLEST**2 * squares[0]).sum())
    vectors = (basis @ directions[:, :keep].float()).numpy()
    size = np.abs(vectors)
    # the first entry within rounding of the largest, lest a tie decide the sign
    anchor = (size >= (1 - 1e-4) * size.max(0)).argmax(0)
    sign = np.where(vectors[anchor, np.arange(keep)] < 0, -1, 1)
    values = squares[:keep].sqrt().numpy()
    return np.concatenate([values[None], vectors * sign], dtype=np.float32, casting="same_kind")


def _blocks(matrix: sp.csr_matrix) -> list[tuple[Tensor, Tensor]]:
    """Rows of the matrix by the block, and each block's transpose, as float32 CSR tensors."""
    found = []
    for first in range(0, matrix.shape[0], ROWS):
        rows = matrix[first : first + ROWS].astype(np.float32)
        found.append((csr_tensor(rows), csr_tensor(rows.T.tocsr())))
    return found
