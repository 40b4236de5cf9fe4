"""Users drawn uniformly, with items they have and items they have not."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.graph import HistoryRows, binary_csr
from common.user_sampler import UserSampler
from ld4mrec.errors import DataError
from toy_world import matrix


def sampler(pairs, n_users, n_items):
    history = HistoryRows(binary_csr(matrix(pairs, n_users, n_items)))
    return UserSampler(history)


worlds = st.sets(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=25)


@settings(max_examples=50)
@given(worlds, st.integers(2, 12))
def test_samples_are_positives_and_negatives_of_distinct_users(pairs, n):
    n_items = 6  # nobody has item 5
    users, positives, negatives = sampler(sorted(pairs), 6, n_items)(n)
    drawn = users.tolist()
    assert len(drawn) == n
    assert pairs.issuperset(zip(drawn, positives.tolist(), strict=True))
    assert not pairs.intersection(zip(drawn, negatives.tolist(), strict=True))
    assert 0 <= negatives.min() <= negatives.max() < n_items
    n_active = len({u for u, _ in pairs})
    assert len(set(drawn)) == n or n > n_active


def test_samples_are_uniform():
    torch.manual_seed(0)
    draw = sampler([(0, 1), (0, 3), (0, 4), (1, 0), (3, 2)], 4, 7)
    counts = torch.zeros(3, 7), torch.zeros(3, 7)
    of_user = torch.zeros(4)
    for _ in range(400):
        users, positives, negatives = draw(2)
        of_user[users] += 1
        mine = users == 0
        counts[0][0, positives[mine]] += 1
        counts[1][0, negatives[mine]] += 1
    assert of_user[2] == 0  # has no item
    assert (of_user[[0, 1, 3]] / 800 - 1 / 3).abs().max() < 0.05  # not 3/5, its share of pairs
    positive, negative = (c[0] / c[0].sum() for c in counts)
    assert (positive[[1, 3, 4]] - 1 / 3).abs().max() < 0.08
    assert (negative[[0, 2, 5, 6]] - 1 / 4).abs().max() < 0.08  # item 6, never trained, too


def test_refuses_a_user_with_all_items():
    with pytest.raises(DataError, match="user 1 has all 3 items, so no negative item can be drawn"):
        sampler([(0, 1), (1, 0), (1, 1), (1, 2)], 2, 3)
