import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ld4mrec.evaluation import metrics
from slow_reference import slow_metric

# user 0: one relevant item, at rank 2; user 1: two, at ranks 1 and 3
HITS = np.array([[0, 1, 0], [1, 0, 1]], dtype=bool)
RELEVANT = np.array([1, 2])


def test_recall_by_hand():
    assert metrics.recall(HITS, RELEVANT).tolist() == [[0, 1, 1], [1 / 2, 1 / 2, 1]]


def test_precision_by_hand():
    np.testing.assert_allclose(
        metrics.precision(HITS, RELEVANT), [[0, 1 / 2, 1 / 3], [1, 1 / 2, 2 / 3]]
    )


def test_ndcg_by_hand():
    second = 1 / np.log2(3)
    expected = [
        [0, second, second],  # one relevant item: the ideal is 1 at every cut-off
        [
            1,
            1 / (1 + second),
            (1 + 1 / 2) / (1 + second),
        ],  # two: the ideal fills at most two places
    ]
    np.testing.assert_allclose(metrics.ndcg(HITS, RELEVANT), expected)


def test_average_precision_by_hand():
    expected = [[0, 1 / 2, 1 / 2], [1, 1 / 2, (1 + 2 / 3) / 2]]
    np.testing.assert_allclose(metrics.average_precision(HITS, RELEVANT), expected)


@st.composite
def tables(draw):
    n, k = draw(st.integers(1, 5)), draw(st.integers(1, 8))
    hits = [draw(st.lists(st.booleans(), min_size=k, max_size=k)) for _ in range(n)]
    relevant = [max(1, sum(row)) + draw(st.integers(0, 3)) for row in hits]
    return np.array(hits), np.array(relevant)


@pytest.mark.parametrize("name", metrics.PER_USER)
@given(table=tables())
def test_equals_the_slow_reference(name, table):
    hits, relevant = table
    fast = metrics.PER_USER[name](hits, relevant)
    expected = [
        [slow_metric(name, row, p, k + 1) for k in range(hits.shape[1])]
        for row, p in zip(hits.tolist(), relevant.tolist(), strict=True)
    ]
    np.testing.assert_allclose(fast, expected)
    assert (fast >= 0).all()
    assert (fast <= 1 + 1e-12).all()
