"""Numbers of several seeds as cells."""

import pytest

from ld4mrec.comparison.cells import over_seeds


def test_mean_and_spread():
    cell = over_seeds([0.1, 0.3])
    assert cell.value == pytest.approx(0.2)
    assert cell.spread == pytest.approx(0.02**0.5)
    assert over_seeds([0.1]).spread is None
    assert over_seeds([], note="not run").note == "not run"


def test_what_has_no_chance_in_it_has_no_spread():
    assert over_seeds([0.0972] * 5).words == "0.0972"
