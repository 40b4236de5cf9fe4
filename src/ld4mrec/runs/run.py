"""One run, from its configuration to its folder: model, training, results."""

import copy
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp

from common.graph import binary_csr
from ld4mrec.config.configuration import Config
from ld4mrec.data.features import data_folder
from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import DamagedError, DivergedError, UnresumableError
from ld4mrec.plugins.data_view import private_data_view
from ld4mrec.plugins.graph_dicts import offered
from ld4mrec.runs.curve import below_a_rung
from ld4mrec.runs.folder import RunFolder
from ld4mrec.runs.opening import build, make_loaders
from ld4mrec.runs.used import used
from ld4mrec.terminal import log_to
from ld4mrec.training import memory
from ld4mrec.training.patience import too_early
from ld4mrec.training.trainer import Epoch, StoppedEarly, Trainer

logger = logging.getLogger(__name__)

STOPPED = "stopped.json"  # why a search stopped the run; gone when it goes on
FAILED = "failed.json"


@dataclass(frozen=True)
class Run:
    """A configuration of one value per hyper-parameter, the folder of its work, and how it ended.

    rungs: {epochs trained: the validation value that the best so far must reach to go on}. result:
    what result.json holds. failure: why training diverged. stopped: why a search stopped it.
    reused: it ended earlier. unread: hyper-parameters that nothing read, None if it was not trained
    to its end now. on_epoch: called with the trainer's Epoch after each epoch.
    """

    config: Config
    folder: RunFolder
    rungs: dict[int, float] = field(default_factory=dict)
    result: dict | None = None
    failure: str | None = None
    stopped: str | None = None
    reused: bool = False
    unread: tuple[str, ...] | None = None
    on_epoch: Callable[[Epoch], object] | None = None

    @property
    def id(self) -> str:
        return self.folder.id

    @property
    def ended(self) -> bool:
        return bool(self.result or self.failure or self.stopped)

    def as_found(self, anew: bool = False) -> "Run":
        """The same with what its folder says of an end; nothing is written.

        anew: a run whose files are damaged is one that has not ended, and a warning says so;
        without it, DamagedError.
        """
        try:
            if result := self.folder.result():
                self.folder.check_arrays()
                return replace(self, result=result, reused=True)
            failed = None if self.folder.spoilt else self.folder.read_json(FAILED)
            return replace(self, failure=str(failed.get("reason"))) if failed else self
        except DamagedError as error:
            if not anew:
                raise
            logger.warning("training anew: %s", error)
            return self


def finish(
    run: Run,
    model_class: type,
    splits: list[RecDataset],
    resume: bool,
    seconds: dict[str, float],
    in_grid: bool = False,
) -> Run:
    """Bring a run to its end: reuse it, go on with it or train it. The caller holds its lock.

    splits: the three RecDatasets. resume: go on where an interrupted run stopped; in a grid, a run
    whose checkpoint lacks state or is damaged starts afresh. seconds: {phase: seconds} spent before
    this. The Run that comes back has a result, or the failure where training diverged, or why a
    rung stopped it.
    """
    if (known := ended_earlier(run, in_grid)).ended:
        return known
    interrupted = (run.folder.path / "last.pt").is_file()
    if interrupted and not resume:
        logger.info("starting afresh: --resume would have gone on in %s", run.folder.path)
    if resume and not interrupted and not in_grid:
        logger.info("no checkpoint in %s: starting at the first epoch", run.folder.path)
    try:
        return _train_and_log(run, model_class, splits, resume and interrupted, seconds)
    except (UnresumableError, DamagedError) as error:
        if not in_grid:
            raise
        logger.warning("starting afresh: %s", error)
        return _train_and_log(run, model_class, splits, False, seconds)


def ended_earlier(run: Run, in_grid: bool = True) -> Run:
    """The run with its outcome where its folder tells one."""
    found = run.as_found(anew=in_grid)
    if found.result:
        logger.info("finished earlier: %s", run.folder.path)
        for sentence in too_early(run.config, found.result):
            logger.warning("%s", sentence)
        return found
    if found.failure and in_grid:  # the same work would fail the same way
        logger.info("failed earlier: %s: %s", run.folder.path, found.failure)
        return found
    if (run.folder.path / STOPPED).is_file() and (reason := below_a_rung(run)):
        logger.info("stopped earlier: %s: %s", run.folder.path, reason)
        return replace(run, stopped=reason)
    return run


def _train_and_log(run, model_class, splits, resume, seconds):
    config, folder = run.config, run.folder
    folder.start(config, fresh=not resume)
    (folder.path / STOPPED).unlink(missing_ok=True)
    with log_to(folder.path / "log.txt"):
        point = " ".join(f"{key}={value}" for key, value in config.point.items())
        logger.info("%s on %s, %s: %s", config["model"], config["dataset"], point, folder.path)
        try:
            return _train(run, model_class, splits, resume, dict(seconds))
        except StoppedEarly as stop:
            folder.write_json(STOPPED, {"reason": str(stop)})
            logger.info("stopped: %s", stop)
            return replace(run, stopped=str(stop))
        except DivergedError as error:
            folder.write_json(FAILED, {"reason": str(error)})
            logger.error("%s", error)
            return replace(run, failure=str(error))
        except Exception as error:
            folder.discard_if_empty()
            if memory.is_exhausted(error):  # a grid goes on without this point
                raise memory.too_small(config["model"], error) from error
            raise


@contextmanager
def own_view(config: Config, run_id: str, train: RecDataset) -> Iterator[Config]:
    """The configuration with which a run reads: a third party's model, which may write beside the
    data, sees links to them, in the cache or for this run only. train: the training split.
    """
    with ExitStack() as stack:
        if not config.ours:
            root, view = config["cache_dir"], None
            try:
                view = root and private_data_view(data_folder(config), root, run_id)
            except OSError as error:
                logger.warning("cache_dir cannot be used (%s); the run goes on without", error)
            if view is None:
                root = stack.enter_context(tempfile.TemporaryDirectory())
                view = private_data_view(data_folder(config), root, run_id)
            config = config.replace({"data_path": f"{view.parent}/"})
            stack.enter_context(offered(view, _matrix(train)))
        yield config


def _train(run, model_class, splits, resume, seconds):
    """Build, train, evaluate, write; the finished Run."""
    folder, config = run.folder, _Watched(run.config)
    memory.reset_peak_memory(config["device"])
    with own_view(config, folder.id, splits[0]) as config:
        started = time.monotonic()
        train, valid, test = make_loaders(config, splits)
        seconds["loaders"] = time.monotonic() - started
        started = time.monotonic()
        model = build(model_class, config, train)
        seconds["model"] = time.monotonic() - started
        logger.info("%s: built in %.1f s", type(model).__name__, seconds["model"])
        logger.info("%s", used(config, splits, model))
        trainer = Trainer(config, model, config.mg, folder, run.on_epoch)
        stop = (lambda: below_a_rung(run)) if run.rungs else None
        trainer.fit(train, valid, test, resume=resume, stop=stop)
    result = {
        "id": folder.id,
        "model": config["model"],
        "dataset": config["dataset"],
        "seed": config["seed"],
        "best_epoch": trainer.best_epoch,
        "epochs": trainer.next_epoch,
        "steps": trainer.steps,
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
    result = folder.finish(result)
    for sentence in too_early(config, result):
        logger.warning("%s", sentence)
    unread = tuple(name for name in config.point if name not in config.read)
    return replace(run, result=result, unread=unread)


def _matrix(split):
    """Interactions of a split, binary CSR (U, I)."""
    users, items = (split.df[name].to_numpy() for name in (split.uid_field, split.iid_field))
    shape = split.get_user_num(), split.get_item_num()
    return binary_csr(sp.coo_matrix((np.ones(len(users)), (users, items)), shape=shape))


class _Watched(Config):
    """A configuration that remembers which keys were read."""

    def __init__(self, config):
        self.__dict__ = copy.copy(config).__dict__
        self.read = set()

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)
