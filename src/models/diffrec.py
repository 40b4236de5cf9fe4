"""DiffRec: Gaussian noise on a user's row of interactions, and a network that takes it off.

Wang et al., SIGIR 2023, arXiv:2304.04971. Equations are numbered here, (1) to (5). Computes what
the authors' program computes, with these departures:
- users without training rows are no training rows of zeros;
- the chain to recommend runs on hidden layers (common/denoiser.py), equal up to rounding, unless
  its noise or row_norm want rows; its noise is the same in every evaluation;
- reweight: False leaves the errors as they are, as was meant; there it stops with an error, and
  every released run was reweighted;
- the schedule is "linear-var", the default; "linear", "cosine" and "binomial" are left out, as the
  shared process does not know them.
The variants L-DiffRec (wants item embeddings that are trained elsewhere) and T-DiffRec (wants the
order of interactions) are left out.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from common.denoiser import Denoiser, ReverseChain, p_sample, reverse_steps
from common.diffusion import SCHEDULE, TARGETS, GaussianDiffusion, ImportanceSampler
from common.graph import HistoryRows, binary_csr
from common.history_recommender import HistoryRecommender
from common.options import (
    check_batches_of_users,
    check_choice,
    check_flag,
    check_integer,
    check_option,
)
from common.servable import ExportParts
from common.signals import GivenRows

NOISE_SEED = 0  # of the noise to recommend from, so that two evaluations agree


class DiffRec(HistoryRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        check_options(config)
        self.target = config["target"]
        self.sampling_steps = config["sampling_steps"]
        self.sampling_noise = config["sampling_noise"]
        schedule = {key: config[key] for key in SCHEDULE}
        if not schedule["noise_scale"]:
            schedule["beta_fixed"] = None  # no noise at all
        weighted = self.target if config["reweight"] else None
        self.diffusion = GaussianDiffusion(**schedule, sampler=ImportanceSampler, weighted=weighted)
        steps = self.diffusion.steps
        check_integer("sampling_steps", self.sampling_steps, 0, steps)
        self.history = HistoryRows(binary_csr(dataloader.inter_matrix(form="coo")))
        self.net = Denoiser(
            self.n_items,
            steps,
            config["dims"],
            config["time_size"],
            config["dropout"],
            config["row_norm"],
        )

    def calculate_loss(self, users):
        """Reconstruction of the rows of users (B,)."""
        x = self.history.dense(users)  # (B, I)
        t, divisor = self.diffusion.draw(len(users))
        noised = self.diffusion.q_sample(x, t)  # Eq. 1
        wanted = x if self.target == "x_0" else self.diffusion.added_noise(x, noised, t)
        errors = (wanted - self.net(noised, t)).square().mean(1)  # (B,), Eq. 2
        return self.diffusion.loss(errors, t, divisor)  # Eq. 3, weighted, and Eq. 4

    def history_scores(self, history, users):
        by_row = self.sampling_noise or self.net.row_norm
        if not (by_row or self.sampling_steps):
            chain = ReverseChain(self.net, self.diffusion, self.target)  # Eq. 5
            return chain.from_history(history, users)
        x = history.dense(users)
        generator = torch.Generator(users.device).manual_seed(NOISE_SEED)
        if self.sampling_steps:
            t = torch.full_like(users, self.sampling_steps - 1)
            x = self.diffusion.q_sample(x, t, generator)
        if not by_row:
            return ReverseChain(self.net, self.diffusion, self.target).from_rows(x)
        noise = generator if self.sampling_noise else None
        return p_sample(self.net, self.diffusion, x, self.target, noise)

    def export_parts(self) -> ExportParts:
        """As `common.servable.Exports`: the network. ValueError with noise to score."""
        for key in ("sampling_steps", "sampling_noise"):
            if value := getattr(self, key):
                raise ValueError(
                    f"the run has {key} = {value}, which draws noise for each batch of users; "
                    "exports need a run without"
                )
        return {
            "imports": "scipy.sparse as sp, torch",
            "new_users": ["scores = torch.export.load('network.pt2').module()(*bags)"],
            "files": {"network.pt2": Denoising(self.net, self.diffusion, self.target)},
            "holds": {"network.pt2": "scores"},
        }


class Denoising(nn.Module):
    """Scores (B, I) of histories, items (N,) and begin (B,), without noise; made to be exported."""

    def __init__(self, net: Denoiser, diffusion: GaussianDiffusion, target: str):
        super().__init__()
        self.net, self.steps = net, reverse_steps(diffusion, target)
        self.chain = None if net.row_norm else ReverseChain(net, diffusion, target)

    @torch.no_grad()
    def forward(self, items: Tensor, begin: Tensor) -> Tensor:
        history = GivenRows(items, begin, self.net.item_in.shape[0])
        if self.chain is not None:
            return self.chain.from_history(history, begin)
        x = history.dense(begin)
        for t in reversed(range(len(self.steps))):  # `p_sample`, whose tables export cannot follow
            a, b = self.steps[t]
            x = a * x + b * self.net(x, t)
        return x


def check_options(config: Mapping) -> None:
    """Raise ValueError for an option outside its values; network and process check their own."""
    target, scale = config["target"], config["noise_scale"]
    check_choice("target", target, TARGETS)
    for key in ("reweight", "sampling_noise"):
        check_flag(key, config[key])
    check_option("noise_scale", scale, "above 0 for target eps", target == "x_0" or scale != 0)
    check_batches_of_users(config)
