"""The benchmark of the baselines on a small world: each model has its figures."""

import sys

import pytest

import support

sys.path.insert(0, str(support.ROOT / "benchmarks"))

import baselines

from utils import plugins

SMALL = {
    "DiffMM": {"dims": [16]},
    "DiffRec": {"dims": [[16]]},
    "MMSSL": {"m_topk_rate": 0.1},
}
MODELS = [name for name in plugins.model_names() if name not in baselines.ELSEWHERE]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_measured_beside_its_bare_cost(name, blocks):
    keys = {"data_path": f"{blocks.parent}/", "topk": [5, 20], "threads": 1, "train_batch_size": 32}
    found = baselines.measure(name, "blocks", keys | SMALL.get(name, {}), clock="cpu", batches=3)
    assert found["model"] == name
    assert found["evaluation"] > 0
    assert found["bare_evaluation"] > 0
    assert found["start"] > 0
    assert found["peak"] > 0
    if "epoch" in found:  # the others are not trained
        assert found["epoch"] > 0
        assert found["batches"] > 0
    else:
        assert name in ("EASE", "ItemKNN", "Pop")
