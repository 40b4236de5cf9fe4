"""A Wasserstein critic of rows of scores, with a gradient penalty, cheap for rows of low rank.

As MMSSL trains it (Wei et al., WWW 2023, arXiv:2302.10632); the penalty is Gulrajani et al.'s
(NeurIPS 2017, arXiv:1704.00028). The discriminator's first layer is linear, so that
- its output for a mixture of two inputs is the mixture of its outputs,
- the gradient of a value in the input is the first layer's weight times that in its output,
- rows U V^T are multiplied as two thin factors, and a row that occurs twice is multiplied once.
The values are those of the plain computation; a step takes half its time.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.graph import owners

MIN_LENGTH = 1e-12  # of a row that is divided by its length
PENALTY = 0.3  # MMSSL's factor beside gp_rate
SCALE = 100  # values are in (0, 100)
DROPOUTS = 0.31, 0.5
BETAS = 0.5, 0.9


@dataclass
class Similarity:
    """S (B, I): rows of left right^T over their length, entries at training items zero.

    left (B, D), right (I, D); items, begin: what `HistoryRows.bags` gives for the batch's users.
    """

    left: Tensor
    right: Tensor
    items: Tensor
    begin: Tensor

    def __post_init__(self):
        self.rows = owners(self.begin, len(self.items))
        zero = self.left.new_zeros(())
        scores = self.left @ self.right.T
        self.scores = scores.index_put((self.rows, self.items), zero)  # (B, I), before the length
        self.length = torch.linalg.vector_norm(self.scores, dim=1, keepdim=True)  # (B, 1)

    def dense(self) -> Tensor:
        """S (B, I)."""
        return self.scores / self.length.clamp(min=MIN_LENGTH)

    def times(self, weight: Tensor) -> Tensor:
        """dense() @ weight (I, H), (B, H), at the cost of two thin products."""
        product = self.left @ (self.right.T @ weight)
        known = (self.left[self.rows] * self.right[self.items]).sum(1)  # what was set to zero
        product = product - F.embedding_bag(
            self.items, weight, self.begin, mode="sum", per_sample_weights=known
        )
        return product * (self.length > 0) / self.length.clamp(min=MIN_LENGTH)


class Discriminator(nn.Module):
    """From the first, linear layer's output (n, I // 4) to values in (0, 100), (n, 1).

    Always in training mode: dropout, and statistics of the rows at hand.
    """

    def __init__(self, n_items: int):
        super().__init__()
        wide, narrow = max(n_items // 4, 1), max(n_items // 8, 1)
        self.first = nn.Parameter(torch.empty(n_items, wide))  # (I, H), as rows are multiplied
        self.rest = nn.Sequential(
            nn.BatchNorm1d(wide, track_running_stats=False),
            nn.Dropout(DROPOUTS[0]),
            nn.Linear(wide, narrow, bias=False),
            nn.BatchNorm1d(narrow, track_running_stats=False),
            nn.Dropout(DROPOUTS[1]),
            nn.Linear(narrow, 1),
        )
        nn.init.kaiming_normal_(self.first, mode="fan_out")  # of the transposed: I
        nn.init.kaiming_normal_(self.rest[2].weight)
        nn.init.kaiming_normal_(self.rest[5].weight)
        nn.init.zeros_(self.rest[5].bias)

    def forward(self, z: Tensor) -> Tensor:
        return SCALE * self.rest(z).sigmoid()


class Critic:
    """A discriminator and its Adam. Its parameters want a gradient during `learn` alone.

    No module, so that a model may hold one without making it part of itself: the model moves
    `network` along and keeps the state_dicts of `network` and `adam` in its extra state.
    """

    def __init__(self, n_items: int, rate: float, weight_decay: float, gp_rate: float):
        self.gp_rate = gp_rate
        self.network = Discriminator(n_items)
        self.adam = torch.optim.Adam(
            self.network.parameters(), rate, BETAS, weight_decay=weight_decay, fused=True
        )
        self.network.requires_grad_(False)

    def __call__(self, fakes: list[Similarity]) -> Tensor:
        """Values of the rows of M Similarities, (M B, 1)."""
        return self.network(torch.cat([fake.times(self.network.first) for fake in fakes]))

    def learn(self, real: Tensor, fakes: list[Similarity]) -> None:
        """A step on constants: real rows (B, I), which stand for M copies, and M Similarities."""
        self.network.requires_grad_(True)
        self.loss(real, fakes).backward()
        self.adam.step()
        self.adam.zero_grad()
        self.network.requires_grad_(False)

    def loss(self, real: Tensor, fakes: list[Similarity]) -> Tensor:
        """-mean D(real) + mean D(fake) + gp_rate * 0.3 * mean((|gradient of D(mixed)| - 1)^2)."""
        first = self.network.first
        z_fake = torch.cat([fake.times(first) for fake in fakes])  # (M B, H)
        z_real = (real @ first).repeat(len(fakes), 1)
        z_mixed = torch.lerp(z_fake, z_real, torch.rand_like(z_fake[:, :1]))  # of mixed inputs
        distance = self.network(z_fake).mean() - self.network(z_real).mean()
        # statistics join the rows: the gradient of the sum, as autograd gives it to the reference
        (slope,) = torch.autograd.grad(self.network(z_mixed).sum(), z_mixed, create_graph=True)
        length = torch.linalg.vector_norm(slope @ first.T, dim=1)  # (M B,), of the inputs' gradient
        return distance + self.gp_rate * PENALTY * (length - 1).square().mean()
