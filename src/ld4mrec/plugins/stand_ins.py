"""Stand-ins for packages that MMRec's models import and that may not be installed.

`torch_scatter`, `torch_sparse` (SparseTensor of rows, columns and values, products) and `sparsesvd`
do the work, by torch and scipy; `torchvision` and `lmdb` are
imported by MMRec's files but never used, so a use is an error. `plugins.shims` puts them in place
while a third-party model is loaded.
"""

import functools
import types

import numpy as np
import scipy.sparse as sp
import torch

UNUSED = ("torchvision", "lmdb")


def scatter(src, index, dim=-1, out=None, dim_size=None, reduce="sum"):
    """Reduce the slices of `src` along `dim` that have the same `index`; what no index names is 0.

    index: as src, or fewer dimensions: a vector along `dim`. dim_size: size of the result along
    dim, the largest index + 1 if None. out: a tensor to add to or to reduce into. reduce: sum, add,
    mul, mean, min, max.
    """
    if reduce in ("min", "max"):
        return _extreme(src, index, dim, out, dim_size, reduce)[0]
    if reduce not in ("sum", "add", "mul", "mean"):
        raise ValueError(f"reduce must be sum, add, mul, mean, min or max, got {reduce!r}")
    dim, index = _aligned(src, index, dim)
    start = _start(src, index, dim, dim_size, int(reduce == "mul")) if out is None else out
    if reduce == "mul":
        return _written(out, start.scatter_reduce(dim, index, src, "prod"))
    total = start.scatter_add(dim, index, src)
    if reduce == "mean":
        count = torch.zeros_like(total).scatter_add(dim, index, torch.ones_like(src)).clamp(min=1)
        rounding = None if total.is_floating_point() else "floor"
        total = torch.div(total, count, rounding_mode=rounding)
    return _written(out, total)


scatter_sum = scatter_add = functools.partial(scatter, reduce="sum")
scatter_mul = functools.partial(scatter, reduce="mul")
scatter_mean = functools.partial(scatter, reduce="mean")


def scatter_max(src, index, dim=-1, out=None, dim_size=None):
    """Largest values, and their positions in src along dim (src's size for an empty group)."""
    return _extreme(src, index, dim, out, dim_size, "max")


def scatter_min(src, index, dim=-1, out=None, dim_size=None):
    """Smallest values, and their positions in src along dim (src's size for an empty group)."""
    return _extreme(src, index, dim, out, dim_size, "min")


def scatter_softmax(src, index, dim=-1, dim_size=None):
    """Softmax of `src` within each group of equal indices."""
    dim, index = _aligned(src, index, dim)
    peak = _extreme(src, index, dim, None, dim_size, "max")[0].detach()
    weight = (src - peak.gather(dim, index)).exp()
    return weight / scatter_sum(weight, index, dim, dim_size=dim_size).gather(dim, index)


def sparsesvd(matrix: sp.spmatrix, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k leading singular triplets of a scipy matrix, s descending.

    Returns u^T (k, rows), s (k,), v^T (k, columns).
    """
    from scipy.sparse.linalg import svds

    smaller = min(matrix.shape)
    if k < smaller:
        start = np.random.default_rng(0).standard_normal(smaller)  # ARPACK's own would be random
        u, s, vt = svds(matrix.astype(np.float64), k=k, v0=start)
    else:  # all of them: ARPACK cannot
        u, s, vt = np.linalg.svd(matrix.toarray().astype(np.float64), full_matrices=False)
    order = np.argsort(-s)
    return u.T[order], s[order], vt[order]


class SparseTensor:
    """torch_sparse's matrix, as far as recommenders use it: made of rows, columns and values.

    row, col: (n,) int64. value: (n,), None for ones. sparse_sizes: (rows, columns), None for the
    largest indices + 1.
    """

    def __init__(self, row, col, value=None, sparse_sizes=None):
        if sparse_sizes is None:
            sparse_sizes = tuple(int(index.max()) + 1 for index in (row, col))
        value = torch.ones(len(row), device=row.device) if value is None else value
        matrix = torch.sparse_coo_tensor(torch.stack([row, col]), value, tuple(sparse_sizes))
        self._matrix = matrix.coalesce()

    @classmethod
    def of(cls, matrix):
        """That of a sparse tensor of torch's."""
        matrix = matrix.coalesce()
        return cls(*matrix.indices(), matrix.values(), tuple(matrix.shape))

    from_torch_sparse_coo_tensor = of

    def state_dict(self):
        """What a checkpoint holds of it."""
        return {"matrix": self._matrix}

    def load_state_dict(self, state):
        self._matrix = state["matrix"].to(self._matrix.device)

    def coo(self):
        """(row, col, value)."""
        return *self._matrix.indices(), self._matrix.values()

    def sparse_sizes(self):
        return tuple(self._matrix.shape)

    def size(self, dim):
        return self._matrix.shape[dim]

    def nnz(self):
        return self._matrix._nnz()

    def t(self):
        return SparseTensor.of(self._matrix.t())

    def to(self, *args, **kwargs):
        return SparseTensor.of(self._matrix.to(*args, **kwargs))

    def cuda(self, *args):
        return SparseTensor.of(self._matrix.cuda(*args))

    def cpu(self):
        return SparseTensor.of(self._matrix.cpu())

    def sum(self, dim):
        """Sums along a dimension, dense."""
        return torch.sparse.sum(self._matrix, dim=dim).to_dense()

    def to_dense(self):
        return self._matrix.to_dense()

    def to_torch_sparse_coo_tensor(self):
        return self._matrix

    def matmul(self, other):
        """The product with a dense matrix, or with another of these."""
        if isinstance(other, SparseTensor):
            return SparseTensor.of(torch.sparse.mm(self._matrix, other._matrix))
        return torch.sparse.mm(self._matrix, other)

    __matmul__ = matmul


def sparse_matmul(matrix, other, reduce="sum"):
    """torch_sparse's matmul and spmm for a SparseTensor, with sums only."""
    if reduce not in ("sum", "add"):
        raise NotImplementedError(
            f"the stand-in for torch_sparse knows reduce='sum', got {reduce!r}; install the package"
        )
    return matrix.matmul(other)


def spmm(index, value, m, n, matrix):
    """The product of a sparse (m, n) matrix, index (2, k) and value (k,), with a dense one."""
    return torch.sparse.mm(torch.sparse_coo_tensor(index, value, (m, n)), matrix)


def stand_in(name: str) -> types.ModuleType | None:
    """The module `name`, or None where there is no stand-in of that name."""
    package = name.partition(".")[0]
    module = types.ModuleType(name, f"Stand-in for {name}, which is not installed.")
    if package == "torch_scatter":
        named = {name: value for name, value in globals().items() if name.startswith("scatter")}
        vars(module).update(named)
    elif name == "sparsesvd":
        module.sparsesvd = sparsesvd
    elif package == "torch_sparse":
        module.SparseTensor, module.matmul, module.spmm = SparseTensor, sparse_matmul, spmm
    elif package in UNUSED:
        module.__getattr__ = lambda attribute: _unusable(name, attribute)
    else:
        return None
    return module


def _unusable(module, attribute):
    if attribute.startswith("__"):  # what Python and inspecting tools ask of any module
        raise AttributeError(attribute)

    def missing(*args, **kwargs):
        package = module.partition(".")[0]
        raise ImportError(
            f"{module}.{attribute} was called, but {package} is not installed; "
            f"pip install {package}"
        )

    return missing


def _aligned(src, index, dim):
    """The dimension counted from 0, and the index expanded to src's shape."""
    dim = dim + src.dim() if dim < 0 else dim
    if index.dim() == 1:
        index = index.view([-1 if d == dim else 1 for d in range(src.dim())])
    while index.dim() < src.dim():
        index = index.unsqueeze(-1)
    return dim, index.expand_as(src)


def _start(src, index, dim, dim_size, value=0):
    if dim_size is None:
        dim_size = int(index.max()) + 1 if index.numel() else 0
    shape = list(src.shape)
    shape[dim] = dim_size
    return src.new_full(shape, value)


def _extreme(src, index, dim, out, dim_size, reduce):
    dim, index = _aligned(src, index, dim)
    start = _start(src, index, dim, dim_size) if out is None else out
    value = start.scatter_reduce(dim, index, src, f"a{reduce}", include_self=out is not None)
    size = src.shape[dim]
    _, along = _aligned(src, torch.arange(size, device=src.device), dim)
    hit = torch.where(src == value.gather(dim, index), along, size)
    where = torch.full_like(value, size, dtype=torch.long).scatter_reduce(dim, index, hit, "amin")
    return _written(out, value), where


def _written(out, result):
    return result if out is None else out.copy_(result)
