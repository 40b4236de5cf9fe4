import itertools
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ld4mrec.terminal import dict2str, get_local_time
from ld4mrec.training.patience import Patience, early_stopping, fewest_epochs, too_early
from support import ROOT


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


# validation Recall@20 of BM3 on tiktok, seed 1: a rise, a dip of twenty short epochs, a rise again
DIP = [
    *(0.004, 0.052, 0.066, 0.067, 0.066, 0.066, 0.064, 0.065, 0.066, 0.058, 0.040, 0.037, 0.040),
    *(0.043, 0.047, 0.047, 0.051, 0.054, 0.055, 0.057, 0.057, 0.059, 0.062, 0.062, 0.065, 0.065),
    *(0.064, 0.065, 0.066, 0.067, 0.067, 0.068, 0.067, 0.067, 0.067, 0.069, 0.070, 0.072, 0.075),
]


def trained(values, steps, limit=20, least_steps=1000):
    """(epochs, best epoch) of a training with these values, with so many steps an epoch."""
    patience, best = Patience(limit, least_steps=least_steps), None
    for epoch, value in enumerate(values):
        best = epoch if patience.improves(value, steps) else best
        if patience.is_over:
            return epoch + 1, best
    return len(values), best


def test_a_dip_of_twenty_short_epochs_ends_nothing():
    assert trained(DIP, 30, least_steps=0) == (25, 3)  # MMRec's rule: .067
    assert trained(DIP, 30) == (len(DIP), 38)
    for steps in (1, 5, 10, 20, 26):  # F1: a dip from the sixth epoch on
        curve = [*[0.1 * i for i in range(7)], *[0.3] * 22, *[0.62 + 0.01 * i for i in range(10)]]
        assert trained(curve, steps)[1] == len(curve) - 1
        assert trained(curve, steps, least_steps=0)[1] == 6


def test_where_epochs_are_long_it_is_mmrecs_rule():
    curve = [0.1, 0.5, *[0.4] * 60]
    for steps in (46, 58, 116, 10_000):  # 22 epochs and more have the 1,000 steps
        assert trained(curve, steps) == trained(curve, steps, least_steps=0) == (23, 1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(0, 5), st.integers(0, 9))
def test_the_rule_against_the_whole_history(values, limit, steps):
    epochs, best = trained(values, steps, limit, least_steps=100)
    assert best == values.index(max(values[:epochs]))

    def over(seen):
        at = values.index(max(values[:seen]))
        waited = seen - 1 - at
        return waited > limit and seen * steps >= 100 and waited * steps * 3 >= 100

    assert [seen for seen in range(1, epochs) if over(seen)] == []
    assert over(epochs) or epochs == len(values)


@given(st.integers(0, 25), st.integers(1, 60), st.integers(1, 7), st.integers(0, 1500))
def test_the_shortest_training_is_foreseen(limit, steps, eval_step, least_steps):
    keys = {"stopping_step": limit, "patience_steps": least_steps, "eval_step": eval_step}
    config = keys | {"epochs": 10**6, "req_training": True}
    values = itertools.chain([1.0], itertools.repeat(0.0, 10**4))
    patience, epochs = Patience(limit, least_steps=least_steps), 0
    while not patience.is_over:
        epochs += eval_step
        patience.improves(next(values), steps * eval_step)
    assert fewest_epochs(config, steps) == epochs
    assert fewest_epochs(config | {"epochs": 3}, steps) == min(3, epochs)
    assert fewest_epochs(config | {"req_training": False}, 0) == (limit + 2) * eval_step


# rows of the training split (of DiffRec: its users) of the archived data sets
ROWS = {"tiktok": (59_541, 9_308), "baby": (118_551, 19_445)}


def test_the_archived_runs_of_other_systems_end_where_they_did():
    """Each ended after 1,000 steps, a third of them since the best: the rule changes none of them,
    but the two of BM3 that ended in its dip.
    """
    seen, changed = 0, []
    for path in sorted((ROOT / "docs" / "results" / "runs").glob("*/*/*/result.json")):
        data, model = path.parts[-4:-2]
        config = json.loads((path.parent / "manifest.json").read_text())["identity"]["config"]
        if data not in ROWS or model == "LD4MRec" or not config["req_training"]:
            continue
        result, seen = json.loads(path.read_text()), seen + 1
        size = ROWS[data][bool(config["use_full_sampling"])]
        steps = math.ceil(size / config["train_batch_size"])
        waited = result["epochs"] - 1 - result["best_epoch"]
        if result["epochs"] * steps < 1000 or waited * steps * 3 < 1000:
            changed.append((data, model, result["seed"], result["best_epoch"]))
    assert seen > 50
    assert changed == [("tiktok", "BM3", 1, 3), ("tiktok", "BM3", 5, 2)]


@pytest.mark.parametrize(
    ("epochs", "best", "steps", "message"),
    [
        (6, 5, 6, "the limit of 6 epochs .* while it was rising: the best is epoch 6 of 6"),
        (6, 4, 6, None),
        (4, 0, 4, "patience ended the training after 4 steps of the optimiser, 1 an epoch"),
        (4, 0, 100, None),
        (4, 0, None, None),  # an archived run
    ],
)
def test_an_end_that_came_too_early_is_said(epochs, best, steps, message):
    config = {"req_training": True, "epochs": 6, "eval_step": 1, "train_batch_size": 400}
    config |= {"patience_steps": 0, "stopping_step": 2}
    result = {"epochs": epochs, "best_epoch": best} | ({"steps": steps} if steps else {})
    found = too_early(config, result)
    assert bool(found) == bool(message)
    assert all(re.search(message, sentence) for sentence in found)
    assert too_early(config | {"req_training": False}, result) == []


def test_dict2str():
    text = dict2str({"recall@10": 0.12347, "ndcg@10": 0.5})
    assert text == "recall@10: 0.1235    ndcg@10: 0.5000"
    assert dict2str({}) == ""


def test_local_time_in_mmrecs_form():
    assert re.fullmatch(r"[A-Z][a-z]{2}-\d\d-\d{4}-\d\d-\d\d-\d\d", get_local_time())
