"""The largest values of wide rows against a stable sort of each row."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.largest import GROUPS, largest

WIDE = 8 * GROUPS  # from here on rows are not handed to topk


def by_sorting(values, k):
    """By value, of equal ones the lowest column first."""
    top, place = values.sort(dim=1, descending=True, stable=True)
    return top[:, :k], place[:, :k]


@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 5),
    columns=st.sampled_from([1, 7, WIDE - 1, WIDE, WIDE + 1, WIDE + 77, 3 * WIDE]),
    levels=st.sampled_from([1, 2, 5, 1000, None]),  # few levels: many equal values
    k=st.sampled_from([1, 5, 50]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_values_and_columns_are_those_of_a_stable_sort(seed, rows, columns, levels, k, dtype):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, columns, generator=generator, dtype=dtype)
    if levels:
        values = (values * levels / 3).round()
    k = min(k, columns)
    top, place = largest(values, k)
    expected, columns_expected = by_sorting(values, k)
    assert torch.equal(top, expected)
    assert torch.equal(place, columns_expected)


@pytest.mark.parametrize("columns", [40, WIDE + 9])
def test_masked_and_infinite_values_rank_last(columns):
    values = torch.full((2, columns), -torch.inf)
    values[0, [3, 30]] = torch.tensor([1.0, 2.0])
    values[1, 5] = -1e10
    top, place = largest(values, 3)
    assert place.tolist() == [[30, 3, 0], [5, 0, 1]]
    assert top[0].tolist() == [2.0, 1.0, -torch.inf]


@pytest.mark.parametrize("columns", [40, WIDE + 9])
def test_a_nan_is_among_the_first(columns):
    values = torch.rand(3, columns)
    values[1, 17] = torch.nan
    top, _ = largest(values, 5)
    assert np.flatnonzero(torch.isnan(top).any(1)).tolist() == [1]
