"""Tables 2-4: all systems, all seeds, compared as compare.py does, beside the paper's numbers."""

from dataclasses import replace

from ld4mrec.comparison import ledger
from ld4mrec.comparison.findings import Findings, shown
from ld4mrec.config.configuration import of_the_host
from ld4mrec.errors import RunError
from ld4mrec.paper import published
from ld4mrec.paper.runs import METRICS, OURS, cell, entries_of, planned
from ld4mrec.report.panels import Panels
from ld4mrec.report.report import Section
from ld4mrec.report.tables import Cell, Table

TITLE = "Accuracy of all systems (Tables 2-4)"
SIMPLE = ("Pop", "ItemKNN", "EASE")
PAPER = (  # in the order of its tables
    *("BPR", "LightGCN", "DiffRec", "SimGCL", "VBPR", "LATTICE", "SLMRec", "BM3", "MMSSL", "MGCN"),
    "DiffMM",
)


def rows(setup):
    """A row for each system, or variant of a system; ours last."""
    models = setup.models or (*SIMPLE, *PAPER, OURS)
    return planned(setup, entries_of(setup, models))


def report(setup, rows):
    done = [row for row in rows if row.done]
    if not done:
        raise RunError("no run of the tables is finished")
    ledger.check_protocol(rows)
    labels = [row.label for row in done]
    target = OURS if OURS in labels else labels[0]
    host = of_the_host(setup.keys)
    popularity = ledger.popularity(done, setup.dataset, host, trains=not setup.finished)
    findings = Findings(
        rows, setup.dataset, METRICS, target, popularity if popularity.result else None
    )
    made = findings.report()
    return replace(
        made,
        title=f"{TITLE}: {setup.dataset}",
        sections=(Section("Beside the paper", _beside_the_paper(setup, rows)), *made.sections),
    )


def beside(setup, rows):
    """Ours beside the paper's: a row per system, also of those that were not run."""
    columns = [f"{shown(metric)}, {whose}" for metric in METRICS for whose in ("ours", "paper's")]
    lines = []
    for row in rows:
        cells = []
        for metric in METRICS:
            cells += [cell(row, "test", metric), theirs(setup.dataset, row.entry.model, metric)]
        lines.append((row.label, tuple(cells)))
    where = published.source(setup.dataset)
    notes = ("Ours: test split, mean and standard deviation over seeds.",)
    if where:
        p_values = zip(METRICS, published.p_values(setup.dataset), strict=True)
        listed = ", ".join(f"{shown(metric)} {p:.3g}" for metric, p in p_values)
        notes += (f"The paper's: {where}; its p-values against its best baseline: {listed}.",)
    title = f"Test accuracy on {setup.dataset}, ours beside the paper's"
    table = Table("beside-the-paper", title, tuple(columns), tuple(lines), notes)
    return table.marked(dict.fromkeys(columns, True))


def theirs(dataset, model, metric):
    """The paper's number as a cell."""
    value = published.accuracy(dataset, model, metric)
    if value is not None:
        return Cell(value)
    known = published.source(dataset)
    why = "the paper does not compare with it" if known else "the paper does not have this data set"
    return Cell(None, note=why)


def _beside_the_paper(setup, rows):
    table = beside(setup, rows)
    drawn = tuple(name for name in table.columns if table.is_numeric(name) and "20" in name)
    highlight = tuple(label for label, _ in table.rows if label == OURS)
    figure = Panels(
        name="beside-the-paper",
        caption="Test accuracy of every system, ours and, where it has the data set, the paper's.",
        table=table,
        columns=drawn,
        highlight=highlight,
    )
    return table, figure
