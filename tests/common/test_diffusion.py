import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.diffusion import (
    GaussianDiffusion,
    ImportanceSampler,
    StepMeanSampler,
    UniformSampler,
    step_code,
)


@pytest.mark.parametrize("steps", [2, 5, 40])
@pytest.mark.parametrize("scale", [1e-4, 1e-2, 0.5])
def test_schedule_equals_eq_3(steps, scale):
    process = GaussianDiffusion(steps, scale, 1e-3)
    t = np.arange(1, steps + 1)
    expected = scale * (1e-3 + (t - 1) / (steps - 1) * (1 - 1e-3))
    np.testing.assert_allclose(1 - process.alpha_bar.numpy(), expected, rtol=0, atol=1e-12)


# DiffRec's published settings: (1 - alpha_bar, weights of the x_0 loss), beta_1 fixed at 1e-5
DIFFREC = {
    (5, 0.01, 0.001, 0.01): (
        [1e-5, 3.25e-5, 5.5e-5, 7.75e-5, 1e-4],
        [1, 69230.8, 12587.4, 5278.6, 2903.2],
    ),
    (5, 1e-4, 5e-4, 0.005): (
        [1.0e-5, 1.01125e-5, 1.0225e-5, 1.03375e-5, 1.045e-5],
        [1, 1112.47, 1087.99, 1064.31, 1041.40],
    ),
    (5, 0.5, 0.001, 0.01): (
        [1e-5, 1.13555e-3, 2.2611e-3, 3.38665e-3, 4.51221e-3],
        [1, 99119, 438.37, 146.98, 73.66],
    ),
}


@pytest.mark.parametrize("setting", DIFFREC)
def test_schedule_and_weights_of_diffrec(setting):
    process = GaussianDiffusion(*setting, beta_fixed=1e-5)
    variance, weights = DIFFREC[setting]
    np.testing.assert_allclose(1 - process.alpha_bar.numpy(), variance, rtol=1e-5)
    np.testing.assert_allclose(process.snr_weights().numpy(), weights, rtol=1e-4)


def test_schedule_by_the_recipe_in_a_loop():
    process = GaussianDiffusion(4, 1.0, 0.1)  # s * a_max = 1: the cap binds at the last step
    v = [0.1, 0.4, 0.7, 1.0]
    beta = [v[0]] + [min(1 - (1 - v[k]) / (1 - v[k - 1]), 0.999) for k in (1, 2, 3)]
    assert beta[-1] == 0.999
    assert process.beta.tolist() == pytest.approx(beta, rel=1e-12)
    kept = np.cumprod(1 - np.array(beta))
    assert process.alpha_bar.tolist() == pytest.approx(kept.tolist(), rel=1e-12)
    lost = 1 - kept
    eps = [lost[0] / (2 * kept[0])]
    eps += [lost[t] / (lost[t - 1] ** 2 * (1 - beta[t])) for t in (1, 2, 3)]
    assert process.snr_weights("eps").tolist() == pytest.approx(eps, rel=1e-9)


@pytest.mark.parametrize("off", [None, False])
def test_beta_fixed_off(off):
    assert GaussianDiffusion(3, 0.1, 0.1, beta_fixed=off).beta[0] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"diffusion_steps": 1}, "diffusion_steps must be an integer >= 2, got 1"),
        ({"diffusion_steps": 5.0}, "diffusion_steps must be an integer >= 2, got 5.0"),
        ({"diffusion_steps": True}, "diffusion_steps must be an integer >= 2, got True"),
        ({"noise_scale": 1.5}, r"noise_scale must be a number in \[0, 1\], got 1.5"),
        ({"noise_scale": "1e-4"}, r"noise_scale must be .* got '1e-4' \(text: in yaml"),
        ({"noise_scale": float("nan")}, r"noise_scale must be a number in \[0, 1\], got nan"),
        ({"noise_scale": None}, "noise_scale must be .* got None"),
        ({"noise_min": 0}, r"noise_min must be a number in \(0, noise_max = 1.0\), got 0"),
        ({"noise_min": 0.2, "noise_max": 0.1}, r"noise_min must be .*noise_max = 0.1\), got 0.2"),
        ({"noise_max": 1.1}, r"noise_max must be a number in \(0, 1\], got 1.1"),
        ({"beta_fixed": 1.0}, r"beta_fixed must be a number in \(0, 1\), or null for off, got 1.0"),
        ({"beta_fixed": True}, "beta_fixed must be .* got True"),
    ],
)
def test_ranges_are_refused(change, message):
    good = {"diffusion_steps": 5, "noise_scale": 1e-4, "noise_min": 1e-3}
    with pytest.raises(ValueError, match=message):
        GaussianDiffusion(**good | change)


def test_weights_need_noise_and_a_known_target():
    with pytest.raises(ValueError, match="noise_scale must be above 0 for loss weights, got 0"):
        GaussianDiffusion(5, 0, 1e-3).snr_weights()
    with pytest.raises(ValueError, match="target must be one of x_0, eps, got 'x_t'"):
        GaussianDiffusion(5, 0.1, 1e-3).snr_weights("x_t")


def test_the_first_weight_of_eps_is_half_the_error_of_its_x_0():
    process = GaussianDiffusion(3, 0.5, 0.1, weighted="eps")
    kept = 0.95  # of the first step
    assert process.weights[0].item() == pytest.approx((1 - kept) / (2 * kept))
    assert process.weights.tolist() == process.snr_weights("eps").tolist()
    assert GaussianDiffusion(3, 0.5, 0.1).weights.tolist() == [1, 1, 1]


@pytest.mark.parametrize("sampler", [UniformSampler, ImportanceSampler, StepMeanSampler])
def test_loss_is_weighted_remembered_and_divided_by_the_chance(sampler):
    process = GaussianDiffusion(3, 0.5, 0.1, sampler=sampler, weighted="x_0")
    errors, rows = torch.tensor([2.0, 1.0, 4.0]), torch.tensor([2, 0, 2])
    weights, divisor = process.snr_weights().tolist(), torch.tensor([0.5, 2, 0.5]).double()
    losses = [2 * weights[2], weights[0], 4 * weights[2]]
    got = process.loss(errors, rows, divisor)
    assert got.item() == pytest.approx((losses[0] * 2 + losses[1] / 2 + losses[2] * 2) / 3)
    assert got.dtype == torch.float64
    if sampler is UniformSampler:
        return
    last = losses[::2] if sampler is ImportanceSampler else [sum(losses[::2]) / 2]
    assert process.sampler.history[2, : len(last)].tolist() == pytest.approx(last)
    assert process.sampler.count.tolist() == [1, 0, len(last)]


def test_uniform_steps():
    torch.manual_seed(0)
    rows, divisor = GaussianDiffusion(4, 0.5, 0.1).draw(4000)
    assert divisor.item() == 1
    assert rows.bincount().float().div(4000).tolist() == pytest.approx([0.25] * 4, abs=0.03)


def test_added_noise_is_what_q_sample_has_added():
    process, x, rows = GaussianDiffusion(3, 0.5, 0.1), torch.rand(2, 5), torch.tensor([2, 0])
    noise = torch.randn(2, 5, generator=torch.Generator().manual_seed(1))
    x_t = process.q_sample(x, rows, torch.Generator().manual_seed(1))
    torch.testing.assert_close(process.added_noise(x, x_t, rows), noise)


def test_q_sample_mixes_row_and_noise_by_the_step():
    process = GaussianDiffusion(5, 0.5, 1e-3)
    rows = torch.tensor([0, 4, 2])
    x = torch.rand(3, 7)
    noisy = process.q_sample(x, rows, torch.Generator().manual_seed(1))
    eps = torch.randn(3, 7, generator=torch.Generator().manual_seed(1))
    for b, k in enumerate(rows.tolist()):
        kept = float(process.alpha_bar[k])
        expected = math.sqrt(kept) * x[b] + math.sqrt(1 - kept) * eps[b]
        torch.testing.assert_close(noisy[b], expected)
    assert noisy.dtype == torch.float32


def test_q_sample_has_the_stated_moments_and_a_gradient():
    process = GaussianDiffusion(3, 0.5, 0.1)
    x = torch.ones(2, 40_000, requires_grad=True)
    noisy = process.q_sample(x, torch.tensor([0, 2]), torch.Generator().manual_seed(0))
    for b, kept in enumerate((0.95, 0.5)):
        assert noisy[b].mean().item() == pytest.approx(math.sqrt(kept), abs=0.02)
        assert noisy[b].var().item() == pytest.approx(1 - kept, rel=0.03)
    noisy.sum().backward()
    assert x.grad[:, 0].tolist() == pytest.approx([math.sqrt(0.95), math.sqrt(0.5)])


def test_no_noise_leaves_the_row():
    x = torch.rand(2, 5)
    torch.testing.assert_close(GaussianDiffusion(3, 0, 0.1).q_sample(x, torch.tensor([0, 2])), x)


@given(st.integers(0, 200), st.integers(2, 13))
def test_step_code_equals_eq_17(t, size):
    code = step_code(torch.tensor([t]), size)[0].tolist()
    for column in range(size):
        angle = t / 10000 ** (2 * (column // 2) / size)
        expected = math.cos(angle) if column % 2 else math.sin(angle)
        assert code[column] == pytest.approx(expected, abs=1e-6)


def test_step_code_holds_the_columns_of_diffrec_in_another_order():
    t, half = torch.arange(7), 5
    angle = t[:, None] * 10000.0 ** (-torch.arange(half) / half)
    code = step_code(t, 2 * half)
    torch.testing.assert_close(code[:, 1::2], angle.cos(), atol=1e-5, rtol=0)
    torch.testing.assert_close(code[:, 0::2], angle.sin(), atol=1e-5, rtol=0)
    assert code[0].tolist() == [0, 1] * half


def test_step_code_refuses_one_column():
    with pytest.raises(ValueError, match="step_size must be an integer >= 2, got 1"):
        step_code(torch.arange(3), 1)


@given(st.integers(0, 2**31), st.integers(2, 6), st.integers(1, 40), st.integers(1, 6))
def test_history_equals_a_naive_queue(seed, steps, size, batches):
    generator = np.random.default_rng(seed)
    sampler = ImportanceSampler(steps, memory=3)
    queues = [[] for _ in range(steps)]
    for _ in range(batches):
        rows, losses = generator.integers(0, steps, size), generator.random(size)
        sampler.push(torch.from_numpy(rows), torch.from_numpy(losses))
        for k, loss in zip(rows, losses, strict=True):
            queues[k] = [*queues[k], loss][-3:]
    for k, queue in enumerate(queues):
        kept = sampler.history[k, : len(queue)].tolist()
        assert sorted(kept) == pytest.approx(sorted(queue), rel=1e-15)
    if all(len(queue) == 3 for queue in queues):
        size = np.sqrt([np.mean(np.square(queue)) for queue in queues])
        expected = 0.999 * size / size.sum() + 0.001 / steps
    else:
        expected = np.full(steps, 1 / steps)
    np.testing.assert_allclose(sampler.probabilities().numpy(), expected, rtol=1e-12)


@given(data=st.data())
def test_means_of_a_batch_equal_a_loop(data):
    sampler, history = StepMeanSampler(3, memory=2), {step: [] for step in range(3)}
    for _ in range(data.draw(st.integers(1, 6))):
        rows = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=5))
        losses = data.draw(st.lists(st.integers(0, 9), min_size=len(rows), max_size=len(rows)))
        sampler.push(torch.tensor(rows), torch.tensor(losses, dtype=torch.float32))
        for step in set(rows):
            mine = [loss for row, loss in zip(rows, losses, strict=True) if row == step]
            history[step] = [*history[step], sum(mine) / len(mine)][-2:]
    assert [sorted(sampler.history[step].tolist()) for step in range(3)] == [
        sorted([0.0] * (2 - len(kept)) + kept) for kept in history.values()
    ]
    size = [(sum(x * x for x in kept) / 2) ** 0.5 for kept in history.values()]
    if all(len(kept) == 2 for kept in history.values()) and sum(size) > 0:
        expected = [0.999 * x / sum(size) + 0.001 / 3 for x in size]
    else:
        expected = [1 / 3] * 3
    np.testing.assert_allclose(sampler.probabilities(), expected)


def test_sampler_is_uniform_until_every_step_has_ten_losses():
    sampler = ImportanceSampler(4)
    sampler.push(torch.arange(4).repeat(9), torch.arange(36.0) + 1)
    sampler.push(torch.tensor([0, 1, 2] * 5), torch.full((15,), 7.0))
    rows, divisor = sampler.sample(4000, torch.Generator().manual_seed(0))
    assert divisor.tolist() == [1.0] * 4000
    assert rows.bincount().float().div(4000).tolist() == pytest.approx([0.25] * 4, abs=0.03)
    sampler.push(torch.tensor([3]), torch.tensor([1.0]))
    assert not torch.allclose(sampler.probabilities(), torch.full((4,), 0.25, dtype=torch.float64))


def filled(*losses):
    sampler = ImportanceSampler(len(losses))
    sampler.push(torch.arange(len(losses)).repeat(10), torch.tensor(losses).repeat(10))
    return sampler


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=8))
def test_importance_sampling_is_unbiased(losses):
    p = filled(*losses).probabilities()
    g = torch.linspace(-3, 5, len(losses)).double()
    assert float(p.sum()) == pytest.approx(1)
    assert float(p.min()) >= 0.001 / len(losses)
    weighted = (p * g / (len(p) * p)).sum()  # the mean of g_t / (T p_t) when t is drawn from p
    assert float(weighted) == pytest.approx(float(g.mean()))


def test_draws_follow_p_and_carry_their_divisor():
    sampler = filled(1.0, 3.0, 6.0)
    p = sampler.probabilities()
    assert p.tolist() == pytest.approx([0.999 * r + 0.001 / 3 for r in (0.1, 0.3, 0.6)])
    rows, divisor = sampler.sample(20_000, torch.Generator().manual_seed(0))
    assert rows.bincount().div(20_000).tolist() == pytest.approx(p.tolist(), abs=0.01)
    torch.testing.assert_close(divisor, 3 * p[rows])


@pytest.mark.parametrize("losses", [(0.0, 0.0), (1.0, float("inf")), (1.0, float("nan"))])
def test_losses_without_shares_are_sampled_uniformly(losses):
    assert filled(*losses).probabilities().tolist() == [0.5, 0.5]


def test_checkpoint_holds_the_losses_and_nothing_else():
    assert list(GaussianDiffusion(5, 0.1, 0.1).state_dict()) == []
    copy = ImportanceSampler(2)
    copy.load_state_dict(filled(1.0, 3.0).state_dict())
    assert copy.probabilities().tolist() == filled(1.0, 3.0).probabilities().tolist()
