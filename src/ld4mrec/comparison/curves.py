"""How training went: losses and validation by epoch, as tables and figures of a report."""

import statistics
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from ld4mrec.comparison.cells import shown
from ld4mrec.comparison.ledger import Row
from ld4mrec.report.figures import Figure
from ld4mrec.report.panels import Lines
from ld4mrec.report.tables import Cell, Table
from ld4mrec.runs.curve import intact_epochs_of

MOST_COLUMNS = 14
NOT_KEPT = "the runs have no metrics.jsonl (those of --archive have none)"
ENDED = "training had ended"
Line = dict[str, Any]  # of metrics.jsonl


def places(longest: int) -> list[int]:
    """Epochs, from 1, that a table shows of so many: first, last, evenly in logarithm between."""
    shares = (at / (MOST_COLUMNS - 1) for at in range(MOST_COLUMNS))
    return sorted({round(longest**share) for share in shares})


def training(rows: Sequence[Row], metric: str, target: str) -> tuple[str | Table | Figure, ...]:
    """Tables and figures of the rows that were trained by gradient; a sentence where none was.

    metric: of validation. target: the row that stands out.
    """
    trained = [row for row in rows if row.done[0].config["req_training"]]
    curves = {row.label: [intact_epochs_of(run) for run in row.done] for row in trained}
    longest = max((len(lines) for runs in curves.values() for lines in runs), default=0)
    if not longest:
        return (f"No curves: {NOT_KEPT if trained else 'no row is trained by gradient'}.",)
    columns = places(longest)
    value = shown(metric)
    found = []
    for name, title, axis, read, note, form in (
        (
            "losses-by-epoch",
            "Losses by epoch",
            "share of the first epoch's loss",
            _losses,
            "Training loss, all of its parts, as a share of the first epoch's.",
            ".3f",
        ),
        (
            "validation-by-epoch",
            f"Validation {value} by epoch",
            f"validation {value}",
            lambda lines: _validations(lines, metric),
            f"Validation {value} of the last evaluation until the epoch.",
            ".4f",
        ),
    ):
        cells = [(label, _cells(runs, columns, read, form)) for label, runs in curves.items()]
        notes = (f"{note} Means over the seeds that trained so long.",)
        table = Table(name, title, list(map(str, columns)), cells, notes)
        found.append(table)
        if drawn := table.numeric(table.columns):
            highlight = (target,) if target in curves else ()
            found.append(
                Lines(
                    name=name,
                    caption=f"{title}. {note}",
                    table=table,
                    columns=drawn,
                    highlight=highlight,
                    axis=axis,
                    x_axis="epoch",
                    places={str(epoch): epoch for epoch in columns},
                    x_logarithmic=True,
                )
            )
    return tuple(found)


def _cells(
    runs: list[list[Line]],
    columns: list[int],
    read: Callable[[list[Line]], list[tuple[int, float]]],
    form: str,
) -> list[Cell]:
    """A cell per epoch: the mean of the runs' last values until then, of those that got so far."""
    points = [read(lines) for lines in runs]
    cells = []
    for epoch in columns:
        values = []
        for lines, curve in zip(runs, points, strict=True):
            at = bisect_right([place for place, _ in curve], epoch) - 1
            if at >= 0 and lines and lines[-1]["epoch"] + 1 >= epoch:
                values.append(curve[at][1])
        why = ENDED if any(points) else NOT_KEPT if not any(runs) else "no value"
        cells.append(Cell(statistics.mean(values), format=form) if values else Cell(None, note=why))
    return cells


def _losses(lines):
    """[(epoch from 1, loss over the first epoch's)]; [] where that is no positive number."""
    curve = [(line["epoch"] + 1, sum(line["loss"])) for line in lines if line["loss"]]
    first = curve[0][1] if curve else 0
    return [(epoch, loss / first) for epoch, loss in curve] if first > 0 else []


def _validations(lines, metric):
    """[(epoch from 1, validation value)]."""
    return [(line["epoch"] + 1, line["valid"][metric]) for line in lines if "valid" in line]
