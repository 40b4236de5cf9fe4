"""The user-item graph as sparse matrices, and the fixed signals computed from it once per run.

Nothing here knows the host or touches the global random states. Equation numbers are LD4MRec's.
"""

import ast
import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn


def syntax(file: str) -> bytes:
    """A Python file's syntax tree: what it says, without comments, layout and docstrings."""
    tree = ast.parse(Path(file).read_bytes())
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            texts = [
                s for s in body if isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)
            ]
            node.body = [statement for statement in body if statement not in texts]
    return ast.dump(tree).encode()


CODE = syntax(__file__)  # part of a cached array's key: other code, other array


def binary_csr(interactions):
    """Interaction matrix R as CSR of float64 ones, (U, I); repeated pairs count once."""
    matrix = sp.csr_matrix(interactions, dtype=np.float64)  # sums duplicates
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.data[:] = 1.0
    return matrix


def _power(degree, exponent):
    """degree ** exponent, and 0 where the degree is 0."""
    return np.power(degree, exponent, where=degree > 0, out=np.zeros_like(degree))


def normalized(matrix, user_power=-0.5, item_power=-0.5):
    """D_u^user_power R D_i^item_power as CSR; who has no interaction keeps a zero row."""
    users = _power(np.asarray(matrix.sum(1)).ravel(), user_power)
    items = _power(np.asarray(matrix.sum(0)).ravel(), item_power)
    return (sp.diags(users) @ matrix @ sp.diags(items)).tocsr()


def randomized_svd(matrix, rank, power_iterations=6, oversampling=10, seed=0):
    """Leading singular triplets (U, r), (r,), (I, r) in float64: Halko et al., SIAM Review 2011.

    r is rank, or less where the matrix has fewer nonzero singular values. The generator is the
    function's own and signs are fixed (an item vector's largest entry is positive), so equal input
    gives equal output. Dense algebra runs in torch, whose thread count governs it.
    """
    width = min(rank + oversampling, *matrix.shape)
    matrix, transposed = matrix.tocsr(), matrix.T.tocsr()
    start = np.random.default_rng(seed).standard_normal((matrix.shape[1], width))
    left = _orthonormal(matrix @ start)  # (U, r + oversampling)
    for _ in range(power_iterations):
        right = _orthonormal(transposed @ left)
        left = _orthonormal(matrix @ right)
    # left^T R = triangle^T right^T
    right, triangle = torch.linalg.qr(torch.from_numpy(transposed @ left))
    small_left, values, small_right = torch.linalg.svd(triangle.T)
    keep = int((values[:rank] > 1e-10 * values[0]).sum())
    users = (torch.from_numpy(left) @ small_left[:, :keep]).numpy()
    items = (right @ small_right[:keep].T).numpy()
    size = np.abs(items)
    # the first entry within rounding of the largest, lest a tie decide the sign
    anchor = (size >= (1 - 1e-6) * size.max(0)).argmax(0)
    sign = np.where(items[anchor, np.arange(keep)] < 0, -1.0, 1.0)
    return users * sign, values[:keep].numpy(), items * sign


def _orthonormal(columns):
    return torch.linalg.qr(torch.from_numpy(columns)).Q.numpy()


def collaborative_signal(matrix, svd_rank, svd_input="normalized", item_block="mean"):
    """C = [user vectors || clicked items' vectors] of a rank-r SVD, float32 (U, 2r), eq. 14-15.

    svd_input: the matrix decomposed, "raw" R or "normalized" D_u^-1/2 R D_i^-1/2. item_block, how a
    user's item vectors are summed: "paper" D_u^-1/2 R D_i^-1/2 V, "mean" D_u^-1 R V, "scaled" the
    paper's times the singular values, "none" no second block.
    """
    symmetric = normalized(matrix)
    decomposed = matrix if svd_input == "raw" else symmetric
    users, values, items = randomized_svd(decomposed, svd_rank)  # Eq. 14
    if item_block == "none":
        return users.astype(np.float32)
    if item_block == "mean":
        clicked = normalized(matrix, -1, 0) @ items
    else:
        clicked = symmetric @ (items * values if item_block == "scaled" else items)
    return np.concatenate([users, clicked], axis=1, dtype=np.float32, casting="same_kind")  # Eq. 15


def preference_signal(matrix, features, feature_norm=True):
    """m_u = sum of x_i / (sqrt|N_u| sqrt|N_i|) over the user's items, float32 (U, F), eq. 16.

    features: (I, F); feature_norm scales each item's row to length 1 first (zero rows stay zero).
    """
    features = np.asarray(features, dtype=np.float64)
    if feature_norm:
        length = np.linalg.norm(features, axis=1, keepdims=True)
        features = features / np.where(length > 0, length, 1)
    return (normalized(matrix) @ features).astype(np.float32)


def scaled(signal, how):
    """A signal over its one standard deviation ("global"), each column standardised ("column"), or
    as it is ("none")."""
    if how == "none":
        return signal
    axis = 0 if how == "column" else None
    spread = signal.std(axis=axis, dtype=np.float64)
    centre = signal.mean(axis=0, dtype=np.float64) if how == "column" else 0.0
    spread = np.where(spread > 0, spread, 1).astype(np.float32)
    return (signal - np.float32(centre)) / spread  # float32 throughout: half the memory


def cached(folder, function, matrix, *arrays, **options):
    """function(matrix, *arrays, **options), an array kept in folder under a digest of all of these
    and of the number of threads.

    folder None keeps nothing. A file that cannot be read is built again; it is written whole and
    then renamed, so processes that write at once do no harm.
    """
    if folder is None:
        return function(matrix, *arrays, **options)
    digest = hashlib.blake2b(digest_size=16)
    threads = torch.get_num_threads()  # they decide the last digits of sums
    key = json.dumps([threads, matrix.shape, options], sort_keys=True)
    digest.update(CODE + key.encode())
    for array in (matrix.indptr, matrix.indices, matrix.data, *arrays):
        digest.update(f"{array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array))
    path = Path(folder) / f"{function.__name__}-{digest.hexdigest()}.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            return file["array"]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error):
        pass  # absent, cut short or damaged
    array = function(matrix, *arrays, **options)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, array=array)
        os.chmod(temporary, 0o644)  # mkstemp's files are private
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return array


class HistoryRows(nn.Module):
    """The users' training items on the model's device, handed out by the batch."""

    def __init__(self, matrix):
        super().__init__()
        self.n_items = matrix.shape[1]
        self.register_buffer("start", torch.from_numpy(matrix.indptr).long(), persistent=False)
        self.register_buffer("item", torch.from_numpy(matrix.indices).long(), persistent=False)

    def bags(self, users):
        """All items of users (B,) in a row and where each user's begin, for `embedding_bag`."""
        first = self.start[users]
        length = self.start[users + 1] - first
        begin = length.cumsum(0) - length  # (B,)
        shift = torch.repeat_interleave(first - begin, length)
        return self.item[torch.arange(len(shift), device=shift.device) + shift], begin

    def dense(self, users):
        """Rows of the interaction matrix, (B, I) float32."""
        items, begin = self.bags(users)
        rows = torch.zeros(len(users), self.n_items, device=items.device)
        place = torch.arange(len(items), device=items.device)
        rows[torch.searchsorted(begin, place, right=True) - 1, items] = 1.0
        return rows
