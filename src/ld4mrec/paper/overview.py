"""One report on all experiments of all data sets, ours beside the paper's published numbers."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ld4mrec.comparison.cells import ratio, shown
from ld4mrec.comparison.ledger import Row
from ld4mrec.data.counts import TITLES
from ld4mrec.paper import efficiency, published
from ld4mrec.paper.accuracy import theirs
from ld4mrec.paper.colophon import colophon
from ld4mrec.paper.performance import ALL
from ld4mrec.paper.runs import METRICS, NOT_ASKED, NOT_RUN, OURS, Setup, cell
from ld4mrec.report.figures import Figure
from ld4mrec.report.panels import Pairs, Panels
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Cell, Table, slug

TITLE = "LD4MRec: the paper's tables and figures, ours beside the published"
FIGURES = {  # experiment: (heading, how many of its report's tables are shown here)
    "inference": ("Fig. 3: inference strategies", 1),
    "noise": ("Fig. 4: robustness against noise", 2),
    "ablation": ("Fig. 5: ablation", 1),
    "missing": ("Items without features", 1),
    "knockout": ("What the modalities are worth", 1),
    "sensitivity": ("Hyper-parameters", 1),
    "bound": ("Section 4.3: the bound", 1),
}
METRIC = "recall@20"  # of the figure over all data sets
NOTHING = "Nothing to show: no data set that is here has what it takes."
WIDE = 5  # panels side by side
Key = tuple[str | None, str]  # data set, None for all of them; experiment
Rows = dict[str, list[Row] | None]  # of the tables of each data set at hand


def overview(
    setup: Setup,
    present: Iterable[str],
    reports: dict[Key, Report],
    rows: dict[Key, list[Row]],
    failed: dict[Key, str],
) -> Report:
    """The report. present: the data sets at hand. failed: why experiments could not be."""
    accuracy = {name: rows.get((name, "tables")) for name in present}
    why = {name: failed.get((name, "tables"), NOT_RUN) for name in present}
    sections = []
    if made := reports.get((None, "datasets")):
        sections.append(Section("Table 1: data sets", (made.tables[1],)))
    sections.append(Section("Tables 2-4: accuracy", tuple(_accuracy(accuracy, why))))
    sections.append(Section("The paper's sentences and its tables", (claims(),)))
    if made := reports.get((None, "efficiency")):
        costs = (*made.tables, *made.figures)
    else:
        unknown = dict.fromkeys(efficiency.MODELS)
        costs = tuple(efficiency.costs(setup, size, unknown) for size in TITLES)
    sections.append(Section("Table 5: efficiency", costs))
    for name, (heading, shown_tables) in FIGURES.items():
        found = {d: reports[d, name] for d in present if (d, name) in reports}
        content = [block for d, made in found.items() for block in _of(d, made, shown_tables)]
        missing = [f"{d}: {failed.get((d, name), NOT_RUN)}" for d in present if d not in found]
        sections.append(Section(heading, (*content, *missing) or (NOTHING,)))
    warnings = [f"{d or 'all'}, {name}: {reason}" for (d, name), reason in failed.items()]
    if absent := ", ".join(title for name, title in TITLES.items() if name not in present):
        warnings.insert(0, f"not in data_path, so empty in every table: {absent}")
    return Report(
        title=TITLE,
        name="paper",
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


def _accuracy(accuracy: Rows, why: dict[str, str]) -> Iterator[Table | Panels]:
    """A table per metric, and the one that sets each data set's systems against ours."""
    for metric in METRICS:
        yield side_by_side(accuracy, why, metric)
    table = relative(accuracy, why)
    yield table
    drawn = table.numeric(table.columns)
    for at, first in enumerate(range(0, len(drawn), WIDE)):
        columns, name = drawn[first : first + WIDE], f"relative-{at + 1}"
        caption = f"Test {shown(METRIC)} of every system over {OURS}'s, in the paper and here."
        yield Panels(name=name, caption=caption, table=table, columns=columns, highlight=(OURS,))
    for dataset in TITLES:
        yield from published_and_measured(accuracy, dataset)


def side_by_side(accuracy: Rows, why: dict[str, str], metric: str) -> Table:
    """A row per system, columns ours and paper's per data set. why: of one without rows."""
    found = _cells(accuracy, why, metric)
    labels = list(dict.fromkeys(label for cells in found.values() for label in cells))
    lines = [(label, tuple(cells[label] for cells in found.values())) for label in labels]
    sources = ", ".join(map(published.source, TITLES))
    notes = (f"The paper's: {sources}. Ours: test split, mean ± standard deviation over seeds.",)
    name = f"accuracy-{metric.replace('@', '-')}"
    table = Table(name, f"Test {shown(metric)}", tuple(found), tuple(lines), notes)
    return table.marked(found)


def _models(accuracy: Rows) -> dict[str, str]:
    """{label: model} of all rows and of the systems that have none, in the order of ALL."""
    models = {row.label: row.entry.model for rows in accuracy.values() for row in rows or ()}
    models |= {model: model for model in ALL if model not in models.values()}
    order = {model: place for place, model in enumerate(ALL)}
    return dict(sorted(models.items(), key=lambda pair: order.get(pair[1], -1)))


def _cells(accuracy: Rows, why: dict[str, str], metric: str) -> dict[str, dict[str, Cell]]:
    """{column: {label: cell}}, the paper's columns before ours."""
    labels, found = _models(accuracy), {}
    for name in dict.fromkeys((*TITLES, *accuracy)):
        if name in TITLES:
            found[f"{name}, paper's"] = {
                label: theirs(name, model, metric) for label, model in labels.items()
            }
        rows = {row.label: row for row in accuracy.get(name) or ()}
        gone = NOT_ASKED if rows else why.get(name, "the data set is not in data_path")
        found[f"{name}, ours"] = {
            label: cell(rows[label], "test", metric) if label in rows else Cell(None, note=gone)
            for label in labels
        }
    return found


def relative(accuracy: Rows, why: dict[str, str]) -> Table:
    """Each system's number over that of ours in the same column."""
    found = _cells(accuracy, why, METRIC)

    def over_ours(column: dict[str, Cell], label: str) -> Cell:
        ours, other = column.get(OURS), column[label]
        if other.is_number and ours is not None and ours.is_number and ours.value:
            return Cell(other.value / ours.value, format=".3f")
        return Cell(None, note=other.note or f"{OURS} has no number here")

    columns, labels = found.values(), _models(accuracy)
    lines = [(label, tuple(over_ours(column, label) for column in columns)) for label in labels]
    return Table("relative", f"Test {shown(METRIC)} over that of {OURS}", tuple(found), lines)


def published_and_measured(accuracy: Rows, dataset: str) -> tuple[Table | Pairs, ...]:
    """The published number of each system, the measured one and what moved, with a figure; () for
    a data set without finished runs.
    """
    rows = [row for row in accuracy.get(dataset) or () if row.done]
    if not rows:
        return ()
    cells = {}
    for row in rows:
        before = theirs(dataset, row.entry.model, METRIC)
        cells[row.label] = before, cell(row, "test", METRIC)
    # a system with variants has one published number
    known = {row.entry.model: cells[row.label][0] for row in rows}
    places = _places({model: before.value for model, before in known.items() if before.is_number})
    ranks = _places({label: after.value for label, (_, after) in cells.items()})
    lines = []
    for row in rows:
        before, after = cells[row.label]
        unknown = Cell(None, note=before.note) if not before.is_number else None
        change = unknown or Cell(after.value / before.value - 1, format="+.1%")
        place = unknown or Cell(places[row.entry.model], format=".0f")
        rank = Cell(ranks[row.label], format=".0f")
        lines.append((row.label, (before, after, change, place, rank)))
    lines.sort(key=lambda line: -line[1][1].value)
    source, metric = published.source(dataset), shown(METRIC)
    columns = ("published", "measured", "change", "place, published", "place, measured")
    title = f"{TITLES[dataset]}: test {metric}, published ({source}) and measured"
    notes = (
        "In the order measured. Places count the systems of this table from the highest down; the "
        "paper's split is not published, so a change of all rows alike may be the data's.",
    )
    table = Table(f"published-and-measured-{dataset}", title, columns, lines, notes)
    if not table.is_numeric("published"):
        return (table,)
    caption = f"{title}; the systems in the order measured."
    figure = Pairs(
        name=table.name,
        caption=caption,
        table=table,
        columns=columns[:2],
        axis=f"test {metric}",
        highlight=(OURS,) if OURS in table.labels else (),
    )
    return table, figure


def _places(values: dict[str, float]) -> dict[str, int]:
    """{name: 1 for the highest value, and so on}; equal ones share the better place."""
    return {name: 1 + sum(v > value for v in values.values()) for name, value in values.items()}


def claims() -> Table:
    """Sentences of the text against the tables that they are about."""
    lines = []
    for claim in published.published()["claims"]:
        dataset, metric, over = claim["dataset"], claim["metric"], claim["over"]
        numbers = [published.accuracy(dataset, model, metric) for model in (OURS, over)]
        label, from_table = f"{TITLES[dataset]}, {shown(metric)}, over {over}", ratio(*numbers)
        lines.append((label, (Cell(claim["says"], format="+.1%"), from_table)))
    columns = ("in the text", "from its table")
    title = "Gains that the paper's text states, and what its own tables give"
    return Table("claims", title, columns, tuple(lines), row_title="gain of LD4MRec")


def _of(dataset: str, made: Report, how_many: int) -> Iterator[Table | Figure]:
    """The first tables of a data set's report and their figures, under names of their own."""
    prefix = slug(dataset)
    for table in made.tables[:how_many]:
        own = replace(table, name=f"{prefix}-{table.name}", title=f"{table.title}: {dataset}")
        yield own
        for figure in made.figures:
            if figure.table == table:
                caption = f"{dataset}. {figure.caption}"
                yield replace(figure, name=f"{prefix}-{figure.name}", caption=caption, table=own)
