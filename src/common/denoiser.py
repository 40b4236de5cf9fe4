"""DiffRec's denoising network, which DiffMM takes over, and the reverse chain that applies it.

Wang et al., SIGIR 2023, arXiv:2304.04971. Steps are table rows t = 0..T-1 of
`common.diffusion.GaussianDiffusion`. Letters: x W_in + W_t e_t + b is the network's first layer,
h W_out^T + b_out its last.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.diffusion import TARGETS, GaussianDiffusion, step_code
from common.graph import HistoryRows
from common.options import (
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_option,
    is_integer,
)

BIAS_SPREAD = 0.001  # standard deviation of the biases at first, DiffRec's


def time_code(steps: Tensor, size: int) -> Tensor:
    """Code of steps t (B,), float32 (B, size): cosines of t 10000^(-k / half), then the sines.

    half = size // 2 and k = 0..half-1; an odd size ends in a column of zeros.
    """
    check_integer("time_size", size, 2)
    code = step_code(steps, size - size % 2)  # sines and cosines take turns
    return F.pad(torch.cat([code[:, 1::2], code[:, 0::2]], 1), (0, size % 2))


class Denoiser(nn.Module):
    """An MLP f(x, t) on rows of users: (B, I) to raw outputs (B, I).

    dims: the decoder's widths in its order; the encoder has them reversed: [200, 600] is I + E ->
    600 -> 200, then 200 -> 600 -> I. time_size: E. dropout: share of x that is dropped in training.
    row_norm: scale x's rows to length 1 first. The first layer multiplies x and the time code by
    matrices of their own, initialised as one of I + E inputs; the two are never joined. Raises
    ValueError for other values.
    """

    def __init__(
        self,
        n_items: int,
        steps: int,
        dims: list[int],
        time_size: int,
        dropout: float = 0.0,
        row_norm: bool = False,
    ):
        super().__init__()
        wanted = "a list of integers >= 1, the widths of the decoder"
        ok = isinstance(dims, list) and dims and all(is_integer(d) and d >= 1 for d in dims)
        check_option("dims", dims, wanted, ok)
        check_number("dropout", dropout, 0, 0.99)
        check_flag("row_norm", row_norm)
        self.dropout, self.row_norm = dropout, row_norm
        codes = time_code(torch.arange(steps), time_size)
        self.register_buffer("codes", codes, persistent=False)  # (T, E)
        width, n_in = dims[-1], n_items + time_size
        self.time_map = linear(time_size, time_size)
        self.item_in = nn.Parameter(torch.empty(n_items, width))  # W_in as embedding_bag wants it
        nn.init.normal_(self.item_in, std=xavier_spread(n_in, width))
        self.time_in = linear(time_size, width, fan_in=n_in)  # W_t and b
        self.layers = nn.ModuleList(linear(a, b) for a, b in pairwise([*dims[::-1], *dims[1:]]))
        self.out = linear(width, n_items)

    def forward(self, x: Tensor, t: Tensor | int) -> Tensor:
        """x (B, I), t a step or one for each row, (B,)."""
        if self.row_norm:
            x = F.normalize(x)
        if self.training and self.dropout:
            x = dropped_out(x, self.dropout)
        return self.out(self.hidden(x @ self.item_in, t))

    def hidden(self, product: Tensor, t: Tensor | int) -> Tensor:
        """The last hidden layer (B, D), from the first one's x W_in (B, D)."""
        e = self.time_map(self.codes[t])  # (B, E) or (E,), no activation
        h = torch.tanh(product + self.time_in(e))
        for layer in self.layers:
            h = torch.tanh(layer(h))
        return h


def linear(n_in: int, n_out: int, fan_in: int | None = None) -> nn.Linear:
    """A linear layer, its weights Xavier-normal as if of fan_in inputs, small random biases."""
    layer = nn.Linear(n_in, n_out)
    nn.init.normal_(layer.weight, std=xavier_spread(fan_in or n_in, n_out))
    nn.init.normal_(layer.bias, std=BIAS_SPREAD)
    return layer


def xavier_spread(fan_in: int, fan_out: int) -> float:
    """Standard deviation of Xavier-normal weights."""
    return math.sqrt(2 / (fan_in + fan_out))


def dropped_out(x: Tensor, p: float) -> Tensor:
    """F.dropout(x, p), whose Bernoulli numbers cost four times as much on a CPU."""
    return torch.where(torch.rand_like(x) < p, 0, x).div_(1 - p)


def posterior(diffusion: GaussianDiffusion) -> tuple[Tensor, Tensor, Tensor]:
    """c1, c2 and ln v of q(x_{t-1} | x_t, x_0) = N(c1 x_0 + c2 x_t, v), float64 (T,) each.

    v is 0 at the first step; its place holds the second's, as in DiffRec. Where no noise was added,
    the mean is x_0.
    """
    beta, lost = diffusion.beta, 1 - diffusion.alpha_bar
    before = torch.cat([torch.ones_like(lost[:1]), diffusion.alpha_bar[:-1]])  # alpha_bar_{t-1}
    c1 = (beta * before.sqrt() / lost).nan_to_num(nan=1.0)
    c2 = ((1 - before) * (1 - beta).sqrt() / lost).nan_to_num(nan=0.0)
    logvar = (beta * (1 - before) / lost).nan_to_num(nan=0.0).log()
    logvar[0] = logvar[1]
    return c1, c2, logvar


def reverse_steps(diffusion: GaussianDiffusion, target: str = "x_0") -> list[tuple[float, float]]:
    """[(a_t, b_t)]: a step t of the reverse chain is x <- a_t x + b_t f(x, t), f predicting target.

    eps: f's x_0 is x / sqrt(alpha_bar) - sqrt(1 / alpha_bar - 1) f(x, t).
    """
    check_choice("target", target, TARGETS)
    (c1, c2, _), kept = posterior(diffusion), diffusion.alpha_bar
    if target == "eps":
        c1, c2 = -c1 * (1 / kept - 1).sqrt(), c2 + c1 / kept.sqrt()
    return list(zip(c2.tolist(), c1.tolist(), strict=True))


@torch.no_grad()
def p_sample(
    net: Callable[[Tensor, int], Tensor],
    diffusion: GaussianDiffusion,
    x: Tensor,
    target: str = "x_0",
    generator: torch.Generator | None = None,
) -> Tensor:
    """The reverse chain from x (B, I), all T steps; net(x, t) is f. generator: of its noise."""
    steps, spread = reverse_steps(diffusion, target), (posterior(diffusion)[2] / 2).exp().tolist()
    for t in reversed(range(diffusion.steps)):
        a, b = steps[t]
        x = a * x + b * net(x, t)
        if generator is not None and t > 0:
            noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
            x = x.add_(noise, alpha=spread[t])
    return x


class ReverseChain:
    """`p_sample` of a `Denoiser` without noise, row_norm or dropout, on hidden layers alone.

    The chain stays in x = p x_T + s W_out^T + q b_out, and of that the network only reads x W_in =
    p x_T W_in + s (W_out^T W_in) + q b_out W_in. So rows of I numbers are made once, at the end,
    and not in each of T steps; equal up to rounding. Made for one state of the weights. Raises
    ValueError for a network with row_norm.
    """

    @torch.no_grad()
    def __init__(self, net: Denoiser, diffusion: GaussianDiffusion, target: str = "x_0"):
        check_option("row_norm", net.row_norm, "False in a ReverseChain", not net.row_norm)
        self.net, self.steps = net, reverse_steps(diffusion, target)
        self.product = net.out.weight.T @ net.item_in  # (D, D), W_out^T W_in
        self.shift = net.out.bias @ net.item_in  # (D,), b_out W_in

    @torch.no_grad()
    def from_history(self, history: HistoryRows, users: Tensor) -> Tensor:
        """The chain from the clean rows of users (B,), multiplied as the sparse rows they are."""
        items, begin = history.bags(users)
        start = F.embedding_bag(items, self.net.item_in, begin, mode="sum")
        scores, p = self._run(start)
        return scores.add_(history.dense(users), alpha=p) if p else scores

    @torch.no_grad()
    def from_rows(self, x: Tensor) -> Tensor:
        """The chain from rows x (B, I)."""
        scores, p = self._run(x @ self.net.item_in)
        return scores.add_(x, alpha=p) if p else scores

    def _run(self, start):
        """From x_T W_in (B, D): s W_out^T + q b_out (B, I), and p."""
        first, s, p, q = start, torch.zeros_like(start), 1.0, 0.0
        for t in reversed(range(len(self.steps))):
            a, b = self.steps[t]
            h = self.net.hidden(first, t)
            p, s, q = a * p, a * s + b * h, a * q + b
            if t:
                first = p * start + s @ self.product + q * self.shift
        return torch.addmm(self.net.out.bias, s, self.net.out.weight.T, beta=q), p
