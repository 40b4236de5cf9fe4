"""The sentence on a model's speed."""

import re

import pytest

import support
from ld4mrec.plugins.check import speed
from ld4mrec.plugins.sources import find_model

BROKEN = """
from common.abstract_recommender import GeneralRecommender
class Broken(GeneralRecommender):
    def __init__(self, config, dataloader):
        raise KeyError("no such column")
"""


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """measured(model, plugin): the sentence on a small world in place of the large one."""

    def small(folder, name):
        support.write_block_world(folder, name)
        return "a small world"

    monkeypatch.setattr(speed, "write_large_data", small)
    keys = {"threads": 1, "train_batch_size": 7, "epochs": 2}  # of the check's own small batches

    def sentence(model, plugin=None):
        return speed.measure_speed(find_model(model, plugin), keys, tmp_path / "speed")

    return sentence


def test_the_sentence(measured):
    found = re.fullmatch(
        r"(\d+\.\d{3}) s a step of ([\d,]+) rows, (\d+) steps? an epoch, ([\d,]+) MiB at most, on "
        "a small world",
        measured("BPR"),
    )
    assert float(found[1]) < 5
    assert int(found[3]) == 1  # the model's own batches, larger than the world
    assert 0 < int(found[2]) <= 400
    assert int(found[4].replace(",", "")) > 50


def test_nothing_to_time(measured):
    assert measured("Pop") == ""


def test_a_model_that_does_not_run_there(measured, tmp_path):
    file = tmp_path / "broken.py"
    file.write_text(BROKEN)
    wanted = "not measured on a small world: KeyError: 'no such column'"
    assert measured("Broken", file) == wanted
