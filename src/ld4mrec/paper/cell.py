"""A measurement of `efficiency` in a process of its own: `python -P -m ld4mrec.paper.cell` reads
the fields of an efficiency.Measurement as JSON and prints what it found as JSON, in its last line.
"""

import json
import statistics
import sys
from typing import Any

import torch
from torch import nn

from common.abstract_recommender import AbstractRecommender
from common.largest import largest
from ld4mrec.config.configuration import Config
from ld4mrec.data.batches import TrainDataLoader, users_at_once
from ld4mrec.errors import ConfigError, UserError
from ld4mrec.runs.opening import open_model
from ld4mrec.training import memory, randomness
from ld4mrec.training.timing import WARM_UP, Clock, Steps, machine, peak
from ld4mrec.training.trainer import Trainer

Figures = dict[str, float]
SCORED = 2048  # users at the least
LONG = 30.0  # seconds of scoring beyond which the rest of the users is scaled


def measure(model: str, dataset: str, keys: dict[str, Any], batches: int) -> dict[str, Any]:
    """{figure: value} of a model's class: seconds of an epoch and of a full inference, peak bytes.

    batches: training steps that are timed. ConfigError for a model that is not trained by gradient.
    """
    config = Config(model, dataset, keys).points(grid=False)[0]
    if not config["req_training"]:
        raise ConfigError(f"{model} is not trained by gradient: it has no epochs to time")
    randomness.set_threads(config["threads"] or torch.get_num_threads())
    memory.keep_freed_memory()
    clock = Clock("wall", config["device"])
    memory.reset_peak_memory(config["device"])
    network, train, *_ = open_model(config)
    found = epoch(Trainer(config, network), train, clock, batches)
    found |= inference(network, config, clock)
    found |= {"peak_bytes": peak(config["device"]), "threads": torch.get_num_threads()}
    return found | {"machine": machine(config["device"], "wall")}


def epoch(trainer: Trainer, loader: TrainDataLoader, clock: Clock, batches: int) -> Figures:
    """Seconds of a training epoch: what is done once, and batches of the median time."""
    model, steps = trainer.model.train(), Steps(trainer, loader)
    before = clock.seconds(model.pre_epoch_processing)
    for _ in range(min(WARM_UP, batches)):
        steps()
    taken = [seconds for (seconds,) in clock.turns(batches, steps, warm_up=0)]
    after = clock.seconds(model.post_epoch_processing)
    once = (before if _has_own(model, "pre") else 0) + (after if _has_own(model, "post") else 0)
    batch, n = statistics.median(taken), len(loader)
    found = {"epoch": once + batch * n, "batch": batch, "once": once}
    return found | {"batches": n, "timed": batches}


def _has_own(model: nn.Module, when: str) -> bool:
    """Whether a model does something of its own before ("pre") or after ("post") an epoch."""
    name = f"{when}_epoch_processing"
    return getattr(type(model), name) is not getattr(AbstractRecommender, name)


@torch.no_grad()
def inference(model: nn.Module, config: Config, clock: Clock) -> Figures:
    """Seconds to score all items and take the top K for all users. If that is long, SCORED users or
    more are scored and the rest scaled; what the first batch does for all users counts once.
    """
    users = torch.arange(model.n_users, device=config["device"])
    k, size = max(config["topk"]), max(config["eval_batch_size"], SCORED)
    at_once = users_at_once(config["eval_batch_size"], model.n_items)
    parts = users.split(size)

    def score(part):
        for batch in part.split(at_once):
            largest(model.full_sort_predict([batch, None]), k)

    model.eval()
    score(parts[0][:8])  # a warm-up
    model.train().eval()  # forgets the vectors, as an epoch makes it
    first = clock.seconds(lambda: score(parts[0]))
    again = clock.seconds(lambda: score(parts[0]))  # the vectors are there
    done, total = len(parts[0]), first
    for part in parts[1:]:
        if total > LONG:
            break
        total += clock.seconds(lambda part=part: score(part))
        done += len(part)
    total += again / len(parts[0]) * (len(users) - done)
    return {"inference": total, "users": len(users), "scored": done}


def main() -> int:
    request = json.load(sys.stdin)
    try:
        print(json.dumps(measure(**request)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
