"""Rows of a table and the gradient that goes back to them."""

import torch
import torch.nn.functional as F

from common.rows import take, unit_rows, where_positive


def test_rows_and_gradients_are_those_of_an_embedding():
    table = torch.rand(6, 3, dtype=torch.float64, requires_grad=True)
    rows = torch.tensor([[4, 0], [4, 5]])  # one of them twice
    weight = torch.rand(2, 2, 3, dtype=torch.float64)
    got, expected = take(table, rows), F.embedding(rows, table)
    assert torch.equal(got, expected)
    (gradient,) = torch.autograd.grad((got * weight).sum(), table)
    (wanted,) = torch.autograd.grad((expected * weight).sum(), table)
    torch.testing.assert_close(gradient, wanted)
    assert not gradient[[1, 2, 3]].any()


def test_unit_rows_keep_zero_rows_and_finite_gradients():
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    unit = unit_rows(rows)
    torch.testing.assert_close(unit, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    unit.sum().backward()
    assert rows.grad.isfinite().all()


def test_a_function_of_what_is_above_zero():
    total = torch.tensor([4.0, 0.0, -1.0], requires_grad=True)
    got = where_positive(total, torch.rsqrt)
    assert got.tolist() == [0.5, 0, 0]
    got.sum().backward()
    assert total.grad.tolist() == [-1 / 16, 0, 0]
