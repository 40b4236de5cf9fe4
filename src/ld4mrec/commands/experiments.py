"""The paper's tables and figures on a data set: what is missing is trained, then reported.

    python src/experiments.py -d tiktok
        all experiments (those that --only lists, below)
    python src/experiments.py -d tiktok --only inference,ablation --seeds 5
        two of them
    python src/experiments.py -d tiktok --only noise -m LD4MRec,LightGCN --stopping_step=5
        some models; any --key=value of main.py applies to all runs
    python src/experiments.py -d tiktok --only sensitivity --grid 3x3 --svd_rank=[100,400]
        a list on the command line is what that key takes
    python src/experiments.py --paper
        everything on all data sets in data_path (-d a,b: on these), beside the paper's numbers

Reports go to reports/<data set>/<experiment>/, with --paper to reports/paper/: report.md, .csv,
.tex, .html and figures/. Finished runs are reused (the run folders are the ledger) and the same
command goes on where it was stopped. What could not be run is an empty cell with the reason.
"""

import argparse
import logging
import re
import sys
from dataclasses import replace
from pathlib import Path

from ld4mrec.commands.compare import metrics_of
from ld4mrec.comparison.archive import archive
from ld4mrec.comparison.entries import check_common, read_settings
from ld4mrec.config.words import parse_overrides, seeds_of
from ld4mrec.data.counts import TITLES
from ld4mrec.engines.options import add_engine_options, engine_of
from ld4mrec.errors import ConfigError, UserError, nearest
from ld4mrec.paper import (
    ablation,
    bound,
    datasets,
    efficiency,
    inference,
    noise,
    performance,
    runs,
    sensitivity,
)
from ld4mrec.paper.colophon import folder_of, host_config
from ld4mrec.paper.overview import overview
from ld4mrec.places import REPORTS
from ld4mrec.report.writing import write_report
from ld4mrec.terminal import init_logger

LEAST_BATCHES = 20  # for a median to be one
EXPERIMENTS = {  # in the order in which they are run
    "datasets": datasets,
    "ablation": ablation,
    "inference": inference,
    "bound": bound,
    "sensitivity": sensitivity,
    "noise": noise,
    "tables": performance,
    "efficiency": efficiency,
}
OF_MODELS = {  # where -m chooses, and what it chooses from at most
    "noise": noise.ALL,
    "tables": performance.ALL,
    "efficiency": efficiency.MODELS,
}
VARIES = {
    "ablation": ("ablation",),
    "inference": ("inference_steps",),
    "bound": ("inference_steps",),
}
WITHOUT_DATA = ("datasets", "efficiency")  # once, whatever the data sets
logger = logging.getLogger(__name__)


def parser():
    layout = argparse.RawDescriptionHelpFormatter
    usage = (
        "experiments.py (-d DATASET | --paper) [--only NAME,NAME] [-m MODEL,MODEL] "
        "[--seeds N|LIST] [--out DIR] [--dry-run] [--key=value ...]"
    )
    one = argparse.ArgumentParser(
        usage=usage, description=__doc__, formatter_class=layout, allow_abbrev=False
    )
    one.add_argument("-d", "--dataset", help="data set, as for main.py; with --paper several")
    one.add_argument("--paper", action="store_true", help="everything, beside the paper's numbers")
    one.add_argument("--only", help=f"comma-separated, of {', '.join(EXPERIMENTS)}")
    one.add_argument("-m", "--models", help=f"comma-separated; of {', '.join(OF_MODELS)}")
    one.add_argument(
        "--seeds", default="3", help="how many (1 to N), or a comma-separated list; default: 3"
    )
    one.add_argument("--out", type=Path, help="folder of the reports; default: reports/<dataset>/")
    one.add_argument("--ledger", type=Path, help="a further folder of finished runs, only read")
    one.add_argument(
        "--archive", type=Path, help="also keep the finished runs there, without weights: a ledger"
    )
    one.add_argument("--settings", type=Path, help="yaml: {model: {key: value}}")
    one.add_argument("--grid", default="3x3", help="of sensitivity: values of p x of gamma")
    one.add_argument("--sizes", help="of efficiency: comma-separated, of tmall, microlens, hm")
    one.add_argument(
        "--cell-minutes", type=float, default=60, help="of efficiency: limit of a measurement; 60"
    )
    one.add_argument(
        "--batches", type=int, default=20, help="of efficiency: batches timed, 20 or more"
    )
    add_engine_options(one)
    one.add_argument("--dry-run", action="store_true", help="say what is missing, and stop")
    one.add_argument(
        "--finished", action="store_true", help="train nothing: report on the finished runs"
    )
    return one


def grid_of(text):
    """(3, 5) of '3x5'; ConfigError for anything else."""
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found or min(map(int, found.groups())) < 1:
        raise ConfigError(f"--grid is {text!r}; wanted two numbers from 1, such as 3x3")
    return tuple(map(int, found.groups()))


def experiments_of(text):
    """The names of a comma-separated list, all for None; ConfigError naming the nearest."""
    names = text.split(",") if text else list(EXPERIMENTS)
    for name in names:
        if name not in EXPERIMENTS:
            raise ConfigError(
                f"--only names '{name}', which is no experiment.{nearest(name, EXPERIMENTS)}"
            )
    return list(dict.fromkeys(names))


def setup_of(options, keys, engine):
    """What was asked for, checked, without a data set."""
    models = tuple(options.models.split(",")) if options.models else None
    runs.check_models(models or ())
    names = experiments_of(options.only)
    if models and not set(names) & set(OF_MODELS):
        raise ConfigError(
            f"-m chooses the models of {', '.join(OF_MODELS)}; --only {options.only} has nothing "
            "to choose: leave -m out"
        )
    if options.settings:
        runs.check_models(read_settings(options.settings), options.settings)
    check_common(keys)
    if options.batches < LEAST_BATCHES:
        raise ConfigError(f"--batches is {options.batches}; wanted {LEAST_BATCHES} or more")
    if not options.cell_minutes > 0:
        raise ConfigError(f"--cell-minutes is {options.cell_minutes:g}; wanted a positive number")
    setup = runs.Setup(
        dataset=None,
        keys=keys,
        seeds=tuple(seeds_of(options.seeds)),
        out=options.out or REPORTS / (options.dataset if not options.paper else "paper"),
        models=models,
        ledger=options.ledger,
        settings=options.settings,
        grid=grid_of(options.grid),
        sizes=tuple(options.sizes.split(",")) if options.sizes else None,
        cell_minutes=options.cell_minutes,
        batches=options.batches,
        finished=options.finished,
        engine=engine,
        archive=options.archive,
    )
    check_options(names, setup)
    return setup


def experiment(name, setup, dry_run=False):
    """Train what is missing of an experiment and write its report: (Report, rows), (None, rows) for
    a dry run.
    """
    module, setup = EXPERIMENTS[name], of_experiment(name, setup)
    rows = module.rows(setup)
    announce(name, rows, setup)
    if dry_run:
        return None, rows
    if not setup.finished:
        runs.train(rows, setup)
        if module is efficiency:
            efficiency.measure(setup)
    report = module.report(setup, rows)
    if setup.archive:
        archive(rows, setup.archive)
        if module is efficiency:
            efficiency.keep(setup, setup.archive)
    write_report(setup.out / name, report)
    print(f"{name}: the report is in {setup.out / name}", flush=True)
    return report, rows


def of_experiment(name, setup):
    """The setup for an experiment: a list for a key that `sensitivity` varies is for that alone."""
    if name == "sensitivity":
        return setup
    return replace(setup, keys={k: v for k, v in setup.keys.items() if not _is_varied(k, v)})


def _is_varied(key, value):
    return key in sensitivity.VARIED and isinstance(value, list)


def check_options(names, setup):
    """Raise now what an experiment would say of the command line when its turn comes."""
    models = {model for name in names for model in models_of(name, setup)}
    runs.check_keys(setup.keys, models)
    for name in names:
        if both := sorted(set(VARIES.get(name, ())) & set(setup.keys)):
            raise ConfigError(f"--{both[0]} is what {name} varies; leave it out")
    for key, value in setup.keys.items():
        if _is_varied(key, value) and "sensitivity" not in names:
            raise ConfigError(
                f"--{key} is a list, for sensitivity to vary, which --only leaves out"
            )
    if "sensitivity" in names:
        sensitivity.varied(setup)
    if "efficiency" in names:
        efficiency.asked(setup)


def models_of(name, setup):
    """Names of the models that an experiment may train."""
    if name in OF_MODELS:
        return setup.models or OF_MODELS[name]
    return () if name == "datasets" else (runs.OURS,)


def announce(name, rows, setup):
    """Print how many runs there are, and what the missing ones take."""
    if name == "efficiency":
        first, *more = efficiency.estimate(setup)
        print(f"{name}: {first}", *more, sep="\n", flush=True)
    if not rows:
        return
    planned = [one for row in rows for one in row.runs]
    missing = sum(len(row.missing) for row in rows)
    print(f"{name}: {len(planned)} runs, {len(planned) - missing} of them finished", flush=True)
    if missing and not setup.finished:
        print(*(f"  {line}" for line in runs.estimate(rows)), sep="\n", flush=True)


def on_one(options, keys, engine):
    """The experiments asked for on one data set; {experiment: why it could not be}."""
    if not options.dataset:
        raise ConfigError("no data set: give -d NAME, or --paper")
    if "," in options.dataset:
        raise ConfigError(f"-d is {options.dataset}: several data sets are for --paper; add that")
    names = experiments_of(options.only)
    setup = replace(setup_of(options, keys, engine), dataset=options.dataset)
    if set(names) - set(WITHOUT_DATA):
        check_metrics(setup.dataset, keys)
    failed = {}
    for name in names:
        attempt(name, setup, options.dry_run, failed, name)
    return failed


def check_metrics(dataset, keys):
    """ConfigError for an unknown data set, and for runs that do not measure what reports show."""
    config = host_config(dataset, keys)  # the error names the nearest
    try:
        metrics_of(",".join(runs.METRICS), config)
    except ConfigError as error:
        raise ConfigError(
            f"the reports show {', '.join(runs.METRICS)}: --topk (now {config['topk']}) must have "
            f"10 and 20, --metrics (now {config['metrics']}) Recall and NDCG"
        ) from error


def attempt(name, setup, dry_run, failed, key):
    """(Report, rows) of an experiment; if it cannot be, (None, []), and the reason in failed."""
    try:
        return experiment(name, setup, dry_run)
    except UserError as error:
        failed[key] = str(error)
        print(f"{name}: error: {error}", file=sys.stderr, flush=True)
        return None, []


def on_all(options, keys, engine):
    """The paper on the data sets at hand; {experiment: why it could not be}."""
    names, base = experiments_of(options.only), setup_of(options, keys, engine)
    asked = options.dataset.split(",") if options.dataset else present(keys)
    if not asked:
        raise ConfigError(
            f"there is no data set in {folder_of(keys, 'data_path')}; give --data_path=FOLDER"
        )
    for name in asked:
        check_metrics(name, keys)
    reports, rows, failed = {}, {}, {}
    once = replace(base, also=tuple(asked))
    places = [(None, name, once) for name in names if name in WITHOUT_DATA]
    for dataset in asked:
        setup = replace(base, dataset=dataset, out=base.out / dataset)
        for name in names:
            if name not in WITHOUT_DATA:
                all_of_noise = {"models": noise.ALL} if name == "noise" and not setup.models else {}
                places.append((dataset, name, replace(setup, **all_of_noise)))
    for dataset, name, setup in places:
        print(f"--- {dataset or 'all data sets'}: {name}", flush=True)
        report, found = attempt(name, setup, options.dry_run, failed, (dataset, name))
        if report:
            reports[dataset, name], rows[dataset, name] = report, found
    if not options.dry_run:
        write_report(base.out, overview(once, asked, reports, rows, failed))
        print(f"the report on all of it is in {base.out}", flush=True)
    return {" of ".join(filter(None, (name, d))): why for (d, name), why in failed.items()}


def present(keys):
    """Names of the data folders in data_path, the paper's first."""
    folder = Path(folder_of(keys, "data_path"))
    found = sorted({path.parent.name for path in folder.glob("*/*.inter")})
    return [n for n in TITLES if n in found] + [n for n in found if n not in TITLES]


def main(arguments=None):
    options, rest = parser().parse_known_args(arguments)
    init_logger()
    try:
        with engine_of(options) as engine:
            keys = engine.settle({"keep_last": False} | parse_overrides(rest))
            failed = (on_all if options.paper else on_one)(options, keys, engine)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    if failed:
        print(f"could not be run: {', '.join(failed)}; see above", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
