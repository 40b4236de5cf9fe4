"""The line that says what a run used."""

import logging

import numpy as np
import pytest
import torch

from ld4mrec.data.interactions import RecDataset
from ld4mrec.runs.opening import open_model
from ld4mrec.runs.used import data_used, features_used, machine_used, used
from ld4mrec.search.train import run
from support import config_for


def test_the_line_has_data_features_model_device_and_seed(toy):
    config = config_for(toy, "VBPR", embedding_size=4, seed=7)
    splits = RecDataset(config).split()
    model = open_model(config, splits).model
    parameters = sum(p.numel() for p in model.parameters())
    assert used(config, splits, model) == (
        "toy of 5 users, 7 items, 18 interactions (train 11, validation 3, test 4), density "
        f"51.4286%; features: text (7 x 5), image (7 x 6); VBPR with {parameters:,} parameters on "
        "cpu, 1 thread, seed 7"
    )


def test_parameters_that_are_not_trained_are_told_apart(toy):
    config = config_for(toy, "VBPR", embedding_size=4, seed=7)
    splits = RecDataset(config).split()
    model = open_model(config, splits).model
    size = sum(p.numel() for p in model.parameters())
    frozen = next(model.parameters()).requires_grad_(False).numel()
    wanted = f"VBPR with {size:,} parameters, {size - frozen:,} of them trained, on cpu, 1 thread"
    assert wanted in used(config, splits, model)


def test_features_that_are_not_found_are_said(toy):
    config = config_for(toy, "LD4MRec")
    assert features_used(config) == "text (7 x 5), image (7 x 6)"
    (toy / "text_feat.npy").rename(toy / "text_features.npy")
    assert features_used(config_for(toy, "LD4MRec")) == "image (7 x 6)"
    (toy / "image_feat.npy").unlink()
    assert features_used(config_for(toy, "LD4MRec")) == (
        "none; the folder holds text_features.npy, toy.inter"
    )
    for name in "abcdefghijk":
        (toy / f"{name}.txt").touch()
    assert features_used(config_for(toy, "LD4MRec")).endswith("g.txt, h.txt and 5 more")


def test_a_model_without_features_says_so(toy):
    assert features_used(config_for(toy, "BPR")) == "none, is_multimodal_model is False"


def test_mmrecs_two_files_are_said_by_their_name(toy):
    np.save(toy / "other.npy", np.ones((7, 2)))
    config = config_for(toy, "VBPR").replace({"vision_feature_file": "other.npy"})
    assert features_used(config) == "text (7 x 5), image (7 x 6), other.npy (7 x 2)"


def test_threads_and_gpu_are_named(toy, monkeypatch):
    config = config_for(toy, threads=3)
    assert machine_used(config) == "cpu, 3 threads"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    assert machine_used(config.replace({"device": torch.device("cuda")})) == "a GPU, 3 threads"


def test_cold_users_are_not_counted(toy):
    with open(toy / "toy.inter", "a") as file:
        file.write("5\t0\t2\n")
    splits = RecDataset(config_for(toy)).split()
    assert data_used("toy", splits).startswith("toy of 6 users, 7 items, 18 interactions")


@pytest.mark.parametrize("model", ["Pop", "BPR"])
def test_each_run_says_it_once_on_the_terminal_and_in_its_log(model, toy, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    keys = {"data_path": f"{toy.parent}/", "runs_dir": str(tmp_path / "runs"), "cache_dir": None}
    keys |= {"topk": [5], "valid_metric": "Recall@5", "epochs": 1, "threads": 1}
    (ended,) = run(model, "toy", keys)
    (line,) = [text for text in caplog.messages if text.startswith("toy of 5 users, 7 items")]
    assert line in (ended.folder.path / "log.txt").read_text()
