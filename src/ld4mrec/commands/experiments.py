"""The paper's tables and figures on a data set: what is missing is trained, then reported.

    python src/experiments.py -d tiktok
        all experiments (those that --only lists, below)
    python src/experiments.py -d tiktok --only inference,ablation --seeds 5
        two of them
    python src/experiments.py -d tiktok --only noise -m LD4MRec,LightGCN --stopping_step=5
        some models; any --key=value of main.py applies to all runs
    python src/experiments.py -d tiktok --only sensitivity --grid 3x3 --svd_rank=[100,400]
        a list on the command line is those values
    python src/experiments.py --paper
        everything on all data sets in data_path (-d a,b: on these), beside the paper's numbers

Reports go to reports/<data set>/<experiment>/, with --paper to reports/paper/: report.md, .csv,
.tex, .html and figures/. Finished runs are reused (the run folders are the ledger) and the same
command goes on where it was stopped. What could not be run is an empty cell with the reason.
There is no --plugin: these are the paper's systems and its questions about LD4MRec. A third party's
model beside ours, with tests and cost, is a row of compare.py --plugin.
"""

import re
import sys
from argparse import Namespace
from pathlib import Path

from ld4mrec.config.parsing import GOES_ON, Parser
from ld4mrec.config.words import parse_overrides, seeds_of
from ld4mrec.engines.options import add_engine_options, engine_of
from ld4mrec.errors import ConfigError, exit_status
from ld4mrec.paper.names import EXPERIMENTS, OF_MODELS, experiments_of
from ld4mrec.places import reports
from ld4mrec.terminal import init_logger


def parser(prog: str = "experiments.py") -> Parser:
    usage = (
        "%(prog)s (-d DATASET | --paper) [--only NAME,NAME] [-m MODEL,MODEL] "
        "[--seeds N|LIST] [--out DIR] [--dry-run] [--key=value ...]"
    )
    words = Parser(prog, __doc__, usage)
    words.add_argument("-d", "--dataset", help="data set, as for main.py; with --paper several")
    words.add_argument(
        "--paper", action="store_true", help="everything, beside the paper's numbers"
    )
    words.add_argument("--only", help=f"comma-separated, of {', '.join(EXPERIMENTS)}")
    words.add_argument("-m", "--models", help=f"comma-separated; of {', '.join(OF_MODELS)}")
    words.add_report_options(seeds=3)
    words.add_argument("--settings", type=Path, help="yaml: {model: {key: value}}")
    words.add_argument("--grid", default="3x3", help="of sensitivity: values of p x of gamma")
    words.add_argument("--sizes", help="of efficiency: comma-separated, of tmall, microlens, hm")
    words.add_argument(
        "--cell-minutes", type=float, default=60, help="of efficiency: limit of a measurement; 60"
    )
    words.add_argument(
        "--batches", type=int, default=20, help="of efficiency: batches timed, 20 or more"
    )
    add_engine_options(words)
    words.add_argument(
        "--finished", action="store_true", help="train nothing: report on the finished runs"
    )
    return words


def grid_of(text: str) -> tuple[int, int]:
    """(3, 5) of '3x5'; ConfigError for anything else."""
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found or min(map(int, found.groups())) < 1:
        raise ConfigError(f"--grid is {text!r}; wanted two numbers from 1, such as 3x3")
    return tuple(map(int, found.groups()))


def setup_of(options, keys, engine):
    """The Setup that was asked for."""
    from ld4mrec.paper.runs import Setup

    name = "paper" if options.paper else options.dataset
    return Setup(
        dataset=None if options.paper else options.dataset,
        keys=keys,
        seeds=tuple(seeds_of(options.seeds)),
        out=options.out or reports() / name,
        models=tuple(options.models.split(",")) if options.models else None,
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


def run(options: Namespace, rest: list[str]) -> int:
    """The exit status: 1 if an experiment could not be run."""
    from ld4mrec.paper.program import on_all, on_one

    if any(word.partition("=")[0] == "--plugin" for word in rest):
        raise ConfigError(
            "experiments.py has no --plugin: its tables are those of the paper's systems; with "
            "compare.py --plugin a third party's model is a row beside ours"
        )
    keys = {"keep_last": False} | parse_overrides(rest)
    with engine_of(options) as engine:
        keys = engine.with_device(keys)
        if not options.paper and not options.dataset:
            raise ConfigError("no data set: give -d NAME, or --paper")
        names, setup = experiments_of(options.only), setup_of(options, keys, engine)
        listed = options.dataset.split(",") if options.dataset else None
        if options.paper:
            failed = on_all(names, setup, listed, options.dry_run)
        elif len(listed) > 1:
            raise ConfigError(
                f"-d is {options.dataset}: several data sets are for --paper; add that"
            )
        else:
            failed = on_one(names, setup, options.dry_run)
    if failed:
        print(f"could not be run: {', '.join(failed)}; see above", file=sys.stderr)
    return 1 if failed else 0


def main(arguments: list[str] | None = None, prog: str = "experiments.py") -> int:
    options, rest = parser(prog).parse_known_args(arguments)
    init_logger()
    return exit_status(lambda: run(options, rest), GOES_ON)


if __name__ == "__main__":
    sys.exit(main())
