"""A request of runs in plain values, the runs that it means, and what they share when trained."""

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ld4mrec.config.configuration import Config
from ld4mrec.data.features import data_folder
from ld4mrec.data.interactions import RecDataset, check_topk
from ld4mrec.errors import ConfigError
from ld4mrec.plugins import sources
from ld4mrec.plugins.shims import plugin_shims
from ld4mrec.runs.folder import RunFolder
from ld4mrec.runs.identity import changed_since_made, data_fingerprint, run_id, run_identity
from ld4mrec.runs.model_code import code_fingerprint
from ld4mrec.runs.run import Run
from ld4mrec.terminal import init_logger
from ld4mrec.training import memory, randomness

logger = logging.getLogger(__name__)

ALL_THREADS = torch.get_num_threads()  # torch's own choice, before a run of this process sets one


@dataclass(frozen=True)
class Request:
    """A model on a data set. keys: {key: value}, as on the command line, the seed among them. mg:
    with mirror gradient. plugin: a third party's file or folder that holds the model.
    """

    model: str
    dataset: str
    keys: dict
    mg: bool = False
    plugin: str | None = None

    def with_keys(self, keys: dict) -> "Request":
        """The same with further keys."""
        return replace(self, keys=self.keys | keys)

    def at(self, point: dict) -> "Request":
        """The same at one point, {hyper-parameter: value}."""
        return self.with_keys({name: [value] for name, value in point.items()})


def configure(request: Request) -> tuple[sources.ModelSource, Config]:
    """Where the model is, and the configuration. Raises ConfigError or ModelNotFound."""
    init_logger()
    source = sources.find_model(request.model, request.plugin)
    if source.yaml is None:
        logger.info("no yaml for %s: overall and data set settings only", source.name)
    elif source.yaml.stem != source.name:
        logger.warning(
            "%s is taken for %s.yaml, from which it differs in case; rename it, as MMRec on Linux "
            "does not find it",
            *(source.yaml, source.name),
        )
    return source, sources.config_of(source, request.dataset, request.keys, request.mg)


def runs_at(source: sources.ModelSource, points: list[Config], as_grid: bool) -> list[Run]:
    """The Runs at these points, each a Config of one value per hyper-parameter; nothing is read
    but the files' digests. as_grid: run_dir holds a folder for each.
    """
    data, code = data_fingerprint(points[0]), code_fingerprint(source)
    runs = []
    for config in points:
        config["threads"] = config["threads"] or ALL_THREADS
        identity = run_identity(config, data, code)
        runs.append(Run(config, RunFolder(_place(config, identity, as_grid), identity)))
    return runs


def _place(config, identity, as_grid):
    """The run's folder: in the ledger, or where --run_dir says."""
    if config["run_dir"] is None:
        return Path(config["runs_dir"]) / config["dataset"] / config["model"] / run_id(identity)
    return Path(config["run_dir"]) / run_id(identity) if as_grid else Path(config["run_dir"])


def shims_for(config: Config) -> AbstractContextManager:
    """The context in which a model with this Config runs: a third party's needs stand-ins."""
    return nullcontext() if config.ours else plugin_shims(config["device"])


@dataclass(frozen=True)
class Opened:
    """What the runs of a request share. splits: the three RecDatasets. seconds: {phase: seconds}
    spent.
    """

    request: Request
    source: sources.ModelSource
    model_class: type
    splits: list[RecDataset]
    seconds: dict[str, float]

    def runs(self, points: list[Config], as_grid: bool = True) -> list[Run]:
        """`runs_at` of these points. Raises ConfigError for a cut-off beyond the catalogue."""
        items = self.splits[0].get_item_num()
        for config in points:
            check_topk(config, items)
        return runs_at(self.source, points, as_grid)


def open_request(request: Request, source: sources.ModelSource, config: Config) -> Opened:
    """Threads, device, class and data of a request's runs; config: of any of their points."""
    started = time.monotonic()
    randomness.set_threads(config["threads"] or ALL_THREADS)
    memory.keep_freed_memory()
    if config["device"].type == "cuda":
        if config["gpu_id"] >= torch.cuda.device_count():
            raise ConfigError(
                f"gpu_id is {config['gpu_id']}, counted from 0; this machine has "
                f"{torch.cuda.device_count()} GPUs"
            )
        torch.cuda.set_device(config["gpu_id"])
    model_class = sources.load_model_class(source)
    splits = RecDataset(config).split()
    for name in changed_since_made(config):
        logger.warning(
            "%s is not the file that preprocessing made (manifest.json there); if nobody changed "
            "it on purpose, prepare the data again",
            data_folder(config) / name,
        )
    seconds = {"start": time.monotonic() - started}
    return Opened(request, source, model_class, splits, seconds)


def open_at(request: Request, point: dict, opened: Opened | None = None) -> tuple[Opened, Run]:
    """One point of a grid or search, for an engine's worker; opened: of another point of the same
    request, to be used again.
    """
    source, config = configure(request.at(point))
    (config,) = config.points(grid=True)
    with shims_for(config):
        opened = opened or open_request(request, source, config)
        return opened, *opened.runs([config])
