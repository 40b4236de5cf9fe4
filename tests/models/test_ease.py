import numpy as np
import pytest
import torch

import golden
import support
from common.item_regression import item_weights
from golden import N_ITEMS
from ld4mrec.errors import ConfigError
from ld4mrec.search.train import run


def slow_weights(x, penalty):
    """Column by column: ridge regression of an item on the others."""
    weights = np.zeros((x.shape[1], x.shape[1]))
    for j in range(x.shape[1]):
        others = np.delete(np.arange(x.shape[1]), j)
        part = x[:, others]
        weights[others, j] = np.linalg.solve(
            part.T @ part + penalty * np.eye(len(others)), part.T @ x[:, j]
        )
    return weights


@pytest.mark.parametrize("penalty", [0.5, 10.0])
def test_scores_are_the_slow_ones(toy, penalty):
    model = golden.build("EASE", toy, reg_weight=penalty)
    x = golden.matrix(support.TRAIN).toarray()
    expected = x @ slow_weights(x, penalty)
    np.testing.assert_allclose(golden.scores(model).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(golden.scores(model, [3, 1]).numpy(), expected[[3, 1]], atol=1e-12)


def test_it_is_the_best_with_a_zero_diagonal(toy):
    x = torch.from_numpy(golden.matrix(support.TRAIN).toarray())
    weights = item_weights(x.T @ x, 2.0)
    assert weights.diagonal().eq(0).all()

    def objective(b):
        return (x - x @ b).square().sum() + 2.0 * b.square().sum()

    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        step = 0.01 * torch.randn(weights.shape, generator=generator, dtype=torch.float64)
        assert objective(weights + step.fill_diagonal_(0)) > objective(weights)


def test_it_has_nothing_to_train_and_its_matrix_is_no_state(toy):
    model = golden.build("EASE", toy)
    assert not list(model.parameters())
    assert not model.state_dict()
    assert model.weights.dtype == torch.float64


def test_users_and_items_without_training_score_zero(toy):
    pairs = [(u, i) for u, i in support.TRAIN if u != 2]
    scores = golden.scores(golden.build("EASE", toy, interactions=golden.matrix(pairs)))
    assert scores[2].eq(0).all()
    assert scores[:, 6].eq(0).all()
    assert scores[0].ne(0).any()


def test_repeated_pairs_count_once(toy):
    once = golden.scores(golden.build("EASE", toy))
    twice = golden.build("EASE", toy, interactions=golden.matrix(support.TRAIN * 2))
    assert golden.scores(twice).equal(once)


def test_too_many_items_are_refused_with_the_memory(toy, tmp_path):
    message = "max_dense_items = 6 items, got 7, which take about 0.0 GB; raise .* or use ItemKNN"
    with pytest.raises(ValueError, match=message):
        golden.build("EASE", toy, max_dense_items=6)
    assert golden.build("EASE", toy, max_dense_items=N_ITEMS)
    many = golden.matrix([(0, 0)], n_items=40_000)
    with pytest.raises(ValueError, match="at most max_dense_items = 30000 items, got 40000, .* GB"):
        golden.build("EASE", toy, interactions=many)
    paths = {"data_path": f"{toy.parent}/", "runs_dir": str(tmp_path / "runs"), "topk": [2]}
    with pytest.raises(ConfigError, match="EASE: .* at most max_dense_items = 6"):
        run("EASE", toy.name, paths | {"valid_metric": "recall@2", "max_dense_items": 6})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reg_weight": 0}, "reg_weight must be a number above 0, got 0"),
        ({"reg_weight": float("inf")}, "reg_weight must be a number above 0, got inf"),
        ({"max_dense_items": 0}, "max_dense_items must be an integer >= 1, got 0"),
    ],
)
def test_refused_options(toy, options, message):
    with pytest.raises(ValueError, match=message):
        golden.build("EASE", toy, **options)
