"""Sparse tensors and their products against dense ones."""

import warnings

import pytest
import scipy.sparse as sp
import torch

from common.sparse import csr_of_pairs, csr_tensor, product, sparse_product

N = 6
ENTRIES = torch.rand(N, N, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
SYMMETRIC = torch.where(ENTRIES + ENTRIES.T > 1, ENTRIES + ENTRIES.T, 0)


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def test_both_builders_give_the_matrix_without_a_warning():
    pairs = torch.tensor([[2, 0, 2, 2], [1, 3, 0, 1]])
    values = torch.tensor([1.0, 2.0, 4.0, 8.0])
    dense = torch.zeros(3, 4)
    dense[2, 1], dense[0, 3], dense[2, 0] = 9, 2, 4  # one place occurs twice
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of_pairs = csr_of_pairs(pairs, values, (3, 4))
        of_scipy = csr_tensor(sp.csr_matrix(dense.numpy()))
    for matrix in (of_pairs, of_scipy):
        assert (matrix.layout, matrix.dtype) == (torch.sparse_csr, torch.float32)
        assert matrix.to_dense().equal(dense)


def test_a_symmetric_product_and_its_gradient():
    x, weight = random(N, 3), random(N, 3)
    dense = SYMMETRIC @ x
    torch.testing.assert_close(sparse_product(SYMMETRIC.to_sparse_csr(), x), dense)
    (got,) = torch.autograd.grad((sparse_product(SYMMETRIC.to_sparse_csr(), x) * weight).sum(), x)
    (expected,) = torch.autograd.grad((dense * weight).sum(), x)
    torch.testing.assert_close(got, expected)


def test_a_product_that_is_not_symmetric_has_the_transposes_gradient():
    matrix = SYMMETRIC * torch.arange(1.0, N + 1, dtype=torch.float64)
    x, weight = random(N, 3), random(N, 3)
    product = sparse_product(matrix.to_sparse_csr(), x, matrix.T.contiguous().to_sparse_csr())
    (got,) = torch.autograd.grad((product * weight).sum(), x)
    (expected,) = torch.autograd.grad(((matrix @ x) * weight).sum(), x)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_product_of_any_matrix_and_any_x(dtype):
    dense = torch.rand(6, 4, dtype=dtype) * (torch.rand(6, 4) < 0.5)
    dense[[0, 5]] = 0  # rows without entries
    x = torch.rand(5, 4, dtype=dtype).T  # (4, 5), not contiguous
    for matrix in (dense, torch.zeros_like(dense)):
        torch.testing.assert_close(product(matrix.to_sparse_csr(), x), matrix @ x)
        torch.testing.assert_close(product(matrix.to_sparse_coo(), x), matrix @ x)
