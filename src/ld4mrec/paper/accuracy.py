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
    """Validation and test accuracy of {label: row}, best and second marked. absent: why a row is
    None.
    """
    lines = tuple(
        (
            label,
            tuple(
                cell(row, *where) if row else Cell(None, note=absent) for where in COLUMNS.values()
            ),
        )
        for label, row in rows.items()
    )
    return Table(name, title, tuple(COLUMNS), lines, tuple(notes), row_title).marked(COLUMNS)


def theirs(dataset: str, model: str, metric: str) -> Cell:
    """The paper's number."""
    value = published.accuracy(dataset, model, metric)
    if value is not None:
        return Cell(value)
    known = published.source(dataset)
    why = "the paper does not compare with it" if known else "the paper does not have this data set"
    return Cell(None, note=why)
