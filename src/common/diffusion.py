"""The Gaussian diffusion process of diffusion recommenders: noise, drawn steps, loss, step codes.

The process owns the noise and the loss and knows no network. A batch takes three calls: `draw` the
steps, `q_sample` the rows there, `loss` of the network's errors. Steps are table rows k = 0..T-1;
row k belongs to step t = k + 1 of the papers. Equation numbers are LD4MRec's; the schedule's
recipe, the loss weights and the step sampler are DiffRec's (Wang et al., SIGIR 2023,
arXiv:2304.04971).
"""

import torch
from torch import Tensor, nn

from common.options import check_choice, check_integer, check_number, check_option, is_number

SCHEDULE = ("diffusion_steps", "noise_scale", "noise_min", "noise_max", "beta_fixed")  # options
TARGETS = ("x_0", "eps")  # what a network may predict: the clean row or the noise


class UniformSampler(nn.Module):
    """Draws all steps equally often."""

    def __init__(self, steps: int):
        super().__init__()
        self.steps = steps
        self.register_buffer("one", torch.ones((), dtype=torch.float64), persistent=False)

    def sample(self, n: int) -> tuple[Tensor, Tensor]:
        """n table rows, int64 (n,), and their losses' divisor, 1."""
        return torch.randint(self.steps, (n,), device=self.one.device), self.one

    def push(self, rows: Tensor, losses: Tensor) -> None:
        """Remember nothing of the losses."""


class ImportanceSampler(nn.Module):
    """Draws more often the steps whose recent losses are large (eq. 8).

    p_t is proportional to the root mean square of the step's last losses, with a floor; uniform
    until every step has `memory` losses. A loss is divided by T p_t, so that the objective stays
    the mean over steps and only its variance changes. Remembers the loss of each row of a batch;
    checkpoints hold what is remembered.
    """

    def __init__(self, steps: int, memory: int = 10, floor: float = 0.001):  # DiffRec's constants
        super().__init__()
        self.memory, self.floor = memory, floor
        self.register_buffer("history", torch.zeros(steps, memory, dtype=torch.float64))
        self.register_buffer("count", torch.zeros(steps, dtype=torch.int64))  # losses ever seen

    def probabilities(self) -> Tensor:
        """p_t, float64 (T,), sums to 1."""
        size = self.history.square().mean(1).sqrt()  # (T,)
        total = size.sum()
        p = (1 - self.floor) * size / total + self.floor / len(size)
        # a total of 0 has no shares; neither has infinity or NaN, which the trainer reports
        usable = (self.count >= self.memory).all() & (total > 0) & total.isfinite()
        return torch.where(usable, p, 1 / len(size))

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """n table rows drawn from p, int64 (n,), and their losses' divisors T p, float64 (n,)."""
        p = self.probabilities()
        # by the inverse distribution function; multinomial and cumsum are not deterministic on CUDA
        upto = p @ torch.ones(len(p), len(p), dtype=p.dtype, device=p.device).triu()
        draw = torch.rand(n, generator=generator, dtype=p.dtype, device=p.device) * upto[-1]
        rows = torch.searchsorted(upto, draw, right=True).clamp(max=len(p) - 1)
        return rows, len(p) * p[rows]

    @torch.no_grad()
    def push(self, rows: Tensor, losses: Tensor) -> None:
        """Remember losses (B,), not yet divided by T p, of table rows (B,), in batch order."""
        hits = self._hits(rows)
        new = hits.sum(0)
        # the place of a loss among the new ones of its step
        rank = hits.cumsum(0).gather(1, rows.unsqueeze(1)).squeeze(1) - 1
        # each row of H is a ring
        slot = rows * self.memory + (self.count[rows] + rank) % self.memory
        spare = self.history.numel()  # where losses go that newer ones of the same batch push out
        slot = torch.where(rank >= new[rows] - self.memory, slot, spare)
        ring = torch.cat([self.history.flatten(), self.history.new_zeros(1)])
        ring[slot] = losses.detach().double()
        self.history.copy_(ring[:spare].view_as(self.history))
        self.count += new

    def _hits(self, rows: Tensor) -> Tensor:
        """(B, T) booleans: is it the step of this row?"""
        return rows.unsqueeze(1) == torch.arange(len(self.count), device=rows.device)


class StepMeanSampler(ImportanceSampler):
    """Remembers one loss for each step of a batch, the mean over the batch's rows at that step."""

    @torch.no_grad()
    def push(self, rows: Tensor, losses: Tensor) -> None:
        """Remember the mean for each step of losses (B,), not yet divided, of table rows (B,)."""
        hits = self._hits(rows)
        new = hits.sum(0)  # (T,)
        mean = losses.detach().double() @ hits.double() / new.clamp(min=1)
        slot = (self.count % self.memory).unsqueeze(1)  # (T, 1)
        kept = torch.where(new > 0, mean, self.history.gather(1, slot).squeeze(1))
        self.history.scatter_(1, slot, kept.unsqueeze(1))
        self.count += new > 0


class GaussianDiffusion(nn.Module):
    """Forward process with a variance that grows linearly from s * a_min to s * a_max (eq. 1-3),
    and the loss of a network that learns to undo it.

    diffusion_steps: T >= 2. noise_scale: s in [0, 1]. noise_min, noise_max: 0 < a_min < a_max <= 1;
    LD4MRec's eq. 3 is a_max = 1. beta_fixed: a value in (0, 1) that replaces beta_1, as DiffRec's
    1e-5; None or False for off. sampler: the class that draws the steps to learn from. weighted:
    the target of `snr_weights`, by which losses count; None: all alike. Raises ValueError, naming
    the argument, for other values.
    The tables `beta`, `alpha_bar` and `weights` are float64 (T,): 1 - alpha_bar is lost in float32.
    """

    def __init__(
        self,
        diffusion_steps: int,
        noise_scale: float,
        noise_min: float,
        noise_max: float = 1.0,
        beta_fixed: float | bool | None = None,
        sampler: type[nn.Module] = UniformSampler,
        weighted: str | None = None,
    ):
        super().__init__()
        check_integer("diffusion_steps", diffusion_steps, 2)
        check_number("noise_scale", noise_scale, 0, 1)
        ok = is_number(noise_max) and 0 < noise_max <= 1
        check_option("noise_max", noise_max, "a number in (0, 1]", ok)
        ok = is_number(noise_min) and 0 < noise_min < noise_max
        check_option("noise_min", noise_min, f"a number in (0, noise_max = {noise_max})", ok)
        self.steps = diffusion_steps
        low, high = noise_scale * noise_min, noise_scale * noise_max
        variance = torch.linspace(low, high, self.steps, dtype=torch.float64)  # (T,), eq. 3
        beta = 1 - (1 - variance) / (1 - variance).roll(1)
        beta.clamp_(max=0.999)  # binds only where noise_scale * noise_max is about 1
        beta[0] = variance[0]
        if beta_fixed is not None and beta_fixed is not False:
            ok = is_number(beta_fixed) and 0 < beta_fixed < 1
            check_option("beta_fixed", beta_fixed, "a number in (0, 1), or null for off", ok)
            beta[0] = beta_fixed
        self.register_buffer("beta", beta, persistent=False)
        self.register_buffer("alpha_bar", (1 - beta).cumprod(0), persistent=False)
        weights = self.snr_weights(weighted) if weighted else torch.ones_like(beta)
        self.register_buffer("weights", weights, persistent=False)
        self.sampler = sampler(self.steps)

    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        """Table rows of n steps to learn from, int64 (n,), and what `loss` divides by there."""
        return self.sampler.sample(n)

    def q_sample(
        self, x_0: Tensor, rows: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """x_t ~ q(x_t | x_0), eq. 2; x_0 (B, D) and rows (B,), the table row of each sample."""
        kept = self.alpha_bar[rows].unsqueeze(1)  # (B, 1)
        noise = torch.randn(x_0.shape, generator=generator, dtype=x_0.dtype, device=x_0.device)
        return noise.mul_((1 - kept).sqrt().to(x_0.dtype)).addcmul_(x_0, kept.sqrt().to(x_0.dtype))

    def added_noise(self, x_0: Tensor, x_t: Tensor, rows: Tensor) -> Tensor:
        """The noise (B, D) with which `q_sample` has made x_t of x_0."""
        kept = self.alpha_bar[rows].unsqueeze(1)  # (B, 1)
        return (x_t - kept.sqrt().to(x_0.dtype) * x_0) / (1 - kept).sqrt().to(x_0.dtype)

    def loss(self, errors: Tensor, rows: Tensor, divisor: Tensor) -> Tensor:
        """The mean over all steps of the weighted errors, a float64 scalar (eq. 8).

        errors: (B,), of a network at the drawn table rows (B,), which have this divisor. The
        sampler remembers them.
        """
        losses = self.weights[rows] * errors  # (B,), float64
        self.sampler.push(rows, losses)
        return (losses / divisor).mean()

    def snr_weights(self, target: str = "x_0") -> Tensor:
        """DiffRec's loss weight of each step, float64 (T,).

        target: what the network predicts. "x_0": 1, then SNR_{t-1} - SNR_t, for its squared error;
        "eps": (1 - alpha_bar_t) / ((1 - alpha_bar_{t-1})^2 alpha_t), for the noise's squared error,
        and at the first step half the squared error of the x_0 that follows from it. Raises
        ValueError for another target, or where a step adds no noise.
        """
        check_choice("target", target, TARGETS)
        kept, lost = self.alpha_bar, 1 - self.alpha_bar
        check_option("noise_scale", 0, "above 0 for loss weights", bool((lost > 0).all()))
        if target == "x_0":
            snr = kept / lost
            return torch.cat([torch.ones_like(snr[:1]), snr[:-1] - snr[1:]])
        later = lost[1:] / (lost[:-1] ** 2 * (1 - self.beta[1:]))
        return torch.cat([lost[:1] / (2 * kept[:1]), later])


def step_code(steps: Tensor, size: int) -> Tensor:
    """Sinusoidal code of steps t (B,), float32 (B, size), eq. 17: column 2j sine, 2j + 1 cosine."""
    check_integer("step_size", size, 2)
    column = torch.arange(size, device=steps.device)
    pair = (column // 2).double()
    angle = steps.double().unsqueeze(1) / 10000 ** (2 * pair / size)  # (B, size)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos()).float()
