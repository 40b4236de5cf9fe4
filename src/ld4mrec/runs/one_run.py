"""One run, from its configuration to its folder: seeds, loaders, model, training, results."""

import copy
import logging
import math
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch

from ld4mrec import files
from ld4mrec.config.configuration import Config
from ld4mrec.data.batches import EvalDataLoader, TrainDataLoader
from ld4mrec.data.features import data_folder
from ld4mrec.errors import ConfigError, DivergedError, RunError, UnresumableError, UserError
from ld4mrec.plugins.data_view import private_data_view
from ld4mrec.runs.curve import below_a_bar
from ld4mrec.runs.folder import RunFolder
from ld4mrec.terminal import log_to
from ld4mrec.training import memory, randomness
from ld4mrec.training.trainer import Trainer

logger = logging.getLogger(__name__)

STOPPED = "stopped.json"  # why a search stopped the run; gone when it goes on


@dataclass
class Run:
    """One point of a grid. result: what result.json holds, None if the run failed; failure: why;
    stopped: why a search stopped it. bars: {epochs trained: the validation value that the best so
    far must reach to go on}. unread: hyper-parameters that nothing read; None if it was not trained
    now.
    """

    config: Config
    folder: RunFolder
    result: dict | None = None
    failure: str | None = None
    reused: bool = False
    bars: dict = field(default_factory=dict)
    stopped: str | None = None
    unread: list | None = None

    @property
    def ended(self):
        return bool(self.result or self.failure or self.stopped)


class StoppedEarly(RunError):
    """The search that a run belongs to has stopped it: it can be gone on with."""


def finish(one, model_class, splits, resume, seconds, in_grid=False):
    """Bring a run to its end: reuse it, go on with it or train it. The caller holds its lock.

    splits: the three RecDatasets. resume: go on where an interrupted run stopped; in a grid, a run
    whose checkpoint lacks state starts afresh. seconds: {phase: seconds} spent before. Sets the
    run's result, or its failure where training diverged, or why its bars stopped it.
    """
    if ended_earlier(one, in_grid):
        return
    interrupted = (one.folder.path / "last.pt").is_file()
    if interrupted and not resume:
        logger.info("starting afresh: --resume would have gone on in %s", one.folder.path)
    if resume and not interrupted and not in_grid:
        logger.info("no checkpoint in %s: starting at the first epoch", one.folder.path)
    try:
        _train_and_log(one, model_class, splits, resume and interrupted, seconds)
    except UnresumableError as error:
        if not in_grid:
            raise
        logger.warning("starting afresh: %s", error)
        _train_and_log(one, model_class, splits, False, seconds)


def ended_earlier(one, in_grid=True):
    """Whether the run's folder says how it ended; then the Run says it too."""
    one.result = one.folder.result()
    failed = one.folder.read_json("failed.json")
    if one.result:
        one.reused = True
        logger.info("finished earlier: %s", one.folder.path)
    elif failed and in_grid:  # the same work would fail the same way
        one.failure = failed["reason"]
        logger.info("failed earlier: %s: %s", one.folder.path, one.failure)
    elif (one.folder.path / STOPPED).is_file() and (reason := below_a_bar(one)):
        one.stopped = reason
        logger.info("stopped earlier: %s: %s", one.folder.path, one.stopped)
    return one.ended


def _train_and_log(one, model_class, splits, resume, seconds):
    config, folder = one.config, one.folder
    folder.start(config, fresh=not resume)
    (folder.path / STOPPED).unlink(missing_ok=True)
    with log_to(folder.path / "log.txt"):
        point = " ".join(f"{key}={value}" for key, value in config.point.items())
        logger.info("%s on %s, %s: %s", config["model"], config["dataset"], point, folder.path)
        logger.info("training split of %s", splits[0])
        try:
            one.result = _train(one, model_class, splits, resume, dict(seconds))
        except StoppedEarly as stop:
            one.stopped = str(stop)
            files.write_json(folder.path / STOPPED, {"reason": one.stopped})
            logger.info("stopped: %s", one.stopped)
        except DivergedError as error:
            one.failure = str(error)
            files.write_json(folder.path / "failed.json", {"reason": one.failure})
            logger.error("%s", error)
        except torch.OutOfMemoryError as error:
            folder.discard_if_empty()
            raise ConfigError(  # a grid goes on without this point
                f"the GPU's memory is too small for {config['model']} with this configuration; "
                f"lower train_batch_size, eval_batch_size or the model's sizes ({error})"
            ) from error
        except Exception:
            folder.discard_if_empty()
            raise


def _train(one, model_class, splits, resume, seconds):
    """Build, train, evaluate, write; what result.json holds."""
    folder, config = one.folder, _Watched(one.config)
    memory.reset_peak_memory(config["device"])
    with ExitStack() as stack:
        if not config.ours:
            config = config.replace({"data_path": _private_data_path(config, folder.id, stack)})
        started = time.monotonic()
        train, valid, test = make_loaders(config, splits)
        seconds["loaders"] = time.monotonic() - started
        started = time.monotonic()
        model = build(model_class, config, train)
        seconds["model"] = time.monotonic() - started
        logger.info("%s, built in %.1f s", _size(model), seconds["model"])
        trainer = _Judged(config, model, mg=config.mg, folder=folder)
        trainer.run = one
        trainer.fit(train, valid, test, resume=resume)
    one.unread = [name for name in config.point if name not in config.read]
    result = {
        "id": folder.id,
        "model": config["model"],
        "dataset": config["dataset"],
        "seed": config["seed"],
        "best_epoch": trainer.best_epoch,
        "epochs": trainer.next_epoch,
        "valid": trainer.best_valid,
        "test": trainer.test.metrics,
        "mask_valid_at_test": config["mask_valid_at_test"],
        "dropped_rows_of_cold_users": splits[0].dropped,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": seconds | dict(trainer.seconds),
        "peak_memory": memory.peak_memory(config["device"]),
    }
    folder.write_arrays("per_user.npz", users=trainer.test.users, **trainer.test.per_user)
    if config["save_recommended_topk"]:
        folder.write_arrays("topk.npz", users=trainer.test.users, items=trainer.test.items)
    if not config["keep_last"]:
        (folder.path / "last.pt").unlink(missing_ok=True)
    files.write_json(folder.path / "result.json", result)
    return result


class _Watched(Config):
    """A configuration that remembers which keys were read."""

    def __init__(self, config):
        self.__dict__ = copy.copy(config).__dict__
        self.read = set()

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)


class _Judged(Trainer):
    """Stops, once the epoch's checkpoint is written, where the run falls below one of its bars."""

    def _checkpoint(self, train_data):
        reason = below_a_bar(self.run) if self.run.bars and not self._over() else None
        if reason:
            self._written = -math.inf
        super()._checkpoint(train_data)
        if reason:
            raise StoppedEarly(reason)

    def _over(self):
        patience = self.bad_evaluations > self.config["stopping_step"]
        return self.optimizer is None or patience or self.next_epoch == self.epochs


def _private_data_path(config, key, stack):
    """data_path for a plugin, which may write beside the data: links in a folder of its own, in the
    cache, or for the time of the run where there is none.
    """
    root = config["cache_dir"] or stack.enter_context(tempfile.TemporaryDirectory())
    return f"{private_data_view(data_folder(config), root, key).parent}/"


def make_loaders(config, splits):
    """Seeds everything, then builds the three loaders of a run."""
    randomness.init_seed(config["seed"])
    randomness.deterministic(config["deterministic"])
    train, valid, test = splits
    for split in splits:
        split.config, split.dataset_path = config, str(data_folder(config))
    users = config["eval_batch_size"]
    also = (valid,) if config["mask_valid_at_test"] else ()
    return (
        TrainDataLoader(config, train, batch_size=config["train_batch_size"], shuffle=True),
        EvalDataLoader(config, valid, train, batch_size=users),
        EvalDataLoader(config, test, train, batch_size=users, mask_also=also),
    )


def build(model_class, config, train):
    """The model on its device. A value that it refuses is the user's to mend."""
    try:
        return model_class(config, train).to(config["device"])
    except UserError:
        raise
    except ValueError as error:
        if not config.ours:
            raise
        raise ConfigError(f"{config['model']}: {error}") from error


def _size(model):
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return f"{type(model).__name__}: {trainable:,} trainable parameters"
