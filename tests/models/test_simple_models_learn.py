"""On a world of four kinds of users and items, each model finds the items of the user's kind."""

import json

import pytest

from ld4mrec.search.train import run

CHANCE = 5 / 35  # recall@5 of a random ranking: 40 items less 5 for training
TRAINED = {"epochs": 25, "learning_rate": 0.01, "train_batch_size": 64, "stopping_step": 25}
SHORT = TRAINED | {"epochs": 10}
OPTIONS = {
    "EASE": {},
    "ItemKNN": {},
    "BPR": TRAINED | {"reg_weight": 1e-4},
    "LightGCN": TRAINED,
    "SimGCL": TRAINED | {"cl_weight": 0.1},
    "VBPR": TRAINED | {"reg_weight": 1e-3},
    # untrained, these five reach 0.13 to 0.47: item graphs alone find some
    "BM3": SHORT,
    "FREEDOM": SHORT,
    "LATTICE": SHORT,
    "MGCN": SHORT,
    "SLMRec": SHORT,
}


@pytest.mark.parametrize("name", OPTIONS)
def test_it_learns(name, blocks, tmp_path):
    common = {"runs_dir": str(tmp_path / "runs"), "cache_dir": None, "valid_metric": "recall@5"}
    paths = {"data_path": f"{blocks.parent}/", "topk": [5]}
    (ended,) = run(name, blocks.name, common | paths | OPTIONS[name])
    assert ended.result["test"]["recall@5"] > 5 * CHANCE
    lines = (ended.folder.path / "metrics.jsonl").read_text().splitlines()
    losses = [sum(json.loads(line)["loss"]) for line in lines]
    assert losses[-1] < losses[0] or not OPTIONS[name]  # propagation alone may find the items
