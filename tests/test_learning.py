"""LD4MRec learns: on generated data it beats popularity, and true features beat shuffled ones.

Three seeds each, the recall on the test split; minutes, hence slow.
"""

import statistics

import numpy as np
import pytest

from ld4mrec.preprocessing import demo
from ld4mrec.search.train import run

SEEDS = (1, 2, 3)
# five batches make an epoch of this data: at the default rate patience ends before it has learned
RATE = {"learning_rate": 1e-3}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """The demo data, and a copy whose feature rows belong to other items."""
    parent = tmp_path_factory.mktemp("learning")
    for name in ("true", "shuffled"):
        demo.generate(parent / name)
    generator = np.random.default_rng(0)
    for modality in ("text", "image"):
        path = parent / "shuffled" / f"{modality}_feat.npy"
        np.save(path, generator.permutation(np.load(path)))
    return parent


def recalls(worlds, model, data, seeds=SEEDS, **overrides):
    paths = {"data_path": f"{worlds}/", "runs_dir": str(worlds / "runs"), "cache_dir": str(worlds)}
    runs = [run(model, data, paths | overrides | {"seed": seed})[0] for seed in seeds]
    return [run.result["test"]["recall@20"] for run in runs]


def standard_error(values):
    return statistics.stdev(values) / len(values) ** 0.5


@pytest.mark.slow
def test_training_beats_popularity(worlds):
    learned = recalls(worlds, "LD4MRec", "true", **RATE)
    (popular,) = recalls(worlds, "Pop", "true", seeds=SEEDS[:1])
    assert statistics.mean(learned) - 2 * standard_error(learned) > popular


@pytest.mark.slow
def test_true_features_beat_shuffled_ones(worlds):
    true = recalls(worlds, "LD4MRec", "true", **RATE)
    shuffled = recalls(worlds, "LD4MRec", "shuffled", **RATE)
    error = (standard_error(true) ** 2 + standard_error(shuffled) ** 2) ** 0.5
    assert statistics.mean(true) - statistics.mean(shuffled) > 2 * error, (true, shuffled)
