import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ld4mrec.terminal import dict2str, get_local_time
from ld4mrec.training.patience import early_stopping


@pytest.mark.parametrize(
    ("value", "best", "bigger", "improved"),
    [
        (0.2, 0.1, True, True),
        (0.1, 0.1, True, False),
        (0.0, 0.1, True, False),
        (float("nan"), 0.1, True, False),
        (0.05, 0.1, False, True),
        (0.1, 0.1, False, False),
        (float("nan"), 0.1, False, False),
    ],
)
def test_only_strictly_better_counts(value, best, bigger, improved):
    answer = early_stopping(value, best, cur_step=1, max_step=5, bigger=bigger)
    assert answer == ((value, 0, False, True) if improved else (best, 2, False, False))


def test_patience_of_three_stops_after_five_evaluations_when_the_first_is_best():
    best, step, evaluations, stop = -1, 0, 0, False
    while not stop:
        value = 0.5 if evaluations == 0 else 0.4
        best, step, stop, _ = early_stopping(value, best, step, max_step=3)
        evaluations += 1
    assert (evaluations, best) == (5, 0.5)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 5), st.booleans())
def test_against_looking_at_the_whole_history(values, patience, bigger):
    best, step = (-1, 0) if bigger else (2, 0)
    for seen, value in enumerate(values, start=1):
        best, step, stop, updated = early_stopping(value, best, step, patience, bigger)
        peak = max(values[:seen]) if bigger else min(values[:seen])
        assert best == peak
        assert step == seen - 1 - values.index(peak)
        assert updated == (step == 0)
        assert stop == (step > patience)


def test_dict2str():
    text = dict2str({"recall@10": 0.12347, "ndcg@10": 0.5})
    assert text == "recall@10: 0.1235    ndcg@10: 0.5000"
    assert dict2str({}) == ""


def test_local_time_in_mmrecs_form():
    assert re.fullmatch(r"[A-Z][a-z]{2}-\d\d-\d{4}-\d\d-\d\d-\d\d", get_local_time())
