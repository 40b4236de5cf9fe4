"""The validation curve of a run, read from its folder."""

import logging

from ld4mrec.errors import DamagedError, counted
from ld4mrec.runs.folder import metrics_in

logger = logging.getLogger(__name__)


def epochs_of(run) -> list[dict]:
    """The lines of a Run's metrics.jsonl so far: epoch (from 0), loss (a list), perhaps valid."""
    return metrics_in(run.folder.path)


def intact_epochs_of(run) -> list[dict]:
    """`epochs_of` a finished Run; none, with a warning, where the file is not what was written."""
    try:
        if (run.folder.path / "metrics.jsonl").is_file():  # an archive has none
            run.folder.check("metrics.jsonl")
    except DamagedError as error:
        logger.warning("no curve of this run: %s", error)
        return []
    return epochs_of(run)


def validation_curve(run) -> list[tuple[int, float]]:
    """[(epochs trained, validation value)] of a Run so far, from its metrics.jsonl."""
    metric = run.config["valid_metric"].lower()
    lines = [line for line in epochs_of(run) if metric in (line.get("valid") or {})]
    return [(line["epoch"] + 1, line["valid"][metric]) for line in lines]


def best_until(curve: list[tuple[int, float]], epochs: int) -> float | None:
    """The best value of a curve's first epochs, None if these had no evaluation."""
    return max((value for trained, value in curve if trained <= epochs), default=None)


def below_a_rung(run) -> str | None:
    """The sentence on the first rung that a Run's validation values so far miss."""
    metric, curve = run.config["valid_metric"].lower(), validation_curve(run)
    for epochs, least in sorted(run.rungs.items()):
        best = best_until(curve, epochs)
        if best is not None and curve[-1][0] >= epochs and best < least:
            after = f"after {counted(epochs, 'epoch')}"
            return f"best {metric} {best:.4f} {after}, {least:.4f} was needed to go on"
    return None
