"""Exports, loaded in a fresh process that knows nothing of this code, give the run's lists."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from common import graph
from ld4mrec.errors import DataError, RunError
from ld4mrec.files import sha256
from ld4mrec.serving import export
from ld4mrec.serving.export import staged, write_export
from ld4mrec.serving.offers import export_parts, history_scores
from ld4mrec.serving.trained import open_run

USERS = np.array([59, 0, 7, 8, 33])
# What a serving system does, with the manifest's lines, which this test has just written and is
# about. Run with -I: no path of ours is searched.
ALONE = """
import json, os, sys
import numpy as np, scipy.sparse as sp
assert not any("src" in path.split(os.sep) for path in sys.path)
histories = sp.csr_matrix(np.load(sys.argv[1]))
for folder in sys.argv[2:]:
    os.chdir(folder)
    manifest = json.load(open("manifest.json"))
    names = {"users": np.array([59, 0, 7, 8, 33])}
    exec("\\n".join(manifest["score"]), names)
    scores = np.array(names["scores"])
    known = sp.load_npz("known.npz")[names["users"]].toarray() > 0
    top = np.argsort(-np.where(known, -np.inf, scores), axis=1, kind="stable")[:, :10]
    kept = {"scores": scores, "top": top}
    if manifest["new_users"]:
        names = {"rows": histories}
        exec("\\n".join(manifest["new_users"]), names)
        kept["new"] = np.array(names["scores"])
        names = {"rows": histories[:1]}
        exec("\\n".join(manifest["new_users"]), names)
        kept["one"] = np.array(names["scores"])
    np.savez("../" + os.path.basename(folder) + ".npz", **kept)
assert not any(name.split(".")[0] in ("serving", "common", "models") for name in sys.modules)
"""


def alone(tmp_path, folders):
    """{folder name: arrays} of exports used in a process of its own."""
    histories = np.zeros((3, 40))
    histories[[0, 0, 1, 2, 2, 2], [4, 8, 5, 2, 3, 30]] = 1
    np.save(tmp_path / "new.npy", histories)
    words = [sys.executable, "-I", "-c", ALONE, str(tmp_path / "new.npy"), *map(str, folders)]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        words, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return {folder.name: np.load(tmp_path / f"{folder.name}.npz") for folder in folders}, histories


def check(tmp_path, runs):
    """Export runs, {name: Trained}, use them alone, compare with the models here."""
    for name, trained in runs.items():
        write_export(trained, tmp_path / name, "all")
    found, histories = alone(tmp_path, [tmp_path / name for name in runs])
    for name, trained in runs.items():
        with torch.no_grad():
            scores = trained.model.full_sort_predict([torch.from_numpy(USERS), None]).numpy()
        assert found[name]["scores"] == pytest.approx(scores, rel=1e-4, abs=1e-5), name
        known = trained.known("all")[USERS].toarray() > 0
        order = np.argsort(-np.where(known, -np.inf, scores), axis=1, kind="stable")[:, :10]
        assert np.array_equal(found[name]["top"], order), name
        if not hasattr(trained.model, "fold_in"):
            assert "new" not in found[name]
            continue
        rows = graph.HistoryRows(graph.binary_csr(histories))
        new = history_scores(trained)(rows, torch.arange(3)).numpy()
        assert found[name]["new"] == pytest.approx(new, rel=1e-4, abs=1e-5), name
        assert found[name]["one"] == pytest.approx(new[:1], rel=1e-4, abs=1e-5), name


def test_exported_arrays_work_alone(finished, tmp_path):
    check(tmp_path, {name: open_run(finished(name)) for name in ("BPR", "EASE")})


class Squares(torch.nn.Module):
    """A third party's model, which knows nothing of our files but the methods' names."""

    def __init__(self):
        super().__init__()
        self.items = torch.rand(40, 40, generator=torch.Generator().manual_seed(0))

    def full_sort_predict(self, interaction):
        return self.items[interaction[0] % 40]

    def fold_in(self):
        return lambda history, users: history.dense(users) @ self.items

    def export_parts(self):
        return {
            "imports": "numpy as np",
            "score": ["scores = np.load('squares.npy')[users % 40]"],
            "new_users": ["scores = rows @ np.load('squares.npy')"],
            "files": {"squares.npy": self.items},
            "holds": {"squares.npy": "(items, items)"},
        }


def test_a_third_partys_model_is_served_by_its_methods(finished, tmp_path):
    check(tmp_path, {"squares": dataclasses.replace(open_run(finished("Pop")), model=Squares())})


@pytest.mark.slow
def test_exports_work_alone(finished, tmp_path):
    check(tmp_path, {name: open_run(finished(name)) for name in ("LD4MRec", "ItemKNN")})


@pytest.mark.slow
def test_exports_of_other_kinds_work_alone(finished, tmp_path):
    wanted = {
        "Pop": ("Pop", {}),
        "DiffRec": ("DiffRec", {}),
        "by_row": ("DiffRec", {"row_norm": True}),
        "noise": ("DiffRec", {"target": "eps"}),
        "matrix": ("LD4MRec", {"pg_transform": "matrix", "infer_step": "zero"}),
        "lowrank": ("LD4MRec", {"pg_transform": "lowrank", "svd_input": "raw"}),
        "blind": ("LD4MRec", {"is_multimodal_model": False, "signal_scale": "column"}),
        "no_cg": ("LD4MRec", {"ablation": "no_cg", "item_block": "none"}),
    }
    runs = {name: open_run(finished(model, **keys)) for name, (model, keys) in wanted.items()}
    check(tmp_path, runs)


@pytest.fixture
def exported(finished, tmp_path):
    trained = open_run(finished("EASE"))
    return trained, tmp_path / "served", write_export(trained, tmp_path / "served", "train")


def test_the_manifest_tells_what_is_there(exported):
    trained, folder, manifest = exported
    assert manifest == json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert set(manifest["files"]) == {path.name for path in folder.iterdir()} - {"manifest.json"}
    for name, file in manifest["files"].items():
        assert file["sha256"] == sha256(folder / name)
        assert file["bytes"] == (folder / name).stat().st_size
    assert manifest["run"] == trained.run.folder.id
    assert manifest["data"] == trained.run.folder.identity["data"]
    assert manifest["versions"]["torch"] == torch.__version__


def test_histories_known_items_and_ids_are_the_runs(exported):
    trained, folder, _ = exported
    for name in ("histories.npz", "known.npz"):
        assert (sp.load_npz(folder / name) != trained.train).nnz == 0
    for ids in (trained.users, trained.items):
        table = pd.read_csv(folder / f"{ids.kind}s.csv", dtype=str, keep_default_na=False)
        assert table["number"].tolist() == [str(number) for number in range(ids.n)]
        assert table["id"].tolist() == ids.all().tolist()


def test_a_folder_that_is_there_is_left_alone(exported):
    trained, folder, _ = exported
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    with pytest.raises(DataError, match="served is there already; name another folder or remove"):
        write_export(trained, folder, "all")
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_an_interrupted_export_leaves_nothing(finished, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "write_json", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_export(open_run(finished("Pop")), tmp_path / "a" / "served", "all")
    assert list((tmp_path / "a").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(finished, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/served cannot be written"):
        write_export(open_run(finished("Pop")), tmp_path / "file" / "served", "all")


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "served").mkdir()
    with staged(tmp_path / "served") as new:
        (new / "x").touch()
    assert [path.name for path in (tmp_path / "served").iterdir()] == ["x"]


def test_what_cannot_be_exported_is_refused(finished):
    noisy = open_run(finished("LD4MRec", inference_steps=2))
    with pytest.raises(RunError, match="the run has inference_steps = 2, which draws noise"):
        export_parts(noisy)
    noisy = open_run(finished("DiffRec", sampling_steps=2))
    with pytest.raises(RunError, match="the run has sampling_steps = 2, which draws noise"):
        export_parts(noisy)
    other = dataclasses.replace(open_run(finished("Pop")), model=torch.nn.Identity())
    wanted = "Pop cannot be exported: it has no method export_parts; --export works with BM3, BPR, "
    with pytest.raises(RunError, match=wanted):
        export_parts(other)
