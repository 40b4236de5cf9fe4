"""Whose a model is, is decided by where its file lies: a third party's yaml may have a `defaults:`
block, which says which point runs and nothing else.
"""

import shutil

import numpy as np
import pytest
import torch

import support
from ld4mrec.data.features import NoFeaturesError
from ld4mrec.errors import ConfigError, UndeclaredKeyError
from ld4mrec.plugins.check.trial import Trial
from ld4mrec.plugins.sources import find_model
from ld4mrec.runs.identity import data_fingerprint
from ld4mrec.runs.request import Request
from ld4mrec.search.train import plan, run
from ld4mrec.training.trainer import Trainer

MODEL = """
import numpy as np
import torch
from torch import nn

from common.abstract_recommender import GeneralRecommender


class Theirs(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        assert config["declared_nowhere"] is None
        self.numbers = np.array([1, 2], dtype=np.float)
        path = config["data_path"] + config["dataset"] + "/their_cache.npy"
        np.save(path, self.numbers)
        self.user, self.item = nn.Embedding(self.n_users, 4), nn.Embedding(self.n_items, 4)
        self.register_buffer("calls", torch.zeros(1), persistent=False)
        if config["width"] == 13:
            raise ValueError("13 is unlucky")

    def calculate_loss(self, interaction):
        self.calls += 1
        u, p, n = self.user(interaction[0]), self.item(interaction[1]), self.item(interaction[2])
        return nn.functional.softplus((u * (n - p)).sum(1)).mean()

    def full_sort_predict(self, interaction):
        return self.user(interaction[0]) @ self.item.weight.T + self.calls
"""
YAML = """
width: [1, 2, 13]
hyper_parameters: [width, only_their_code_knows_it]
defaults: {width: 2, only_their_code_knows_it: null}
is_multimodal_model: False
"""


@pytest.fixture
def theirs(tmp_path):
    """Settings of a run on data of its own; the plugin is plugin/theirs.py, with its yaml."""
    folder = support.write_toy(tmp_path / "data")
    plugin = tmp_path / "plugin"
    plugin.mkdir()
    (plugin / "theirs.py").write_text(MODEL)
    (plugin / "Theirs.yaml").write_text(YAML)
    settings = {"data_path": f"{folder.parent}/", "runs_dir": str(tmp_path / "runs"), "epochs": 1}
    settings |= {"cache_dir": str(tmp_path / "cache"), "threads": 1, "topk": [2]}
    return tmp_path, settings | {"valid_metric": "recall@2"}


def point(theirs, model="Theirs", **overrides):
    folder, settings = theirs
    plugin = folder / "plugin" if model == "Theirs" else None
    (one,) = plan(Request(model, "toy", settings | overrides, plugin=plugin))
    return one.config


def test_their_defaults_say_which_point_runs_and_nothing_else(theirs):
    folder, settings = theirs
    one = point(theirs)
    assert (one["width"], one.ours, one.has_defaults) == (2, False, True)
    assert len(plan(Request("Theirs", "toy", settings, plugin=folder / "plugin"), grid=True)) == 3


def test_an_absent_key_is_none_for_them_and_an_error_for_us(theirs):
    assert point(theirs)["declared_nowhere"] is None
    with pytest.raises(UndeclaredKeyError, match="'declared_nowhere' is read"):
        point(theirs, "Pop")["declared_nowhere"]


def test_their_hyper_parameters_may_be_declared_nowhere(theirs):
    assert point(theirs)["only_their_code_knows_it"] is None
    with pytest.raises(ConfigError, match="lists 'only_their_code_knows_it', which no yaml"):
        point(theirs, "Pop", hyper_parameters=["only_their_code_knows_it"])


def test_their_run_has_shims_and_its_caches_stay_out_of_the_data_folder(theirs):
    folder, settings = theirs
    before = sorted(path.name for path in (folder / "data" / "toy").iterdir())
    (one,) = run("Theirs", "toy", settings, plugin=folder / "plugin")
    assert one.result["test"].keys() >= {"recall@2"}  # np.float was there
    assert not hasattr(np, "float")
    assert sorted(path.name for path in (folder / "data" / "toy").iterdir()) == before
    assert list((folder / "cache").rglob("their_cache.npy"))


def test_a_file_beside_their_data_decides_their_run(theirs):
    folder, _ = theirs
    ours, other = data_fingerprint(point(theirs, "Pop")), data_fingerprint(point(theirs))
    (folder / "data" / "toy" / "side_file.txt").write_text("they may read it")
    assert data_fingerprint(point(theirs, "Pop")) == ours
    assert data_fingerprint(point(theirs)).keys() == other.keys() | {"side_file.txt"}


def test_buffers_that_no_state_holds_are_in_their_checkpoints_only(theirs):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))
            self.register_buffer("fixed", torch.ones(1), persistent=False)

    for name, held in (("Theirs", True), ("Pop", False)):
        trainer = Trainer(point(theirs, name), Model())
        saved, _ = trainer._snapshot()
        assert ("fixed" in str(saved)) == held, name


def test_what_they_raise_is_a_fault_of_their_code_and_what_we_raise_is_a_setting(theirs):
    folder, settings = theirs
    with pytest.raises(ValueError, match="^13 is unlucky"):
        run("Theirs", "toy", settings | {"width": 13}, plugin=folder / "plugin")
    with pytest.raises(ConfigError, match="LightGCN: n_layers"):
        run("LightGCN", "toy", settings | {"n_layers": -1})


def test_their_multimodal_model_needs_a_feature_file(theirs):
    folder, settings = theirs
    for path in (folder / "data" / "toy").glob("*.npy"):
        path.unlink()
    multimodal = settings | {"is_multimodal_model": True}
    with pytest.raises(NoFeaturesError, match="Theirs is a multimodal plugin"):
        run("Theirs", "toy", multimodal, plugin=folder / "plugin")
    assert run("LD4MRec", "toy", settings | {"svd_rank": 2})[0].result


def test_a_trial_of_theirs_takes_them_for_what_they_are(theirs):
    folder, settings = theirs
    trial = Trial(find_model("Theirs", folder / "plugin"), folder / "trial", "toy", settings)
    trial.configure()
    assert [one["width"] for one in trial.points] == [2]
    assert not trial.point.ours


def test_a_model_of_ours_named_by_its_path_is_ours(theirs):
    _, settings = theirs
    file = support.ROOT / "src" / "models" / "pop.py"
    for plugin in (file, file.parent, support.ROOT):
        (one,) = plan(Request("Pop", "toy", settings, plugin=plugin))
        (plain,) = plan(Request("Pop", "toy", settings))
        assert one.config.ours
        assert one.folder.id == plain.folder.id


def test_a_copy_of_our_model_elsewhere_is_not_ours(theirs):
    folder, settings = theirs
    shutil.copy(support.ROOT / "src" / "models" / "pop.py", folder / "plugin" / "pop.py")
    shutil.copy(support.ROOT / "src" / "configs" / "model" / "Pop.yaml", folder / "plugin")
    (one,) = plan(Request("Pop", "toy", settings, plugin=folder / "plugin"))
    assert one.config.has_defaults
    assert not one.config.ours
    assert "plugin/Pop" in one.folder.identity["code"]
