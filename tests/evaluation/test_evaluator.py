import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ld4mrec.data.batches import EvalDataLoader
from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import RunError
from ld4mrec.evaluation.evaluator import TopKEvaluator
from slow_reference import slow_metrics
from support import TEST, TRAIN, VALID, config_for, write_inter

METRICS = ["Recall", "NDCG", "Precision", "MAP", "Recall2"]


class Fixed(nn.Module):
    """Scores from a table (U, I)."""

    def __init__(self, table):
        super().__init__()
        self.table = torch.as_tensor(table)

    def full_sort_predict(self, interaction):
        return self.table[interaction[0]].clone()


def evaluate(folder, table, which=2, batch_size=2, topk=(1, 2, 5), **overrides):
    config = config_for(folder, metrics=METRICS, topk=list(topk), **overrides)
    train, *parts = RecDataset(config).split()
    loader = EvalDataLoader(config, parts[which - 1], train, batch_size)
    return TopKEvaluator(config).evaluate(Fixed(table), loader)


def test_by_hand(toy):
    table = np.zeros((5, 7))
    table[0, 4] = 2  # hit at rank 1
    table[0, 0] = 9  # in train: masked
    table[1, [4, 2]] = 3, 2  # hit at rank 2
    table[3, [0, 1, 3, 4, 6]] = 5, 4, 3, 2, 1  # hit at rank 5
    table[4, [1, 2, 3, 4, 6]] = 1  # item 0 is behind them
    found = evaluate(toy, table)
    assert found.users.tolist() == [0, 1, 3, 4]
    assert found.items[0, 0] == 4
    assert found.items[2].tolist() == [0, 1, 3, 4, 6]
    assert found.metrics["recall@1"] == 1 / 4
    assert found.metrics["recall@2"] == 2 / 4
    assert (
        found.metrics["recall2@5"] == found.metrics["recall@5"] == 3 / 4
    )  # one relevant item each
    assert found.metrics["ndcg@5"] == pytest.approx((1 + 1 / np.log2(3) + 1 / np.log2(6)) / 4)
    assert found.per_user["precision@2"].tolist() == [1 / 2, 1 / 2, 0, 0]
    assert list(found.metrics)[:4] == ["recall@1", "recall@2", "recall@5", "ndcg@1"]
    assert "recall2@5" not in found.per_user


@given(seed=st.integers(0, 2**16), batch_size=st.integers(1, 6), which=st.sampled_from([1, 2]))
def test_equals_the_slow_reference_at_every_batch_size(toy, seed, batch_size, which):
    table = np.random.default_rng(seed).permutation(35).reshape(5, 7).astype(np.float64)
    truth = [None, VALID, TEST][which]
    found = evaluate(toy, table, which, batch_size)
    expected = slow_metrics(table, TRAIN, truth, METRICS, (1, 2, 5))
    assert found.metrics == pytest.approx(expected, abs=1e-12)


def test_half_precision_scores_are_masked_too(toy):
    table = torch.zeros(5, 7, dtype=torch.float16)
    table[0, 0] = 60000
    assert 0 not in evaluate(toy, table).items[0, :4]


def test_scores_of_another_shape_are_refused(toy):
    with pytest.raises(
        RunError, match=r"full_sort_predict returned shape \(2, 6\); wanted .* \(2, 7\)"
    ):
        evaluate(toy, np.zeros((5, 6)))


def test_nan_scores_are_refused(toy):
    table = np.zeros((5, 7))
    table[1, 5] = np.nan
    with pytest.raises(RunError, match="Fixed scores are NaN"):
        evaluate(toy, table)


def test_expanded_scores_are_masked_user_by_user(toy, monkeypatch):
    """One row for all users: a write for one of them must not reach the others."""
    row = torch.arange(7.0)
    monkeypatch.setattr(
        Fixed, "full_sort_predict", lambda model, batch: row.expand(len(batch[0]), -1)
    )
    found = evaluate(toy, np.zeros((5, 7)), batch_size=4)
    assert row.equal(torch.arange(7.0))
    own = {user: {i for u, i in TRAIN if u == user} for user in found.users.tolist()}
    for user, ranked in zip(found.users.tolist(), found.items.tolist(), strict=True):
        wanted = [item for item in range(6, -1, -1) if item not in own[user]]
        assert ranked[: len(wanted)] == wanted[:5]


def test_a_repeated_relevant_item_counts_once(tmp_path):
    """Each test row twice: every metric stays as it was."""
    rows = [(u, i, 0) for u, i in TRAIN] + [(u, i, 1) for u, i in VALID]
    test = [(u, i, 2) for u, i in TEST]
    table = np.random.default_rng(3).random((5, 7))
    write_inter(tmp_path / "once", [*rows, *test])
    write_inter(tmp_path / "twice", [*rows, *test, *test])
    once, twice = (evaluate(tmp_path / name, table) for name in ("once", "twice"))
    assert twice.metrics == once.metrics


def test_a_masked_item_is_never_a_hit(tmp_path):
    """User 0 has all items but one in train, and an item of them in test as well."""
    rows = [(0, i, 0) for i in range(4)] + [(0, 4, 1), (0, 3, 2), (1, 0, 0), (1, 1, 1), (1, 2, 2)]
    write_inter(tmp_path / "d", rows)
    table = np.zeros((2, 5))
    table[1, 2] = 1
    found = evaluate(tmp_path / "d", table)  # a list of 5 reaches the masked items
    assert found.per_user["recall@5"].tolist() == [0, 1]
    assert found.metrics["recall2@5"] == 1 / 2


def test_lists_end_where_candidates_end(tmp_path):
    rows = [(0, item, 0) for item in range(5)] + [(0, 4, 0), (0, 5, 1), (0, 6, 2)]  # 4 twice
    rows += [(1, 0, 0), (1, 1, 1), (1, 2, 2)]
    folder = tmp_path / "d"
    write_inter(folder, rows)
    found = evaluate(folder, np.tile(np.arange(7.0, 0, -1), (2, 1)), topk=[1, 5])
    assert found.items.tolist() == [[5, 6, -1, -1, -1], [1, 2, 3, 4, 5]]
    assert found.per_user["recall@5"].tolist() == [1, 1]
