"""Train and evaluate one model on one data set, or search its hyper-parameter grid.

    python src/main.py -m LD4MRec -d tiktok
        one run with the yaml's defaults
    python src/main.py -m LD4MRec -d tiktok --learning_rate=5e-4
        the same, one key changed
    python src/main.py -m LD4MRec -d tiktok --grid
        every combination of the hyper-parameters' lists
    python src/main.py -m LD4MRec -d tiktok --grid --soft_prob=[0.005,0.01] --seed=[1,2,3]
        other lists
    python src/main.py -m LD4MRec -d tiktok --grid --dry-run
        train nothing, but say what it will need of memory, time and disk
    python src/main.py -m LD4MRec -d tiktok --search tpe --trials 12
        some points of it (random, tpe, or asha, which stops bad ones early); also of a range:
        --learning_rate='{low: 1e-4, high: 1e-2, log: true}'
    python src/main.py -m LD4MRec -d tiktok --grid --engine ray --workers 4 --threads=2
        four runs at a time, on this machine or a cluster: docs/scaling.md
    python src/main.py -m THEIRS -d baby --plugin path/to/theirs.py
        a model file written for MMRec
    python src/main.py --check-plugin path/to/theirs.py
        whether such a file works here, and what it uses: a few epochs on a small made-up data set
    python src/main.py --audit-leaks -m THEIRS -d baby --plugin path/to/theirs.py
        whether a model reads what it is tested on: some steps with other validation and test rows

Any key of configs/overall.yaml, of the data set's yaml and of the model's yaml can be given as
--key=value, and any key that a plugin's file reads (--plugin PATH --help lists them); lists are
written as in yaml. The winner of a grid or search is chosen on validation.
"""

import sys
from argparse import Namespace

from ld4mrec.config.configuration import dataset_names
from ld4mrec.config.parsing import Parser
from ld4mrec.config.schema import HOST
from ld4mrec.config.words import parse_overrides
from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.engines.options import add_engine_options, engine_of
from ld4mrec.errors import ConfigError, exit_status
from ld4mrec.plugins.sources import (
    config_of,
    find_model,
    find_plugins,
    keys_read,
    model_names,
)
from ld4mrec.search.options import add_search_options, search_of
from ld4mrec.search.space import take_ranges
from ld4mrec.terminal import say


def parser(prog: str = "main.py") -> Parser:
    usage = (
        "%(prog)s -m MODEL -d DATASET [--grid | --search METHOD --trials N] [--resume] [--mg]\n"
        "               [--plugin PATH] [--engine ray ...] [--key=value ...]\n"
        "       %(prog)s --check-plugin PATH [-m MODEL] [-d DATASET] [--traceback]\n"
        "               [--key=value ...]\n"
        "       %(prog)s --audit-leaks -m MODEL -d DATASET [--plugin PATH] [--key=value ...]"
    )
    words = Parser(prog, __doc__, usage)
    words.also = plugin_keys
    models = f"one of {', '.join(model_names())}, or a plugin's class"
    data_sets = f"one of {', '.join(dataset_names())}, or your own folder in data_path"
    words.add_argument("-m", "--model", help=models)
    words.add_argument("-d", "--dataset", help=data_sets)
    words.add_argument("--grid", action="store_true", help="search the hyper-parameters' lists")
    add_search_options(words)
    add_engine_options(words)
    words.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    words.add_argument(
        "--dry-run",
        action="store_true",
        help="train nothing: build the model, take some steps, and say what a run, a grid or a "
        "search will need of memory, time and disk",
    )
    words.add_argument("--mg", action="store_true", help="mirror gradient, see configs/mg.yaml")
    words.add_argument("--plugin", metavar="PATH", help="a MMRec model file, or a folder of such")
    words.add_argument(
        "--check-plugin",
        metavar="PATH",
        help="report on a model file, all models of a folder or checkout (-m: one of them), or one "
        "of ours by its name; trains nothing that is kept. -d: on this data set instead of a "
        "made-up one. Ends with 0 if all is clean, 1 if a check failed",
    )
    words.add_argument(
        "--audit-leaks",
        action="store_true",
        help="train a few steps with the validation and test rows as they are, replaced and "
        "removed, and say whether anything differs; keeps nothing. Ends with 0 if not, 1 if so",
    )
    words.add_argument(
        "--traceback", action="store_true", help="with --check-plugin: errors in full"
    )
    return words


def plugin_keys(options: Namespace) -> str:
    """What --help adds for the plugin that was given before it: the keys that its models read."""
    if not getattr(options, "plugin", None):
        return ""
    lines = []
    for source in find_plugins(options.plugin, options.model):
        declared = read_yaml(source.yaml) if source.yaml else {}
        keys = keys_read(source) - {*HOST}
        for what, names in (
            ("reads, declared in its yaml", keys & {*declared}),
            ("reads, and no yaml declares, so None unless given", keys - {*declared}),
        ):
            lines += [f"{source.name} {what}: {' '.join(sorted(names))}"] if names else []
    return "\n".join(lines)


def check(options: Namespace, rest: list[str]) -> int:
    """Print the reports that --check-plugin asks for; the exit status."""
    unwanted = ("grid", "search", "resume", "mg", "plugin", "dry_run", "audit_leaks")
    unfit = [f"--{word.replace('_', '-')}" for word in unwanted if getattr(options, word)]
    if unfit:
        raise ConfigError(f"--check-plugin does without {unfit[0]}; leave it out")
    from ld4mrec.plugins.check.check import check_plugin

    sources = find_plugins(options.check_plugin, options.model)
    overrides = parse_overrides(rest, [source.yaml for source in sources if source.yaml])
    reports = {}
    for source in sources:
        reports[source.name] = check_plugin(source, options.dataset, overrides)
        print(reports[source.name].text(options.traceback), flush=True)
        print()
    if len(reports) > 1:
        width = max(map(len, reports))
        for name, report in reports.items():
            print(f"{name:<{width}}  {report.verdict}")
    return 0 if all(report.clean for report in reports.values()) else 1


def audit(options: Namespace, rest: list[str]) -> int:
    """Print what --audit-leaks finds; the exit status."""
    unwanted = ("grid", "search", "resume", "mg", "dry_run", "traceback")
    if unfit := [f"--{word.replace('_', '-')}" for word in unwanted if getattr(options, word)]:
        raise ConfigError(f"--audit-leaks does without {unfit[0]}; leave it out")
    overrides = overrides_of(options, rest)
    from ld4mrec.plugins.check.leaks import audit_request
    from ld4mrec.runs.request import Request

    asked = Request(options.model, options.dataset, overrides, plugin=options.plugin)
    found = audit_request(asked, say)
    what = f"{options.model} on {options.dataset}"
    print("\n".join(f"{what}: {leak}" for leak in found) or f"{what}: no leak found")
    return 1 if found else 0


def overrides_of(options: Namespace, rest: list[str]) -> dict:
    """{key: value} of the words. A mistyped model, data set or key is refused now: `run` would too,
    once torch is loaded.
    """
    source = find_model(options.model, options.plugin)
    overrides = parse_overrides(rest, [source.yaml] if source.yaml else [])
    config_of(source, options.dataset, take_ranges(overrides)[0], options.mg)
    return overrides


def train(options: Namespace, rest: list[str]) -> None:
    """Train what was asked for and print the best run's metrics."""
    if options.traceback:
        raise ConfigError("--traceback belongs to --check-plugin; leave it out")
    search = search_of(options)
    if search and options.grid:
        raise ConfigError("--grid tries all points, --search some; leave one of them out")
    overrides = overrides_of(options, rest)
    from ld4mrec.search.train import preview, run

    asked = options.model, options.dataset, overrides
    source = {"mg": options.mg, "plugin": options.plugin}
    if options.dry_run:
        trials = search and search.trials
        print(*preview(*asked, grid=options.grid, trials=trials, **source), sep="\n")
        return
    with engine_of(options, workers_here=bool(search)) as engine:
        how = {"grid": options.grid or None, "resume": options.resume, "search": search}
        best, *_ = run(*asked, engine=engine, **how, **source)
    for split in ("valid", "test"):
        metrics = (f"{key} {value:.4f}" for key, value in best.result[split].items())
        print(f"{split:>5}: " + "  ".join(metrics))
    print(f"best epoch {best.result['best_epoch'] + 1}; results in {best.folder.path}")


def main(arguments: list[str] | None = None, prog: str = "main.py") -> int:
    read = parser(prog)
    options, rest = read.parse_known_args(arguments)
    if options.check_plugin:
        return exit_status(lambda: check(options, rest), "interrupted")
    if not (options.model and options.dataset):
        read.error("the following arguments are required: -m/--model, -d/--dataset")
    if options.audit_leaks:
        return exit_status(lambda: audit(options, rest), "interrupted")
    goes_on = "; the same command with --resume goes on (a grid or search goes on by itself)"
    return exit_status(lambda: train(options, rest), f"interrupted{goes_on}")


if __name__ == "__main__":
    sys.exit(main())
