"""Search: what is drawn, what repeats, what is stopped, what a command leaves and refuses."""

import copy
import csv
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ld4mrec.commands import compare
from ld4mrec.commands import train as main
from ld4mrec.comparison import ledger
from ld4mrec.comparison.entries import Entry
from ld4mrec.comparison.tuning import tuning_of
from ld4mrec.config import configuration
from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.engines.in_turn import InTurn
from ld4mrec.errors import ConfigError
from ld4mrec.places import CONFIGS
from ld4mrec.plugins import sources
from ld4mrec.runs.folder import metrics_line
from ld4mrec.runs.request import Request, configure
from ld4mrec.search.halving import Halving
from ld4mrec.search.options import METHODS, Search
from ld4mrec.search.proposals import Proposals
from ld4mrec.search.space import Range, size_of, space_of, start_of, take_ranges
from ld4mrec.search.train import plan, run, trials

AXES = {"rate": [0.1, 0.01, 0.001], "layers": [1, 2, 3], "kind": ["a", "b"], "seed": [999]}


def drawn(method, trials, axes=AXES, seed=0, value=lambda point: 0.0, at_once=1):
    proposals = Proposals(Search(method, trials, seed), axes, at_once)
    points = []
    for _ in range(trials):
        trial, point = proposals.next()
        if trial is None:
            break
        points.append(point)
        proposals.tell(trial, value(point))
    return points


@pytest.mark.parametrize("method", METHODS)
def test_points_are_of_the_axes_different_and_repeated_by_the_seed(method):
    points = drawn(method, 10)
    assert len({repr(point) for point in points}) == 10
    for point in points:
        assert list(point) == list(AXES)
        assert all(value in AXES[name] for name, value in point.items())
    assert drawn(method, 10) == points
    assert drawn(method, 4) == points[:4]  # more trials go on with the same search
    assert drawn(method, 10, seed=1) != points


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_a_search_longer_than_its_space_tries_all_of_it_once(method):
    points = drawn(method, 100)
    assert len(points) == len({repr(point) for point in points}) == 18


def test_tpe_draws_where_trials_were_good():
    axes = {name: list(range(20)) for name in "ab"}

    def value(point):
        return -abs(point["a"] - 15) - abs(point["b"] - 4)

    def late(method):
        return [sum(map(value, drawn(method, 60, axes, s, value)[30:])) for s in range(3)]

    assert min(late("tpe")) > max(late("random"))


def test_a_failed_trial_teaches_nothing_and_ends_nothing():
    assert len(drawn("tpe", 15, value=lambda p: None if p["kind"] == "a" else 1.0)) == 15


@given(st.floats(1e-6, 1e3), st.floats(1.01, 1e6), st.booleans(), st.integers(0, 5), st.booleans())
def test_a_range_stays_within_its_ends_in_four_digits(low, factor, log, seed, whole):
    low, high = (1, max(2, int(factor))) if whole else (low, low * factor)
    axis = Range(low, high, log)
    for point in drawn("random", 3, {"x": axis}, seed):
        assert low <= point["x"] <= high
        assert type(point["x"]) is type(low)
        assert whole or point["x"] in (low, high) or point["x"] == float(f"{point['x']:.4g}")


def test_ranges_are_taken_from_the_overrides():
    clip = {"max_norm": 5.0}
    rest, ranges = take_ranges({"rate": {"low": 1e-4, "high": 1e-2, "log": True}, "clip": clip})
    assert rest == {"clip": clip}
    assert ranges == {"rate": Range(1e-4, 1e-2, True)}
    assert take_ranges({"layers": {"low": 1, "high": 3}})[1]["layers"].size == 3


@pytest.mark.parametrize(
    ("given_range", "message"),
    [
        ({"low": 1}, r"--x is \{'low': 1\}; wanted \{low: NUMBER, high: NUMBER"),
        ({"low": 1, "high": "two"}, "wanted"),
        ({"low": 1, "high": 2, "step": 1}, "wanted"),
        ({"low": 2, "high": 1}, "low below high"),
        ({"low": 0, "high": 1, "log": True}, "above 0"),
        ({"low": 0, "high": float("inf")}, "low below high"),
        ({"low": True, "high": 2}, "wanted"),
    ],
)
def test_a_range_of_another_form_is_refused(given_range, message):
    with pytest.raises(ConfigError, match=message):
        take_ranges({"x": given_range})


def ended(folder, values, rungs=None, result=None, metric="recall@20"):
    """A Run that ended with these validation values."""
    folder.mkdir()
    lines = [{"epoch": e, "loss": [], "valid": {metric: v}} for e, v in enumerate(values)]
    (folder / "metrics.jsonl").write_text("".join(map(metrics_line, lines)))
    config = {"valid_metric": metric}
    place = SimpleNamespace(path=folder)
    return SimpleNamespace(config=config, folder=place, rungs=rungs or {}, result=result)


def test_rungs_by_hand(tmp_path):
    halving = Halving(first_rung=2, epochs=20)
    assert halving.rungs() == {}  # nothing to compare with
    halving.add(ended(tmp_path / "a", [0.1, 0.3, 0.2, 0.2, 0.5, 0.4, 0.1], result={"done": 1}))
    assert halving.rungs() == {2: 0.3, 6: 0.5, 18: 0.5}  # the best of the epochs until then
    halving.add(ended(tmp_path / "b", [0.4, 0.2], {2: 0.3}))  # interrupted: it counts to epoch 2
    assert halving.rungs() == {2: 0.4, 6: 0.5, 18: 0.5}
    halving.add(ended(tmp_path / "c", [0.2, 0.2, 0.9], {2: 0.4}))  # fell below: epoch 3 is unseen
    halving.add(ended(tmp_path / "d", [0.1, 0.1], {2: 0.4}))
    assert halving.rungs()[2] == 0.4  # one of five goes on
    halving.add(ended(tmp_path / "e", [0.1, 0.35], {2: 0.4}))
    assert halving.rungs()[2] == 0.35  # two of six


@pytest.fixture
def keys(blocks, tmp_path):
    paths = {"data_path": f"{blocks.parent}/", "runs_dir": str(tmp_path / "runs")}
    quick = {"embedding_size": 4, "epochs": 6, "topk": [5, 20], "threads": 1}
    rates = {"hyper_parameters": ["learning_rate", "reg_weight"], "reg_weight": [0.1, 0.0]}
    rates |= {"learning_rate": [0.1, 0.03, 0.01], "train_batch_size": 64}
    return paths | quick | rates | {"cache_dir": None}


def stamps(folder):
    return {p: p.stat().st_mtime_ns for p in folder.glob("**/result.json")}


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[pytest.mark.slow] * (name != "asha")) for name in METHODS]
)
def test_an_interrupted_search_ends_as_one_that_was_not(method, keys, tmp_path, monkeypatch):
    search = Search(method, 5, first_rung=2, at_once=2)
    whole = run("BPR", "blocks", keys | {"runs_dir": str(tmp_path / "whole")}, search=search)

    collect, count = InTurn.collect, 0

    def interrupted(engine):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return collect(engine)

    monkeypatch.setattr(InTurn, "collect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("BPR", "blocks", keys, search=search)
    monkeypatch.undo()
    resumed = run("BPR", "blocks", keys, search=search)
    assert [one.folder.id for one in resumed] == [one.folder.id for one in whole]
    for one, other in zip(resumed, whole, strict=True):
        assert one.stopped == other.stopped
        mine, theirs = one.folder.path / "metrics.jsonl", other.folder.path / "metrics.jsonl"
        assert mine.read_bytes() == theirs.read_bytes()
    before = stamps(tmp_path / "runs")
    again = run("BPR", "blocks", keys, search=search)
    assert [one.folder.id for one in again] == [one.folder.id for one in whole]
    assert [one.stopped for one in again] == [one.stopped for one in whole]
    assert stamps(tmp_path / "runs") == before


def test_points_are_the_grids_and_found_again_both_ways(keys, tmp_path):
    searched = run("BPR", "blocks", keys, search=Search("random", 3))
    before = stamps(tmp_path)
    grid = run("BPR", "blocks", keys, grid=True)
    assert len(grid) == 6
    assert before.items() <= stamps(tmp_path).items()
    reused = {one.folder.id for one in grid if one.reused}
    assert reused == {one.folder.id for one in searched}
    everything = stamps(tmp_path)
    tpe = run("BPR", "blocks", keys, search=Search("tpe", 5))
    assert all(one.reused for one in tpe)
    assert stamps(tmp_path) == everything
    assert tpe[0].result["valid"]["recall@20"] == max(
        one.result["valid"]["recall@20"] for one in tpe
    )


@pytest.mark.slow
def test_a_stopped_trial_is_no_result_and_can_be_gone_on_with(keys, tmp_path):
    runs = run("BPR", "blocks", keys, search=Search("asha", 6, first_rung=2))
    stopped = [one for one in runs if one.stopped]
    assert stopped
    assert not any(one.stopped for one in runs if one.result)
    for one in stopped:
        names = {path.name for path in one.folder.path.iterdir()}
        assert {"stopped.json", "last.pt", "metrics.jsonl"} <= names
        assert not {"result.json", "per_user.npz", "topk.npz"} & names
        assert "was needed to go on" in one.stopped
    finished = {path.parent.name: path.read_bytes() for path in tmp_path.glob("**/topk.npz")}
    grid = run("BPR", "blocks", keys, grid=True)
    straight = run("BPR", "blocks", keys | {"runs_dir": str(tmp_path / "straight")}, grid=True)
    assert not list((tmp_path / "runs").glob("**/stopped.json"))
    for one, other in zip(grid, straight, strict=True):  # as if nothing had stopped them
        for name in ("metrics.jsonl", "topk.npz", "best.pt"):
            mine, theirs = one.folder.path / name, other.folder.path / name
            assert mine.read_bytes() == theirs.read_bytes(), name
        assert one.result["valid"] == other.result["valid"]
    assert finished  # the winner was trained to its own end


def test_values_of_a_range_are_ordinary_runs(keys):
    keys = {k: v for k, v in keys.items() if k not in ("hyper_parameters", "learning_rate")}
    spread = {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}
    best, *_ = run("BPR", "blocks", keys | spread, search=Search("random", 2))
    point = {name: best.config.point[name] for name in ("learning_rate", "reg_weight")}
    (alone,) = run("BPR", "blocks", keys | point)
    assert alone.reused
    assert alone.folder.path == best.folder.path


def test_a_comparison_tunes_by_a_search(keys):
    keys = {k: v for k, v in keys.items() if k not in ("hyper_parameters", "learning_rate")}
    spread = {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}
    entry = Entry("BPR", "BPR", spread, "yaml defaults")
    found = tuning_of(entry, "blocks", keys, 1, Search("random", 2)).best(trains=True)
    assert found.origin == "best of 2 of 2 trials of --search random on validation, seed 1"
    assert 1e-3 <= found.settings["learning_rate"] <= 1e-1
    assert found.warnings == ()
    (row,) = ledger.rows_of([found], "blocks", keys, [1])
    assert row.done  # the winner's run is the row's


@pytest.fixture
def command(blocks, tmp_path):
    paths = [f"--data_path={blocks.parent}", f"--runs_dir={tmp_path / 'runs'}"]
    quick = ["--topk=[5,20]", "--threads=1", "--epochs=2", "--cache_dir=null"]
    return ["-d", "blocks", *paths, *quick]


def test_the_command_prints_the_table_and_names_what_changes_nothing(command, capsys):
    axes = ["--hyper_parameters=[reg_weight,learning_rate]", "--learning_rate=[0.1,0.01,1e-1]"]
    words = ["-m", "BPR", *command, *axes, "--reg_weight=0.1", "--search", "random"]
    assert main.main([*words, "--trials", "5"]) == 0
    out = capsys.readouterr().out
    assert "learning_rate lists 0.1 more than once; it is tried once" in out
    assert "random search: 5 trials in 2 points" in out
    assert "the space has no more than 2 points" in out
    assert "winner by validation recall@20: learning_rate=0." in out
    assert "changes nothing" not in out
    axes = ["--hyper_parameters=[learning_rate]", "--learning_rate=[0.1,0.01]"]
    assert main.main(["-m", "Pop", *command, *axes, "--search", "tpe", "--trials", "2"]) == 0
    out = capsys.readouterr().out
    assert "nothing in Pop read learning_rate" in out
    assert "learning_rate changes nothing: runs that differ in it alone have equal" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--search", "tpe"], "--search tpe needs --trials N"),
        (["--search", "bayes", "--trials", "3"], "--search is 'bayes'; wanted one of random, tpe"),
        (["--search", "tpe", "--trials", "0"], "--trials is 0; wanted a whole number of at"),
        (["--search", "tpe", "--trials", "3", "--grid"], "--grid tries all points"),
        (["--trials", "3"], "--trials belongs to --search"),
        (["--search-seed", "3"], "--search-seed belongs to --search"),
        (["--search", "tpe", "--trials", "3", "--first-rung", "3"], "belongs to --search asha"),
        (["--learning_rate={low: 0.1, high: 1}"], "learning_rate is a range .* needs --search"),
        (["--search", "tpe", "--trials", "3", "--reg_wight={low: 0, high: 1}"], "'reg_wight'"),
        (
            ["--search", "tpe", "--trials", "3", "--learner={low: 0, high: 1}"],
            "learner is 0; wanted one of adam",
        ),
        (["--workers", "2"], "--workers belongs to --engine ray"),
        (["--address", "auto"], "--address belongs to --engine ray"),
        (["--gpus-per-trial", "1"], "--gpus-per-trial belongs to --engine ray"),
        (["--engine", "spark"], "--engine is 'spark'; wanted one of here, ray"),
    ],
)
def test_wrong_options_are_one_sentence_and_leave_nothing(
    words, message, command, tmp_path, capsys
):
    assert main.main(["-m", "BPR", *command, *words]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert not list(tmp_path.glob("runs/**/*.*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--search", "tpe", "--trials", "3"], "--search belongs to --tune here"),
        (["--tune", "--learning_rate={low: 0.1, high: 1}"], "is a range; that needs --tune --se"),
        (["--workers", "2"], "--workers belongs to --engine ray"),
    ],
)
def test_compare_says_what_belongs_to_what(words, message, command, capsys):
    assert compare.main(["-m", "BPR", *command, *words]) == 2
    assert message in capsys.readouterr().err


def test_a_search_without_optuna_is_a_sentence(command, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main.main(["-m", "BPR", *command, "--search", "tpe", "--trials", "2"]) == 2
    assert "--search needs the package optuna: pip install" in capsys.readouterr().err


def test_a_range_with_few_values_of_four_digits_ends():
    proposals = Proposals(Search("random", 9), {"rate": Range(0.123411, 0.123413), "one": [1]})
    found = [proposals.next()[1] for _ in range(3)]
    assert [point and point["rate"] for point in found] == [0.123411, None, None]


def config_of(keys, model="BPR"):
    return configure(Request(model, "blocks", keys))[1]


@pytest.mark.parametrize("name", sources.model_names())
def test_each_models_search_holds_its_defaults_and_values_that_it_takes(name, blocks):
    config = config_of({"data_path": f"{blocks.parent}/"}, name)
    space = space_of(config, {})
    assert config.search is not None
    start = start_of(config, space)
    assert start is not None
    assert start == {key: config.defaults.get(key, config[key]) for key in space}
    assert size_of(space) >= 8 or name == "Pop"


@pytest.mark.parametrize("name", sources.model_names())
def test_a_search_block_decides_no_runs_id(name, blocks, monkeypatch):
    request = Request(name, "blocks", {"data_path": f"{blocks.parent}/"})
    ids = [planned.id for planned in plan(request)]
    without = {k: v for k, v in read_yaml(sources.find_model(name).yaml).items() if k != "search"}
    real = configuration.read_yaml
    monkeypatch.setattr(
        configuration,
        "read_yaml",
        lambda path: copy.deepcopy(without) if Path(path).stem == name else real(path),
    )
    assert configure(request)[1].search is None
    assert [planned.id for planned in plan(request)] == ids


def test_what_a_search_draws_from(blocks):
    where = {"data_path": f"{blocks.parent}/"}
    rate, penalty = Range(1e-4, 5e-3, log=True), Range(1e-5, 2.0, log=True)
    widths = [32, 64, 128]
    seed = {"seed": [999]}
    axes = {"learning_rate": rate, "reg_weight": penalty, "embedding_size": widths}
    assert space_of(config_of(where), {}) == axes | seed
    given = config_of(where | {"embedding_size": 8, "reg_weight": [0.1, 0.2]})
    own = {"embedding_size": [8], "reg_weight": [0.1, 0.2]}
    assert space_of(given, {}) == axes | seed | own
    assert start_of(given, space_of(given, {})) is None  # reg_weight's default is not among them
    one = Range(0.1, 0.2)
    assert space_of(config_of(where), {"reg_weight": one}) == axes | seed | {"reg_weight": one}
    named = config_of(where | {"hyper_parameters": ["reg_weight"]})
    assert space_of(named, {}) == {"reg_weight": penalty} | seed
    named = config_of(where | {"hyper_parameters": ["n_layers"]}, "LATTICE")  # as the caller says
    assert space_of(named, {}) == {"n_layers": [1, 2]} | seed


def test_a_search_begins_at_the_defaults(keys):
    keys = {k: v for k, v in keys.items() if k not in ("hyper_parameters", "learning_rate")}
    keys = {k: v for k, v in keys.items() if k != "reg_weight"} | {"epochs": 1}
    for method in METHODS:
        first, *others = trials(Request("BPR", "blocks", keys), Search(method, 3))
        (alone,) = plan(Request("BPR", "blocks", keys))
        assert first.id == alone.id
        assert len({one.id for one in (first, *others)}) == 3


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("search: [1]", r"search is \[1\]; wanted a list or a range for each key"),
        ("search: {reg_wight: [1.0]}", "search has 'reg_wight', which no yaml declares. Did you"),
        ("search: {topk: [[5]]}", "search has 'topk', which all points share"),
        ("search: {reg_weight: 0.1}", "search gives reg_weight 0.1; wanted a list of values, or"),
        ("search: {reg_weight: []}", r"search gives reg_weight \[\]; wanted a list of values, or"),
        ("search: {learning_rate: [fast]}", "learning_rate is 'fast'; wanted a positive number"),
        ("search: {learning_rate: {low: -1, high: 1}}", "learning_rate is -1; wanted a positive"),
        ("search: {reg_weight: {low: 2, high: 1}}", "search of BPR: reg_weight is .*low below hi"),
    ],
)
def test_a_search_block_of_another_form_is_refused(block, message, blocks, tmp_path):
    text = (CONFIGS / "model" / "BPR.yaml").read_text().partition("search:")[0]
    (tmp_path / "BPR.yaml").write_text(f"{text}{block}\n")
    where = {"data_path": f"{blocks.parent}/"}
    with pytest.raises(ConfigError, match=message):
        space_of(configuration.Config("BPR", "blocks", where, model_yaml=tmp_path / "BPR.yaml"), {})


@pytest.mark.slow
def test_a_comparison_of_searches_says_what_was_tried(command, tmp_path):
    words = [*command, "-m", "BPR,EASE,Pop", "--seeds", "1", "--train_batch_size=64"]
    words += ["--tune", "--search", "asha", "--trials", "4", "--first-rung", "1"]
    assert compare.main([*words, "--out", str(tmp_path / "report"), "--metrics", "recall@20"]) == 0
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "How the settings were chosen" in text
    assert "Best validation Recall@20 after k trials" in text
    with (tmp_path / "report" / "report.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    cells = {(one["row"], one["column"]): one["value"] for one in lines if one["table"] == "tuning"}
    assert cells["EASE", "trials"] == "4 of 4"
    assert cells["BPR", "by"] == "asha"
    assert cells["Pop", "by"] == "nothing to choose"
    after = [one for one in lines if one["table"] == "best-after-trials"]
    assert {one["row"] for one in after} == {"BPR", "EASE"}
    best = {one["row"]: float(one["value"]) for one in after if one["column"] == "4"}
    for name, value in best.items():
        assert float(cells[name, "validation Recall@20"]) == value


def test_a_value_that_is_a_list_is_one_value_of_the_tuned_row(keys):
    entry = Entry("DiffRec", "DiffRec", {"dims": [[4], [8]]}, "yaml defaults")
    common = {k: keys[k] for k in ("data_path", "runs_dir", "topk", "threads", "cache_dir")}
    common |= {"epochs": 1, "eval_step": 1}
    found = tuning_of(entry, "blocks", common, 1, Search("random", 2)).best(trains=True)
    assert found.settings["dims"] in ([[4]], [[8]])
    (row,) = ledger.rows_of([found], "blocks", common, [1])
    assert row.done
