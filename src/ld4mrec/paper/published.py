"""The paper's published numbers, from published.yaml."""

from functools import cache
from pathlib import Path

from ld4mrec.config.yaml_files import read_yaml

NAMES = {"BPR": "MF-BPR"}  # ours: the paper's, where they differ
TITLES = {"tmall": "TMALL", "microlens": "Microlens", "hm": "H&M"}


@cache
def published():
    """All of published.yaml, in plain values."""
    return read_yaml(Path(__file__).with_name("published.yaml"))


def dataset_counts(dataset):
    """{users, items, interactions, density} of Table 1; None for a data set that is not in it."""
    return published()["datasets"]["rows"].get(dataset)


def accuracy(dataset, model, metric):
    """A number of Tables 2-4 by our names; None where the paper has none."""
    tables = published()["tables"]
    row = tables.get(dataset, {}).get("rows", {}).get(NAMES.get(model, model))
    return row[tables["columns"].index(metric)] if row and metric in tables["columns"] else None


def cost(dataset, model, what):
    """A number of Table 5; what: training, inference (s) or memory (GB). None if it has none."""
    table = published()["efficiency"]
    values = table.get(dataset, {}).get(what)
    return values[table["columns"].index(model)] if values and model in table["columns"] else None


def p_values(dataset):
    """The paper's p-values on a data set that it has, in the order of its columns."""
    return published()["tables"][dataset]["p_values"]


def source(dataset):
    """'Table 2, section 6.5' of a data set's accuracies; None for one that the paper has not."""
    return published()["tables"].get(dataset, {}).get("source")
