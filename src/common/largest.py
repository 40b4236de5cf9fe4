"""The largest values of each row of a wide matrix, with a rule for equal ones."""

import numpy as np
import torch
from torch import Tensor

GROUPS = 128  # at least so many of columns, in whose maxima a bound is sought


def largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """torch.topk along dim 1 of (R, C), but of equal values the lowest columns win; NaN is first.

    On the CPU twice as fast as topk where C is far above k.
    """
    groups = max(GROUPS, 2 * k)
    plain = values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64)
    if not plain or values.shape[1] < 8 * groups:
        return _by_topk(values, k)
    return _by_bound(values.detach().contiguous(), k, groups)


def _by_topk(values, k):
    top, place = values.topk(min(k + 1, values.shape[1]))
    if top.shape[1] > 1:
        # topk's choice is free only where equal values stand on both sides of the cut or within;
        # inside the k it changes nothing but their order, which the sort below puts right
        tied = (top[:, :-1] == top[:, 1:]).any(1).nonzero().squeeze(1)
        if len(tied):
            value, column = values[tied].sort(dim=1, descending=True, stable=True)
            width = top.shape[1]
            top[tied], place[tied] = value[:, :width], column[:, :width]
    return top[:, :k], place[:, :k]


def _by_bound(values, k, groups):
    """Columns are dealt to the groups in turn. k groups have a member at or above the k-th largest
    of their maxima, so the k largest values are, too; few others are, and only those are sorted.
    """
    n_rows, n_columns = values.shape
    whole = n_columns // groups * groups
    maxima = values[:, :whole].unflatten(1, (-1, groups)).amax(1)  # (R, G)
    rest = n_columns - whole
    torch.maximum(maxima[:, :rest], values[:, whole:], out=maxima[:, :rest])
    array, maxima = values.numpy(), np.sort(maxima.numpy(), axis=1)  # NaN last
    row, column = np.divmod(np.flatnonzero(array >= maxima[:, -k, None]), n_columns)
    count = np.bincount(row, minlength=n_rows)
    slow = (count > 4 * k) | np.isnan(maxima[:, -1])  # too many equal values, or NaN
    if slow.any():
        kept = ~slow[row]
        row, column, count = row[kept], column[kept], np.where(slow, 0, count)
    width = max(k, count.max(initial=0))
    within = np.arange(len(row)) - (count.cumsum() - count)[row]
    candidates = np.full((n_rows, width), -np.inf, dtype=array.dtype)  # in order of their columns
    candidates[row, within] = array[row, column]
    columns = np.zeros((n_rows, width), dtype=np.int64)
    columns[row, within] = column
    top, order = torch.from_numpy(candidates).sort(dim=1, descending=True, stable=True)
    top, place = top[:, :k], torch.from_numpy(columns).gather(1, order[:, :k])
    if slow.any():
        rows = torch.from_numpy(np.flatnonzero(slow))
        top[rows], place[rows] = _by_topk(values[rows], k)
    return top, place
