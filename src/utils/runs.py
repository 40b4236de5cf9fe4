"""Runs: one model on one data set, once or over its grid, each in its folder of the ledger."""

import logging
import os
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from utils import memory, plugins, seeding
from utils.configurator import Config
from utils.dataset import RecDataset
from utils.errors import ConfigError, DivergedError, RunError
from utils.logger import init_logger, quiet
from utils.model_code import code_fingerprint
from utils.one_run import Run, finish
from utils.run_folder import RunFolder, data_fingerprint, run_id, run_identity
from utils.shims import plugin_shims

logger = logging.getLogger(__name__)

ALL_THREADS = torch.get_num_threads()  # torch's own choice, before a run of this process sets one


def run(model, dataset, overrides=None, *, grid=None, resume=False, mg=False, plugin=None):
    """Train and evaluate a model; the Runs, the winner first for a grid.

    overrides: {key: value}, as on the command line. grid: True searches the lists of the hyper-
    parameters, None does what the model's yaml means (see utils.configurator). resume: go on with
    an interrupted single run (a grid always does). plugin: a .py file or folder of a third party
    that holds the model. The winner is chosen by validation alone. Finished runs are not repeated.
    Raises UserError for what the user can mend.
    """
    source, points = _points(model, dataset, overrides, grid, mg, plugin)
    with _shims_for(points[0]):
        work = _prepare(points, source, as_grid=bool(grid) or len(points) > 1)
        return _grid(work) if work.as_grid else _only(work, resume)


def plan(model, dataset, overrides=None, *, grid=None, mg=False, plugin=None):
    """The Runs that `run` would make, in the order of the points, those that are finished with
    their result; nothing is trained or written.
    """
    source, points = _points(model, dataset, overrides, grid, mg, plugin)
    with quiet(), _shims_for(points[0]):
        runs = _prepare(points, source, as_grid=bool(grid) or len(points) > 1).runs
    for one in runs:
        one.result = one.folder.result()
        one.failure = (one.folder.read_json("failed.json") or {}).get("reason")
        one.reused = one.result is not None
    return runs


@dataclass
class _Work:
    """Runs with what they share. splits: the three RecDatasets. seconds: {phase: seconds} spent."""

    runs: list
    model_class: type
    splits: list
    seconds: dict
    as_grid: bool


def _points(model, dataset, overrides, grid, mg, plugin):
    """The model's source and a Config for each run."""
    init_logger()
    source = plugins.find_model(model, plugin)
    model_yaml = source.yaml or os.devnull
    theirs = None if source.in_tree else source.file.parent.parent / "configs" / "dataset"
    config = Config(source.name, dataset, overrides, mg, model_yaml, more_datasets=theirs)
    if source.yaml is None:
        logger.info("no yaml for %s: overall and data set settings only", source.name)
    return source, config.points(grid)


def _shims_for(config):
    return nullcontext() if config.native else plugin_shims(config["device"])


def _prepare(points, source, as_grid):
    """Threads, device, class, data and folders of the runs."""
    started = time.monotonic()
    seeding.set_threads(points[0]["threads"] or ALL_THREADS)
    memory.keep_freed_memory()
    for config in points:
        config["threads"] = torch.get_num_threads()
    if points[0]["device"].type == "cuda":
        if points[0]["gpu_id"] >= torch.cuda.device_count():
            raise ConfigError(
                f"gpu_id is {points[0]['gpu_id']}, counted from 0; this machine has "
                f"{torch.cuda.device_count()} GPUs"
            )
        torch.cuda.set_device(points[0]["gpu_id"])
    model_class = plugins.load_model_class(source)
    data = RecDataset(points[0])
    splits = data.split()
    _demand_items(points, data)
    logger.info(
        "%s\ntrain %s", data, " / ".join(f"{name} {len(part)}" for name, part in _named(splits))
    )
    fingerprint, code = data_fingerprint(points[0]), code_fingerprint(source)
    identities = [run_identity(config, fingerprint, code) for config in points]
    runs = [
        Run(config, RunFolder(_place(config, identity, as_grid), identity))
        for config, identity in zip(points, identities, strict=True)
    ]
    return _Work(runs, model_class, splits, {"start": time.monotonic() - started}, as_grid)


def _demand_items(points, data):
    """ConfigError for a cut-off beyond the catalogue, before anything is trained or written."""
    for config in points:
        if max(config["topk"]) > data.get_item_num():
            raise ConfigError(
                f"topk has {max(config['topk'])}, but there are only {data.get_item_num()} items; "
                "lower it"
            )


def _named(splits):
    return zip(("", "validation", "test"), splits, strict=True)


def _place(config, identity, as_grid):
    """The run's folder: in the ledger, or where --run_dir says."""
    if config["run_dir"] is None:
        return Path(config["runs_dir"]) / config["dataset"] / config["model"] / run_id(identity)
    return Path(config["run_dir"]) / run_id(identity) if as_grid else Path(config["run_dir"])


def _only(work, resume):
    (one,) = work.runs
    if not one.folder.lock(timeout=0):
        raise RunError(
            f"another process is training this run in {one.folder.path}; wait for it or choose "
            "--run_dir"
        )
    try:
        finish(one, work.model_class, work.splits, resume, work.seconds)
    finally:
        one.folder.unlock()
    if one.failure:
        raise DivergedError(one.failure)
    return work.runs


def _grid(work):
    """All runs, those that another process holds last; the table, the winner first."""
    runs = work.runs
    done = sum(1 for one in runs if one.folder.result())
    logger.info("grid of %d runs, %d of them finished", len(runs), done)
    waiting, busy, trained, started = list(runs), [], 0, time.monotonic()
    while waiting or busy:
        patience = 0 if waiting else 10  # what another process holds comes last
        one = (waiting or busy).pop(0)
        if not one.folder.lock(timeout=patience):
            if patience == 0:
                logger.info("another process is training %s", one.folder.id)
            busy.append(one)
            continue
        try:
            finish(one, work.model_class, work.splits, True, work.seconds, in_grid=True)
        except ConfigError as error:  # a value that the model refuses
            one.failure = str(error)
            logger.error("%s", error)
        finally:
            one.folder.unlock()
        trained += not one.reused
        left = len(waiting) + len(busy)
        if left and not one.reused:
            minutes = left * (time.monotonic() - started) / trained / 60
            logger.info("%d runs left, about %.0f minutes at this pace", left, minutes)
    return _ranked(runs)


def _ranked(runs):
    """Runs by validation, the best first, the earlier of equals first, the failed last; logs the
    table.
    """
    metric = runs[0].config["valid_metric"].lower()
    sign = -1 if runs[0].config["valid_metric_bigger"] else 1
    finished = sorted(
        (one for one in runs if one.result), key=lambda one: sign * one.result["valid"][metric]
    )
    if not finished:
        raise RunError(f"all {len(runs)} runs of the grid failed; the first: {runs[0].failure}")
    varied = [
        name
        for name in runs[0].config.point
        if len({str(one.config.point[name]) for one in runs}) > 1
    ]
    lines = [f"{'validation':>10} {'test':>7}  {metric} (the test value decides nothing)"]
    for one in finished:
        point = " ".join(f"{name}={one.config.point[name]}" for name in varied)
        lines.append(
            f"{one.result['valid'][metric]:10.4f} {one.result['test'][metric]:7.4f}  {point}  "
            f"{one.folder.id}"
        )
    failed = [one for one in runs if not one.result]
    lines += [f"{'failed':>10} {'':7}  {one.folder.id}: {one.failure}" for one in failed]
    best = finished[0]
    winner = " ".join(f"{name}={best.config.point[name]}" for name in varied)
    lines.append(f"winner by validation {metric}: {winner}  {best.folder.path}")
    logger.info("%s", "\n".join(lines))
    return finished + failed
