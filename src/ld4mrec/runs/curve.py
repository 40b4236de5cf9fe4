"""The validation curve of a run, read from its folder."""

import json
from contextlib import suppress


def below_a_bar(one):
    """The sentence on the first bar that a run's validation values so far miss, or None."""
    metric, bigger = one.config["valid_metric"].lower(), one.config["valid_metric_bigger"]
    curve = validation_curve(one)
    for epochs, bar in sorted(one.bars.items()):
        best = best_until(curve, epochs, bigger)
        reached = best is not None and curve[-1][0] >= epochs
        if reached and (best < bar if bigger else best > bar):
            return f"best {metric} {best:.4f} after {epochs} epochs, {bar:.4f} was needed to go on"
    return None


def validation_curve(one):
    """[(epochs trained, validation value)] of a run so far, from its metrics.jsonl."""
    path, metric, found = one.folder.path / "metrics.jsonl", one.config["valid_metric"].lower(), []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with suppress(ValueError):  # the half line of a killed run
            values = json.loads(line)
            if "valid" in values:
                found.append((values["epoch"] + 1, values["valid"][metric]))
    return found


def best_until(curve, epochs, bigger):
    """The best value of a curve's first epochs, None if these had no evaluation."""
    values = [value for trained, value in curve if trained <= epochs]
    return (max if bigger else min)(values, default=None)
