"""Compare models side by side on one data set: seeds, paired tests, tables, figures, one report.

    python src/compare.py -d tiktok -m LD4MRec,MGCN,LightGCN,Pop --seeds 5
        each model with its yaml's defaults, seeds 1 to 5
    python src/compare.py -d tiktok -m LD4MRec,MGCN --seeds 5 --tune
        each at the best point of its grid, searched first (validation only); with --search tpe
        --trials 12 at the best of some points
    python src/compare.py -d baby -m LD4MRec,BM3 --plugin theirs.py --plugin path/to/MMRec
        third parties' models beside ours: a file's model is a row, of a checkout those that -m
        names; one called like ours is 'BM3 (plugin)'
    python src/compare.py -d tiktok --settings best.yaml --seeds 1,2,3
        rows from a file: {label: {model: NAME, key: value, ...}}

Finished runs are reused (the run folders are the ledger): adding a model or a seed costs only the
new runs, and the same command goes on where it was stopped. --engine ray trains several runs at a
time, on this machine or a cluster: docs/scaling.md. The report is written to
reports/<data set>/, or --out: report.md, .csv, .tex, .html and figures/. Models with variants
(faithful, repaired) get a row for each. Any --key=value of main.py applies to all runs.
"""

import sys
from argparse import Namespace
from pathlib import Path

from ld4mrec.config.parsing import GOES_ON, Parser
from ld4mrec.config.words import parse_overrides, seeds_of
from ld4mrec.engines.options import add_engine_options, engine_of
from ld4mrec.errors import ConfigError, exit_status
from ld4mrec.report.ending import ending
from ld4mrec.search.options import add_search_options, search_of
from ld4mrec.search.space import take_ranges

AS_GIVEN = ("dataset", "settings", "target", "metrics", "out", "ledger", "archive")
AS_GIVEN += ("tune", "tuned", "dry_run", "audit")


def parser(prog: str = "compare.py") -> Parser:
    usage = (
        "%(prog)s -d DATASET -m MODEL,MODEL,... [--seeds N|LIST] [--settings FILE] "
        "[--plugin PATH] [--audit] [--tune] [--search METHOD --trials N] [--engine ray ...] "
        "[--out DIR] [--key=value ...]"
    )
    words = Parser(prog, __doc__, usage)
    words.add_argument("-d", "--dataset", required=True, help="data set, as for main.py")
    what = "comma-separated names, 'NAME (VARIANT)', or labels of --settings"
    words.add_argument("-m", "--models", help=what)
    words.add_argument("--settings", type=Path, help="yaml: {label: {model: NAME, key: value}}")
    what = "a MMRec model file, a folder of such or a checkout; may be repeated"
    words.add_argument("--plugin", metavar="PATH", action="append", default=[], help=what)
    words.add_argument(
        "--audit",
        action="store_true",
        help="first find out whether a row reads what it is tested on (main.py --audit-leaks); if "
        "one does, nothing is compared. With --tune: before the search",
    )
    words.add_argument("--tune", action="store_true", help="search each model's grid first")
    words.add_argument(
        "--tuned", action="store_true", help="use the finished points of an earlier grid only"
    )
    words.add_argument(
        "--target", help="the row that the others are tested against; default: the first"
    )
    words.add_argument(
        "--metrics",
        default="recall@10,recall@20,ndcg@10,ndcg@20",
        help="of the report, with their cut-offs; default: recall@10,recall@20,ndcg@10,ndcg@20. "
        "Runs measure their keys topk and metrics (the latter in --settings)",
    )
    words.add_report_options(seeds=5)
    add_search_options(words)
    add_engine_options(words)
    return words


def run(options: Namespace, rest: list[str]) -> None:
    search = search_of(options)
    if search and not options.tune:
        raise ConfigError("--search belongs to --tune here; add that")
    seeds = tuple(seeds_of(options.seeds))
    keys = {"keep_last": False} | parse_overrides(rest)
    if not search and (ranges := take_ranges(keys)[1]):
        raise ConfigError(f"--{next(iter(ranges))} is a range; that needs --tune --search")
    from ld4mrec.comparison.compare import Comparison, compare

    with engine_of(options, workers_here=bool(search)) as engine:
        names = options.models.split(",") if options.models else None
        as_given = {name: getattr(options, name) for name in AS_GIVEN}
        asked = {"keys": keys, "seeds": seeds, "names": names, "search": search, "engine": engine}
        asked["plugins"] = tuple(options.plugin)
        made = compare(Comparison(**as_given, **asked))
    if made:
        print(ending(*made))


def main(arguments: list[str] | None = None, prog: str = "compare.py") -> int:
    options, rest = parser(prog).parse_known_args(arguments)
    return exit_status(lambda: run(options, rest), GOES_ON)


if __name__ == "__main__":
    sys.exit(main())
