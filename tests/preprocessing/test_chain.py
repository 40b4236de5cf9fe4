"""From a generated raw download to a trained model, for each data set."""

import numpy as np
import pytest

from ld4mrec.search.train import run

NAMES = ("tmall", "microlens", "hm")
KEYS = {"threads": 1, "topk": [5, 20], "use_gpu": False}


def paths(it, tmp_path):
    return {
        "data_path": f"{it.out.parent}/",
        "runs_dir": f"{tmp_path}/runs/",
        "cache_dir": f"{tmp_path}/cache/",
    }


@pytest.mark.parametrize("name", NAMES)
def test_sample_to_pop(name, download, tmp_path):
    it = download(name)
    assert it.prepare()[0] == 0
    (done,) = run("Pop", name, KEYS | paths(it, tmp_path))
    assert 0 < done.result["test"]["recall@20"] < 1


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_sample_to_ld4mrec_with_the_default_encoders(name, download, tmp_path):
    it = download(name)
    status, _, err = it.prepare(features=True)
    assert status == 0, err
    core = it.steps()["5-core"]
    for modality in ("text", "image"):
        rows = np.load(it.out / f"{modality}_feat.npy", allow_pickle=False)
        assert len(rows) == core["items"]
        assert rows.dtype == np.float32
    keys = KEYS | paths(it, tmp_path)
    (pop,) = run("Pop", name, keys)
    # some hundred users: a batch of the yaml's 400 is all of them, an epoch one step
    few = {"epochs": 60, "stopping_step": 20, "train_batch_size": 64}
    (done,) = run("LD4MRec", name, keys | few)
    assert done.result["test"]["recall@20"] > 1.3 * pop.result["test"]["recall@20"]
