"""Numbers of several seeds as cells of a table, and the columns that show metrics."""

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ld4mrec.report.tables import Cell

NAMES = {"recall": "Recall", "ndcg": "NDCG", "map": "MAP", "precision": "Precision"}


class Where(NamedTuple):
    """Where a run's result has a number: split valid or test, and the metric."""

    split: str
    metric: str


def shown(metric: str) -> str:
    """'Recall@20' of 'recall@20'."""
    name, _, cut_off = metric.partition("@")
    return f"{NAMES.get(name, name)}@{cut_off}"


def accuracy_columns(metrics: Iterable[str], valid_metric: str = "recall@20") -> dict[str, Where]:
    """{column: Where}: the metric that chose the weights on validation, and all on test."""
    columns = {f"validation {shown(valid_metric)}": Where("valid", valid_metric)}
    return columns | {f"test {shown(metric)}": Where("test", metric) for metric in metrics}


def over_seeds(values: Sequence[float], form: str = ".4f", note: str | None = None) -> Cell:
    """Mean, with the standard deviation over two seeds or more; empty without a value. Equal
    values have no chance in them, and no spread.
    """
    if not values:
        return Cell(None, note=note)
    spread = statistics.stdev(values) if len(set(values)) > 1 else None
    return Cell(statistics.mean(values), spread=spread, format=form, note=note)


def ratio(value: float, other: float) -> Cell:
    """value / other - 1, in percent."""
    if not other:
        return Cell(None, note="the other is 0")
    return Cell(value / other - 1, format="+.1%")
