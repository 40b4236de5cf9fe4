"""Models side by side, with the report's tables as DataFrames."""

import io
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import pandas as pd

from ld4mrec.api.checks import check, plain_keys, texts
from ld4mrec.api.data import Data, open_data
from ld4mrec.comparison.compare import Comparison as Asked
from ld4mrec.comparison.compare import report_of
from ld4mrec.errors import ConfigError
from ld4mrec.places import reports
from ld4mrec.report.report import Report
from ld4mrec.report.tables import to_csv
from ld4mrec.report.writing import write_report
from ld4mrec.terminal import quiet_terminal


@dataclass(frozen=True)
class Comparison:
    """A finished comparison. folder: of report.html, .md, .tex, .csv and the figures."""

    folder: Path
    report: Report

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """{name: DataFrame}, cells as the report prints them, a row per model."""
        return {
            table.name: pd.DataFrame(
                [[cell.words for cell in cells] for _, cells in table.rows],
                index=pd.Index(table.labels, name=table.row_title),
                columns=table.columns,
            )
            for table in self.report.tables
        }

    @property
    def numbers(self) -> pd.DataFrame:
        """All cells, a row each, unrounded: table, row, column, value, text (where it is none),
        spread, low, high, mark, note.
        """
        frame = pd.read_csv(io.StringIO(to_csv(self.report.tables)))
        value = pd.to_numeric(frame["value"], errors="coerce")
        frame.insert(4, "text", frame["value"].where(value.isna()))
        return frame.assign(value=value)

    @property
    def accuracy(self) -> pd.DataFrame:
        """Means over the seeds as numbers: a row per model, a column per metric."""
        table = next(table for table in self.report.tables if table.name == "accuracy")
        rows = [[cell.value for cell in cells] for _, cells in table.rows]
        index = pd.Index(table.labels, name=table.row_title)
        return pd.DataFrame(rows, index=index, columns=table.columns)

    def show(self, *names: str) -> None:
        """Show tables in the notebook or terminal, all of them or those named."""
        tables = self.tables
        for name in names:
            if name not in tables:
                raise ConfigError(f"there is no table '{name}'; wanted one of {', '.join(tables)}")
        for line in (*self.report.warnings, *self.report.lead):
            print(line)
        display = _display()
        for table in self.report.tables:
            if names and table.name not in names:
                continue
            print(f"\n{table.title}")
            display(tables[table.name])
        print(f"\nthe report: {self.folder / 'report.html'}")

    def __repr__(self) -> str:
        return f"Comparison({self.report.title}: {self.folder})\n{self.tables['accuracy']}"


def _display():
    """IPython's display in a notebook, else print."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return lambda frame: print(frame.to_string())
    return display if get_ipython() else lambda frame: print(frame.to_string())


def compare(
    models: Sequence[str],
    data: Data | str | Path,
    *,
    seeds: int | Sequence[int] = 5,
    target: str | None = None,
    metrics: str = "recall@10,recall@20,ndcg@10,ndcg@20",
    tune: bool = False,
    plugins: Sequence[str | Path] = (),
    audit: bool = False,
    out: str | Path | None = None,
    verbose: bool = False,
    **keys: Any,
) -> Comparison:
    """Train what is missing of models x seeds and write the report, with paired tests and cost.

    models: class names. seeds: how many, from 1, or which. target: the model that the others are
    tested against, None for the first. tune: each at the best point of its grid by validation.
    plugins: third parties' model files, folders or checkouts, whose models become rows, see
    `compare.py --plugin`. audit: first look whether a model reads what it is tested on; RunError if
    one does, see docs/plugin.md. out: the report's folder, None for reports/<data set>. verbose:
    show all epochs. keys: of the configuration, for all runs. Raises UserError.
    """
    found, models = open_data(data), texts("models", models)
    check("seeds", seeds, (Integral, Sequence), "a number from 1, or a list of seeds")
    check("audit", audit, bool, "True or False")
    check("metrics", metrics, str, "a text such as 'recall@20,ndcg@20'")
    numbers = tuple(range(1, seeds + 1)) if isinstance(seeds, Integral) else tuple(seeds)
    for seed in numbers:
        check("one of seeds", seed, Integral, "a whole number")
    if len(set(numbers)) < len(numbers):
        raise ConfigError(f"seeds is {seeds}; wanted different seeds")
    if not numbers:
        raise ConfigError(f"seeds is {seeds}; wanted a number from 1, or a list of seeds")
    asked = Asked(
        dataset=found.name,
        keys=found.keys() | plain_keys(keys),
        seeds=numbers,
        names=models,
        target=target,
        metrics=metrics,
        tune=tune,
        plugins=tuple(map(str, plugins)),
        audit=audit,
    )
    with nullcontext() if verbose else quiet_terminal():
        report = report_of(asked)
    folder = Path(out) if out else reports() / found.name
    write_report(folder, report)
    return Comparison(folder, report)
