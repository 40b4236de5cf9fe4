"""Losses and validation by epoch as tables and figures of a report."""

from dataclasses import dataclass

import pytest

from ld4mrec.comparison import curves

METRIC = "recall@20"


@dataclass
class Row:
    """What `training` reads of a row."""

    label: str
    done: list


@dataclass
class Run:
    config: dict
    lines: list


def lines(losses, values):
    return [
        {"epoch": epoch, "loss": loss} | ({} if value is None else {"valid": {METRIC: value}})
        for epoch, (loss, value) in enumerate(zip(losses, values, strict=True))
    ]


def row(label, *runs, trained=True):
    return Row(label, [Run({"req_training": trained}, each) for each in runs])


@pytest.fixture(autouse=True)
def from_memory(monkeypatch):
    monkeypatch.setattr(curves, "intact_epochs_of", lambda run: run.lines)


def cells(table, label):
    return {name: cell.value for name, cell in dict(table.lines())[label]}


def test_places_hold_first_and_last():
    assert curves.places(1) == [1]
    assert curves.places(5) == [1, 2, 3, 4, 5]
    found = curves.places(300)
    assert (found[0], found[-1]) == (1, 300)
    assert len(found) <= curves.MOST_COLUMNS


def test_tables_and_figures_by_hand():
    first = lines([[4.0], [2.0], [1.0]], [0.1, None, 0.3])
    second = lines([[2.0, 2.0], [1.0, 0.0]], [0.2, 0.4])
    found = curves.training([row("A", first, second), row("Pop", [], trained=False)], METRIC, "A")
    losses, drawn, validation, also = found
    assert cells(losses, "A") == {"1": 1.0, "2": (0.5 + 0.25) / 2, "3": 0.25}
    assert cells(validation, "A") == {"1": pytest.approx(0.15), "2": 0.25, "3": 0.3}
    assert (drawn.table, also.table) == (losses, validation)
    assert drawn.highlight == ("A",)


def test_what_is_not_there_is_said():
    short, long = lines([[1.0]], [0.1]), lines([[-1.0], [-2.0]], [0.1, 0.2])
    losses, _, validation, _ = curves.training([row("A", short), row("B", long)], METRIC, "A")
    (_, ended) = dict(losses.lines())["A"]
    assert ended[1].note == "training had ended"
    assert {cell.note for _, cell in dict(losses.lines())["B"]} == {"no value"}
    assert cells(validation, "B") == {"1": 0.1, "2": 0.2}
    (text,) = curves.training([row("Pop", [], trained=False)], METRIC, "Pop")
    assert text == "No curves: no row is trained by gradient."
    (text,) = curves.training([row("A", [])], METRIC, "A")
    assert "the runs have no metrics.jsonl" in text
