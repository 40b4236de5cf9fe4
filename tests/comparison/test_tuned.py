"""What was tried for each row, as tables, a figure and warnings."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from ld4mrec.comparison.trials import Trials, grid_space
from ld4mrec.comparison.tuned import tuning, unequal
from ld4mrec.search.space import Range

PATIENT = {"req_training": True, "stopping_step": 20, "eval_step": 1, "patience_steps": 0}


class Config(dict):
    """A configuration at a point."""

    def __init__(self, point, **keys):
        super().__init__(PATIENT | {"valid_metric": "Recall@20"} | keys)
        self.point = point


@dataclass
class Run:
    value: float | None
    point: dict = field(default_factory=dict)
    keys: dict = field(default_factory=dict)

    @property
    def config(self):
        return Config(self.point, **self.keys)

    @property
    def result(self):
        return None if self.value is None else {"valid": {"recall@20": self.value}}


def row(label, trials, **keys):
    return SimpleNamespace(
        label=label, entry=SimpleNamespace(trials=trials), done=[Run(0.5, {}, keys)]
    )


RATE = {"rate": Range(1e-4, 1e-2, log=True), "width": [16]}


def searched(values, rates=None, method="asha"):
    rates = rates or [1e-3] * len(values)
    points = [{"rate": rate, "width": 16} for rate in rates]
    return Trials(method, RATE, tuple(map(Run, values, points)))


def test_the_best_after_k_trials_by_hand():
    found = searched([None, 0.2, 0.1, None, 0.3])
    assert found.best_after() == [None, 0.2, 0.2, 0.2, 0.3]
    assert len(found.finished) == 3
    assert found.value(found.best) == 0.3


def test_the_winner_is_the_earlier_of_equals_and_named_by_what_was_varied():
    found = searched([0.1, 0.3, 0.3], [1e-3, 2e-3, 3e-3])
    assert found.winner == "rate=0.002"


@pytest.mark.parametrize(
    ("value", "edge"),
    [(1e-4, True), (1.2e-4, True), (1.3e-4, False), (1e-3, False), (7.8e-3, False), (9e-3, True)],
)
def test_the_edge_of_a_range_is_a_twentieth_as_it_is_drawn(value, edge):
    found = list(searched([0.1], [value]).edges())
    assert found == ([("rate", f"{value} of 0.0001 to 0.01")] if edge else [])


@pytest.mark.parametrize(
    ("value", "values", "edge"),
    [
        (1, [1, 2, 3], True),
        (2, [1, 2, 3], False),
        (3, [3, 1, 2], True),
        (2, [1, 2], False),  # of two all are edges
        ("a", ["a", "b", "c"], False),
        (True, [True, False], False),
    ],
)
def test_the_edge_of_a_list_is_its_first_or_last_of_three_numbers(value, values, edge):
    found = Trials("grid", {"depth": values}, (Run(0.1, {"depth": value}),))
    assert bool(list(found.edges())) == edge


def test_the_space_of_a_grid_is_what_differs():
    runs = [Run(0.1, {"dims": [4], "rate": rate, "seed": 1}) for rate in (1, 2, 1)]
    assert grid_space(runs) == {"rate": [1, 2]}
    assert grid_space([Run(0.1, {"dims": width}) for width in ([4], [8])]) == {"dims": [[4], [8]]}


def test_tables_and_figure_by_hand():
    rows = [
        row("A", searched([0.1, 0.3], [1e-3, 1e-4])),
        row("B", searched([0.2])),
        row("Pop", None, req_training=False),
    ]
    table, curve, figure = tuning(rows, "A")
    by = {label: {name: cell.value for name, cell in cells} for label, cells in table.lines()}
    assert by["A"] == {
        "by": "asha",
        "trials": "2 of 2",
        "stopped or failed": 0,
        "validation Recall@20": 0.3,
        "winner": "rate=0.0001",
        "on an edge": "rate: 0.0001 of 0.0001 to 0.01",
        "patience": "20 evaluations, each epoch",
    }
    assert by["B"]["on an edge"] == "no"
    assert by["Pop"]["by"] == "nothing to choose"
    assert by["Pop"]["patience"] == "not trained by gradient"
    after = {label: [cell.value for _, cell in cells] for label, cells in curve.lines()}
    assert after == {"A": [0.1, 0.3], "B": [0.2, None]}
    assert figure.table == curve
    assert figure.places == {"1": 1, "2": 2}
    assert figure.highlight == ("A",)


def test_many_trials_have_some_columns_the_first_and_the_last_among_them():
    _, curve, _ = tuning([row("A", searched([0.1] * 40))], "A")
    assert len(curve.columns) == 16
    assert (curve.columns[0], curve.columns[-1]) == ("1", "40")


def test_a_grid_has_no_curve_and_without_tuning_there_is_nothing():
    (table,) = tuning([row("A", searched([0.1, 0.2], method="grid"))], "A")
    assert table.name == "tuning"
    assert tuning([row("A", None)], "A") == ()


def test_what_does_not_compare_is_said():
    alike = [row("A", searched([0.1, 0.2])), row("B", searched([0.2, 0.3]))]
    assert list(unequal(alike)) == []
    fewer, patience = unequal([*alike, row("C", searched([0.1]), stopping_step=5)])
    assert fewer == "C has 1 trials, as it has no more points; others have 2"
    assert "different patience (A: 20 evaluations, each epoch; B: 20 eval" in patience
    assert "C: 5 evaluations, each epoch" in patience
