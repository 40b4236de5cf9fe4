"""Fig. 5: the model without its preference blocks, its collaborative blocks, its soft labels."""

from pathlib import Path

from ld4mrec.comparison import ledger
from ld4mrec.comparison.cells import shown
from ld4mrec.comparison.findings import Findings
from ld4mrec.comparison.ledger import Row
from ld4mrec.data.features import modality_files
from ld4mrec.paper.accuracy import OVER_SEEDS, accuracy_table
from ld4mrec.paper.colophon import host_config, report_of
from ld4mrec.paper.runs import METRICS, OURS, Setup, entry_of, planned
from ld4mrec.report.figures import Forest
from ld4mrec.report.panels import Panels
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Table

TITLE = "Ablation (Fig. 5)"
PARTS = {
    OURS: {"ablation": "none"},
    "w/o PG": {"ablation": "no_pg"},
    "w/o CG": {"ablation": "no_cg"},
    "w/o SR": {"ablation": "no_sr"},
    "w/o item graphs": {"item_graph": 0, "content_graph": 0},
    "w/o content in FC out": {"content_out": False},
    "history as in the text": {"history_path": "text"},
    "w/o hidden items": {"item_dropout": 0},
    "unclicked items weigh 1": {"negative_weight": 1},
    "w/o average": {"average": 0},
    "item graphs alone": {"ablation": "no_net", "epochs": 1},
    "variant paper": {"variant": "paper"},
}
OF_CONTENT = ("w/o PG", "w/o content in FC out")
LEAD = (
    "w/o PG: the two CG blocks in sequence; w/o CG: behaviour and step embedding alone; "
    "w/o SR: plain squared error; item graphs alone: the history's sums over them, no network; "
    "variant paper: without all of the additions to the text, which the rows between leave out one "
    "at a time.",
)
NO_MODALITY = "the data set has no features: the full model has no PG blocks either"


def rows(setup: Setup) -> list[Row]:
    """The full model, then what is left without each part that it has."""
    files = modality_files(host_config(setup.dataset, setup.keys)).values()
    parts = dict(PARTS)
    if not any(Path(path).is_file() for path in files):
        parts = {label: part for label, part in parts.items() if label not in OF_CONTENT}
    found = [entry_of(setup, part, label) for label, part in parts.items()]
    return planned(setup, found)


def report(setup: Setup, rows: list[Row]) -> Report:
    """Accuracy, and the differences over users where two rows are finished."""
    table = accuracy(rows)
    blocks = Panels.with_table(
        table,
        tuple(name for name in table.columns if name.endswith("@20")),
        caption=f"Accuracy of the model and of what is left without a part of it; {OVER_SEEDS}.",
        highlight=(OURS,),
    )
    sections = [Section("Accuracy", blocks)]
    full = rows[0]
    if full.done and len([row for row in rows if row.done]) > 1:
        ledger.check_protocol(rows)
        users = Findings(rows, setup.dataset, METRICS, OURS, None).over_users()
        forest = Forest(
            name="differences",
            caption=f"Difference in test {shown('recall@20')}, the full model minus the other, "
            "with its 95 % interval over users.",
            table=users,
            column="difference",
            axis=f"difference in test {shown('recall@20')}",
            below="better without",
            above="better with",
        )
        sections.append(Section("How sure", (users, forest)))
    return report_of(setup, rows, TITLE, LEAD, sections)


def accuracy(rows: list[Row]) -> Table:
    """Validation and test accuracy of each part's row; empty for a part that cannot be left out."""
    by_label = {row.label: row for row in rows}
    notes = (
        "Mean and standard deviation over seeds; test numbers are those of the weights that were "
        "best on validation.",
    )
    parts = {name: by_label.get(name) for name in PARTS}
    return accuracy_table("ablation", "Ablation", parts, notes, absent=NO_MODALITY)
