"""Tables 2-4: all systems, all seeds, compared as compare.py does, beside the paper's numbers."""

from dataclasses import replace

from ld4mrec.comparison import ledger
from ld4mrec.comparison.cells import shown
from ld4mrec.comparison.findings import Findings
from ld4mrec.comparison.ledger import Row
from ld4mrec.config.configuration import of_the_host
from ld4mrec.errors import RunError
from ld4mrec.paper import published
from ld4mrec.paper.accuracy import OVER_SEEDS, theirs
from ld4mrec.paper.runs import METRICS, OURS, Setup, cell, entries_of, planned
from ld4mrec.report.panels import Panels
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Table

TITLE = "Accuracy of all systems (Tables 2-4)"
SIMPLE = ("Pop", "ItemKNN", "EASE")
PAPER = (  # in the order of its tables
    *("BPR", "LightGCN", "DiffRec", "SimGCL", "VBPR", "LATTICE", "SLMRec", "BM3", "MMSSL", "MGCN"),
    "DiffMM",
)
LATER = ("FREEDOM",)  # widely used, and not in the paper
ALL = (*SIMPLE, *PAPER, *LATER, OURS)


def rows(setup: Setup) -> list[Row]:
    """A row for each system, or variant of a system; ours last."""
    return planned(setup, entries_of(setup, setup.models or ALL))


def report(setup: Setup, rows: list[Row]) -> Report:
    """compare.py's report, after ours beside the paper's; RunError if no run is finished."""
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
    made, table = findings.report(), beside(setup, rows)
    blocks = Panels.with_table(
        table,
        tuple(name for name in table.columns if "20" in name),
        caption="Test accuracy of every system, ours and, where it has the data set, the paper's.",
        highlight=(OURS,) if OURS in table.labels else (),
    )
    return replace(
        made,
        title=f"{TITLE}: {setup.dataset}",
        sections=(Section("Beside the paper", blocks), *made.sections),
    )


def beside(setup: Setup, rows: list[Row]) -> Table:
    """Ours beside the paper's: a row per system, also of those that were not run."""
    columns = [f"{shown(metric)}, {whose}" for metric in METRICS for whose in ("ours", "paper's")]
    lines = []
    for row in rows:
        cells = []
        for metric in METRICS:
            cells += [cell(row, "test", metric), theirs(setup.dataset, row.entry.model, metric)]
        lines.append((row.label, tuple(cells)))
    where = published.source(setup.dataset)
    notes = (f"Ours: test split, {OVER_SEEDS}.",)
    if where:
        p_values = zip(METRICS, published.p_values(setup.dataset), strict=True)
        listed = ", ".join(f"{shown(metric)} {p:.3g}" for metric, p in p_values)
        notes += (f"The paper's: {where}; its p-values against its best baseline: {listed}.",)
    title = f"Test accuracy on {setup.dataset}, ours beside the paper's"
    return Table("beside-the-paper", title, tuple(columns), tuple(lines), notes).marked(columns)
