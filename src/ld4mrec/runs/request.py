"""A request of runs, and what they share once it is opened."""

import logging
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import ConfigError
from ld4mrec.plugins import sources
from ld4mrec.plugins.shims import plugin_shims
from ld4mrec.runs.folder import RunFolder, data_fingerprint, run_id, run_identity
from ld4mrec.runs.model_code import code_fingerprint
from ld4mrec.runs.one_run import Run
from ld4mrec.terminal import init_logger
from ld4mrec.training import memory, randomness

logger = logging.getLogger(__name__)

ALL_THREADS = torch.get_num_threads()  # torch's own choice, before a run of this process sets one


@dataclass(frozen=True)
class Request:
    """What a command asks for, in plain values: the parameters of `run`."""

    model: str
    dataset: str
    overrides: dict
    mg: bool = False
    plugin: str | None = None

    def at(self, point):
        """The same at one point, {hyper-parameter: value}."""
        fixed = {name: [value] for name, value in point.items()}
        return replace(self, overrides=self.overrides | fixed)

    def decided(self, overrides, plugin):
        """The same with what a machine has decided: further overrides, the plugin's place."""
        return replace(self, overrides=self.overrides | overrides, plugin=plugin)


def open_at(request, point, work=None):
    """(Work, Run) of one point of a grid or search, for an engine's worker; work: that of another
    point of the same request, to be used again.
    """
    source, config = configure(request.at(point))
    (config,) = config.points(grid=True)
    with shims_for(config):
        work = work or open_request(request, source, config, as_grid=True)
        return work, *work.runs([config])


@dataclass
class Work:
    """What the runs of a request share. splits: the three RecDatasets. seconds: {phase: seconds}
    spent. fingerprint, code: digests of the data and of the model's files.
    """

    request: Request
    model_class: type
    splits: list
    items: int
    threads: int
    fingerprint: dict
    code: dict
    seconds: dict
    as_grid: bool

    def runs(self, points):
        """The Runs at these points, each a Config of one value per hyper-parameter."""
        for config in points:
            config["threads"] = self.threads
            self._demand_items(config)
        identities = [run_identity(config, self.fingerprint, self.code) for config in points]
        return [
            Run(config, RunFolder(_place(config, identity, self.as_grid), identity))
            for config, identity in zip(points, identities, strict=True)
        ]

    def _demand_items(self, config):
        """ConfigError for a cut-off beyond the catalogue."""
        if max(config["topk"]) > self.items:
            raise ConfigError(
                f"topk has {max(config['topk'])}, but there are only {self.items} items; lower it"
            )


def configure(request):
    """The model's source and its Config."""
    init_logger()
    source = sources.find_model(request.model, request.plugin)
    if source.yaml is None:
        logger.info("no yaml for %s: overall and data set settings only", source.name)
    return source, sources.config_of(source, request.dataset, request.overrides, request.mg)


def shims_for(config):
    """The context in which a model with this Config runs: a third party's needs stand-ins."""
    return nullcontext() if config.ours else plugin_shims(config["device"])


def open_request(request, source, config, as_grid):
    """Threads, device, class and data of a request's runs; config: any of them."""
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
    data = RecDataset(config)
    splits = data.split()
    logger.info(
        "%s\ntrain %s", data, " / ".join(f"{name} {len(part)}" for name, part in _named(splits))
    )
    return Work(
        request,
        model_class,
        splits,
        data.get_item_num(),
        torch.get_num_threads(),
        data_fingerprint(config),
        code_fingerprint(source),
        {"start": time.monotonic() - started},
        as_grid,
    )


def _named(splits):
    return zip(("", "validation", "test"), splits, strict=True)


def _place(config, identity, as_grid):
    """The run's folder: in the ledger, or where --run_dir says."""
    if config["run_dir"] is None:
        return Path(config["runs_dir"]) / config["dataset"] / config["model"] / run_id(identity)
    return Path(config["run_dir"]) / run_id(identity) if as_grid else Path(config["run_dir"])
