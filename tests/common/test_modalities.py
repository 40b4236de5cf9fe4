import pytest
import torch
from torch import nn

from common.modalities import FeatureTables, take_features
from ld4mrec.errors import DataError


class Model(nn.Module):
    def __init__(self, **features):
        super().__init__()
        self.features, self.v_feat, self.t_feat = features, features.get("image"), None


def test_the_model_gives_its_features_away():
    model, x = Model(image=torch.ones(3, 2)), torch.ones(3, 2)
    assert torch.equal(take_features(model)["image"], x)
    assert (model.features, model.v_feat, model.t_feat) == ({}, None, None)


def test_no_features_at_all():
    with pytest.raises(DataError, match="Model wants item features of at least one modality, got"):
        take_features(Model())


def test_rows_are_rows_of_the_whole():
    x = {"image": torch.rand(5, 3), "audio": torch.rand(5, 2)}
    tables = FeatureTables(x, 4)
    items = torch.tensor([4, 1, 1])
    for whole, rows in zip(tables(), tables.rows(items), strict=True):
        assert whole.shape == (5, 4)
        torch.testing.assert_close(rows, whole[items])


def test_tables_are_trained_copies():
    x = {"image": torch.rand(5, 3)}
    before = x["image"].clone()
    tables = FeatureTables(x, 4)
    sum(y.square().sum() for y in tables.rows(torch.tensor([2]))).backward()
    (table,) = tables.tables
    assert (table.grad[2] != 0).any()
    assert (table.grad[[0, 1, 3, 4]] == 0).all()
    with torch.no_grad():
        table.zero_()
    assert torch.equal(x["image"], before)
