"""One comparison: the entries asked for, their search, their runs, their report."""

import sys
from dataclasses import replace

from ld4mrec.comparison import ledger
from ld4mrec.comparison.archive import archive
from ld4mrec.comparison.entries import check_common, demand_shared, entries, grid_of, tuned
from ld4mrec.comparison.findings import Findings
from ld4mrec.config.words import metrics_of, seeds_of
from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.engines.in_turn import InTurn
from ld4mrec.errors import ConfigError, RunError, UserError, nearest
from ld4mrec.places import CONFIGS, reports
from ld4mrec.report.report import write_report


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
    folder = options.out or reports() / options.dataset
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
