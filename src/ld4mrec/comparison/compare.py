"""A comparison from the models' names to the report."""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from ld4mrec.comparison import ledger
from ld4mrec.comparison.archive import archive
from ld4mrec.comparison.entries import Entry, Keys, check_common, check_shared, entries
from ld4mrec.comparison.findings import Findings
from ld4mrec.comparison.tuning import Tuning, tuning_of
from ld4mrec.config.configuration import of_the_host
from ld4mrec.config.words import metrics_of
from ld4mrec.engines.in_turn import InTurn
from ld4mrec.errors import ConfigError, RunError, UserError, counted, nearest
from ld4mrec.places import reports
from ld4mrec.plugins.check.leaks import audit_request
from ld4mrec.report.report import Report
from ld4mrec.report.writing import write_report
from ld4mrec.runs.request import Request
from ld4mrec.search.options import Search
from ld4mrec.search.space import take_ranges
from ld4mrec.terminal import say


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is to be compared.

    keys: for all runs. names: of models, or labels of the file `settings`, in the report's order;
    None for all labels of the file. target: the label that the others are tested against, None for
    the first. out: the report's folder. ledger: a further folder of finished runs, only read.
    archive: where finished runs are kept without weights. tune: each entry at the best point of its
    grid, or of `search`'s trials. tuned: the same by the points that are finished. dry_run: say
    what is missing. plugins: files or folders of third parties, whose models become rows.
    audit: first look for rows that read what they are tested on.
    """

    dataset: str
    keys: Keys
    seeds: tuple[int, ...]
    names: list[str] | None = None
    settings: Path | None = None
    target: str | None = None
    metrics: str = "recall@10,recall@20,ndcg@10,ndcg@20"
    out: Path | None = None
    ledger: Path | None = None
    archive: Path | None = None
    tune: bool = False
    tuned: bool = False
    search: Search | None = None
    engine: InTurn = field(default_factory=InTurn)
    dry_run: bool = False
    plugins: tuple[str, ...] = ()
    audit: bool = False


def compare(asked: Comparison) -> tuple[Report, Path] | None:
    """Train what is missing and write the report: (it, the folder it is in), None for a dry run."""
    report = report_of(asked)
    if report is None:
        return None
    folder = asked.out or reports() / asked.dataset
    write_report(folder, report)
    return report, folder


def report_of(asked: Comparison) -> Report | None:
    """Train what is missing; the report, None for a dry run."""
    asked = replace(asked, keys=asked.engine.with_device(asked.keys))
    found, target = entries_of(asked)
    reasons = {}
    if asked.tune or asked.tuned:
        where = asked.dataset, asked.keys, asked.seeds[0]
        tunings = [tuning_of(entry, *where, asked.search) for entry in found]
        first = [_row(asked, tuning, tuning.grid[:1]) for tuning in tunings]
        ledger.check_alike(first)
        metrics_of(asked.metrics, first[0].runs[0].config)
        if asked.tune:
            _announce_search(asked, tunings)
            if asked.dry_run:
                return None
        if asked.audit and not asked.dry_run:  # before the search, which may take long
            _audit({tuning.entry.label: _without_ranges(tuning.request) for tuning in tunings})
        found, reasons = _tune(asked, tunings)
    rows = ledger.rows_of(found, asked.dataset, asked.keys, asked.seeds, asked.ledger)
    rows = [replace(row, reason=reasons.get(row.label)) for row in rows]
    ledger.check_alike(rows)
    metrics = metrics_of(asked.metrics, rows[0].runs[0].config)
    _announce(rows, asked.engine)
    if asked.dry_run:
        return None
    if asked.audit and not (asked.tune or asked.tuned):
        one = [row.request(row.seeds[:1]).with_keys({"seed": row.seeds[0]}) for row in rows]
        _audit({row.label: request for row, request in zip(rows, one, strict=True)})
    rows = ledger.train_all(rows, asked.ledger, asked.engine)
    ledger.check_protocol(rows)
    if asked.archive:
        archive(rows, asked.archive)
    first = next(row for row in rows if row.label == target)
    if not first.done:
        why = first.reason or first.runs[0].failure or "not run"
        raise RunError(
            f"there is no finished run of {target}, which the others are tested against: {why}"
        )
    popularity = ledger.popularity(rows, asked.dataset, of_the_host(asked.keys))
    return Findings(rows, asked.dataset, metrics, target, popularity).report()


def entries_of(asked: Comparison) -> tuple[list[Entry], str]:
    """(entries, label of the target); ConfigError for what does not go together."""
    if not asked.names and not asked.settings and not asked.plugins:
        raise ConfigError("nothing to compare: give -m MODEL,MODEL,... or --settings FILE")
    check_common(asked.keys)
    found = entries(asked.names, asked.dataset, asked.keys, asked.settings, asked.plugins)
    check_shared(found, asked.dataset, asked.keys)
    labels = [entry.label for entry in found]
    target = asked.target or labels[0]
    if target not in labels:
        raise ConfigError(f"--target is '{target}', no row.{nearest(target, labels)}")
    return found, target


def _row(asked, tuning: Tuning, runs):
    return ledger.Row(tuning.entry, asked.dataset, asked.keys, asked.seeds[:1], tuple(runs))


def _tune(asked, tunings):
    """(entries, {label: why not tuned}); such an entry is at the first point of its grid."""
    chosen, reasons = [], {}
    for tuning in tunings:
        try:
            chosen.append(tuning.best(asked.tune, asked.engine))
        except UserError as error:
            print(f"{tuning.entry.label}: {error}", file=sys.stderr, flush=True)
            reasons[tuning.entry.label] = str(error)
            chosen.append(tuning.first())
    return chosen, reasons


def _without_ranges(request: Request) -> Request:
    return replace(request, keys=take_ranges(request.keys)[0])


def _audit(requests: dict[str, Request]):
    """RunError if a row reads what it is tested on; requests: {label: of one of its points}."""
    leaky = []
    for number, (name, request) in enumerate(requests.items(), 1):
        label = f"audit {number} of {len(requests)}, {name}"
        found = audit_request(request, lambda line, label=label: say(f"{label}: {line}"))
        print("\n".join(f"{name}: {leak}" for leak in found or ["no leak found"]), flush=True)
        leaky += [name] if found else []
    if leaky:
        raise RunError(
            f"{len(leaky)} of {counted(len(requests), 'row')} with a model that reads what it is "
            f"tested on: {', '.join(leaky)}; leave them out, or mend them"
        )


def _announce(rows, engine):
    """Print how many runs there are, and what the missing ones take."""
    runs = [run for row in rows for run in row.runs]
    missing = [row for row in rows if row.missing]
    say(f"{counted(len(runs), 'run')}, {sum(run.ended for run in runs)} of them finished")
    if missing:
        for line in ledger.estimate({row.label: [row] for row in missing if not row.reason}):
            say(line)
        if engine.workers != 1:
            say("one run after the other; workers train several at a time")


def _announce_search(asked, tunings):
    """Print what --tune is about to do: points or trials of each entry, and what they take."""
    searched, search = [tuning for tuning in tunings if tuning.is_search], asked.search
    if search:
        points = sum(tuning.trials for tuning in searched)
        what = f"{counted(points, 'trial')} of --search {search.method}"
    else:
        runs = [run for tuning in searched for run in tuning.grid]
        done = sum(bool(run.result) for run in runs)
        what = f"{counted(len(runs), 'grid point')}, {done} of them finished"
    say(
        f"tuning {len(searched)} of {counted(len(tunings), 'row')} on seed {asked.seeds[0]}: {what}"
    )
    rows = {}
    for tuning in searched:
        runs = tuning.grid
        if search:  # one is timed, as costly as the others
            runs = runs * tuning.trials
        rows[tuning.entry.label] = [_row(asked, tuning, runs)]
    then = f"then {counted(len(asked.seeds), 'run')} of each row"
    say("\n".join([*ledger.estimate(rows), then]))
