"""On a world of four kinds of users and items, each model finds the items of the user's kind."""

import pytest

from utils.runs import run

CHANCE = 5 / 35  # recall@5 of a random ranking: 40 items less 5 for training
TRAINED = {"epochs": 25, "learning_rate": 0.01, "train_batch_size": 64, "stopping_step": 25}
OPTIONS = {
    "EASE": {},
    "ItemKNN": {},
    "BPR": TRAINED | {"reg_weight": 1e-4},
    "LightGCN": TRAINED,
    "SimGCL": TRAINED | {"cl_weight": 0.1},
    "VBPR": TRAINED | {"reg_weight": 1e-3},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_it_learns(name, blocks, tmp_path):
    common = {"runs_dir": str(tmp_path / "runs"), "cache_dir": None, "valid_metric": "recall@5"}
    paths = {"data_path": f"{blocks.parent}/", "topk": [5]}
    (one,) = run(name, blocks.name, common | paths | OPTIONS[name])
    assert one.result["test"]["recall@5"] > 5 * CHANCE
