"""Times and memory of the models on generated data: what is measured, kept, limited, reported."""

import json
import re
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ld4mrec.errors import ConfigError, RunError
from ld4mrec.files import write_json
from ld4mrec.paper import cell, efficiency, sizes
from ld4mrec.paper.runs import Setup

SMALL = sizes.Size(120, 80, 900)


def replace_run(monkeypatch, function):
    """`function` for efficiency's subprocess.run, and not for all the world's."""
    stand_in = SimpleNamespace(run=function, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(efficiency, "subprocess", stand_in)


@pytest.fixture
def setup(tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, "SIZES", {"tmall": SMALL})
    folders = {"runs_dir": str(tmp_path / "runs"), "cache_dir": str(tmp_path / "cache")}
    keys = {"threads": 1, "topk": [10, 20], "train_batch_size": 16} | folders
    given = {"models": ("BPR",), "batches": 20, "cell_minutes": 5.0}
    return Setup(dataset=None, keys=keys, seeds=(1,), out=tmp_path / "out", **given)


def place(setup, *folder):
    """Of the only measurement that the setup asks for."""
    (what,) = efficiency.asked(setup)
    return efficiency.place(setup, what, *folder)


def kept(setup):
    (what,) = efficiency.asked(setup)
    return efficiency.kept(setup, what)


def measured(setup, model, keys, batches=2):
    """What `cell` finds, in this process."""
    sizes.write(setup.out, "tmall", SMALL)
    place = {"data_path": f"{setup.out}/", "cache_dir": None}
    shared = {key: value for key, value in setup.keys.items() if key != "runs_dir"}
    return cell.measure(model, "tmall", shared | place | keys, batches)


def files(setup):
    return sorted((setup.out.parent / "runs" / "efficiency" / "tmall").glob("*.json"))


@pytest.mark.slow
def test_a_measurement_is_kept_and_reported(setup):
    assert efficiency.estimate(setup)[0] == "1 measurement, 0 of them there"
    efficiency.measure(setup)
    (file,) = files(setup)
    found = json.loads(file.read_text())
    assert (found["timed"], found["users"], found["scored"]) == (20, 120, 120)
    assert found["epoch"] == pytest.approx(found["once"] + found["batch"] * found["batches"])
    assert found["once"] == 0
    assert min(found["batch"], found["inference"], found["peak_bytes"]) > 0
    stamp = file.stat().st_mtime_ns
    efficiency.measure(setup)  # nothing is left to do
    assert file.stat().st_mtime_ns == stamp
    assert efficiency.estimate(setup) == ["1 measurement, 1 of them there"]
    (table,) = efficiency.report(setup).tables
    assert table.column("training, s per epoch")["BPR"].value == found["epoch"]
    assert table.column("peak memory, GB")["BPR"].value == found["peak_bytes"] / 1e9
    assert table.column("training, paper's")["MGCN"].value == 2.19
    assert table.column("training, s per epoch")["MGCN"].note == "not asked for (-m)"
    assert table.column("users scored")["BPR"].text == "120 of 120"


def test_other_settings_are_another_measurement(setup):
    file = place(setup)
    assert place(setup) == file
    assert place(replace(setup, batches=30)) != file
    assert place(replace(setup, keys=setup.keys | {"embedding_size": 8})) != file
    assert place(replace(setup, keys=setup.keys | {"cache_dir": "elsewhere"})) == file


def test_what_decides_a_measurement_reads_as_in_the_archive(setup, monkeypatch):
    """The name of a kept file is a digest of this text."""
    monkeypatch.setattr(efficiency, "code_fingerprint", lambda source: {"BPR": "0"})
    assert place(setup).name == "BPR-374af3427dd9.json"


def test_a_limit_is_the_reason_and_a_longer_one_tries_again(setup, monkeypatch):
    def too_long(*arguments, timeout, **options):
        raise subprocess.TimeoutExpired("cell", timeout)

    replace_run(monkeypatch, too_long)
    efficiency.measure(setup)
    (table,) = efficiency.report(setup).tables
    note = "stopped after 5 minutes (--cell-minutes)"
    assert table.column("full inference, s")["BPR"].note == note
    assert efficiency.estimate(setup)[0] == "1 measurement, 1 of them there"
    longer = replace(setup, cell_minutes=6.0)
    assert efficiency.estimate(longer)[0] == "1 measurement, 0 of them there"


def test_a_failure_is_the_reason_and_is_tried_again(setup, monkeypatch):
    def fails(command, **options):
        return subprocess.CompletedProcess(command, 2, "", "a warning\nerror: no room\n")

    replace_run(monkeypatch, fails)
    efficiency.measure(setup)
    (table,) = efficiency.report(setup).tables
    assert table.column("training, s per epoch")["BPR"].note == "error: no room"
    assert efficiency.estimate(setup)[0] == "1 measurement, 0 of them there"


def test_what_has_no_epochs_is_refused(setup):
    with pytest.raises(ConfigError, match="EASE is not trained by gradient"):
        measured(setup, "EASE", {})


def test_a_further_ledger_is_read(setup, tmp_path):
    write_json(place(setup, tmp_path / "kept"), {"epoch": 1.0})
    assert kept(setup) is None
    assert kept(replace(setup, ledger=tmp_path / "kept")) == {"epoch": 1.0}


def test_a_damaged_measurement_is_refused(setup):
    write_json(place(setup), {})
    place(setup).write_text("{")
    with pytest.raises(RunError, match="is damaged .* delete it to measure again"):
        kept(setup)


def test_an_unknown_size_is_refused(setup):
    with pytest.raises(ConfigError, match="--sizes names 'tmal'.* Did you mean 'tmall'"):
        efficiency.asked(replace(setup, sizes=("tmal",)))


def test_what_a_model_does_around_its_batches_counts_once(setup):
    found = measured(setup, "DiffMM", {"train_batch_size": 64, "dims": [8]})
    assert found["once"] > 0  # the diffusion phase
    assert found["epoch"] == found["once"] + found["batch"] * found["batches"]


def test_scaled_inference_says_so(setup, monkeypatch):
    monkeypatch.setattr(cell, "LONG", 0.0)
    monkeypatch.setattr(cell, "SCORED", 50)
    found = measured(setup, "LightGCN", {"eval_batch_size": 20})
    assert (found["scored"], found["users"]) == (50, 120)
    table = efficiency.costs(setup, "tmall", {"LightGCN": found})
    assert table.column("users scored")["LightGCN"].text == "50 of 120, scaled"


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({}, "LD4MRec: embedding_size 300, hidden_size 300; the paper's embedding size is 1000"),
        ({"embedding_size": 1000, "hidden_size": 50}, "1000, hidden_size 50; .* is the same"),
    ],
)
def test_the_width_stands_beside_the_papers(setup, keys, text):
    setup = replace(setup, keys=setup.keys | keys)
    notes = efficiency.costs(setup, "tmall", {"LD4MRec": None}).notes
    assert any(re.search(text, note) for note in notes)
    assert not any("LD4MRec" in n for n in efficiency.costs(setup, "tmall", {"BPR": None}).notes)


def test_measurements_are_kept_in_an_archive(setup, tmp_path):
    elsewhere = replace(setup, keys=setup.keys | {"runs_dir": str(tmp_path / "other")})
    write_json(place(setup), {"epoch": 1.5})
    efficiency.keep(setup, tmp_path / "kept")
    assert kept(replace(elsewhere, ledger=tmp_path / "kept")) == {"epoch": 1.5}
    write_json(place(elsewhere), {"reason": "x", "cell_minutes": 1})
    efficiency.keep(elsewhere, tmp_path / "none")
    assert not (tmp_path / "none").exists()
