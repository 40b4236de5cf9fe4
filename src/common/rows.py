"""Rows of a table: some of them, with the gradient that is quickest on the device; at length 1."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def take(table: Tensor, rows: Tensor) -> Tensor:
    """Rows (...) of a table (N, D): (..., D).

    On the CPU the gradient of index_select takes half the time of embedding's; on CUDA it would add
    up repeated rows in no fixed order.
    """
    if table.device.type != "cpu":
        return F.embedding(rows, table)
    return table.index_select(0, rows.flatten()).view(*rows.shape, -1)


def unit_rows(table: Tensor) -> Tensor:
    """Rows (N, D) over their length; a zero row stays zero."""
    length = torch.linalg.vector_norm(table, dim=1, keepdim=True)
    return table / torch.where(length > 0, length, 1.0)


def where_positive(total: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """function(total), and 0 where the total is not above 0, with a finite gradient there."""
    positive = total > 0
    return torch.where(positive, function(torch.where(positive, total, 1.0)), 0.0)
