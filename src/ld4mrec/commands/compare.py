"""Compare models side by side on one data set: seeds, paired tests, tables, figures, one report.

    python src/compare.py -d tiktok -m LD4MRec,MGCN,LightGCN,Pop --seeds 5
        each model with its yaml's defaults, seeds 1 to 5
    python src/compare.py -d tiktok -m LD4MRec,MGCN --seeds 5 --tune
        each at the best point of its grid, searched first (validation only); with --search tpe
        --trials 12 at the best of some points
    python src/compare.py -d tiktok --settings best.yaml --seeds 1,2,3
        rows from a file: {label: {model: NAME, key: value, ...}}

Finished runs are reused (the run folders are the ledger): adding a model or a seed costs only the
new runs, and the same command goes on where it was stopped. --engine ray trains several runs at a
time, on this machine or a cluster: docs/scaling.md. The report is written to
reports/<data set>/, or --out: report.md, .csv, .tex, .html and figures/. Models with variants
(faithful, repaired) get a row for each. Any --key=value of main.py applies to all runs.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from ld4mrec.comparison import ledger
from ld4mrec.comparison.archive import archive
from ld4mrec.comparison.entries import check_common, demand_shared, entries, grid_of, tuned
from ld4mrec.comparison.findings import Findings
from ld4mrec.config.words import metrics_of, parse_overrides, seeds_of
from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.engines.in_turn import InTurn
from ld4mrec.engines.options import add_engine_options, engine_of
from ld4mrec.errors import ConfigError, RunError, UserError, nearest
from ld4mrec.places import CONFIGS, REPORTS
from ld4mrec.report.writing import write_report
from ld4mrec.search.proposals import add_search_options, search_of, take_ranges


def parser():
    layout = argparse.RawDescriptionHelpFormatter
    usage = (
        "compare.py -d DATASET -m MODEL,MODEL,... [--seeds N|LIST] [--settings FILE] [--tune] "
        "[--search METHOD --trials N] [--engine ray ...] [--out DIR] [--key=value ...]"
    )
    one = argparse.ArgumentParser(
        usage=usage, description=__doc__, formatter_class=layout, allow_abbrev=False
    )
    one.add_argument("-d", "--dataset", required=True, help="data set, as for main.py")
    one.add_argument("-m", "--models", help="comma-separated names, or labels of --settings")
    one.add_argument(
        "--seeds", default="5", help="how many (1 to N), or a comma-separated list; default: 5"
    )
    one.add_argument("--settings", type=Path, help="yaml: {label: {model: NAME, key: value}}")
    one.add_argument("--tune", action="store_true", help="search each model's grid first")
    one.add_argument(
        "--tuned", action="store_true", help="use the finished points of an earlier grid only"
    )
    one.add_argument(
        "--target", help="the row that the others are tested against; default: the first"
    )
    one.add_argument(
        "--metrics",
        default="recall@10,recall@20,ndcg@10,ndcg@20",
        help="of the report, with their cut-offs; default: recall@10,recall@20,ndcg@10,ndcg@20. "
        "Runs measure their keys topk and metrics (the latter in --settings)",
    )
    one.add_argument("--out", type=Path, help="folder of the report; default: reports/<dataset>/")
    one.add_argument("--ledger", type=Path, help="a further folder of finished runs, only read")
    one.add_argument(
        "--archive", type=Path, help="also keep the finished runs there, without weights: a ledger"
    )
    add_search_options(one)
    add_engine_options(one)
    one.add_argument("--dry-run", action="store_true", help="say what is missing, and stop")
    return one


def compare(options, keys, search=None, engine=None):
    """Train what is missing and write the report; the folder it is in. search: of --tune."""
    engine = engine or InTurn()
    keys, seeds = engine.settle(keys), seeds_of(options.seeds)
    found, target = asked(options, keys)
    reasons = {}
    if options.tune or options.tuned:
        grids = [grid_of(one, options.dataset, keys, seeds[0]) for one in found]
        first = [ledger.Row(one, grid[:1]) for one, (_, grid, _) in zip(found, grids, strict=True)]
        ledger.check_alike(first)
        metrics_of(options.metrics, first[0].runs[0].config)
        if options.tune:
            announce_search(found, grids, seeds, search)
            if options.dry_run:
                return None
        how = (options.dataset, keys, seeds[0], options.tune, search, engine)
        found, reasons = tune(found, grids, how)
    rows = ledger.rows_of(found, options.dataset, keys, seeds, options.ledger)
    for row in rows:
        row.reason = reasons.get(row.label)
    ledger.check_alike(rows)
    metrics = metrics_of(options.metrics, rows[0].runs[0].config)
    announce(rows, engine)
    if options.dry_run:
        return None
    ledger.train_all(rows, options.dataset, keys, seeds, options.ledger, engine)
    ledger.check_protocol(rows)
    if options.archive:
        archive(rows, options.archive)
    (first,) = [row for row in rows if row.label == target]
    if not first.done:
        why = first.reason or first.runs[0].failure or "not run"
        raise RunError(
            f"there is no finished run of {target}, which the others are tested against: {why}"
        )
    popularity = ledger.popularity(rows, options.dataset, of_the_host(keys))
    findings = Findings(rows, options.dataset, metrics, target, popularity)
    folder = options.out or REPORTS / options.dataset
    write_report(folder, findings.report())
    return folder


def asked(options, keys):
    """(entries, label of the target); ConfigError for what does not go together."""
    names = options.models.split(",") if options.models else None
    if not names and not options.settings:
        raise ConfigError("nothing to compare: give -m MODEL,MODEL,... or --settings FILE")
    check_common(keys)
    found = entries(names, options.dataset, keys, options.settings)
    demand_shared(found, options.dataset, keys)
    labels = [one.label for one in found]
    target = options.target or labels[0]
    if target not in labels:
        raise ConfigError(f"--target is '{target}', no row.{nearest(target, labels)}")
    return found, target


def tune(found, grids, how):
    """(entries, {label: why it could not be tuned}); such a one is at the first point of its grid.

    grids: what `grid_of` gave of each; how: the further arguments of `tuned`.
    """
    chosen, reasons = [], {}
    for entry, (_, grid, _) in zip(found, grids, strict=True):
        try:
            chosen.append(tuned(entry, *how))
        except UserError as error:
            print(f"{entry.label}: {error}", file=sys.stderr, flush=True)
            reasons[entry.label] = str(error)
            point = {key: value for key, value in grid[0].config.point.items() if key != "seed"}
            chosen.append(replace(entry, settings=entry.settings | point, origin="not tuned"))
    return chosen, reasons


def announce(rows, engine):
    """Print how many runs there are, and what the missing ones take."""
    runs = [one for row in rows for one in row.runs]
    missing = [row for row in rows if row.missing]
    print(
        f"{len(runs)} runs, {sum(bool(one.result or one.failure) for one in runs)} of them finished"
    )
    if missing:
        for line in ledger.estimate({row.label: [row] for row in missing if not row.reason}):
            print(line, flush=True)
        if engine.workers != 1:
            print("one run after the other; workers train several at a time", flush=True)


def announce_search(found, grids, seeds, search):
    """Print what --tune is about to do: points or trials of each entry, and what they take."""
    rows, points, done = {}, 0, 0
    for entry, (_, grid, ranges) in zip(found, grids, strict=True):
        if len(grid) == 1 and not ranges:
            continue
        runs = grid
        if search:
            left = [one for one in grid if not one.result]
            trials = search.trials if ranges else min(search.trials, len(grid))
            runs = left[:1] * trials  # one is timed, as costly as the others
            points += trials
        else:
            points += len(grid)
            done += sum(bool(one.result) for one in grid)
        rows[entry.label] = [ledger.Row(entry, runs)]
    what = f"trials of --search {search.method}" if search else "grid points"
    finished = "" if search else f", {done} of them finished"
    print(f"tuning {len(rows)} of {len(found)} rows on seed {seeds[0]}: {points} {what}{finished}")
    print(*ledger.estimate(rows), f"then {len(seeds)} runs of each row", sep="\n", flush=True)


def of_the_host(keys):
    """Those overrides that any model knows."""
    known = read_yaml(CONFIGS / "overall.yaml")
    return {key: value for key, value in keys.items() if key in known}


def main(arguments=None):
    options, rest = parser().parse_known_args(arguments)
    try:
        search = search_of(options)
        if search and not options.tune:
            raise ConfigError("--search belongs to --tune here; add that")
        with engine_of(options, workers_here=bool(search)) as engine:
            keys = {"keep_last": False} | parse_overrides(rest)
            if not search and (ranges := take_ranges(keys)[1]):
                raise ConfigError(f"--{next(iter(ranges))} is a range; that needs --tune --search")
            folder = compare(options, keys, search, engine)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    if folder:
        print((folder / "report.md").read_text(encoding="utf-8"))
        print(f"the report is in {folder}: report.html, .md, .csv, .tex, figures/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
