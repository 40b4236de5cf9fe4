"""Section 4.3, measured: what noise on the history does to the terms of the bound.

Measured on the trained model, for each step t from 0 (forward-free) to T:
- reconstruction error: |x - f(x_t, t)|^2, summed over items, mean over users;
- shift: |f(x, 0) - f(x_t, t)|^2, the squared gap of means in eq. 11 before its weight;
- shift by noise: |f(x, t) - f(x_t, t)|^2, of that what the noise does and not the step's code;
- predicted entropy: of f(x_t, t) as chances of independent items, bits, summed over items;
- added entropy: of q(x_t | x) over q(x_1 | x), nats per item, in closed form (eq. 10).
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ld4mrec.comparison.cells import over_seeds
from ld4mrec.comparison.ledger import Row
from ld4mrec.errors import counted
from ld4mrec.paper.colophon import report_of
from ld4mrec.paper.inference import rows as rows  # of the model as it is
from ld4mrec.paper.measured import measured
from ld4mrec.paper.runs import OURS, Setup
from ld4mrec.report.panels import Curves
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Cell, Table
from ld4mrec.runs.run import Run

TITLE = "The bound (section 4.3)"
LEAD = (
    "The paper argues that noise on the history raises the entropy of what the network "
    "reads (eq. 10) and that each step-wise term pays for it (eq. 11-12). This measures "
    "the terms on the trained model; it is no proof of either side."
)
VERSION = 2  # of what is measured
ROWS = 1024  # users at a time
FORMATS = {
    "reconstruction error": ".4f",
    "shift": ".3g",
    "shift by noise": ".3g",
    "predicted entropy, bits": ".2f",
}
MEASURED = tuple(FORMATS)
ADDED = "added entropy, nats per item"
AT_ZERO = "the history as it is: no distribution, no entropy"


def report(setup: Setup, rows: list[Row]) -> Report:
    """What is missing is measured first."""
    found, why = measured(*rows, "bound", VERSION, measure)
    blocks = Curves.with_table(
        terms(found, why),
        MEASURED,
        caption="What the prediction does as the history is noised further; step 0 is the "
        "forward-free inference. Mean and standard deviation over seeds.",
        x="step t",
        x_axis="forward step t",
    )
    lead, section = (LEAD, *words(found)), Section("Terms by forward step", blocks)
    return report_of(setup, rows, TITLE, lead, [section])


@torch.no_grad()
def measure(run: Run, model: nn.Module, loaders: Sequence) -> dict[str, list]:
    """{steps: [...], and for each measure a value per step} of a model with its weights.

    The noise of a batch is the same for all steps but for its scale.
    """
    users = torch.arange(model.n_users, device=run.config["device"])
    steps = list(range(model.diffusion.steps + 1))
    sums = torch.zeros(len(steps), len(MEASURED), dtype=torch.float64)
    for batch in users.split(ROWS):
        x, free = model.history.dense(batch), None
        for t in steps:
            model.inference_steps = t
            predicted = model.full_sort_predict([batch, None])
            free = predicted if free is None else free
            still = predicted
            if t:  # the clean rows, said to be of step t
                code = model.codes[t] + model.user_step[batch]
                owned = model.history.bags(batch)
                still = model.served(*owned, code, *model.conditions(batch))
                still = model.add_sums(still, *owned)
            parts = terms_of(x, predicted, free, still)
            sums[t] += torch.stack([part.sum() for part in parts]).cpu()
    model.inference_steps = 0
    means = (sums / len(users)).T.tolist()
    found = {"steps": steps} | dict(zip(MEASURED, means, strict=True))
    variance = (1 - model.diffusion.alpha_bar).tolist()  # of q(x_t | x), t = 1..T
    return found | {"variance": [0.0, *variance]}


def terms_of(x: Tensor, predicted: Tensor, free: Tensor, still: Tensor) -> tuple[Tensor, ...]:
    """The terms of MEASURED of each user, float64 (B,) each.

    x: (B, I) histories of 0 and 1. predicted, free, still: (B, I) predictions from the noised row,
    from the clean one at step 0, and from the clean one at the step of the noise.
    """
    error, shift, by_noise = (
        (other - predicted).square().sum(1, dtype=torch.float64) for other in (x, free, still)
    )
    p = predicted.clamp(0, 1)
    nats = -(torch.special.xlogy(p, p) + torch.special.xlogy(1 - p, 1 - p))
    return error, shift, by_noise, nats.sum(1, dtype=torch.float64) / math.log(2)


def added_entropy(variance: Sequence[float]) -> list[float | None]:
    """Entropy of Gaussians of steps 0, 1, ... over that of step 1, nats per dimension."""
    first = variance[1]
    return [None, *(0.5 * math.log(v / first) if first > 0 else None for v in variance[1:])]


def terms(found: dict[int, dict[str, Any]], why: str | None) -> Table:
    """A row per step. found: {seed: what `measure` gave}. why: seeds are missing."""
    columns = ("step t", "variance of the noise", *MEASURED, ADDED)
    steps = max((seed["steps"] for seed in found.values()), key=len, default=[0])
    lines = []
    for t in steps:
        here = [seed for seed in found.values() if t < len(seed["steps"])]
        cells = [Cell(t, format="d")]
        for name, form in ({"variance": ".3g"} | FORMATS).items():
            values = [seed[name][t] for seed in here]
            cells.append(over_seeds(values, form, None if values else why))
        added = [added_entropy(seed["variance"])[t] for seed in here]
        if None in added:
            added = []
        cells.append(over_seeds(added, note=None if added else why or AT_ZERO))
        lines.append(("forward-free" if t == 0 else f"t = {t}", tuple(cells)))
    notes = (
        f"{OURS}, mean over all users, mean and standard deviation over seeds. Reconstruction "
        "error: squared, summed over items, to the training history. Shift: squared distance from "
        "the forward-free prediction, summed over items; by noise: from the prediction for the "
        "clean history at the same step. Predicted entropy: of the prediction, cut "
        "to [0, 1], as chances of independent items, summed over items. Added entropy: of the "
        "noised history over that of t = 1, in closed form.",
    )
    return Table("bound", "Terms by forward step", columns, tuple(lines), notes, "step")


def words(found: dict[int, dict[str, Any]]) -> Iterator[str]:
    """What grows with the step, in sentences."""
    for name in MEASURED:
        curves = [seed[name] for seed in found.values()]
        if curves and len(curves[0]) > 1:
            rising = sum(all(b > a for a, b in pairwise(c)) for c in curves)
            first = sum(c[0] for c in curves) / len(curves)
            last = sum(c[-1] for c in curves) / len(curves)
            change = f", {last / first - 1:+.2%}" if first > 0 else ""
            yield (
                f"{name.partition(',')[0].capitalize()}: {first:.4g} at t = 0, {last:.4g} at the "
                f"last step{change}; it rises with every step in {rising} of "
                f"{counted(len(curves), 'seed')}."
            )
