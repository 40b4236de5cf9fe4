"""Runs: one model on one data set, once, over its grid or for the trials of a search, each in its
folder of the ledger.
"""

import logging
import math
import time
from dataclasses import replace

from ld4mrec.engines.in_turn import InTurn
from ld4mrec.errors import ConfigError, DivergedError, RunError
from ld4mrec.runs.one_run import finish
from ld4mrec.runs.request import Request, configure, open_request, shims_for
from ld4mrec.search import idle as axes
from ld4mrec.search.proposals import Halving, Proposals, distinct, first_of, is_single, take_ranges
from ld4mrec.terminal import quiet

logger = logging.getLogger(__name__)


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
    parameters, None does what the model's yaml means (see ld4mrec.config). resume: go on with
    an interrupted single run (a grid always does). plugin: a .py file or folder of a third party
    that holds the model. search: a `Search`, in place of a grid. engine: who trains the
    runs of a grid or search (None: this process). The winner is chosen by validation
    alone. Finished runs are not repeated. Raises UserError for what the user can mend.
    """
    engine = engine or InTurn()
    overrides, ranges = take_ranges(engine.settle(overrides or {}))
    if ranges and not search:
        raise ConfigError(f"--{next(iter(ranges))} is a range of numbers; that needs --search")
    request = Request(model, dataset, overrides, mg, plugin)
    if search:
        return _search(request, ranges, search, engine)
    source, config = configure(request)
    points = config.points(grid)
    as_grid = bool(grid) or len(points) > 1
    if not as_grid and not isinstance(engine, InTurn):
        raise ConfigError("--engine ray trains the runs of --grid or --search; add one of them")
    with shims_for(config):
        work = open_request(request, source, points[0], as_grid)
        runs = work.runs(points)
        return _grid(work, runs, config, engine) if as_grid else _only(work, *runs, resume)


def quick_start(model, dataset, config_dict=None, save_model=True, mg=False):
    """MMRec's entry: the model's grid, every combination of the lists of the hyper-parameters.

    config_dict: {key: value} overrides. save_model: taken for MMRec's signature; weights are always
    saved. Returns the Runs of `run`, the winner by validation first.
    """
    return run(model, dataset, config_dict, grid=True, mg=mg)


def run_all(requests, engine):
    """Train the grids of several Requests, all of their runs side by side if the engine can.

    Runs that fail are logged; their folders say why. For models of our own only.
    """
    engine = engine or InTurn()
    submitted = 0
    for request in requests:
        request = replace(request, overrides=engine.settle(request.overrides))
        source, config = configure(request)
        points = config.points(grid=True)
        work = open_request(request, source, points[0], as_grid=True)
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
    source, config = configure(request)
    points = config.points(grid)
    with quiet(), shims_for(config):
        as_grid = bool(grid) or len(points) > 1
        runs = open_request(request, source, points[0], as_grid).runs(points)
    for one in runs:
        one.result = one.folder.result()
        one.failure = (one.folder.read_json("failed.json") or {}).get("reason")
        one.reused = one.result is not None
    return runs


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
    source, config = configure(request)
    names = config["hyper_parameters"]
    names = [*names, *(name for name in ranges if name not in names)]
    if ranges:
        overrides = request.overrides | {"hyper_parameters": names}
        request = replace(request, overrides=overrides)
        source, config = configure(request)
    lists = {name: _listed(config, name) for name in names if name not in ranges}
    _warn(axes.repeated_values(lists))
    space = {name: ranges.get(name) or distinct(lists[name]) for name in names}
    _, some = configure(request.at({name: first_of(axis) for name, axis in space.items()}))
    (some,) = some.points(grid=True)
    with shims_for(some):
        work = open_request(request, source, some, as_grid=True)
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
                _, config = configure(work.request.at(point))
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
