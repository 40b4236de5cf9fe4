"""The paper's experiments, one after the other: what is missing is trained, then reported."""

import sys
from dataclasses import replace
from pathlib import Path

from ld4mrec.comparison import ledger
from ld4mrec.comparison.archive import archive
from ld4mrec.comparison.entries import Keys, check_common, read_settings
from ld4mrec.comparison.ledger import Row
from ld4mrec.config.words import metrics_of
from ld4mrec.data.counts import TITLES
from ld4mrec.errors import ConfigError, UserError, counted
from ld4mrec.paper import (
    ablation,
    bound,
    datasets,
    efficiency,
    inference,
    knockout,
    missing,
    noise,
    performance,
    runs,
    sensitivity,
)
from ld4mrec.paper.colophon import folder_of, host_config
from ld4mrec.paper.names import EXPERIMENTS
from ld4mrec.paper.overview import overview
from ld4mrec.paper.runs import Setup
from ld4mrec.report.report import Report
from ld4mrec.report.tables import slug
from ld4mrec.report.writing import write_report
from ld4mrec.terminal import say

LEAST_BATCHES = 20  # for a median to be one
OF_NAMES = (
    *(datasets, ablation, inference, bound),
    *(sensitivity, noise, missing, knockout, performance, efficiency),
)
MODULES = dict(zip(EXPERIMENTS, OF_NAMES, strict=True))
MODELS = {  # where -m chooses, what it chooses from at most
    "noise": noise.ALL,
    "missing": missing.MODELS,
    "knockout": knockout.MODELS,
    "tables": performance.ALL,
    "efficiency": efficiency.MODELS,
}
VARIES = {"ablation": "ablation", "inference": "inference_steps", "bound": "inference_steps"}
WITHOUT_DATA = ("datasets", "efficiency")  # once, whatever the data sets


def check(names: list[str], setup: Setup) -> None:
    """Raise now what an experiment would say of the command line when its turn comes."""
    runs.check_models(setup.models or ())
    if setup.models and not set(names) & set(MODELS):
        raise ConfigError(
            f"-m chooses the models of {', '.join(MODELS)}; --only {','.join(names)} has "
            "nothing to choose: leave -m out"
        )
    if setup.settings:
        runs.check_models(read_settings(setup.settings), setup.settings)
    check_common(setup.keys)
    if setup.batches < LEAST_BATCHES:
        raise ConfigError(f"--batches is {setup.batches}; wanted {LEAST_BATCHES} or more")
    if not setup.cell_minutes > 0:
        raise ConfigError(f"--cell-minutes is {setup.cell_minutes:g}; wanted a positive number")
    runs.check_keys(setup.keys, {model for name in names for model in models_of(name, setup)})
    for name in names:
        if (varies := VARIES.get(name)) in setup.keys:
            raise ConfigError(f"--{varies} is what {name} varies; leave it out")
    for key, value in setup.keys.items():
        if _is_varied(key, value) and "sensitivity" not in names:
            raise ConfigError(
                f"--{key} is a list, which sensitivity varies, and --only leaves that out"
            )
    if "sensitivity" in names:
        sensitivity.varied(setup)
    if "efficiency" in names:
        efficiency.asked(setup)


def models_of(name: str, setup: Setup) -> tuple[str, ...]:
    """Names of the models that an experiment may train."""
    if name in MODELS:
        return setup.models or MODELS[name]
    return () if name == "datasets" else (runs.OURS,)


def experiment(name: str, setup: Setup, dry_run: bool = False) -> tuple[Report | None, list[Row]]:
    """Train what is missing and write the report: (Report, rows), (None, rows) for a dry run."""
    module = MODULES[name]
    if name != "sensitivity":  # a list that it varies is for it alone
        keys = {key: value for key, value in setup.keys.items() if not _is_varied(key, value)}
        setup = replace(setup, keys=keys)
    rows = module.rows(setup)
    _announce(name, rows, setup)
    if dry_run:
        return None, rows
    if not setup.finished:
        rows = ledger.train_all(rows, setup.ledger, setup.engine)
        if module is efficiency:
            efficiency.measure(setup)
    name_of_all = "-".join(filter(None, (setup.dataset, name)))
    report = replace(module.report(setup, rows), name=slug(name_of_all))
    if setup.archive:
        archive(rows, setup.archive)
        if module is efficiency:
            efficiency.keep(setup, setup.archive)
    write_report(setup.out / name, report)
    say(f"{name}: the report is in {setup.out / name}")
    return report, rows


def _is_varied(key, value):
    return key in sensitivity.VARIED and isinstance(value, list)


def _announce(name, rows, setup):
    """Print how many runs there are, and what the missing ones take."""
    if name == "efficiency":
        first, *more = efficiency.estimate(setup)
        say("\n".join([f"{name}: {first}", *more]))
    if rows:
        n_runs = sum(len(row.runs) for row in rows)
        missing = sum(len(row.missing) for row in rows)
        say(f"{name}: {counted(n_runs, 'run')}, {n_runs - missing} of them finished")
        if missing and not setup.finished:
            say("\n".join(f"  {line}" for line in runs.estimate(rows)))


def on_one(names: list[str], setup: Setup, dry_run: bool = False) -> dict[str, str]:
    """Experiments on the setup's data set; {experiment: why it could not be}."""
    check(names, setup)
    if set(names) - set(WITHOUT_DATA):
        check_metrics(setup.dataset, setup.keys)
    failed = {}
    for name in names:
        _attempt(name, setup, dry_run, failed, name)
    return failed


def on_all(
    names: list[str], base: Setup, asked: list[str] | None = None, dry_run: bool = False
) -> dict[str, str]:
    """Experiments on several data sets, None for those at hand, and the paper's overview."""
    check(names, base)
    asked = asked or present(base.keys)
    if not asked:
        folder = folder_of(base.keys, "data_path")
        raise ConfigError(f"there is no data set in {folder}; give --data_path=FOLDER")
    for name in asked:
        check_metrics(name, base.keys)
    reports, rows, failed = {}, {}, {}
    once = replace(base, also=tuple(asked))
    places = [(None, name) for name in names if name in WITHOUT_DATA]
    places += [(dataset, name) for dataset in asked for name in names if name not in WITHOUT_DATA]
    for dataset, name in places:
        say(f"--- {dataset or 'all data sets'}: {name}")
        setup = replace(base, dataset=dataset, out=base.out / dataset) if dataset else once
        if name == "noise" and not setup.models:
            setup = replace(setup, models=noise.ALL)
        report, found = _attempt(name, setup, dry_run, failed, (dataset, name))
        if report:
            reports[dataset, name], rows[dataset, name] = report, found
    if not dry_run:
        write_report(base.out, overview(once, asked, reports, rows, failed))
        say(f"the report on all of it is in {base.out}")
    return {" of ".join(filter(None, (name, d))): why for (d, name), why in failed.items()}


def _attempt(name, setup, dry_run, failed, key):
    """(Report, rows) of an experiment; if it cannot be, (None, []), and the reason in failed."""
    try:
        return experiment(name, setup, dry_run)
    except UserError as error:
        failed[key] = str(error)
        print(f"{name}: error: {error}", file=sys.stderr, flush=True)
        return None, []


def check_metrics(dataset: str, keys: Keys) -> None:
    """ConfigError for an unknown data set, and for runs that do not measure what reports show."""
    config = host_config(dataset, keys)  # the error names the nearest
    try:
        metrics_of(",".join(runs.METRICS), config)
    except ConfigError as error:
        raise ConfigError(
            f"the reports show {', '.join(runs.METRICS)}: --topk (now {config['topk']}) must have "
            f"10 and 20, --metrics (now {config['metrics']}) Recall and NDCG"
        ) from error


def present(keys: Keys) -> list[str]:
    """Names of the data folders in data_path, the paper's first."""
    folder = Path(folder_of(keys, "data_path"))
    found = sorted({path.parent.name for path in folder.glob("*/*.inter")})
    return [n for n in TITLES if n in found] + [n for n in found if n not in TITLES]
