"""DiffRec's network and its reverse chain, against the sheet's tables and a plain reading of it."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from common.denoiser import (
    Denoiser,
    ReverseChain,
    dropped_out,
    p_sample,
    posterior,
    reverse_steps,
    time_code,
)
from common.diffusion import GaussianDiffusion
from common.graph import HistoryRows

N_USERS, N_ITEMS = 9, 30


def make(steps=5, dims=(12,), seed=0, **options):
    torch.manual_seed(seed)
    net = Denoiser(N_ITEMS, steps, list(dims), 6, **options)
    with torch.no_grad():
        for parameter in net.parameters():  # large enough to leave tanh's linear part
            parameter.copy_(torch.randn(parameter.shape) * 0.4)
    return net.eval()


@pytest.fixture
def history():
    generator = np.random.default_rng(0)
    rows = generator.random((N_USERS, N_ITEMS)) < 0.2
    rows[3] = False  # a user without history
    return HistoryRows(sp.csr_matrix(rows, dtype=float))


@given(st.integers(0, 200), st.integers(2, 13))
def test_time_code_by_its_formula(t, size):
    half = size // 2
    angles = [t * 10000 ** (-k / half) for k in range(half)]
    expected = [math.cos(a) for a in angles] + [math.sin(a) for a in angles] + [0] * (size % 2)
    assert time_code(torch.tensor([t]), size)[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_time_code_of_the_first_step_and_of_an_odd_size():
    assert time_code(torch.arange(1), 10).tolist() == [[1] * 5 + [0] * 5]
    odd = time_code(torch.arange(7), 11)
    assert odd.shape == (7, 11)
    assert (odd[:, 10] == 0).all()
    assert (odd[1:, :10] != 0).all()
    assert odd[1, 5].item() == pytest.approx(math.sin(1))  # frequencies run from 1 ...
    assert odd[1, 9].item() == pytest.approx(math.sin(10000 ** (-4 / 5)))  # ... down to this


@pytest.mark.parametrize("size", [0, 1, 2.0])
def test_time_code_needs_two_columns(size):
    with pytest.raises(ValueError, match=f"time_size must be an integer >= 2, got {size}"):
        time_code(torch.arange(3), size)


def joined(net, x, t):
    """The network with one matrix over [x, e_t], layer by layer."""
    code = net.codes[t]
    e = code @ net.time_map.weight.T + net.time_map.bias
    weight = torch.cat([net.item_in.T, net.time_in.weight], 1)  # (D, I + E)
    h = torch.tanh(torch.cat([x, e], 1) @ weight.T + net.time_in.bias)
    for layer in net.layers:
        h = torch.tanh(h @ layer.weight.T + layer.bias)
    return h @ net.out.weight.T + net.out.bias


@pytest.mark.parametrize("dims", [[12], [8, 20], [4, 8, 12]])
def test_network_equals_one_with_joined_inputs(dims):
    net = make(dims=dims)
    x, t = torch.randn(7, N_ITEMS), torch.tensor([0, 4, 2, 2, 1, 3, 0])
    torch.testing.assert_close(net(x, t), joined(net, x, t))
    torch.testing.assert_close(net(x, 3), joined(net, x, torch.full((7,), 3)))


def test_widths_mirror():
    net = make(dims=[8, 20])
    assert [tuple(layer.weight.shape) for layer in net.layers] == [(8, 20), (20, 8)]
    assert net.item_in.shape == (N_ITEMS, 20)
    assert net.out.weight.shape == (N_ITEMS, 20)
    assert sum(p.numel() for p in net.parameters()) == (
        (6 * 6 + 6) + (N_ITEMS + 6) * 20 + 20 + 20 * 8 + 8 + 8 * 20 + 20 + 20 * N_ITEMS + N_ITEMS
    )


def test_initial_spreads():
    torch.manual_seed(0)
    n_items, width, size = 300, 400, 100
    net = Denoiser(n_items, 5, [width], size)
    first = math.sqrt(2 / (n_items + size + width))  # of both parts of the first layer
    assert net.item_in.std().item() == pytest.approx(first, rel=0.02)
    assert net.time_in.weight.std().item() == pytest.approx(first, rel=0.02)
    assert net.out.weight.std().item() == pytest.approx(math.sqrt(2 / (n_items + width)), rel=0.02)
    assert net.time_map.weight.std().item() == pytest.approx(math.sqrt(1 / size), rel=0.02)
    for layer in (net.time_in, net.out):
        assert layer.bias.std().item() == pytest.approx(0.001, rel=0.15)


def test_dropout_is_on_the_input_in_training_only():
    net = make(dims=[N_ITEMS], dropout=0.5)
    x = torch.ones(400, N_ITEMS)
    assert torch.equal(net(x, 1), net(x, 1))
    net.train()
    seen = {}
    net.hidden = lambda product, t: seen.setdefault("product", product) * 0
    net.item_in.data = torch.eye(N_ITEMS)
    net(x, 1)
    values, counts = seen["product"].unique(return_counts=True)
    assert values.tolist() == [0, 2]
    assert counts[0].item() / x.numel() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_dropped_out_keeps_the_mean_and_the_gradient(p):
    x = torch.full((300, 300), 3.0, requires_grad=True)
    dropped = dropped_out(x, p)
    assert dropped.detach().unique().tolist() == pytest.approx([0, 3 / (1 - p)])
    assert (dropped == 0).float().mean().item() == pytest.approx(p, abs=0.01)
    dropped.sum().backward()
    torch.testing.assert_close(x.grad, dropped.detach() / 3)


def test_row_norm_scales_rows():
    net, plain = make(row_norm=True), make()
    x = torch.randn(4, N_ITEMS)
    torch.testing.assert_close(net(x, 2), plain(x / x.norm(dim=1, keepdim=True), 2))


# DiffMM's setting (5, 0.1, 1e-4, 0.02) with the first beta 1e-4: c1 and c2
DIFFMM = [1, 0.83267, 0.45447, 0.31257, 0.23823], [0, 0.16733, 0.54553, 0.68743, 0.76177]


def test_posterior_equals_the_sheet():
    c1, c2, _ = posterior(GaussianDiffusion(5, 0.1, 1e-4, 0.02, 1e-4))
    np.testing.assert_allclose(c1, DIFFMM[0], atol=5e-6)
    np.testing.assert_allclose(c2, DIFFMM[1], atol=5e-6)


def test_posterior_by_bayes():
    """q(x_{t-1} | x_t, x_0) is q(x_t | x_{t-1}) q(x_{t-1} | x_0): precisions and means add up."""
    process = GaussianDiffusion(6, 0.5, 0.1)
    c1, c2, logvar = (x.tolist() for x in posterior(process))
    beta, kept = process.beta.tolist(), process.alpha_bar.tolist()
    for t in range(1, 6):
        precision = (1 - beta[t]) / beta[t] + 1 / (1 - kept[t - 1])
        assert math.exp(logvar[t]) == pytest.approx(1 / precision)
        assert c1[t] == pytest.approx(math.sqrt(kept[t - 1]) / (1 - kept[t - 1]) / precision)
        assert c2[t] == pytest.approx(math.sqrt(1 - beta[t]) / beta[t] / precision)
    assert (c1[0], c2[0]) == (pytest.approx(1), 0)
    assert logvar[0] == logvar[1]


def test_without_noise_each_step_is_the_prediction():
    process = GaussianDiffusion(4, 0, 0.1)
    assert reverse_steps(process) == [(0, 1)] * 4
    net, x = make(steps=4), torch.rand(3, N_ITEMS)
    expected = net(net(net(net(x, 3), 2), 1), 0)
    torch.testing.assert_close(p_sample(net, process, x), expected)
    noisy = p_sample(net, process, x, generator=torch.Generator())
    torch.testing.assert_close(noisy, expected)


class Oracle(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer, self.steps = answer, []

    def forward(self, x, t):
        self.steps.append(t)
        return self.answer


@pytest.mark.parametrize("setting", [(5, 0.01, 0.001, 0.01, 1e-5), (40, 0.5, 0.001, 0.01, 1e-5)])
def test_an_oracle_is_believed(setting):
    oracle = Oracle(torch.rand(3, 8))
    sampled = p_sample(oracle, GaussianDiffusion(*setting), torch.rand(3, 8))
    assert torch.equal(sampled, oracle.answer)
    assert oracle.steps == list(reversed(range(setting[0])))


def test_an_oracle_of_the_noise_is_believed():
    process = GaussianDiffusion(5, 0.5, 0.1, beta_fixed=0.01)
    true = torch.rand(3, 8)

    def oracle(x, t):
        kept = process.alpha_bar[t].item()
        return (x - math.sqrt(kept) * true) / math.sqrt(1 - kept)

    torch.testing.assert_close(p_sample(oracle, process, torch.rand(3, 8), "eps"), true)


def test_noise_of_the_chain_has_the_posterior_s_spread():
    process = GaussianDiffusion(3, 0.5, 0.1)
    _, c2, logvar = (x.tolist() for x in posterior(process))
    seen = []

    def net(x, t):
        seen.append(x)
        return torch.zeros_like(x)

    x = torch.ones(50, 1000)
    last = p_sample(net, process, x, generator=torch.Generator().manual_seed(0))
    assert torch.equal(seen[0], x)
    assert (seen[1] - c2[2]).std().item() == pytest.approx(math.exp(logvar[2] / 2), rel=0.02)
    spread = math.exp(logvar[1] / 2)
    assert (seen[2] - c2[1] * seen[1]).std().item() == pytest.approx(spread, rel=0.02)
    assert (last == 0).all()  # c1 0 and no noise at the first step
    again = p_sample(net, process, x, generator=torch.Generator().manual_seed(0))
    assert torch.equal(seen[-1], seen[2])
    assert torch.equal(last, again)


SETTINGS = [(5, 0.01, 0.001, 0.01, 1e-5), (7, 0.5, 0.1, 0.9, None), (2, 1.0, 0.1, 1.0, 0.3)]


@pytest.mark.parametrize("target", ["x_0", "eps"])
@pytest.mark.parametrize("dims", [[12], [8, 20]])
@pytest.mark.parametrize("setting", SETTINGS)
def test_chain_on_hidden_layers_equals_the_one_on_rows(setting, dims, target, history):
    process, net = GaussianDiffusion(*setting).double(), make(setting[0], dims).double()
    users = torch.tensor([4, 3, 8, 0, 3])
    x = history.dense(users).double()
    chain = ReverseChain(net, process, target)
    expected = p_sample(net, process, x, target)
    history.dense = lambda users: x
    torch.testing.assert_close(chain.from_history(history, users), expected)
    noised = torch.randn_like(x)
    expected = p_sample(net, process, noised, target)
    torch.testing.assert_close(chain.from_rows(noised), expected)


def test_chain_ignores_dropout_and_makes_no_rows_on_its_way(history, monkeypatch):
    process, net = GaussianDiffusion(*SETTINGS[0]), make(dropout=0.5)
    users = torch.arange(N_USERS)
    expected = p_sample(net, process, history.dense(users))
    monkeypatch.setattr(net, "forward", None)
    monkeypatch.setattr(history, "dense", None)
    got = ReverseChain(net.train(), process).from_history(history, users)
    torch.testing.assert_close(got, expected)
    assert not got.requires_grad


def test_chain_refuses_row_norm():
    with pytest.raises(ValueError, match="row_norm must be False in a ReverseChain"):
        ReverseChain(make(row_norm=True), GaussianDiffusion(5, 0.1, 0.1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": []}, r"dims must be a list of integers >= 1, .* got \[\]"),
        ({"dims": [10, 0]}, r"dims must be a list of integers >= 1, .* got \[10, 0\]"),
        ({"dims": 1000}, "dims must be a list of integers >= 1, .* got 1000"),
        ({"dims": [4.0]}, r"dims must be a list of integers >= 1, .* got \[4.0\]"),
        ({"dropout": 1}, r"dropout must be a number in \[0, 0.99\], got 1"),
        ({"row_norm": 1}, "row_norm must be True or False, got 1"),
        ({"time_size": 1}, "time_size must be an integer >= 2, got 1"),
    ],
)
def test_refuses_what_it_cannot_use(options, message):
    good = {"n_items": 5, "steps": 3, "dims": [4], "time_size": 6}
    with pytest.raises(ValueError, match=message):
        Denoiser(**good | options)


def test_refuses_another_target():
    with pytest.raises(ValueError, match="target must be one of x_0, eps, got 'x_t'"):
        reverse_steps(GaussianDiffusion(5, 0.1, 0.1), "x_t")
