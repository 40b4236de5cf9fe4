"""One report on all experiments of all data sets, ours beside the paper's published numbers."""

import re
from dataclasses import replace

from ld4mrec.comparison.findings import shown
from ld4mrec.paper import efficiency, performance, published
from ld4mrec.paper.colophon import colophon
from ld4mrec.paper.runs import METRICS, NOT_ASKED, NOT_RUN, OURS, cell
from ld4mrec.report.panels import Panels
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Cell, Table

TITLE = "LD4MRec: the paper's tables and figures, ours beside the published"
FIGURES = {  # experiment: (heading, how many of its report's tables are shown here)
    "inference": ("Fig. 3: inference strategies", 1),
    "noise": ("Fig. 4: robustness against noise", 2),
    "ablation": ("Fig. 5: ablation", 1),
    "sensitivity": ("Hyper-parameters", 1),
    "bound": ("Section 4.3: the bound", 1),
}
METRIC = "recall@20"  # of the figure over all data sets
WIDE = 5  # panels side by side


def overview(setup, present, reports, rows, failed):
    """The report.

    present: names of the data sets at hand. reports: {(data set, experiment): Report}, rows: the
    same keys, of the experiments that could be run; failed: {(data set, experiment): reason}.
    """
    accuracy = {name: rows.get((name, "tables")) for name in present}
    why = {name: failed.get((name, "tables"), NOT_RUN) for name in present}
    sections = [
        _section("Table 1: data sets", reports.get((None, "datasets")), (1,)),
        Section("Tables 2-4: accuracy", tuple(_accuracy(accuracy, why))),
        Section("The paper's sentences and its tables", (claims(),)),
    ]
    if (None, "efficiency") in reports:
        made = reports[None, "efficiency"]
        sections.append(Section("Table 5: efficiency", (*made.tables, *made.figures)))
    else:
        sections.append(Section("Table 5: efficiency", tuple(_costs(setup))))
    for name, (heading, shown_tables) in FIGURES.items():
        found = {d: reports[d, name] for d in present if (d, name) in reports}
        content = [block for d, made in found.items() for block in _of(d, made, shown_tables)]
        missing = [f"{d}: {failed.get((d, name), NOT_RUN)}" for d in present if d not in found]
        sections.append(Section(heading, (*content, *missing) or ("No data set is here.",)))
    absent = [name for name in published.TITLES if name not in present]
    warnings = []
    if absent:
        titles = ", ".join(published.TITLES[name] for name in absent)
        warnings.append(f"not in data_path, so empty in every table: {titles}")
    warnings += [f"{d or 'all'}, {name}: {reason}" for (d, name), reason in failed.items()]
    sections = [section for section in sections if section]
    return Report(
        title=TITLE,
        lead=(
            "The paper's numbers are those of its Tables 1 to 5; its figures have none in the "
            "text. Ours are means and standard deviations over seeds. Nothing is interpolated: an "
            "empty cell says why it is empty. Each experiment has its own report, with every "
            "number, in the folder <data set>/<experiment> beside this one.",
        ),
        warnings=tuple(warnings),
        sections=tuple(sections),
        colophon=colophon(setup, [row for some in rows.values() for row in some], data=False),
    )


def _section(heading, made, at):
    return made and Section(heading, tuple(made.tables[place] for place in at))


def _accuracy(accuracy, why):
    """A table per metric, and the one that sets each data set's systems against ours."""
    for metric in METRICS:
        yield side_by_side(accuracy, why, metric)
    table = relative(accuracy, why)
    yield table
    drawn = tuple(name for name in table.columns if table.is_numeric(name))
    for at, first in enumerate(range(0, len(drawn), WIDE)):
        yield Panels(
            name=f"relative-{at + 1}",
            caption=f"Test {shown(METRIC)} of every system over {OURS}'s, in the paper and here.",
            table=table,
            columns=drawn[first : first + WIDE],
            highlight=(OURS,),
        )


def side_by_side(accuracy, why, metric):
    """A row per system, and columns ours and paper's for each data set. accuracy: {data set: rows
    or None}."""
    found = _cells(accuracy, why, metric)
    labels = list(dict.fromkeys(label for cells in found.values() for label in cells))
    absent = Cell(None, note=NOT_RUN)
    lines = [
        (label, tuple(cells.get(label, absent) for cells in found.values())) for label in labels
    ]
    sources = ", ".join(published.source(name) for name in published.TITLES)
    notes = (f"The paper's: {sources}. Ours: test split, mean ± standard deviation over seeds.",)
    name = f"accuracy-{metric.replace('@', '-')}"
    table = Table(name, f"Test {shown(metric)}", tuple(found), tuple(lines), notes)
    return table.marked(dict.fromkeys(found, True))


def _cells(accuracy, why, metric):
    """{column: {label: cell}}, the paper's columns before ours."""
    labels = {}  # {label: model}, the simple ones first, ours last
    for rows in accuracy.values():
        labels |= {row.label: row.entry.model for row in rows or ()}
    shown_models = set(labels.values())
    for model in (*performance.SIMPLE, *performance.PAPER, OURS):
        if model not in shown_models:
            labels[model] = model
    order = (*performance.SIMPLE, *performance.PAPER, OURS)
    labels = dict(
        sorted(labels.items(), key=lambda one: order.index(one[1]) if one[1] in order else -1)
    )
    found = {}
    for name in (*published.TITLES, *(name for name in accuracy if name not in published.TITLES)):
        if name in published.TITLES:
            found[f"{name}, paper's"] = {
                label: performance.theirs(name, model, metric) for label, model in labels.items()
            }
        rows = {row.label: row for row in accuracy.get(name) or ()}
        gone = "the data set is not in data_path" if name not in accuracy else why[name]
        gone = NOT_ASKED if rows else gone
        found[f"{name}, ours"] = {
            label: cell(rows[label], "test", metric) if label in rows else Cell(None, note=gone)
            for label in labels
        }
    return found


def relative(accuracy, why):
    """Each system's number over that of ours in the same column."""
    found = _cells(accuracy, why, METRIC)
    labels = list(next(iter(found.values())))
    lines = []
    for label in labels:
        cells = []
        for column in found.values():
            ours, one = column.get(OURS), column[label]
            if one.is_number and ours is not None and ours.is_number and ours.value:
                cells.append(Cell(one.value / ours.value, format=".3f"))
            else:
                cells.append(Cell(None, note=one.note or f"{OURS} has no number here"))
        lines.append((label, tuple(cells)))
    title = f"Test {shown(METRIC)} over that of {OURS}"
    return Table("relative", title, tuple(found), tuple(lines))


def claims():
    """Sentences of the text against the tables that they are about."""
    lines = []
    for claim in published.published()["claims"]:
        dataset, metric, over = claim["dataset"], claim["metric"], claim["over"]
        ours = published.accuracy(dataset, OURS, metric)
        other = published.accuracy(dataset, over, metric)
        label = f"{published.TITLES[dataset]}, {shown(metric)}, over {over}"
        from_table = Cell(ours / other - 1, format="+.1%")
        lines.append((label, (Cell(claim["says"], format="+.1%"), from_table)))
    columns = ("in the text", "from its table")
    title = "Gains that the paper's text states, and what its own tables give"
    return Table("claims", title, columns, tuple(lines), row_title="gain of LD4MRec")


def _costs(setup):
    for size in published.TITLES:
        yield efficiency.costs(setup, size, dict.fromkeys(efficiency.MODELS))


def _of(dataset, made, how_many):
    """The first tables of a data set's report and their figures, under names of their own."""
    prefix = re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")
    prefix = prefix if prefix[:1].isalpha() else f"d-{prefix}"
    for table in made.tables[:how_many]:
        own = replace(table, name=f"{prefix}-{table.name}", title=f"{table.title}: {dataset}")
        yield own
        for figure in made.figures:
            if figure.table == table:
                caption = f"{dataset}. {figure.caption}"
                yield replace(figure, name=f"{prefix}-{figure.name}", caption=caption, table=own)
