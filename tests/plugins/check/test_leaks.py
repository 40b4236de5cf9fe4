"""The leak audit: planted leaks are found and named, honest models are not accused."""

import re
import textwrap

import numpy as np
import pytest

import ld4mrec
import support
from ld4mrec.commands import compare, train
from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import ConfigError, RunError
from ld4mrec.plugins.check import leaks
from ld4mrec.plugins.check.leaks import audit_request
from ld4mrec.runs.request import Request

MODEL = '''
import os
import numpy as np
import pandas as pd
import torch
from torch import nn
from common.abstract_recommender import GeneralRecommender
from utils.dataset import RecDataset


class Leaky(GeneralRecommender):
    """What a subclass does not say is plain matrix factorisation."""

    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        self.user = nn.Embedding(self.n_users, 4)
        self.item = nn.Embedding(self.n_items, 4)
        self.folder = os.path.join(config["data_path"] + config["dataset"])
        self.extra = 0.0
        self.bonus = None
        self.look(config, dataloader)

    def look(self, config, dataloader):
        pass

    def calculate_loss(self, batch):
        u, p, n = self.user(batch[0]), self.item(batch[1]), self.item(batch[2])
        return nn.functional.softplus((u * (n - p)).sum(1)).mean() * (1 + self.extra)

    def full_sort_predict(self, batch):
        scores = self.user(batch[0]) @ self.item.weight.t()
        return scores if self.bonus is None else scores + self.bonus


class Mine(Leaky):
'''
WHOLE_FILE = """
def look(self, config, dataloader):
    rows = RecDataset(config).df
    self.extra = float((rows["itemID"] * (rows["x_label"] == 2)).sum())
"""
BY_PATH = """
def look(self, config, dataloader):
    rows = pd.read_csv(self.folder + "/blocks.inter", sep="\\t")
    held = rows[rows["x_label"] == 1]["itemID"].to_numpy()
    with torch.no_grad():
        self.item.weight[torch.tensor(held)] += 0.5
"""
ASKED_USERS = """
def full_sort_predict(self, batch):
    self.extra = float(batch[0].double().mean()) / 100
    return super().full_sort_predict(batch)
"""
FEATURE = "pass"
DICTIONARY = """
def look(self, config, dataloader):
    graph = np.load(self.folder + "/user_graph_dict.npy", allow_pickle=True).item()
    self.extra = len(graph[0][0]) / 100
"""
SCORES_ONLY = """
def look(self, config, dataloader):
    _, _, test = RecDataset(config).split()
    items = torch.tensor(test.df["itemID"].tolist())
    self.bonus = torch.bincount(items, minlength=self.n_items)
"""
OTHER_FILE = """
def look(self, config, dataloader):
    self.extra = float(np.load(self.folder + "/test_rows.npy").sum())
"""
HELD = "with the validation and test rows replaced, the first difference is "
PLANTED = {
    "the whole file through the data set": (WHOLE_FILE, f"{HELD}batch 1 of epoch 1: the loss"),
    "the file by its path": (BY_PATH, f"{HELD}before the first batch: item.weight"),
    "whom the loader asks about": (ASKED_USERS, f"{HELD}batch 1 of epoch 2: the loss"),
    "a feature file": (FEATURE, r"text_feat.npy \(feature text\) counts all rows of an item"),
    "a graph dictionary": (DICTIONARY, "user_graph_dict.npy joins 0 and .* share no item in the"),
    "the scores alone": (SCORES_ONLY, "after training: the scores"),
    "another file": (OTHER_FILE, "reads test_rows.npy from the data folder, which is neither"),
}


@pytest.fixture
def world(tmp_path):
    """A data folder with the things in it that a leaky model may read."""
    folder = support.write_block_world(tmp_path / "data")
    np.save(folder / "test_rows.npy", np.arange(5))
    graph = np.empty((), dtype=object)
    graph[()] = {user: [[(user + 1) % 60], [1]] for user in range(60)}  # of other kinds: strangers
    np.save(folder / "user_graph_dict.npy", graph)
    return folder


def asked(tmp_path, folder, body):
    file = tmp_path / "models" / "mine.py"
    file.parent.mkdir()
    file.write_text(MODEL + textwrap.indent(textwrap.dedent(body), "    "))
    (tmp_path / "models" / "Mine.yaml").write_text("is_multimodal_model: False\n")
    keys = {"data_path": f"{folder.parent}/", "train_batch_size": 64, "threads": 1, "seed": 1}
    keys |= {"topk": [1, 2], "valid_metric": "recall@2", "cache_dir": None}
    keys["text_feature_file"] = "text_feat.npy"
    return Request("Mine", folder.name, keys, plugin=str(file))


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_leak_is_found(tmp_path, world, what):
    body, sentence = PLANTED[what]
    if what == "a feature file":
        rows = np.loadtxt(world / "blocks.inter", skiprows=1, dtype=int)
        text = np.load(world / "text_feat.npy")
        text[:, 2] = np.bincount(rows[:, 1], minlength=len(text))
        np.save(world / "text_feat.npy", text)
    found = audit_request(asked(tmp_path, world, body))
    assert len(found) >= 1
    assert any(re.search(sentence, line) for line in found), found


def test_an_honest_plugin_is_not_accused(tmp_path, world):
    said = []
    assert audit_request(asked(tmp_path, world, "pass"), said.append) == []
    assert said[1:] == [
        "training 2 epochs of 6 steps at most, as it is",
        "training 2 epochs of 6 steps at most, the validation and test rows replaced",
        "training 2 epochs of 6 steps at most, the validation and test rows removed",
    ]


def test_a_model_that_never_repeats_is_not_accused_either(tmp_path, world):
    body = (
        "def look(self, config, dataloader):\n    self.extra = float.fromhex(os.urandom(4).hex())"
    )
    with pytest.raises(RunError, match=r"other numbers each time .*batch 1 of epoch 1.*torch, nu"):
        audit_request(asked(tmp_path, world, body))


def test_users_in_columns_are_seen(tmp_path):
    folder = support.write_block_world(tmp_path / "data")
    rows = np.loadtxt(folder / "blocks.inter", skiprows=1, dtype=int)
    marks = np.zeros((40, 60), dtype=np.float32)
    marks[rows[:, 1], rows[:, 0]] = 1
    np.save(folder / "marks.npy", marks)
    splits = RecDataset(support.config_for(folder)).split()
    assert leaks.held_out_in(folder / "marks.npy", splits).startswith("marks the users of valid")
    marks[rows[rows[:, 2] > 0, 1], rows[rows[:, 2] > 0, 0]] = 0
    np.save(folder / "marks.npy", marks)
    assert leaks.held_out_in(folder / "marks.npy", splits) is None
    assert leaks.held_out_in(folder / "text_feat.npy", splits) is None


def test_the_doors(tmp_path, world, capsys):
    request = asked(tmp_path, world, WHOLE_FILE)
    words = [f"--data_path={world.parent}/", "--topk=[1,2]", "--valid_metric=recall@2"]
    words += ["--plugin", request.plugin, "--threads=1"]
    assert train.main(["--audit-leaks", "-m", "Mine", "-d", "blocks", *words]) == 1
    assert "batch 1 of epoch 1: the loss" in capsys.readouterr().out
    assert train.main(["--audit-leaks", "-m", "BPR", "-d", "blocks", *words[:3]]) == 0
    assert "BPR on blocks: no leak found" in capsys.readouterr().out
    words += [f"--runs_dir={tmp_path}/runs", "--epochs=1", "--out", str(tmp_path / "report")]
    words += ["--metrics=recall@2", "--seeds=1", "--audit"]
    assert compare.main(["-d", "blocks", "-m", "Pop,Mine", *words]) == 2
    told = capsys.readouterr()
    assert "Pop: no leak found" in told.out
    assert "1 of 2 rows read what they are tested on: Mine" in told.err
    assert not (tmp_path / "report").exists()
    search = ["--tune", "--search=random", "--trials=2"]  # nothing is searched before the audit
    search += ["--learning_rate={low: 0.001, high: 0.1}"]
    assert compare.main(["-d", "blocks", "-m", "Mine", *words, *search]) == 2
    assert "1 of 1 rows read what they are tested on: Mine" in capsys.readouterr().err
    assert not list((tmp_path / "runs").rglob("result.json"))
    keys = {"topk": [1, 2], "valid_metric": "recall@2", "threads": 1, "epochs": 1}
    keys |= {"runs_dir": f"{tmp_path}/runs", "metrics": "recall@2", "seeds": 1}
    plugin = {"plugins": [request.plugin], "out": tmp_path / "report"}
    with pytest.raises(RunError, match="1 of 2 rows read what they are tested on: Mine"):
        ld4mrec.compare(["Pop", "Mine"], world, audit=True, **plugin, **keys)
    assert not (tmp_path / "report").exists()
    with pytest.raises(ConfigError, match="audit is 'yes', of type str; wanted True or False"):
        ld4mrec.compare(["Pop"], world, audit="yes")
    one = ld4mrec.compare(["Pop"], world, audit=True, out=tmp_path / "report", **keys)
    assert "Pop: no leak found" in capsys.readouterr().out
    assert list(one.accuracy.index) == ["Pop"]
