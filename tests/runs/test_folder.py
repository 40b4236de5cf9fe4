import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

import support
from ld4mrec.checksums import sealed
from ld4mrec.errors import DamagedError, RunError
from ld4mrec.files import sha256
from ld4mrec.runs import folder as run_folder
from ld4mrec.runs.folder import RunFolder
from ld4mrec.runs.identity import (
    changed_since_made,
    data_fingerprint,
    plain_value,
    run_id,
    run_identity,
)
from support import config_for


def identity_of(folder, code="c0de", **overrides):
    config = config_for(folder, **overrides)
    return run_identity(config, data_fingerprint(config), code)


def id_of(folder, **overrides):
    return run_id(identity_of(folder, **overrides))


def place(tmp_path, toy, name="run", **overrides):
    return RunFolder(tmp_path / name, identity_of(toy, **overrides))


# --- the id ---------------------------------------------------------------------------------


def test_the_same_work_has_the_same_id(toy, tmp_path):
    first = id_of(toy)
    assert id_of(toy) == first
    assert first.startswith("s999-")
    elsewhere = support.write_toy(tmp_path / "elsewhere")
    assert id_of(elsewhere) == first  # only what the files hold counts, not where they are


LD = {"model": "LD4MRec"}
CHANGES = [
    {"code": "other"},
    {"learning_rate": 0.01},
    {"seed": 1},
    {"threads": 2},
    {"stopping_step": 3},
    {"metrics": ["Recall", "NDCG"]},
    {"weight_decay": 1e-4},
    {"mask_valid_at_test": True},
    {"train_batch_size": 100},
    {"clip_grad_norm": {"max_norm": 1.0}},
    {"deterministic": True},
    LD,
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_what_decides_the_numbers_decides_the_id(toy, change):
    assert id_of(toy, **change) != id_of(toy)


def test_a_models_own_hyper_parameters_decide_the_id(toy):
    ids = {id_of(toy, **LD), id_of(toy, **LD, soft_prob=0.2), id_of(toy, **LD, dropout=0.77)}
    assert len(ids) == 3


def test_the_steps_of_patience_decide_the_id_where_they_decide_the_end(toy):
    trained = [id_of(toy, model="BPR", patience_steps=steps) for steps in (0, 1000, 2000)]
    assert len(set(trained)) == 3
    assert id_of(toy, model="BPR") == trained[1]
    earlier = identity_of(toy, model="BPR", patience_steps=0)
    assert "patience_steps" not in earlier["config"]  # as before there was such a key
    assert id_of(toy, patience_steps=5) == id_of(toy)  # Pop is not trained


@pytest.mark.parametrize(
    "change",
    [
        {"runs_dir": "x"},
        {"run_dir": "x"},
        {"cache_dir": "x"},
        {"checkpoint_seconds": 1},
        {"keep_last": False},
        {"save_recommended_topk": False},
        {"tensorboard": True},
        {"gpu_id": 1},
        {"use_gpu": False},  # the device itself is in the id
    ],
    ids=str,
)
def test_bookkeeping_does_not_decide_the_id(toy, change):
    assert id_of(toy, **change) == id_of(toy)


def test_the_device_decides_the_id(toy):
    config = config_for(toy)
    here = run_id(run_identity(config, {}, "c"))
    config["device"] = torch.device("cuda:1")
    there = run_id(run_identity(config, {}, "c"))
    config["device"] = torch.device("cuda:0")
    assert here != there == run_id(run_identity(config, {}, "c"))


def test_mirror_gradient_decides_the_id(toy):
    config = config_for(toy)
    without = run_identity(config, {}, "c")
    config.mg = True
    assert run_id(run_identity(config, {}, "c")) != run_id(without)


def test_the_interactions_decide_the_id(toy):
    before = id_of(toy)
    path = toy / "toy.inter"
    path.write_text(path.read_text() + "4\t1\t0\n")
    assert id_of(toy) != before


def test_features_decide_the_id_of_models_that_load_them(toy):
    before, before_pop = id_of(toy, **LD), id_of(toy, is_multimodal_model=False)
    np.save(toy / "text_feat.npy", np.ones((7, 5), dtype=np.float32))
    assert id_of(toy, **LD) != before
    assert id_of(toy, is_multimodal_model=False) == before_pop


def test_the_presence_of_modalities_decides_the_id(toy):
    modalities = {"text": "text_feat.npy", "image": "image_feat.npy"}
    config = config_for(toy, modalities=modalities)
    assert run_identity(config, {}, "c")["modalities"] == ["text", "image"]
    before = run_id(run_identity(config, {}, "c"))
    (toy / "image_feat.npy").unlink()
    assert run_identity(config, {}, "c")["modalities"] == ["text"]
    assert run_id(run_identity(config, {}, "c")) != before


def test_two_feature_files_of_one_name_both_decide_the_id(toy):
    modalities = {"text": "a/feat.npy", "image": "b/feat.npy"}
    ids = set()
    for values in [(0, 0), (1, 0), (0, 1)]:
        for name, value in zip("ab", values, strict=True):
            (toy / name).mkdir(exist_ok=True)
            np.save(toy / name / "feat.npy", np.full((7, 2), value, dtype=np.float32))
        ids.add(id_of(toy, **LD, modalities=modalities))
    assert len(ids) == 3


def test_the_identity_is_plain(toy):
    identity = identity_of(toy, **LD)
    assert json.loads(json.dumps(identity)) == identity
    assert identity["config"]["device"] == "cpu"
    assert identity["data"].keys() == {"toy.inter", "text_feat.npy", "image_feat.npy"}
    assert plain_value({1: (np.float32(0.5), torch.device("cuda:1"))}) == {"1": ["0.5", "cuda"]}


# --- the folder -----------------------------------------------------------------------------


def test_nothing_is_written_before_it_starts(tmp_path, toy):
    folder = place(tmp_path, toy)
    assert folder.result() is None
    assert not folder.path.exists()


def test_start_writes_configuration_and_manifest(tmp_path, toy):
    config = config_for(toy, learning_rate=0.5)
    folder = place(tmp_path, toy, learning_rate=0.5)
    folder.start(config, fresh=True)
    manifest = folder.read_json("manifest.json")
    assert manifest["id"] == folder.id
    assert manifest["identity"] == folder.identity
    assert manifest["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert manifest["packages"].keys() == {"torch", "numpy", "scipy", "pandas"}
    assert {"command", "python", "platform", "device", "git_commit"} <= manifest.keys()
    written = yaml.safe_load((folder.path / "config.yaml").read_text())
    assert written["learning_rate"] == 0.5
    assert written["device"] == "cpu"
    assert written["topk"] == [1, 2, 5]
    assert place(tmp_path, toy, learning_rate=0.5).id == folder.id  # the same run may come back


def test_a_folder_of_another_run_is_refused(tmp_path, toy):
    place(tmp_path, toy).start(config_for(toy), fresh=True)
    with pytest.raises(RunError, match=r"holds another run \(id s999-\w+, this one is s1-\w+\)"):
        place(tmp_path, toy, seed=1)


@pytest.mark.parametrize("name", ["manifest.json", "result.json"])
def test_damaged_json_is_named(tmp_path, toy, name):
    folder = place(tmp_path, toy)
    folder.start(config_for(toy), fresh=True)
    (folder.path / name).write_text('{"id": ')
    with pytest.raises(RunError, match=rf"{name} is damaged .*delete .*run to run again"):
        place(tmp_path, toy).result()


def test_it_works_without_git(tmp_path, toy, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = place(tmp_path, toy)
    folder.start(config_for(toy), fresh=True)
    manifest = folder.read_json("manifest.json")
    assert manifest["git_commit"] is manifest["git_changed_files"] is None


def test_it_works_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "SOURCE", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert run_folder._git("rev-parse", "HEAD") is None


LEFT = ["last.pt", "best.pt", "metrics.jsonl", "log.txt", "per_user.npz", "topk.npz", "failed.json"]
LEFT += [".last.pt.x1y2.tmp"]  # of a process that was killed while it wrote


def test_a_fresh_start_removes_what_an_interrupted_run_left(tmp_path, toy):
    folder = place(tmp_path, toy)
    folder.path.mkdir()
    for name in [*LEFT, "notes.txt"]:
        (folder.path / name).write_text("x")
    folder.start(config_for(toy), fresh=True)
    assert sorted(os.listdir(folder.path)) == ["config.yaml", "manifest.json", "notes.txt"]


def test_going_on_keeps_what_an_interrupted_run_left(tmp_path, toy):
    folder = place(tmp_path, toy)
    folder.path.mkdir()
    for name in LEFT:
        (folder.path / name).write_text("x")
    folder.start(config_for(toy), fresh=False)
    assert set(os.listdir(folder.path)) == {*LEFT[:-1], "config.yaml", "manifest.json"}


def test_a_refused_run_leaves_no_folder(tmp_path, toy):
    folder = place(tmp_path, toy)
    assert folder.lock(timeout=0)
    folder.start(config_for(toy), fresh=True)
    (folder.path / "log.txt").write_text("x")
    folder.discard_if_empty()
    folder.unlock()
    assert not folder.path.exists()


def test_a_refused_run_leaves_a_users_files_alone(tmp_path, toy):
    folder = place(tmp_path, toy)
    (folder.path / "thesis").mkdir(parents=True)
    (folder.path / "thesis" / "chapter.tex").write_text("years of work")
    folder.lock(timeout=0)
    folder.start(config_for(toy), fresh=True)
    folder.discard_if_empty()
    assert (folder.path / "thesis" / "chapter.tex").read_text() == "years of work"
    assert not (folder.path / "manifest.json").exists()
    folder.unlock()


def test_a_run_with_epochs_is_not_discarded(tmp_path, toy):
    folder = place(tmp_path, toy)
    folder.start(config_for(toy), fresh=True)
    folder.append_metrics({"epoch": 0})
    before = sorted(os.listdir(folder.path))
    folder.discard_if_empty()
    assert sorted(os.listdir(folder.path)) == before


# --- lock -----------------------------------------------------------------------------------


def test_one_holder_at_a_time(tmp_path, toy):
    one, other = place(tmp_path, toy), place(tmp_path, toy)
    assert one.lock(timeout=0)
    assert not other.lock(timeout=0)
    started = time.monotonic()
    assert not other.lock(timeout=0.3)
    assert time.monotonic() - started >= 0.3
    one.unlock()
    assert other.lock(timeout=0)
    other.unlock()


def test_a_killed_process_holds_no_lock(tmp_path, toy):
    folder = place(tmp_path, toy)
    script = """
        import sys, time
        from ld4mrec.runs.folder import RunFolder
        folder = RunFolder(sys.argv[1], {"config": {"seed": 1}})
        print(folder.lock(timeout=0), flush=True)
        time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(folder.path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(support.ROOT / "src")},
    )
    assert process.stdout.readline() == b"True\n"
    assert not folder.lock(timeout=0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert folder.lock(timeout=5)
    folder.unlock()


# --- metrics and arrays ---------------------------------------------------------------------


def lines_of(folder):
    assert (folder.path / "metrics.jsonl").is_file()
    return folder.metrics()


def test_lines_of_metrics_that_are_damaged_are_counted(tmp_path, toy, caplog):
    folder = place(tmp_path, toy)
    folder.path.mkdir()
    lines = [{"epoch": epoch, "loss": [0.125]} for epoch in range(5)]
    for line in lines:
        folder.append_metrics(line)
    path = folder.path / "metrics.jsonl"
    path.write_text(
        path.read_text().replace('{"epoch": 3, "loss": [0.1', '{"epoch": 3, "loss": [0.2')
    )
    folder.keep_metrics(up_to_epoch=4)
    assert lines_of(folder) == [*lines[:3], lines[4]]
    assert "metrics.jsonl: the lines of 1 of 5 epochs are damaged or gone" in caplog.text
    caplog.clear()
    folder.keep_metrics(up_to_epoch=2)  # what is written again is not missed
    assert not caplog.messages


@pytest.mark.parametrize(
    "text",
    ["[]", "3", '{"epoch": "a"}', "[" * 9999, "\0", '{"epoch": 1.5}', '{"epoch": 0, "c": 1}'],
)
def test_lines_of_metrics_of_another_shape_are_left_out(tmp_path, toy, text):
    folder = place(tmp_path, toy)
    folder.path.mkdir()
    (folder.path / "metrics.jsonl").write_text(text + "\n")
    folder.append_metrics({"epoch": 1})
    assert folder.metrics() == [{"epoch": 1}]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: m.clear(), "its id is not that of its identity"),
        (lambda m: m.pop("identity"), "its id is not that of its identity"),
        (lambda m: m["identity"]["config"].update(seed=5), "its id is not that of its identity"),
        (lambda m: m.update(identity=[1]), "its id is not that of its identity"),
    ],
)
def test_a_manifest_of_another_shape_is_a_sentence(tmp_path, toy, change, why):
    folder = place(tmp_path, toy)
    folder.start(config_for(toy), fresh=True)
    path = folder.path / "manifest.json"
    support.change_json(path, lambda m: m.pop("checksum"))
    support.change_json(path, change)
    with pytest.raises(DamagedError, match=rf"manifest.json is damaged \({why}\); delete .*/run "):
        place(tmp_path, toy)


def test_metrics_are_kept_up_to_an_epoch(tmp_path, toy):
    folder = place(tmp_path, toy)
    folder.path.mkdir()
    lines = [{"epoch": epoch, "loss": [0.1 * epoch]} for epoch in range(12)]
    for line in lines:
        folder.append_metrics(line)
    folder.keep_metrics(up_to_epoch=10)  # not 'as a text': '10' < '9'
    assert lines_of(folder) == lines[:11]
    folder.keep_metrics(up_to_epoch=-1)
    assert lines_of(folder) == []


def test_metrics_that_are_not_there(tmp_path, toy):
    folder = place(tmp_path, toy)
    folder.keep_metrics(up_to_epoch=3)
    assert lines_of(folder) == []


@given(cut=st.integers(1, 30), up_to=st.integers(0, 3))
def test_half_a_line_of_a_killed_run_is_dropped(tmp_path, toy, cut, up_to):
    shutil.rmtree(tmp_path / "run", ignore_errors=True)  # of hypothesis' last example
    folder = place(tmp_path, toy)
    folder.path.mkdir()
    lines = [{"epoch": epoch, "loss": [0.125]} for epoch in range(3)]
    text = "".join(map(run_folder.metrics_line, lines))
    (folder.path / "metrics.jsonl").write_text(text[:-cut])
    folder.keep_metrics(up_to)
    folder.append_metrics({"epoch": 9})
    whole = 3 if cut == 1 else 2  # without its newline a line is still whole
    assert lines_of(folder) == [*lines[: min(whole, up_to + 1)], {"epoch": 9}]


def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path, toy):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.txt").write_text("mine")
    with pytest.raises(RunError, match=r"is no run's folder and not empty \(log.txt\)"):
        place(tmp_path, toy)
    assert (tmp_path / "run" / "log.txt").read_text() == "mine"


def test_equal_arrays_give_equal_bytes(tmp_path, toy, monkeypatch):
    folder = place(tmp_path, toy)
    arrays = {"users": np.arange(3), "recall@20": np.array([0.1, 0.2, 0.3])}
    folder.write_arrays("one.npz", **arrays)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    folder.write_arrays("two.npz", **arrays)
    one, two = ((folder.path / name).read_bytes() for name in ("one.npz", "two.npz"))
    assert one == two
    with np.load(folder.path / "one.npz", allow_pickle=False) as back:
        assert {name: back[name].tolist() for name in back} == {
            name: values.tolist() for name, values in arrays.items()
        }


# --- the data, since preprocessing made it --------------------------------------------------


def test_files_that_changed_since_preprocessing_are_named(toy):
    config = config_for(toy, **LD)
    assert changed_since_made(config) == []
    names = ("toy.inter", "text_feat.npy", "image_feat.npy")
    outputs = {name: {"sha256": sha256(toy / name)} for name in names}
    (toy / "manifest.json").write_text(json.dumps({"outputs": outputs}))
    assert changed_since_made(config) == []
    outputs["text_feat.npy"]["sha256"] = "0"
    (toy / "manifest.json").write_text(json.dumps({"outputs": outputs}))
    assert changed_since_made(config) == ["text_feat.npy"]
    (toy / "manifest.json").write_text(json.dumps(sealed({"outputs": outputs}) | {"outputs": {}}))
    assert changed_since_made(config) == ["manifest.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 9999, '{"outputs": [1]}', '{"outputs": {"a": 1}}']
)
def test_a_manifest_of_something_else_names_nothing(toy, text):
    (toy / "manifest.json").write_text(text)
    assert changed_since_made(config_for(toy)) == []
