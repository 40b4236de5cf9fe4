"""Axes that decide nothing are named: listed twice, one run, unread, without effect."""

import json
from types import SimpleNamespace

import pytest

from ld4mrec.runs.request import Request
from ld4mrec.search import idle
from ld4mrec.search.train import plan, run


class _Config(dict):
    point = None


def finished(tmp_path, point, losses, test=0.5):
    """A finished Run at a point, with these losses."""
    folder = tmp_path / f"r{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text(json.dumps(losses))
    config = _Config(model="M")
    config.point = point
    result = {"valid": {"recall@20": 0.5}, "test": {"recall@20": test}}
    place = SimpleNamespace(path=folder, id=folder.name)
    return SimpleNamespace(config=config, folder=place, id=folder.name, result=result, unread=None)


def test_values_listed_twice_are_named():
    lists = {"a": [0.1, 0.01, 1e-1], "b": [1, 2], "c": ["x", "x", "x"], "d": [1, 1.0]}
    assert idle.repeated_values(lists) == [
        "a lists 0.1 more than once; it is tried once",
        "c lists x more than once; it is tried once",
        "d lists 1.0 more than once; it is tried once",
    ]


def test_an_axis_without_effect_is_named(tmp_path):
    runs = [finished(tmp_path, {"a": a, "b": b}, [b]) for a in (1, 2, 3) for b in (1, 2)]
    assert idle.idle(runs) == [
        "a changes nothing: runs that differ in it alone have equal numbers (2 comparisons)"
    ]


def test_an_axis_with_effect_elsewhere_only_is_named_with_the_place(tmp_path):
    runs = [
        finished(tmp_path, {"kind": kind, "width": w}, [kind, w if kind == "deep" else 0])
        for kind in ("deep", "flat")
        for w in (1, 2)
    ]
    assert idle.idle(runs) == ["width changes nothing where kind is flat: equal numbers"]


def test_equal_metrics_of_other_losses_are_an_effect(tmp_path):
    runs = [finished(tmp_path, {"a": a}, [0.1 * a]) for a in (1, 2)]
    assert idle.idle(runs) == []
    runs = [finished(tmp_path, {"a": a}, [0.1], test=a) for a in (1, 2)]
    assert idle.idle(runs) == []


@pytest.mark.parametrize("name", ["seed", "a"])
def test_a_model_without_chance_is_not_told_so(tmp_path, name):
    runs = [finished(tmp_path, {name: value}, [0.1]) for value in (1, 2)]
    assert bool(idle.idle(runs)) == (name != "seed")


def test_nothing_is_said_of_failed_runs_and_of_single_ones(tmp_path):
    runs = [finished(tmp_path, {"a": a}, [0.1]) for a in (1, 2)]
    runs[0].result = None
    assert idle.idle(runs) == []
    assert idle.idle([]) == []


def test_points_that_are_one_run_are_named_and_trained_once(blocks, tmp_path, capsys):
    keys = {"data_path": f"{blocks.parent}/", "runs_dir": str(tmp_path / "runs"), "threads": 1}
    keys |= {"topk": [5, 20], "cache_dir": None, "hyper_parameters": ["learner"]}
    keys |= {"learner": ["adam", "Adam"]}
    assert len(plan(Request("Pop", "blocks", keys), grid=True)) == 2
    (one,) = run("Pop", "blocks", keys, grid=True)
    assert f"learner=adam and learner=Adam are one run, {one.folder.id}" in capsys.readouterr().out


def test_a_key_that_nothing_read_is_named_after_the_first_run(blocks, tmp_path, capsys):
    keys = {"data_path": f"{blocks.parent}/", "runs_dir": str(tmp_path / "runs"), "threads": 1}
    keys |= {"topk": [5, 20], "cache_dir": None, "epochs": 1, "embedding_size": 4}
    rates = {
        "hyper_parameters": ["learning_rate", "learner", "reg_weight"],
        "learning_rate": [0.1, 0.01],
    }
    host = {"hyper_parameters": ["learning_rate", "learner"]}
    host = {k: v for k, v in (keys | rates | host).items() if k != "embedding_size"}
    run("Pop", "blocks", host, grid=True)
    out = capsys.readouterr().out
    assert out.count("nothing in Pop read learning_rate") == 1
    assert out.index("nothing in Pop read") < out.index("learning_rate=0.01 learner=adam")
    assert "read learner " not in out  # it has one value
    run("BPR", "blocks", keys | rates | {"reg_weight": 0.1}, grid=True)
    assert "nothing in" not in capsys.readouterr().out
