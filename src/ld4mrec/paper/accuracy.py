"""Accuracy of an experiment's rows: the columns that its tables have, ours and the paper's."""

from collections.abc import Iterable, Mapping

from ld4mrec.comparison.cells import accuracy_columns
from ld4mrec.comparison.ledger import Row
from ld4mrec.paper import published
from ld4mrec.paper.runs import METRICS, cell
from ld4mrec.report.tables import Cell, Table

COLUMNS = accuracy_columns(METRICS)
VALIDATION, *_ = COLUMNS
OVER_SEEDS = "mean and standard deviation over seeds"


def accuracy_table(
    name: str,
    title: str,
    rows: Mapping[str, Row | None],
    notes: Iterable[str] = (),
    row_title: str = "model",
    absent: str | None = None,
) -> Table:
    """Accuracy of {label: row}, best and second marked. absent: why a row is None."""
    empty = (Cell(None, note=absent),) * len(COLUMNS) if absent else ()
    lines = [
        (label, tuple(cell(row, *where) for where in COLUMNS.values()) if row else empty)
        for label, row in rows.items()
    ]
    return Table(name, title, tuple(COLUMNS), lines, tuple(notes), row_title).marked(COLUMNS)


def theirs(dataset: str, model: str, metric: str) -> Cell:
    """The paper's number."""
    value = published.accuracy(dataset, model, metric)
    if value is not None:
        return Cell(value)
    known = published.source(dataset)
    why = "the paper does not compare with it" if known else "the paper does not have this data set"
    return Cell(None, note=why)
