"""Rows of a table and the gradient that goes back to them."""

import torch
import torch.nn.functional as F

from common.rows import take


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
