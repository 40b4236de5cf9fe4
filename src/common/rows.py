"""Rows of a table by their numbers, with the gradient that is quickest on the device."""

import torch.nn.functional as F


def take(table, rows):
    """Rows (...) of a table (N, D): (..., D).

    On the CPU the gradient of index_select takes half the time of embedding's; on CUDA it would add
    up repeated rows in no fixed order.
    """
    if table.device.type != "cpu":
        return F.embedding(rows, table)
    return table.index_select(0, rows.flatten()).view(*rows.shape, -1)
