"""Sums over a catalogue, beside the dense rows that they do without."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from common import catalogue

ITEMS, WIDTH = 11, 4
HISTORIES = [[1, 4, 9], [], [0], [], [2, 3, 4, 5, 10], []]

histories = st.lists(
    st.lists(st.integers(0, ITEMS - 1), max_size=6, unique=True).map(sorted), min_size=1, max_size=6
)


def batch(lists):
    """Lists of items as items (N,) and begin (B,)."""
    sizes = np.array([len(mine) for mine in lists], dtype=np.int64)
    items = torch.tensor([i for mine in lists for i in mine], dtype=torch.int64)
    return items, torch.from_numpy(sizes.cumsum() - sizes)


def drawn(*shapes, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def layer(users, seed=0, **options):
    """h (B, d), W (I, d), b (I,) and the scores (B, I) by a loop."""
    h, weights, bias = drawn((users, WIDTH), (ITEMS, WIDTH), (ITEMS,), seed=seed, **options)
    scores = [[row @ weights[i] + bias[i] for i in range(ITEMS)] for row in h]
    return h, weights, bias, torch.stack([torch.stack(row) for row in scores])


def test_gram_and_its_gradient():
    (weights,) = drawn((ITEMS, WIDTH))
    torch.testing.assert_close(catalogue.gram(weights), weights.T @ weights)
    assert gradcheck(catalogue.gram, weights.requires_grad_())
    (first,) = torch.autograd.grad(
        catalogue.gram(weights).square().sum(), weights, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@given(st.integers(1, 6), st.integers(0, 99))
def test_squared_norms_equal_a_loop(users, seed):
    h, weights, bias, scores = layer(users, seed)
    expected = [sum(float(y) ** 2 for y in row) for row in scores]
    found = catalogue.squared_norms(h, weights, bias)
    assert found.tolist() == pytest.approx(expected, rel=1e-10)


def test_squared_norms_have_the_gradient_of_the_scores():
    leaves = [x.requires_grad_() for x in drawn((5, WIDTH), (ITEMS, WIDTH), (ITEMS,))]
    assert gradcheck(catalogue.squared_norms, leaves)
    of_users = torch.arange(1.0, 6)
    h, weights, bias = leaves
    dense = ((h @ weights.T + bias).square().sum(1) * of_users).sum()
    ours = (catalogue.squared_norms(*leaves) * of_users).sum()
    for got, expected in zip(
        torch.autograd.grad(ours, leaves), torch.autograd.grad(dense, leaves), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@given(histories, st.integers(0, 99))
def test_sums_over_single_items_equal_a_loop(lists, seed):
    h, weights, bias, scores = layer(len(lists), seed)
    items, begin = batch(lists)
    assert catalogue.lengths(begin, len(items)).tolist() == [len(mine) for mine in lists]
    sums = catalogue.sums_of_scores(h, weights, bias, items, begin)
    expected = [sum(float(scores[b, i]) for i in mine) for b, mine in enumerate(lists)]
    assert sums.tolist() == pytest.approx(expected, rel=1e-10, abs=1e-10)
    owner = torch.tensor([b for b, mine in enumerate(lists) for _ in mine], dtype=torch.int64)
    pairs = catalogue.pair_scores(h, weights, bias, owner, items)
    expected = [float(scores[b, i]) for b, mine in enumerate(lists) for i in mine]
    assert pairs.tolist() == pytest.approx(expected, rel=1e-10, abs=1e-10)


@given(histories, st.integers(0, 99))
def test_totals_of_users_equal_a_loop(lists, seed):
    items, begin = batch(lists)
    (values,) = drawn((len(items),), seed=seed)
    expected = [sum(part.tolist()) for part in torch.tensor_split(values, begin[1:])]
    assert catalogue.total(values, begin).tolist() == pytest.approx(expected, abs=1e-12)


def test_sums_over_single_items_have_the_gradient_of_the_scores():
    h, weights, bias, _ = layer(len(HISTORIES))
    items, begin = batch(HISTORIES)
    owner = torch.tensor([0, 0, 0, 2, 4, 4, 4, 4, 4])
    leaves = [x.requires_grad_() for x in (h, weights, bias)]
    assert gradcheck(lambda *x: catalogue.sums_of_scores(*x, items, begin), leaves)
    assert gradcheck(lambda *x: catalogue.pair_scores(*x, owner, items), leaves)
    (values,) = drawn((len(items),))
    assert gradcheck(lambda x: catalogue.total(x, begin), values.requires_grad_())


# --- noise on a row of all items


def deficient(kind):
    """Weights whose columns are not independent."""
    (weights,) = drawn((ITEMS, WIDTH))
    if kind == "a repeated column":
        weights[:, 2] = weights[:, 0]
    elif kind == "fewer items than columns":
        weights = weights[:2]
    elif kind == "zero":
        weights = torch.zeros_like(weights)
    elif kind == "tiny":
        weights *= 1e-9
    return weights


KINDS = ["plain", "a repeated column", "fewer items than columns", "zero", "tiny"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_noise_factor_is_a_factor_of_the_gram_matrix(kind, dtype):
    weights = deficient(kind).to(dtype).requires_grad_()
    factor = catalogue.noise_factor(weights)
    square = (weights.T @ weights).detach()
    rounding = WIDTH * torch.finfo(dtype).eps * float(square.diagonal().max()) + 1e-29
    torch.testing.assert_close(
        (factor @ factor.T).detach(), square, rtol=0, atol=4 * WIDTH * rounding
    )
    (gradient,) = torch.autograd.grad(factor.square().sum(), weights)
    assert gradient.isfinite().all()


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 99))
def test_noise_factor_exists_for_any_shape(items, width, seed):
    (weights,) = drawn((items, width), seed=seed, dtype=torch.float32)
    factor = catalogue.noise_factor(weights)
    assert factor.isfinite().all()
    scale = float(weights.square().sum())
    torch.testing.assert_close(factor @ factor.T, weights.T @ weights, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("spread", [0, 1e-6, 1e-4])
def test_noise_factor_exists_for_long_sums_of_columns_nearly_alike(spread):
    """Where rounding of the sums is larger than what the columns differ by."""
    one, own = drawn((100_000, 1), (100_000, 8), dtype=torch.float32)
    weights = one + 3 + spread * own
    factor = catalogue.noise_factor(weights)
    square = weights.T @ weights
    torch.testing.assert_close(factor @ factor.T, square, rtol=1e-4, atol=0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_noise_of_weights_that_are_no_numbers_is_none_either(value):
    """So that the loss says it, as for rows."""
    (weights,) = drawn((ITEMS, WIDTH), dtype=torch.float32)
    weights[3, 2] = value
    assert catalogue.noise_factor(weights).isnan().any()


def test_noise_by_the_factor_is_distributed_as_noise_on_the_row():
    (weights,) = drawn((ITEMS, WIDTH), dtype=torch.float32)
    (z,) = drawn((100_000, WIDTH), seed=1, dtype=torch.float32)
    noise = (z @ catalogue.noise_factor(weights).T).double()
    square = (weights.T @ weights).double()
    error = 5 * (square.diagonal().max() / len(z) ** 0.5).item()
    assert noise.mean(0).abs().max() < 5 * (square.diagonal().max() / len(z)).sqrt()
    torch.testing.assert_close(noise.T @ noise / len(z), square, rtol=0, atol=2 * error)


def test_the_gradient_through_the_factor_is_in_the_mean_that_through_the_rows_noise():
    """Of a quadratic function of the noise: its mean is the sum over unit vectors, exactly."""
    weights, after = drawn((ITEMS, WIDTH), (WIDTH, 3))
    weights.requires_grad_()

    def gradient(noise):
        return torch.autograd.grad((noise @ after).square().sum(), weights)[0]

    by_factor = gradient(torch.eye(WIDTH, dtype=torch.float64) @ catalogue.noise_factor(weights).T)
    by_rows = gradient(torch.eye(ITEMS, dtype=torch.float64) @ weights)
    torch.testing.assert_close(by_factor, by_rows, rtol=1e-10, atol=1e-10)


# --- precision


def test_all_stays_float32_under_autocast():
    """Also of a hidden layer in bfloat16, which autocast makes."""
    items, begin = batch(HISTORIES)
    owner = torch.tensor([0, 0, 0, 2, 4, 4, 4, 4, 4])
    h, weights, bias = drawn((6, 40), (700, 40), (700,), dtype=torch.float32)
    low, after = h.bfloat16(), drawn((40, 40), seed=1, dtype=torch.float32)[0]
    calls = {
        "gram": lambda h, w, b: catalogue.gram(w),
        "noise_factor": lambda h, w, b: catalogue.noise_factor(w),
        "squared_norms": catalogue.squared_norms,
        "sums_of_scores": lambda h, w, b: catalogue.sums_of_scores(h, w, b, items, begin),
        "pair_scores": lambda h, w, b: catalogue.pair_scores(h, w, b, owner, items),
    }
    for name, call in calls.items():
        exact = call(low.double(), weights.double(), bias.double())
        size = float(exact.abs().max())
        for given_h in (low, low.float()):
            leaf = weights.clone().requires_grad_()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert (given_h.float() @ after).dtype == torch.bfloat16
                found = call(given_h, leaf, bias)
            (gradient,) = torch.autograd.grad(found.square().sum(), leaf)
            assert found.dtype == torch.float32, name
            # bfloat16 alone would be 4e-3 off
            torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-5 * size, msg=name)
            double = weights.double().requires_grad_()
            wide = call(low.double(), double, bias.double()).square().sum()
            (expected,) = torch.autograd.grad(wide, double)
            assert (gradient - expected).norm() < 1e-4 * expected.norm(), name
