"""Fig. 5: the model without its preference blocks, its collaborative blocks, its soft labels."""

from pathlib import Path

from ld4mrec.comparison import ledger
from ld4mrec.comparison.findings import Findings, shown
from ld4mrec.data.features import modality_files
from ld4mrec.paper.colophon import colophon, host_config
from ld4mrec.paper.runs import METRICS, OURS, cell, entry_of, planned
from ld4mrec.report.figures import Forest
from ld4mrec.report.panels import Panels
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Cell, Table

TITLE = "Ablation (Fig. 5)"
PARTS = {OURS: "none", "w/o PG": "no_pg", "w/o CG": "no_cg", "w/o SR": "no_sr"}
NO_MODALITY = "the data set has no features: the full model has no PG blocks either"


def rows(setup):
    found = [entry_of(setup, label=name, changes={"ablation": x}) for name, x in PARTS.items()]
    if not has_features(setup):
        found = [entry for entry in found if entry.settings["ablation"] != "no_pg"]
    return planned(setup, found)


def has_features(setup):
    config = host_config(setup.dataset, setup.keys)
    return any(Path(path).is_file() for path in modality_files(config).values())


def report(setup, rows):
    table = accuracy(rows)
    tested = [name for name in table.columns if table.is_numeric(name) and name.endswith("@20")]
    figure = Panels(
        name="ablation",
        caption="Accuracy of the model and of what is left without a part of it; mean and standard "
        "deviation over seeds.",
        table=table,
        columns=tuple(tested),
        highlight=(OURS,),
    )
    sections = [Section("Accuracy", (table, *([figure] if tested else [])))]
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
            below="better without",
            above="better with",
        )
        sections.append(Section("How sure", (users, forest)))
    return Report(
        title=f"{TITLE}: {setup.dataset}",
        lead=(
            "w/o PG: the two CG blocks in sequence; w/o CG: behaviour and step embedding alone; "
            "w/o SR: plain squared error.",
        ),
        sections=tuple(sections),
        colophon=colophon(setup, rows),
    )


def accuracy(rows):
    """Validation and test accuracy of each part's row, and of those that cannot be, empty."""
    columns = {"validation Recall@20": ("valid", "recall@20")}
    columns |= {f"test {shown(metric)}": ("test", metric) for metric in METRICS}
    by_label = {row.label: row for row in rows}
    lines = []
    for name in PARTS:
        if name in by_label:
            cells = [cell(by_label[name], *where) for where in columns.values()]
        else:
            cells = [Cell(None, note=NO_MODALITY)] * len(columns)
        lines.append((name, tuple(cells)))
    notes = (
        "Mean and standard deviation over seeds; test numbers are those of the weights that were "
        "best on validation.",
    )
    table = Table("ablation", "Ablation", tuple(columns), tuple(lines), notes)
    return table.marked(dict.fromkeys(columns, True))
