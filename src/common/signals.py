"""LD4MRec on any history: one with items hidden, or that of a user who is new.

common/graph.py computes the training users' signals once; here the same formulas run on a batch of
histories, with the degrees, singular vectors and scalings of the training data. A batch of
histories is items (N,), the users' items in a row, and begin (B,), where each user's begin.
"""

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common import graph


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


def item_vectors(decomposed: sp.csr_matrix, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """S (r,) and V (I, r), float64, of the SVD that found users' vectors U (U, r): V S = X^T U.

    What rounding U to float32 leaves of large columns in small ones, the QR decomposition removes.
    """
    vectors, triangle = torch.linalg.qr(torch.from_numpy(decomposed.T @ users.astype(np.float64)))
    values = triangle.diagonal()  # S but for signs
    signs = torch.where(values < 0, -1.0, 1.0)
    return (values * signs).numpy(), (vectors * signs).numpy()


class HistorySignals(nn.Module):
    """c (B, 2r) and a preference signal (B, F) for each modality, of a batch of histories.

    With a = n^-1/2 D_i^-1/2 the normalised row of a history of n items (svd_input raw: the row
    itself), degrees D_i of the training data:
    - first block of the collaborative signal: u = a V S^-1, divided by its length where that is
      above 1. Training users' vectors are rows of an orthonormal matrix, so never longer; another
      row leaves their space, and small S would make it many times as long.
    - second block and preference signals: eq. 15 and 16 of the history, with those degrees.
    - all signals centred and scaled as the training users' were.

    matrix: the training data, binary CSR (U, I). features: a list of the items' (I, F), one per
    modality. collaborative (U, 2r), preferences (a list of (U, F)): the training users' signals
    before scaling.
    """

    longest = 1.0  # length of u at most

    def __init__(
        self,
        matrix: sp.csr_matrix,
        features: list[np.ndarray],
        collaborative: np.ndarray,
        preferences: list[np.ndarray],
        config: Mapping,
    ):
        super().__init__()
        self.svd_input, self.item_block = config["svd_input"], config["item_block"]
        self.signal_scale, self.n_modalities = config["signal_scale"], len(features)
        width = collaborative.shape[1]
        users = collaborative[:, : width if self.item_block == "none" else width // 2]
        decomposed = matrix if self.svd_input == "raw" else graph.normalized(matrix)
        values, vectors = item_vectors(decomposed, users)
        self._keep("values", values)  # S, (r,)
        self._keep("vectors", vectors)  # V, (I, r)
        self._keep("item_scale", graph.degree_powers(matrix, 0, -0.5)[1])  # D_i^-1/2, (I,)
        self._keep("one", np.ones((matrix.shape[1], 1)))
        self._keep_scaling("c", collaborative)
        for m, (x, signal) in enumerate(zip(features, preferences, strict=True)):
            self._keep(f"features{m}", graph.unit_rows(x) if config["feature_norm"] else x)
            self._keep_scaling(f"m{m}", signal)

    def _keep(self, name, array):
        self.register_buffer(name, torch.tensor(array, dtype=torch.float32), persistent=False)

    def _keep_scaling(self, name, signal):
        centre, spread = graph.scaling(signal, self.signal_scale)
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


class Network(nn.Module):
    """LD4MRec's network from what it reads of users to the scores of all items, without noise.

    items (N,), begin (B,): a batch of histories, the items of each ascending. e (B, d_t),
    c (B, 2r), preferences: (B, F) for each modality. Returns (B, I).
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(
        self, items: Tensor, begin: Tensor, e: Tensor, c: Tensor, *preferences: Tensor
    ) -> Tensor:
        h = self.net.encode_sparse(items, begin)
        return self.net.out(self.net.hidden(h, e, c, list(preferences)))


class FoldIn(nn.Module):
    """LD4MRec's scores (B, I) of a batch of histories alone; step (d_t,) stands in for every e."""

    def __init__(self, net: nn.Module, signals: HistorySignals, step: Tensor):
        super().__init__()
        self.network, self.history_signals = Network(net), signals
        self.register_buffer("step", step, persistent=False)

    @torch.no_grad()
    def forward(self, items: Tensor, begin: Tensor) -> Tensor:
        c, preferences = self.history_signals(items, begin)
        return self.network(items, begin, self.step.expand(len(c), -1), c, *preferences)
