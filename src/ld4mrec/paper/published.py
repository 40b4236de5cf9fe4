"""The paper's published numbers, from published.yaml; those of Table 1 are in data/counts.py."""

from functools import cache
from pathlib import Path
from typing import Any

from ld4mrec.config.yaml_files import read_yaml

NAMES = {"BPR": "MF-BPR"}  # ours: the paper's, where they differ


@cache
def published() -> dict[str, Any]:
    """All of published.yaml, in plain values."""
    return read_yaml(Path(__file__).with_name("published.yaml"))


def accuracy(dataset: str, model: str, metric: str) -> float | None:
    """A number of Tables 2-4 by our names; None where the paper has none."""
    tables = published()["tables"]
    row = tables.get(dataset, {}).get("rows", {}).get(NAMES.get(model, model))
    return row[tables["columns"].index(metric)] if row and metric in tables["columns"] else None


def cost(dataset: str, model: str, what: str) -> float | None:
    """A number of Table 5; what: training, inference (s) or memory (GB). None if it has none."""
    table = published()["efficiency"]
    values = table.get(dataset, {}).get(what)
    return values[table["columns"].index(model)] if values and model in table["columns"] else None


def p_values(dataset: str) -> list[float]:
    """The paper's p-values on a data set that it has, in the order of its columns."""
    return published()["tables"][dataset]["p_values"]


def source(dataset: str) -> str | None:
    """'Table 2, section 6.5' of a data set's accuracies; None for one that the paper has not."""
    return published()["tables"].get(dataset, {}).get("source")
