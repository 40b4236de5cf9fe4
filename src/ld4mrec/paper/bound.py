"""Section 4.3, measured: what noise on the history does to the terms of the bound.

The paper argues that forward steps raise the entropy of what the network reads (eq. 10) and move
its prediction, which each step-wise term pays for (eq. 11-12). Measured on the trained model, for
each step t from 0 (forward-free) to T:
- reconstruction error: |x - f(x_t, t)|^2, summed over items, mean over users;
- shift: |f(x, 0) - f(x_t, t)|^2, the squared gap of means in eq. 11 before its weight;
- shift by noise: |f(x, t) - f(x_t, t)|^2, of that what the noise does and not the step's code;
- predicted entropy: of f(x_t, t) as chances of independent items, bits, summed over items;
- added entropy: of q(x_t | x) over q(x_1 | x), nats per item, in closed form (eq. 10).
"""

import math
from itertools import pairwise

import torch

from ld4mrec.comparison.findings import over_seeds
from ld4mrec.paper.colophon import colophon
from ld4mrec.paper.measured import measured
from ld4mrec.paper.runs import OURS, entry_of, planned, why_missing
from ld4mrec.report.panels import Curves
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Cell, Table

TITLE = "The bound (section 4.3)"
VERSION = 2  # of what is measured
ROWS = 1024  # users at a time
MEASURED = ("reconstruction error", "shift", "shift by noise", "predicted entropy, bits")
ADDED = "added entropy, nats per item"
AT_ZERO = "the history as it is: no distribution, no entropy"


def rows(setup):
    return planned(setup, [entry_of(setup, changes={"inference_steps": 0})])


def report(setup, rows):
    (row,) = rows
    found, gone = measured(rows, "bound", VERSION, measure)
    table = terms(found, why_missing(row) or gone)
    drawn = tuple(name for name in MEASURED if table.is_numeric(name))
    figure = Curves(
        name="bound",
        caption="What the prediction does as the history is noised further; step 0 is the "
        "forward-free inference. Mean and standard deviation over seeds.",
        table=table,
        x="step t",
        columns=drawn,
        x_axis="forward step t",
    )
    return Report(
        title=f"{TITLE}: {setup.dataset}",
        lead=(
            "The paper argues that noise on the history raises the entropy of what the network "
            "reads (eq. 10) and that each step-wise term pays for it (eq. 11-12). This measures "
            "the terms on the trained model; it is no proof of either side.",
            *words(found),
        ),
        sections=(Section("Terms by forward step", (table, *([figure] if drawn else []))),),
        colophon=colophon(setup, rows),
    )


@torch.no_grad()
def measure(one, model, loaders):
    """{steps: [...], and for each measure a value per step} of a model with its weights.

    The noise of a batch is the same for all steps but for its scale.
    """
    users = torch.arange(model.n_users, device=one.config["device"])
    steps = list(range(model.diffusion.steps + 1))
    sums = torch.zeros(len(steps), len(MEASURED), dtype=torch.float64)
    for batch in users.split(ROWS):
        x, free = model.history.dense(batch), None
        for t in steps:
            model.inference_steps = t
            predicted = model.full_sort_predict([batch, None])
            free = predicted if free is None else free
            still = predicted if t == 0 else at_step(model, batch, x, t)
            parts = terms_of(x, predicted, free, still)
            sums[t] += torch.stack([part.sum() for part in parts]).cpu()
    model.inference_steps = 0
    means = (sums / len(users)).T.tolist()
    found = {"steps": steps} | dict(zip(MEASURED, means, strict=True))
    variance = (1 - model.diffusion.alpha_bar).tolist()  # of q(x_t | x), t = 1..T
    return found | {"variance": [0.0, *variance]}


def at_step(model, users, x, t):
    """Predictions (B, I) for clean rows x (B, I) that are said to be of step t."""
    return model.net(x, model.codes[t] + model.user_step[users], *model.conditions(users))


def terms_of(x, predicted, free, still):
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


def added_entropy(variance):
    """Entropy of a Gaussian of this variance over that of the first step's, nats per dimension;
    None for step 0, which has none. variance: of steps 0, 1, ..., T.
    """
    first = variance[1]
    return [None, *(0.5 * math.log(v / first) if first > 0 else None for v in variance[1:])]


def terms(found, why):
    """A row per step. found: {seed: what `measure` gave}."""
    columns = ("step t", "variance of the noise", *MEASURED, ADDED)
    steps = max((one["steps"] for one in found.values()), key=len, default=[0])
    lines = []
    for t in steps:
        here = [one for one in found.values() if t < len(one["steps"])]
        cells = [Cell(t, format="d")]
        for name, form in zip(
            ("variance", *MEASURED), (".3g", ".4f", ".3g", ".3g", ".2f"), strict=True
        ):
            values = [one[name][t] for one in here]
            cells.append(over_seeds(values, form) if values else Cell(None, note=why))
        added = [added_entropy(one["variance"])[t] for one in here]
        known = bool(added) and None not in added
        cells.append(over_seeds(added, ".4f") if known else Cell(None, note=why or AT_ZERO))
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


def words(found):
    """What grows with the step, in sentences."""
    for name in MEASURED:
        curves = [one[name] for one in found.values()]
        if curves and len(curves[0]) > 1:
            rising = sum(all(b > a for a, b in pairwise(c)) for c in curves)
            first = sum(c[0] for c in curves) / len(curves)
            last = sum(c[-1] for c in curves) / len(curves)
            change = f", {last / first - 1:+.2%}" if first > 0 else ""
            yield (
                f"{name.partition(',')[0].capitalize()}: {first:.4g} at t = 0, {last:.4g} at the "
                f"last step{change}; it rises with every step in {rising} of {len(curves)} seeds."
            )
