"""Sums over all items of a catalogue without a row of users x items.

Of an item matrix W (I, d), Gaussian noise on a user's row and a squared norm of a user's scores
need the Gram matrix W^T W alone. What is said of single items is sparse.
A batch of histories is items (N,), the users' items in a row, and begin (B,), where each begins.
All is computed in the item matrix's own precision, under autocast too: the squares of all scores
nearly cancel in what a loss keeps of them.
"""

from collections.abc import Callable
from functools import wraps

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from common.rows import take


def _in_full(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function outside autocast, with its first argument, h, in the type of the second."""

    @wraps(function)
    def run(first: Tensor, *others: Tensor) -> Tensor:
        with torch.autocast(first.device.type, enabled=False):
            return function(first.to(others[0].dtype) if others else first, *others)

    return run


class _Gram(torch.autograd.Function):
    """W^T W; the gradient is one product, as the Gram matrix is symmetric."""

    @staticmethod
    def forward(ctx, w):
        ctx.save_for_backward(w)
        return w.T @ w

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (w,) = ctx.saved_tensors
        with torch.autocast(w.device.type, enabled=False):
            return w @ (gradient + gradient.T)


@_in_full
def gram(weights: Tensor) -> Tensor:
    """W^T W (d, d) of W (I, d)."""
    return _Gram.apply(weights)


@_in_full
def noise_factor(weights: Tensor) -> Tensor:
    """L (d, d) with L L^T = W^T W: z L^T, z ~ N(0, 1_d), is distributed as eps W, eps ~ N(0, 1_I).

    A part of rounding's size is added to the diagonal, as W may have fewer independent columns, and
    more where that does not suffice. NaN where W has NaN or infinity.
    """
    square = gram(weights)
    size = square.detach().diagonal().max() * len(square) * torch.finfo(square.dtype).eps
    jitter = torch.eye(len(square), dtype=square.dtype, device=square.device)
    jitter = jitter * size.clamp(min=1e-30)
    for more in (1, 1e2, 1e4):
        factor, failed = torch.linalg.cholesky_ex(square + jitter * more)
        if not failed:
            return factor
    return factor * torch.nan


@_in_full
def squared_norms(h: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """(B,): of h (B, d), the sums over all items of (h W_i + b_i)^2."""
    quadratic = ((h @ gram(weights)) * h).sum(1)
    return quadratic + 2 * h @ (weights.T @ bias) + bias @ bias


def lengths(begin: Tensor, n: int) -> Tensor:
    """(B,): how many of n entries each user has."""
    return F.pad(begin, (0, 1), value=n).diff()


def total(values: Tensor, begin: Tensor) -> Tensor:
    """(B,): the sums of values (N,) of each user."""
    return torch.segment_reduce(values, "sum", lengths=lengths(begin, len(values)), unsafe=True)


@_in_full
def sums_of_scores(
    h: Tensor,
    weights: Tensor,
    bias: Tensor,
    items: Tensor,
    begin: Tensor,
    values: Tensor | None = None,
) -> Tensor:
    """(B,): sums of each user's scores h W_i + b_i of the items given, times values (N,)."""
    of_items = F.embedding_bag(items, weights, begin, mode="sum", per_sample_weights=values)
    shares = _of(bias, items)
    return (h * of_items).sum(1) + total(shares if values is None else shares * values, begin)


@_in_full
def sums_of_shared(
    h: Tensor,
    weights: Tensor,
    bias: Tensor,
    bags: tuple[Tensor, Tensor, Tensor],
    owner: Tensor,
    bag: Tensor,
) -> Tensor:
    """(N,): sums of a user's scores h[owner] W_i + b_i over the items of a bag, times their values.

    bags: items (E,), where each bag begins (Q,) and values (E,); owner, bag (N,): whose scores, and
    over which bag. What many users ask of one bag is summed once.
    """
    items, begin, values = bags
    rows = F.embedding_bag(items, weights, begin, mode="sum", per_sample_weights=values)  # (Q, d)
    return pair_scores(h, rows, total(_of(bias, items) * values, begin), owner, bag)


@_in_full
def pair_scores(h: Tensor, weights: Tensor, bias: Tensor, owner: Tensor, items: Tensor) -> Tensor:
    """(N,): scores of pairs, h[owner] W_items + b_items."""
    return (_rows(h, owner) * _rows(weights, items)).sum(1) + _of(bias, items)


def _of(bias, items):
    return _rows(bias.unsqueeze(1), items).squeeze(1)


def _rows(table, rows):
    return take(table, rows) if len(rows) else table[:0]  # of none, take knows no width
