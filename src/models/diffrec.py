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

from common.abstract_recommender import GeneralRecommender
from common.denoiser import Denoiser, ReverseChain, p_sample
from common.diffusion import SCHEDULE, TARGETS, GaussianDiffusion, ImportanceSampler
from common.graph import HistoryRows, binary_csr
from common.options import (
    check_batches_of_users,
    check_choice,
    check_flag,
    check_integer,
    check_option,
)

NOISE_SEED = 0  # of the noise to recommend from, so that two evaluations agree


class DiffRec(GeneralRecommender):
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

    @torch.no_grad()
    def full_sort_predict(self, interaction):
        users = interaction[0]
        by_row = self.sampling_noise or self.net.row_norm
        if not (by_row or self.sampling_steps):
            chain = ReverseChain(self.net, self.diffusion, self.target)  # Eq. 5
            return chain.from_history(self.history, users)
        x = self.history.dense(users)
        generator = torch.Generator(users.device).manual_seed(NOISE_SEED)
        if self.sampling_steps:
            t = torch.full_like(users, self.sampling_steps - 1)
            x = self.diffusion.q_sample(x, t, generator)
        if not by_row:
            return ReverseChain(self.net, self.diffusion, self.target).from_rows(x)
        noise = generator if self.sampling_noise else None
        return p_sample(self.net, self.diffusion, x, self.target, noise)


def check_options(config: Mapping) -> None:
    """Raise ValueError for an option outside its values; network and process check their own."""
    target, scale = config["target"], config["noise_scale"]
    check_choice("target", target, TARGETS)
    for key in ("reweight", "sampling_noise"):
        check_flag(key, config[key])
    check_option("noise_scale", scale, "above 0 for target eps", target == "x_0" or scale != 0)
    check_batches_of_users(config)
