"""What a run will need, measured on some of its steps: memory, time of an epoch, disk."""

import itertools
import statistics
import time
from dataclasses import dataclass

import torch

from ld4mrec.config.configuration import Config
from ld4mrec.data.batches import EvalDataLoader, TrainDataLoader
from ld4mrec.errors import counted
from ld4mrec.runs.opening import build, make_loaders
from ld4mrec.runs.used import used
from ld4mrec.training import memory
from ld4mrec.training.patience import fewest_epochs
from ld4mrec.training.trainer import Trainer

SECONDS = 5.0  # spent on steps
STEPS = 5  # timed, where an epoch has fewer
RANKED = 3  # batches of users, of which the first may do work for all
GIB = 2**30


@dataclass(frozen=True)
class Forecast:
    """Seconds: of building the model, of training an epoch of so many `steps`, of a validation.
    ram, gpu, disk: bytes. line: what is used (`used.used`).
    """

    build: float
    train: float
    valid: float
    steps: int
    ram: int
    gpu: int
    disk: int
    line: str

    def lines(self, config: Config, runs: int = 1) -> list[str]:
        """Sentences on a run with this configuration, and on so many of them."""
        epoch = self.train + self.valid / config["eval_step"]
        least, most = fewest_epochs(config, self.steps), config["epochs"]
        times = [self.build + epochs * epoch for epochs in (least, most)]
        gpu = f" and {_size(self.gpu)} of the GPU's" if self.gpu else ""
        epochs = f"{least:,} to {most:,} epochs" if least < most else counted(most, "epoch")
        took = " to ".join(dict.fromkeys(map(_duration, times)))
        each = " each" * (runs > 1)
        steps = counted(self.steps, "step")
        found = [
            self.line,
            f"memory: about {_size(self.ram)}{gpu}, the process as a whole",
            f"an epoch: {_duration(self.train)} in {steps}, and {_duration(self.valid)} for a "
            f"validation; {_duration(self.build)} to build the model",
            f"a run: {epochs}, {took}" + ", as patience decides" * (least < most),
            f"disk: about {_size(self.disk)}{each}",
        ]
        if runs > 1:
            took = " to ".join(dict.fromkeys(_duration(runs * seconds) for seconds in times))
            found.append(f"all {runs} runs, one after the other: {took}, {_size(runs * self.disk)}")
        return found


def forecast(config: Config, model_class: type, splits) -> Forecast:
    """Build a run's model, take some steps and rank for some users; nothing is written.

    splits: the three RecDatasets. Raises UserError for a value or data that the model refuses.
    """
    memory.reset_peak_memory(config["device"])
    train, valid, test = make_loaders(config, splits)
    started = time.monotonic()
    model = build(model_class, config, train)
    built = time.monotonic() - started
    trainer = Trainer(config, model, mg=config.mg)
    trained = _epoch_seconds(trainer, train) if trainer.optimizer else 0.0
    ranked = _ranking_seconds(trainer, valid)
    held = sum(part.numel() * part.element_size() for part in model.state_dict().values())
    moments = _moments(trainer)
    peak = memory.peak_memory(config["device"])
    longest, figures = max(config["topk"]), len(config["topk"]) * len(config["metrics"])
    lists = len(test.eval_users) * (4 * longest * config["save_recommended_topk"] + 8 * figures)
    last = (2 * held + moments) * bool(trainer.optimizer and config["keep_last"])
    return Forecast(
        build=built,
        train=trained,
        valid=ranked,
        steps=len(train) if trainer.optimizer else 0,
        ram=peak["ram_bytes"] + 2 * held + lists,  # the best weights, and the checkpoint's
        gpu=peak.get("cuda_bytes", 0),
        disk=held + last + lists,
        line=used(config, splits, model),
    )


def _epoch_seconds(trainer: Trainer, loader: TrainDataLoader) -> float:
    """Of a training epoch, from its first steps, the very first aside: it warms up."""
    trainer.model.train()
    started = time.monotonic()
    trainer.model.pre_epoch_processing()
    before, seconds = time.monotonic() - started, []
    for index, batch in enumerate(itertools.chain.from_iterable(itertools.repeat(loader))):
        started = time.monotonic()
        trainer.step(batch, index).tolist()
        seconds.append(time.monotonic() - started)
        if len(seconds) > 1 and (sum(seconds) > SECONDS or len(seconds) > max(STEPS, len(loader))):
            break
    return before + statistics.mean(seconds[1:]) * len(loader)


def _ranking_seconds(trainer: Trainer, loader: EvalDataLoader) -> float:
    """Of ranking all items for all users of a split, from its first batches."""
    k, model, seconds = max(trainer.config["topk"]), trainer.model, []
    model.eval()
    with torch.no_grad():
        for batch, _ in zip(loader, range(RANKED), strict=False):
            started = time.monotonic()
            trainer.evaluator.rank(model, batch, loader.n_items, k)
            seconds.append(time.monotonic() - started)
    first, *others = seconds
    return first + (len(loader) - 1) * (sum(others) / len(others) if others else first)


def _moments(trainer):
    """Bytes of the optimiser's state."""
    if trainer.optimizer is None:
        return 0
    states = trainer.optimizer.state.values()
    parts = [part for state in states for part in state.values() if torch.is_tensor(part)]
    return sum(part.numel() * part.element_size() for part in parts)


def _size(n):
    return f"{n / GIB:.1f} GiB" if n >= GIB else f"{n / 2**20:.0f} MiB"


def _duration(seconds):
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
