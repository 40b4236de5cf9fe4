"""Rows of an experiment that trains the same models on several data sets made of one."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ld4mrec.comparison.cells import over_seeds
from ld4mrec.comparison.entries import Entry
from ld4mrec.comparison.ledger import Row
from ld4mrec.paper.derived_data import DATA_KEYS
from ld4mrec.paper.runs import Setup, planned, why_missing
from ld4mrec.report.tables import Cell

ByLevel = dict[Hashable, Row]  # level: the seeds' rows as one


class Level(NamedTuple):
    """A data folder. level: what was changed, seed: of the change and of the run on it."""

    level: Hashable
    seed: int
    folder: Path


def rows_on(setup: Setup, found: Sequence[Entry], levels: Iterable[Level]) -> list[Row]:
    """For each entry the row on the setup's data set, then one on each level's, in their order."""
    shared = {key: value for key, value in setup.keys.items() if key not in DATA_KEYS}
    listed = planned(setup, found)
    for _, seed, folder in levels:
        keys = shared | {"data_path": f"{folder.parent}/"}
        there = replace(setup, dataset=folder.name, keys=keys, seeds=(seed,))
        listed += planned(there, found)
    return listed


def by_level(rows: Sequence[Row], levels: Sequence[Hashable]) -> dict[str, ByLevel]:
    """{label: {level: row}}, the seeds' rows of a level as one. levels: of the blocks of rows, one
    row of each label in a block.
    """
    labels = list(dict.fromkeys(row.label for row in rows))
    found = {label: {} for label in labels}
    for at, row in enumerate(rows):
        level = levels[at // len(labels)]
        first = found[row.label].get(level)
        if first is not None:
            row = replace(row, runs=first.runs + row.runs, reason=first.reason or row.reason)
        found[row.label][level] = row
    return found


def relative_losses(before: Row, after: Row, metric: str) -> list[float]:
    """1 - after / before of the seeds that have both, by seed; none where `before` is 0."""
    old, new = (
        {seed: run.result["test"][metric] for seed, run in row.by_seed.items()}
        for row in (before, after)
    )
    return [1 - new[s] / old[s] for s in old if s in new and old[s]]


def loss_cell(before: Row, after: Row, metric: str) -> Cell:
    """Mean and spread of `relative_losses`, or why there are none."""
    values = relative_losses(before, after, metric)
    if values:
        return over_seeds(values, ".1%")
    why = why_missing(before) or why_missing(after)
    return Cell(None, note=why or "the value before is 0")
