"""Training what a request means: one run, a grid, or the trials of a search, each run in its folder
of the ledger.
"""

import logging
import math
import tempfile
from collections.abc import Callable
from dataclasses import replace

from ld4mrec.config.configuration import Config
from ld4mrec.engines.in_turn import InTurn
from ld4mrec.errors import ConfigError, DivergedError
from ld4mrec.runs.forecast import forecast
from ld4mrec.runs.request import Opened, Request, configure, open_request, runs_at, shims_for
from ld4mrec.runs.run import Run, ended_earlier, finish, own_view
from ld4mrec.search.halving import Halving
from ld4mrec.search.idle import repeated_values, same_runs, varied
from ld4mrec.search.options import Search
from ld4mrec.search.outcome import Pace, ranked, warn
from ld4mrec.search.proposals import Proposals
from ld4mrec.search.space import Space, distinct, first_of, is_single, take_ranges
from ld4mrec.terminal import quiet
from ld4mrec.training.trainer import Epoch

logger = logging.getLogger(__name__)


def run(
    model: str,
    dataset: str,
    keys: dict | None = None,
    *,
    grid: bool | None = None,
    resume: bool = False,
    mg: bool = False,
    plugin: str | None = None,
    search: Search | None = None,
    engine: InTurn | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> list[Run]:
    """Train and evaluate a model; the Runs, the winner first for a grid or a search.

    keys, mg, plugin: see `Request`. grid: True searches the lists of the hyper-parameters, None
    does what the model's yaml means. resume: go on with an interrupted single run (a grid always
    does). search: in place of a grid. engine: who trains the runs of a grid or search, None: this
    process. on_epoch: called after each epoch of a single run. The winner is chosen by validation
    alone. Finished runs are not repeated. Raises UserError for what the user can mend.
    """
    engine = engine or InTurn()
    keys, ranges = take_ranges(engine.with_device(keys or {}))
    if ranges and not search:
        raise ConfigError(f"--{next(iter(ranges))} is a range of numbers; that needs --search")
    request = Request(model, dataset, keys, mg, plugin)
    if search:
        return _search(request, ranges, search, engine)
    source, config = configure(request)
    points = config.points(grid)
    as_grid = _is_grid(grid, points)
    if not as_grid and not isinstance(engine, InTurn):
        raise ConfigError("--engine ray trains the runs of --grid or --search; add one of them")
    with shims_for(config):
        opened = open_request(request, source, points[0])
        runs = opened.runs(points, as_grid)
        if as_grid:
            return _grid(opened, runs, config, engine)
        return _single(opened, replace(runs[0], on_epoch=on_epoch), resume)


def quick_start(model, dataset, config_dict=None, save_model=True, mg=False) -> list[Run]:
    """MMRec's entry: the model's grid, every combination of the lists of the hyper-parameters.

    config_dict: {key: value} overrides. save_model: taken for MMRec's signature; weights are always
    saved. Returns the Runs of `run`, the winner by validation first.
    """
    return run(model, dataset, config_dict, grid=True, mg=mg)


def run_all(requests: list[Request], engine: InTurn) -> None:
    """Train the grids of several requests, all of their runs side by side if the engine can.

    Runs that fail are logged; their folders say why. For models of our own only.
    """
    submitted = 0
    for request in requests:
        request = request.with_keys(engine.with_device(request.keys))
        source, config = configure(request)
        points = config.points(grid=True)
        opened = open_request(request, source, points[0])
        runs = opened.runs(points)
        engine.start(runs[0].config["threads"])
        for planned in runs:
            engine.submit(opened, planned)
        submitted += len(runs)
    pace = Pace()
    for left in reversed(range(submitted)):
        pace.count(engine.collect(), left)


def plan(request: Request, grid: bool | None = None) -> list[Run]:
    """The Runs that a request means, in the order of the points, with the outcome of those that
    ended; nothing is trained or written. Damaged ones have not ended. Ranges of a search are left
    out.
    """
    with quiet():
        source, config = configure(replace(request, keys=take_ranges(request.keys)[0]))
        points = config.points(grid)
        return [
            planned.as_found(anew=True)
            for planned in runs_at(source, points, _is_grid(grid, points))
        ]


def preview(
    model: str,
    dataset: str,
    keys: dict,
    *,
    grid: bool = False,
    mg: bool = False,
    plugin: str | None = None,
    trials: int | None = None,
) -> list[str]:
    """Sentences on what a request will need: runs, memory, time, disk. The first point that is not
    finished is built and takes some steps, nothing is written. trials: of a search; the others as
    for `run`.
    """
    request = Request(model, dataset, keys, mg, plugin)
    runs = plan(request, grid or bool(trials) or None)
    done = [run for run in runs if run.result]
    left = [run for run in runs if not run.ended] or runs
    what = f"a search: {trials} of {len(runs)} points" if trials else f"{len(runs)} runs"
    where = left[0].folder.path
    lines = [f"{what if len(runs) > 1 else 'one run'}, {len(done)} finished; the next in {where}"]
    source, _ = configure(replace(request, keys=take_ranges(request.keys)[0]))
    config = left[0].config
    with shims_for(config), tempfile.TemporaryDirectory() as folder:
        aside = config if config.ours else config.replace({"cache_dir": folder})
        opened = open_request(request, source, config)
        opened.runs([config])  # refuses a cut-off beyond the catalogue
        with own_view(aside, left[0].id, opened.splits[0]) as view:
            found = forecast(view, opened.model_class, opened.splits)
    return lines + found.lines(config, min(trials, len(left)) if trials else len(left))


def _is_grid(grid, points):
    return bool(grid) or len(points) > 1


def _single(opened: Opened, single: Run, resume: bool) -> list[Run]:
    if single.folder.is_finished:  # reused without a lock: its disk may be read-only
        return [ended_earlier(single, in_grid=False)]
    if not single.folder.lock(timeout=0):
        logger.info(
            "%s is training this run in %s; waiting for it",
            *(single.folder.holder(), single.folder.path),
        )
        single.folder.lock(timeout=-1)
    try:
        ended = finish(single, opened.model_class, opened.splits, resume, opened.seconds)
    finally:
        single.folder.unlock()
    if ended.failure:
        raise DivergedError(ended.failure)
    return [ended]


def _grid(opened: Opened, runs: list[Run], config: Config, engine: InTurn) -> list[Run]:
    """All runs, those that another process holds last; the table, the winner first."""
    warn(repeated_values({name: _listed(config, name) for name in config["hyper_parameters"]}))
    warn(same_runs(runs))
    runs = _different(runs)
    done = sum(planned.folder.is_finished for planned in runs)
    logger.info("grid of %d runs, %d of them finished", len(runs), done)
    engine.start(runs[0].config["threads"])
    pace, ended = Pace(varied(runs)), {}
    for planned in runs:
        engine.submit(opened, planned)
    while any(planned.id not in ended for planned in runs):
        last = engine.collect()
        ended[last.id] = last
        pace.count(last, len(runs) - len(ended))
    return ranked([ended[planned.id] for planned in runs], "grid")


def _search(request, ranges, search, engine):
    """The trials of a search; the table, the winner first."""
    _, config = configure(request)
    names = config["hyper_parameters"]
    names = [*names, *(name for name in ranges if name not in names)]
    if ranges:
        request = request.with_keys({"hyper_parameters": names})
        _, config = configure(request)
    lists = {name: _listed(config, name) for name in names if name not in ranges}
    warn(repeated_values(lists))
    space = {name: ranges.get(name) or distinct(lists[name]) for name in names}
    first = {name: first_of(values) for name, values in space.items()}
    source, config = configure(request.at(first))
    (config,) = config.points(grid=True)
    with shims_for(config):
        opened = open_request(request, source, config)
        (some,) = opened.runs([config])
        engine.start(some.config["threads"])
        return _trials(opened, space, some.config, search, engine)


def _trials(opened: Opened, space: Space, some: Config, search: Search, engine: InTurn):
    metric = some["valid_metric"].lower()
    open_at_once = search.at_once or engine.workers
    proposals = Proposals(search, space, open_at_once)
    halving = Halving(search.first_rung, some["epochs"])
    of, window, at_a_time = "", search.trials, ""
    if proposals.size < math.inf:
        of = f" in {proposals.size} points"
    if search.method != "random":
        window, at_a_time = open_at_once, f", {open_at_once} at a time"
    words = search.method, search.trials, of, search.seed, at_a_time
    logger.info("%s search: %d trials%s, search seed %d%s", *words)
    trials, ended = [], {}  # (trial, Run) in the order drawn; {id: Run} of those that ended
    told, exhausted = 0, False
    pace = Pace([name for name, values in space.items() if not is_single(values)])
    while True:
        while len(trials) < search.trials and len(trials) - told < window and not exhausted:
            trial, point = proposals.next()
            exhausted = trial is None
            if not exhausted:
                _, config = configure(opened.request.at(point))
                (drawn,) = opened.runs(config.points(grid=True))
                if search.method == "asha":
                    drawn = replace(drawn, rungs=halving.rungs())
                if drawn.id not in {other.id for _, other in trials}:
                    engine.submit(opened, drawn)
                trials.append((trial, drawn))
        if told == len(trials):
            break
        trial, drawn = trials[told]
        while drawn.id not in ended:
            last = engine.collect()
            ended[last.id] = last
            pace.count(last, min(search.trials, proposals.size) - len(ended))
        # one by one, in their order: the next draw knows as many whoever was fast
        result = ended[drawn.id].result
        proposals.tell(trial, result and result["valid"][metric])
        halving.add(replace(ended[drawn.id], rungs=drawn.rungs))
        told += 1
    runs = [ended[drawn.id] for _, drawn in trials]
    if exhausted:
        logger.info("the space has no more than these %d points", len(runs))
    warn(same_runs([drawn for _, drawn in trials]))
    return ranked(_different(runs), "search")


def _different(runs):
    """One Run for each id, the first."""
    return list({planned.id: planned for planned in reversed(runs)}.values())[::-1]


def _listed(config, name):
    value = config[name]
    return value if isinstance(value, list) and value else [value]
