"""LD4MRec's signals of any history: a training user's, one with items hidden, a new user's.

A batch's signals are sums over its items' vectors, with the degrees, singular vectors and scalings
of the training data. Equation numbers are LD4MRec's. A batch of histories is items (N,), the users'
items in a row, and begin (B,), where each user's begin.
"""

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common import graph
from common.svd import CODE, item_vectors

SIGNAL_ROWS = 4096  # users whose signals are in memory at once


class GivenRows(graph.HistoryRows):
    """HistoryRows of the one batch that is given; any (B,) stands for its users."""

    def __init__(self, items: Tensor, begin: Tensor, n_items: int):
        nn.Module.__init__(self)
        self.given, self.n_items = (items, begin), n_items

    def bags(self, users: Tensor) -> tuple[Tensor, Tensor]:
        return self.given


def hide_items(items: Tensor, begin: Tensor, chance: float) -> tuple[Tensor, Tensor]:
    """A batch of histories in which each item stays with probability 1 - chance, and of each
    history that is not empty one item at least.
    """
    user = graph.owners(begin, len(items))
    drawn = torch.rand(len(items), device=items.device)
    largest = drawn.new_zeros(len(begin)).scatter_reduce(0, user, drawn, "amax")
    stays = drawn >= largest.clamp(max=chance)[user]
    left = torch.bincount(user[stays], minlength=len(begin))
    return items[stays], left.cumsum(0) - left


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Rows (I, F) at length 1, float64; zero rows stay zero."""
    features = np.asarray(features, dtype=np.float64)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length > 0, length, 1)


class HistorySignals(nn.Module):
    """c (B, 2r) and a preference signal (B, F) for each modality, of a batch of histories.

    With a = n^-1/2 D_i^-1/2 the normalised row of a history of n items (svd_input raw: the row
    itself), degrees D_i of the training data, and X = U S V^T the decomposed training data:
    - first block of the collaborative signal: u = a V S^-1, a training user's row of U (eq. 14).
      Other rows are divided by their length where that is above 1: U is orthonormal, so its rows
      are never longer; another row leaves their space, where small S makes it many times as long.
    - second block and preference signals: eq. 15 and 16 of the history, with those degrees.
    - all signals centred and scaled as signal_scale says of the training users'.
    Nothing of users x rank or users x features is stored.

    matrix: the training data, binary CSR (U, I). features: a list of the items' (I, F), one per
    modality. config: svd_rank, svd_input, item_block, signal_scale, feature_norm, cache_dir.
    """

    longest = 1.0  # length of u at most

    def __init__(self, matrix: sp.csr_matrix, features: list[np.ndarray], config: Mapping):
        super().__init__()
        self.svd_input, self.item_block = config["svd_input"], config["item_block"]
        self.n_modalities = len(features)
        decomposed = matrix if self.svd_input == "raw" else graph.normalized(matrix)
        stacked = graph.cached(
            config["cache_dir"], item_vectors, decomposed, rank=config["svd_rank"], code=CODE
        )
        self._keep("values", stacked[0])  # S, (r,)
        self._keep("vectors", stacked[1:])  # V, (I, r)
        self._keep("item_scale", graph.degree_powers(matrix, 0, -0.5)[1])  # D_i^-1/2, (I,)
        self._keep("one", np.ones((matrix.shape[1], 1)))
        for m, x in enumerate(features):
            self._keep(f"features{m}", unit_rows(x) if config["feature_norm"] else x)
        self._measure(matrix, config["signal_scale"])

    @property
    def width(self) -> int:
        """Columns of the collaborative signal."""
        return len(self.values) * (1 if self.item_block == "none" else 2)

    def _keep(self, name, array):
        self.register_buffer(name, torch.as_tensor(array, dtype=torch.float32), persistent=False)

    def _measure(self, matrix, how):
        """Centre and spread of each signal over the training users, as `scaling` has them."""
        names = ["c", *(f"m{m}" for m in range(self.n_modalities))]
        for name in names:
            self._keep(f"{name}_centre", 0.0)
            self._keep(f"{name}_spread", 1.0)
        if how == "none":
            return
        history, sums = graph.HistoryRows(matrix), [0.0] * len(names)
        squares = [0.0] * len(names)
        for users in torch.arange(matrix.shape[0]).split(SIGNAL_ROWS):
            c, preferences = self(*history.bags(users))
            for k, signal in enumerate((c, *preferences)):
                signal = signal.double()
                sums[k] = sums[k] + signal.sum(0)
                squares[k] = squares[k] + signal.square().sum(0)
        for name, total, square in zip(names, sums, squares, strict=True):
            centre, spread = scaling(total, square, matrix.shape[0], how)
            self._keep(f"{name}_centre", centre)
            self._keep(f"{name}_spread", spread)

    def forward(self, items: Tensor, begin: Tensor) -> tuple[Tensor, list[Tensor]]:
        def total(table, weights=None):  # (B, ...): the sum over each history
            return F.embedding_bag(items, table, begin, mode="sum", per_sample_weights=weights)

        n = total(self.one).clamp(min=1)  # (B, 1); a kernel's, as export wants no slices of begin
        weights = self.item_scale[items]
        near = total(self.vectors, weights) * n**-0.5  # n^-1/2 R D_i^-1/2 V
        u = total(self.vectors) if self.svd_input == "raw" else near
        u = u / self.values
        length = torch.linalg.vector_norm(u, dim=1, keepdim=True)
        u = u / (length / self.longest).clamp(min=1)  # Eq. 14
        if self.item_block == "mean":
            u = torch.cat([u, total(self.vectors) / n], 1)
        elif self.item_block != "none":
            scale = self.values if self.item_block == "scaled" else 1
            u = torch.cat([u, near * scale], 1)  # Eq. 15
        c = (u - self.c_centre) / self.c_spread
        preferences = []
        for m in range(self.n_modalities):
            signal = total(getattr(self, f"features{m}"), weights) * n**-0.5  # Eq. 16
            centre, spread = getattr(self, f"m{m}_centre"), getattr(self, f"m{m}_spread")
            preferences.append((signal - centre) / spread)
        return c, preferences


def scaling(total: Tensor, squares: Tensor, n: int, how: str) -> tuple[Tensor, Tensor]:
    """Centre and spread of a signal (n, F), of the sums of its columns and of their squares (F,).

    "global": 0 and the standard deviation of all entries; "column": mean and standard deviation of
    each column. A deviation of 0 counts as 1. float64.
    """
    if how == "global":
        mean, square = total.mean() / n, squares.mean() / n
    else:
        mean, square = total / n, squares / n
    variance = (square - mean.square()).clamp(min=0)
    # what rounding leaves of a constant column is not a spread
    spread = torch.where(variance > 1e-12 * square, variance, 1).sqrt()
    return (mean if how == "column" else torch.zeros_like(mean)), spread


class FromHistory(nn.Module):
    """LD4MRec's scores (B, I) of a batch of histories, without noise: what is exported.

    items (N,), begin (B,): the histories, the items of each ascending. e (B, d_t): step embeddings;
    step (d_t,) stands in for all of them where none are given.
    """

    def __init__(self, net: nn.Module, signals: HistorySignals, step: Tensor | None = None):
        super().__init__()
        self.net, self.history_signals = net, signals
        self.register_buffer("step", step, persistent=False)

    @torch.no_grad()
    def forward(self, items: Tensor, begin: Tensor, e: Tensor | None = None) -> Tensor:
        c, preferences = self.history_signals(items, begin)
        if e is None:
            e = self.step.expand(len(c), -1)
        return self.net(items, begin, e, c, preferences)
