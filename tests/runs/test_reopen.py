"""Opening a finished run: the model of the best epoch, ready to score."""

import pytest
import torch

from ld4mrec.errors import RunError
from ld4mrec.evaluation.evaluator import TopKEvaluator
from ld4mrec.runs.reopen import load
from ld4mrec.search.train import run

SMALL = {"embedding_size": 8, "hidden_size": 8, "svd_rank": 4, "pg_hidden": 4, "epochs": 4}


@pytest.fixture
def finished(blocks, tmp_path):
    paths = {"data_path": f"{blocks.parent}/", "runs_dir": str(tmp_path / "runs")}
    keys = SMALL | paths | {"cache_dir": None, "topk": [5, 20], "learning_rate": 0.05}
    return run("LD4MRec", blocks.name, keys)[0]


def test_it_scores_as_it_did(finished):
    model, _, valid, test = load(finished)
    assert not model.training
    evaluator = TopKEvaluator(finished.config)
    for split, name in ((valid, "valid"), (test, "test")):
        assert evaluator.evaluate(model, split).metrics == finished.result[name]


def test_the_training_loader_comes_with_it(finished):
    train = load(finished).train
    assert torch.cat(list(train)).unique().numel() == train.n_users


def test_a_run_without_weights_is_refused(finished):
    (finished.folder.path / "best.pt").unlink()
    with pytest.raises(RunError, match=r"has no finished run with best.pt; train it first"):
        load(finished)
