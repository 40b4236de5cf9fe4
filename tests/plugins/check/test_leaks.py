"""The audit of leaks: what it trains on, that ours pass, and that six planted leaks are found."""

import re
import textwrap

import numpy as np
import pandas as pd
import pytest

from ld4mrec.commands import compare, train
from ld4mrec.config.configuration import Config
from ld4mrec.errors import RunError
from ld4mrec.plugins import sources
from ld4mrec.plugins.check import leaks
from ld4mrec.plugins.check.check import check_plugin
from support import write_block_world

KEYS = {"topk": [5], "valid_metric": "recall@5", "train_batch_size": 50}
OURS = ("LD4MRec", "BPR", "MGCN", "EASE", "Pop")
HEAD = """
import os
import numpy as np
import pandas as pd
import torch
from torch import nn
from common.abstract_recommender import GeneralRecommender
from utils.dataset import RecDataset

def all_rows(config):
    folder = config["data_path"] + config["dataset"]
    return pd.read_csv(os.path.join(folder, config["dataset"] + ".inter"), sep="\\t")

class Mine(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.config, self.data = config, dataset.dataset
        self.users, self.items = nn.Embedding(self.n_users, 8), nn.Embedding(self.n_items, 8)
        self.bias = torch.zeros(self.n_items)
        self.begin()
    def begin(self):
        pass
    def score(self, users):
        return self.users(users) @ self.items.weight.T + self.bias
    def taken(self, batch):
        return batch
    def calculate_loss(self, batch):
        batch = self.taken(batch)
        rows = torch.arange(batch.shape[1])
        scores = self.score(batch[0])
        return nn.functional.softplus(scores[rows, batch[2]] - scores[rows, batch[1]]).mean()
    def full_sort_predict(self, interaction):
        return self.score(interaction[0])
"""
POPULARITY = "np.bincount(all_rows(self.config)['itemID'], minlength=self.n_items)"
LEAKS = {
    "reads the data folder": (
        f"""
        def begin(self):
            self.bias = torch.tensor({POPULARITY}).float()
        """,
        "training reads held-out rows: without .*, the losses of batch 1 differ",
    ),
    "opens the data set anew": (
        """
        def begin(self):
            rows = RecDataset(self.config).df
            rows = rows[rows['x_label'] == 2]
            self.items.weight.data[rows['itemID'].to_numpy()[:3]] += 1.0
        """,
        "the weights before training differ",
    ),
    "keeps a file made of all rows": (
        f"""
        def begin(self):
            path = self.config['data_path'] + self.config['dataset'] + '/popularity.npy'
            if not os.path.exists(path):
                np.save(path, {POPULARITY})
            self.bias = torch.from_numpy(np.load(path)).float()
        """,
        "the losses of batch 1 differ",
    ),
    "spares held-out items as negatives": (
        """
        def begin(self):
            rows = all_rows(self.config)
            self.known = set(zip(rows['userID'], rows['itemID']))
        def taken(self, batch):
            pairs = zip(batch[0].tolist(), batch[2].tolist())
            return batch[:, torch.tensor([pair not in self.known for pair in pairs])]
        """,
        r"the losses of batch \d+ differ",
    ),
    "looks after the first epoch": (
        f"""
        def post_epoch_processing(self):
            self.bias = torch.tensor({POPULARITY}).float()
        """,
        "the losses of batch 7 differ",
    ),
    "lifts held-out items in its scores": (
        """
        def full_sort_predict(self, interaction):
            rows, scores = all_rows(self.config), self.score(interaction[0])
            for user, item in rows[rows['x_label'] > 0][['userID', 'itemID']].to_numpy():
                scores[interaction[0] == user, item] += 9.0
            return scores
        """,
        "scoring reads held-out rows: with other .*, the scores differ",
    ),
}


@pytest.fixture
def data(tmp_path):
    write_block_world(tmp_path / "data")
    return {"data_path": f"{tmp_path / 'data'}/"} | KEYS


@pytest.fixture
def plugin(tmp_path):
    """A function that writes a plugin of these lines; its source."""

    def write(body=""):
        file = tmp_path / "models" / "mine.py"
        file.parent.mkdir()
        file.write_text(HEAD + textwrap.indent(textwrap.dedent(body), "    "))
        (file.parent / "Mine.yaml").write_text("is_multimodal_model: False\n")
        return sources.find_model("Mine", file)

    return write


@pytest.mark.parametrize("leak", LEAKS)
def test_planted_leaks_are_found(leak, data, plugin, tmp_path):
    body, wanted = LEAKS[leak]
    found = leaks.audit(plugin(body), "blocks", data, tmp_path / "audit")
    assert re.search(wanted, found), found


def test_the_same_model_without_a_leak_passes(data, plugin, tmp_path):
    assert leaks.audit(plugin(), "blocks", data, tmp_path / "audit") is None


@pytest.mark.parametrize("name", OURS)
def test_ours_pass(name, data, tmp_path):
    keys = data | ({"svd_rank": 8, "embedding_size": 8} if name == "LD4MRec" else {})
    assert leaks.audit(sources.find_model(name), "blocks", keys, tmp_path / "audit") is None


def test_what_no_seed_fixes_cannot_be_audited(data, plugin, tmp_path):
    body = """
        def begin(self):
            self.bias = torch.from_numpy(np.random.default_rng().random(self.n_items)).float()
        """
    with pytest.raises(RunError, match="other numbers for the same data and seed .*cannot be told"):
        leaks.audit(plugin(body), "blocks", data, tmp_path / "audit")


@pytest.mark.parametrize("world", leaks.WORLDS)
def test_worlds_differ_in_held_out_rows_only(world, data, tmp_path):
    config = Config("Pop", "blocks", data).points()[0]
    leaks.write_world(config, world, tmp_path / "made")
    before = pd.read_csv(tmp_path / "data" / "blocks" / "blocks.inter", sep="\t")
    after = pd.read_csv(tmp_path / "made" / "blocks.inter", sep="\t")
    train = [frame[frame["x_label"] == 0].reset_index(drop=True) for frame in (before, after)]
    pd.testing.assert_frame_equal(*train)
    assert after["userID"].max() == before["userID"].max()
    assert after["itemID"].max() == before["itemID"].max()
    assert set(after["x_label"]) == {0, 1, 2}
    assert (tmp_path / "made" / "text_feat.npy").exists()
    held = (after["x_label"] > 0).sum()
    if world == "replaced":
        assert not after.duplicated(["userID", "itemID"]).any()
        changed = (after["itemID"] != before["itemID"])[after["x_label"] > 0]
        assert changed.mean() > 0.7
        for split in (1, 2):
            rows = [frame.loc[frame["x_label"] == split, "itemID"] for frame in (before, after)]
            assert np.array_equal(*map(np.sort, rows))
    elif world == "removed":
        assert 2 <= held <= 4
    else:
        assert after.equals(before)


def test_check_plugin_tells_a_leak_and_the_speed(plugin):
    report = check_plugin(plugin(LEAKS["reads the data folder"][0]), overrides={"epochs": 1})
    assert report.failed == ["leaks"]
    assert "s a step of 2,048 rows, 23 steps an epoch" in report.uses["speed"]


def test_the_command_says_what_it_found(data, plugin, capsys):
    words = [f"--{key}={value}" for key, value in data.items()]
    asked = ["-m", "BPR", "-d", "blocks", "--audit-leaks", *words]
    assert train.main(asked) == 0
    assert "BPR: no leak: losses of 12 batches" in capsys.readouterr().out
    source = plugin(LEAKS["keeps a file made of all rows"][0])
    asked = ["-m", "Mine", "-d", "blocks", "--plugin", str(source.file), "--audit-leaks", *words]
    assert train.main(asked) == 1
    assert (
        "Mine: training reads held-out rows: without validation and test rows"
        in capsys.readouterr().out
    )
    assert train.main([*asked, "--grid"]) == 2
    assert "--audit-leaks does without --grid; leave it out" in capsys.readouterr().err


def test_a_comparison_stops_at_a_leak(data, plugin, tmp_path, capsys):
    source = plugin(LEAKS["opens the data set anew"][0])
    words = [f"--{key}={value}" for key, value in data.items() if key != "valid_metric"]
    words += ["--valid_metric=recall@5", f"--runs_dir={tmp_path / 'runs'}", "--metrics", "recall@5"]
    asked = ["-d", "blocks", "-m", "Pop,Mine", "--plugin", str(source.file), "--audit", *words]
    assert compare.main(asked) == 2
    printed = capsys.readouterr()
    assert "Pop: no leak" in printed.out
    assert "the training of Mine reads held-out rows" in printed.err
    assert not (tmp_path / "runs").exists()
