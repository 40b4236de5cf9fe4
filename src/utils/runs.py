"""Runs: one model on one data set, once, over its grid or for the trials of a search, each in its
folder of the ledger.
"""

import logging
import math
import os
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from utils import axes, memory, plugins, seeding
from utils.configurator import Config
from utils.dataset import RecDataset
from utils.engine import InTurn
from utils.errors import ConfigError, DivergedError, RunError
from utils.logger import init_logger, quiet
from utils.model_code import code_fingerprint
from utils.one_run import Run, finish
from utils.run_folder import RunFolder, data_fingerprint, run_id, run_identity
from utils.search import Halving, Proposals, distinct, first_of, is_single, take_ranges
from utils.shims import plugin_shims

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


def run(
    model,
    dataset,
    overrides=None,
    *,
    grid=None,
    resume=False,
    mg=False,
    plugin=None,
    search=None,
    engine=None,
):
    """Train and evaluate a model; the Runs, the winner first for a grid or a search.

    overrides: {key: value}, as on the command line. grid: True searches the lists of the hyper-
    parameters, None does what the model's yaml means (see utils.configurator). resume: go on with
    an interrupted single run (a grid always does). plugin: a .py file or folder of a third party
    that holds the model. search: a utils.search.Search, in place of a grid. engine: who trains the
    runs of a grid or search (utils.engine); None: this process. The winner is chosen by validation
    alone. Finished runs are not repeated. Raises UserError for what the user can mend.
    """
    engine = engine or InTurn()
    overrides, ranges = take_ranges(engine.settle(overrides or {}))
    if ranges and not search:
        raise ConfigError(f"--{next(iter(ranges))} is a range of numbers; that needs --search")
    request = Request(model, dataset, overrides, mg, plugin)
    if search:
        return _search(request, ranges, search, engine)
    source, config = _configure(request)
    points = config.points(grid)
    as_grid = bool(grid) or len(points) > 1
    if not as_grid and not isinstance(engine, InTurn):
        raise ConfigError("--engine ray trains the runs of --grid or --search; add one of them")
    with shims_for(config):
        work = _open(request, source, points[0], as_grid)
        runs = work.runs(points)
        return _grid(work, runs, config, engine) if as_grid else _only(work, *runs, resume)


def run_all(requests, engine):
    """Train the grids of several Requests, all of their runs side by side if the engine can.

    Runs that fail are logged; their folders say why. For models of our own only.
    """
    engine = engine or InTurn()
    submitted = 0
    for request in requests:
        request = replace(request, overrides=engine.settle(request.overrides))
        source, config = _configure(request)
        points = config.points(grid=True)
        work = _open(request, source, points[0], as_grid=True)
        engine.start(work.threads)
        for one in work.runs(points):
            engine.submit(work, one)
            submitted += 1
    pace = _Pace()
    for left in reversed(range(submitted)):
        pace.ended(engine.collect(), left)


def plan(model, dataset, overrides=None, *, grid=None, mg=False, plugin=None):
    """The Runs that `run` would make, in the order of the points, those that are finished with
    their result; nothing is trained or written. Ranges of a search are left out.
    """
    request = Request(model, dataset, take_ranges(overrides or {})[0], mg, plugin)
    source, config = _configure(request)
    points = config.points(grid)
    with quiet(), shims_for(config):
        as_grid = bool(grid) or len(points) > 1
        runs = _open(request, source, points[0], as_grid).runs(points)
    for one in runs:
        one.result = one.folder.result()
        one.failure = (one.folder.read_json("failed.json") or {}).get("reason")
        one.reused = one.result is not None
    return runs


def open_at(request, point, work=None):
    """(Work, Run) of one point of a grid or search, for an engine's worker; work: that of another
    point of the same request, to be used again.
    """
    source, config = _configure(request.at(point))
    (config,) = config.points(grid=True)
    with shims_for(config):
        work = work or _open(request, source, config, as_grid=True)
        return work, *work.runs([config])


@dataclass
class Work:
    """What the runs of a request share. splits: the three RecDatasets. seconds: {phase: seconds}
    spent. fingerprint, code: digests of the data's files and of the model's definitions.
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


def _configure(request):
    """The model's source and its Config."""
    init_logger()
    source = plugins.find_model(request.model, request.plugin)
    model_yaml = source.yaml or os.devnull
    theirs = None if source.in_tree else source.file.parent.parent / "configs" / "dataset"
    if source.yaml is None:
        logger.info("no yaml for %s: overall and data set settings only", source.name)
    return source, Config(
        source.name,
        request.dataset,
        request.overrides,
        request.mg,
        model_yaml,
        more_datasets=theirs,
        ours=source.in_tree,
    )


def shims_for(config):
    """The context in which a model with this Config runs: a third party's needs stand-ins."""
    return nullcontext() if config.ours else plugin_shims(config["device"])


def _open(request, source, config, as_grid):
    """Threads, device, class and data of a request's runs; config: any of them."""
    started = time.monotonic()
    seeding.set_threads(config["threads"] or ALL_THREADS)
    memory.keep_freed_memory()
    if config["device"].type == "cuda":
        if config["gpu_id"] >= torch.cuda.device_count():
            raise ConfigError(
                f"gpu_id is {config['gpu_id']}, counted from 0; this machine has "
                f"{torch.cuda.device_count()} GPUs"
            )
        torch.cuda.set_device(config["gpu_id"])
    model_class = plugins.load_model_class(source)
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


def _only(work, one, resume):
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
    return [one]


def _grid(work, runs, config, engine):
    """All runs, those that another process holds last; the table, the winner first."""
    names = config["hyper_parameters"]
    _warn(axes.repeated_values({name: _listed(config, name) for name in names}))
    _warn(axes.same_runs(runs))
    runs = list({one.folder.id: one for one in reversed(runs)}.values())[::-1]
    done = sum(1 for one in runs if one.folder.result())
    logger.info("grid of %d runs, %d of them finished", len(runs), done)
    engine.start(work.threads)
    pace = _Pace(axes.varied(runs))
    for one in runs:
        engine.submit(work, one)
    for left in reversed(range(len(runs))):
        pace.ended(engine.collect(), left)
    return _ranked(runs, "grid")


def _search(request, ranges, search, engine):
    """The trials of a search; the table, the winner first."""
    source, config = _configure(request)
    names = config["hyper_parameters"]
    names = [*names, *(name for name in ranges if name not in names)]
    if ranges:
        overrides = request.overrides | {"hyper_parameters": names}
        request = replace(request, overrides=overrides)
        source, config = _configure(request)
    lists = {name: _listed(config, name) for name in names if name not in ranges}
    _warn(axes.repeated_values(lists))
    space = {name: ranges.get(name) or distinct(lists[name]) for name in names}
    _, some = _configure(request.at({name: first_of(axis) for name, axis in space.items()}))
    (some,) = some.points(grid=True)
    with shims_for(some):
        work = _open(request, source, some, as_grid=True)
        engine.start(work.threads)
        return _trials(work, space, some, search, engine)


def _trials(work, space, some, search, engine):
    bigger, metric = some["valid_metric_bigger"], some["valid_metric"].lower()
    open_at_once = search.at_once or engine.workers
    proposals = Proposals(search, space, open_at_once, bigger)
    halving = Halving(search.first_bar, some["epochs"], bigger)
    logger.info(
        "%s search: %d trials%s, search seed %d%s",
        search.method,
        search.trials,
        f" in {proposals.size} points" * (proposals.size < math.inf),
        search.seed,
        f", {open_at_once} at a time" * (search.method != "random"),
    )
    window = search.trials if search.method == "random" else open_at_once
    asked, told, exhausted = [], 0, False
    pace = _Pace([name for name, axis in space.items() if not is_single(axis)])
    while True:
        while len(asked) < search.trials and len(asked) - told < window and not exhausted:
            trial, point = proposals.next()
            exhausted = trial is None
            if not exhausted:
                _, config = _configure(work.request.at(point))
                (one,) = work.runs(config.points(grid=True))
                one.bars = halving.bars() if search.method == "asha" else {}
                asked.append((trial, one))
                engine.submit(work, one)
        if told == len(asked):
            break
        pace.ended(engine.collect(), min(search.trials, proposals.size) - pace.count - 1)
        while told < len(asked) and asked[told][1].ended:  # in their order, however they ended
            trial, one = asked[told]
            proposals.tell(trial, one.result and one.result["valid"][metric])
            halving.add(one)
            told += 1
    runs = [one for _, one in asked]
    if exhausted:
        logger.info("the space has no more than these %d points", len(runs))
    _warn(axes.same_runs(runs))
    return _ranked(list({one.folder.id: one for one in reversed(runs)}.values())[::-1], "search")


def _listed(config, name):
    value = config[name]
    return value if isinstance(value, list) and value else [value]


def _warn(sentences):
    for sentence in sentences:
        logger.warning("%s", sentence)


class _Pace:
    """Says how many runs are left and, of the first one trained, which axes it did not read."""

    def __init__(self, names=()):
        self.names, self.count, self.trained = names, 0, 0
        self.started = time.monotonic()

    def ended(self, one, left):
        self.count += 1
        if one.reused:
            return
        self.trained += 1
        if one.unread is not None:  # the first that was trained to its end
            _warn(axes.unread(one, self.names))
            self.names = ()
        if left:
            minutes = left * (time.monotonic() - self.started) / self.trained / 60
            logger.info("%d runs left, about %.0f minutes at this pace", left, minutes)


def _ranked(runs, what):
    """Runs by validation, the best first, the earlier of equals first, the stopped and the failed
    last; logs the table.
    """
    metric = runs[0].config["valid_metric"].lower()
    sign = -1 if runs[0].config["valid_metric_bigger"] else 1
    finished = sorted(
        (one for one in runs if one.result), key=lambda one: sign * one.result["valid"][metric]
    )
    if not finished:
        first = runs[0].failure or runs[0].stopped
        raise RunError(f"all {len(runs)} runs of the {what} failed; the first: {first}")
    varied = axes.varied(runs)
    lines = [f"{'validation':>10} {'test':>7}  {metric} (the test value decides nothing)"]
    for one in finished:
        lines.append(
            f"{one.result['valid'][metric]:10.4f} {one.result['test'][metric]:7.4f}  "
            f"{axes.written(one, varied)}  {one.folder.id}"
        )
    stopped = [one for one in runs if one.stopped]
    lines += [
        f"{'stopped':>10} {'':7}  {axes.written(one, varied)}  {one.folder.id}: {one.stopped}"
        for one in stopped
    ]
    failed = [one for one in runs if not one.result and not one.stopped]
    lines += [f"{'failed':>10} {'':7}  {one.folder.id}: {one.failure}" for one in failed]
    best = finished[0]
    winner = axes.written(best, varied)
    lines.append(f"winner by validation {metric}: {winner}  {best.folder.path}")
    logger.info("%s", "\n".join(lines))
    _warn(axes.idle(runs))
    return finished + stopped + failed
