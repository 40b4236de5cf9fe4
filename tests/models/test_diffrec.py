"""DiffRec against its sheet's tables, the equations written out, and what its traps would break."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import support
import toy_world
from common.denoiser import p_sample
from common.diffusion import ImportanceSampler
from models.diffrec import DiffRec
from toy_world import N_ITEMS, N_USERS

USERS = torch.tensor([3, 0, 4, 1])
SMALL = {"dims": [[6]], "time_size": 4}


@pytest.fixture
def make(tmp_path):
    """A DiffRec in the toy world, in evaluation mode; options as on the command line."""
    folder = support.write_toy(tmp_path, features=False)

    def make(**options):
        keys = {key: [value] for key, value in options.items() if key == "dims"}
        config = support.config_for(folder, "DiffRec", **SMALL | options | keys)
        torch.manual_seed(0)
        model = DiffRec(config, toy_world.loader(toy_world.matrix(support.TRAIN))).eval()
        for parameter in model.parameters():
            parameter.data.copy_(0.5 * torch.randn(parameter.shape))
        return model

    return make


def rows(users):
    matrix = torch.zeros(N_USERS, N_ITEMS)
    matrix[tuple(torch.tensor(support.TRAIN).T)] = 1
    return matrix[users]


# (diffusion_steps, noise_scale, noise_min, noise_max): 1 - alpha_bar and the weights of the loss
SHEET = {
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


def schedule(setting):
    keys = ("diffusion_steps", "noise_scale", "noise_min", "noise_max")
    return dict(zip(keys, setting, strict=True))


@pytest.mark.parametrize("setting", SHEET)
def test_schedule_and_weights_equal_the_sheet(make, setting):
    model = make(**schedule(setting))
    variance, weights = SHEET[setting]
    np.testing.assert_allclose(1 - model.diffusion.alpha_bar, variance, rtol=2e-6)
    np.testing.assert_allclose(model.loss_weights, weights, rtol=1e-4)
    assert model.loss_weights.dtype == torch.float64


def known_draw(model, t):
    """Make the next calculate_loss draw steps t, uniformly, and return the noise it will add."""
    model.sampler.sample = lambda n: (t, torch.ones(n, dtype=torch.float64))
    torch.manual_seed(3)
    noise = torch.randn(len(t), N_ITEMS)
    torch.manual_seed(3)
    return noise


@pytest.mark.parametrize("reweight", [True, False])
@pytest.mark.parametrize("target", ["x_0", "eps"])
def test_loss_equals_the_equations_row_by_row(make, target, reweight):
    model = make(target=target, reweight=reweight, noise_scale=0.5, noise_min=0.1, noise_max=0.9)
    t = torch.tensor([0, 2, 4, 0])
    x, z = rows(USERS), known_draw(model, t)
    kept = model.diffusion.alpha_bar.tolist()
    snr, beta = [a / (1 - a) for a in kept], model.diffusion.beta.tolist()
    expected = []
    for b, step in enumerate(t.tolist()):
        noised = math.sqrt(kept[step]) * x[b] + math.sqrt(1 - kept[step]) * z[b]
        out = model.net(noised[None], step)[0]
        wanted = x[b] if target == "x_0" else z[b]
        loss = (wanted - out).square().mean().item()
        if reweight and target == "x_0":
            loss *= snr[step - 1] - snr[step] if step else 1
        elif reweight and step:
            loss *= (1 - kept[step]) / ((1 - kept[step - 1]) ** 2 * (1 - beta[step]))
        elif reweight:
            guess = noised / math.sqrt(kept[0]) - math.sqrt(1 / kept[0] - 1) * out
            loss = ((x[b] - guess).square() / 2).mean().item()
        expected.append(loss)
    got = model.calculate_loss(USERS)
    assert got.item() == pytest.approx(np.mean(expected), rel=1e-4)
    assert model.sampler.history[0, :2].tolist() == pytest.approx(expected[::3], rel=2e-3)
    assert model.sampler.count.tolist() == [2, 0, 1, 0, 1]


def test_loss_is_divided_by_the_chance_and_remembered_undivided(make):
    model = make()
    t = torch.tensor([4, 1, 1, 2])
    known_draw(model, t)
    plain = model.calculate_loss(USERS).item()
    remembered = model.sampler.history.clone()
    model.sampler.history.zero_(), model.sampler.count.zero_()
    known_draw(model, t)
    model.sampler.sample = lambda n: (t, torch.full((n,), 4.0, dtype=torch.float64))
    assert model.calculate_loss(USERS).item() == pytest.approx(plain / 4)
    assert torch.equal(model.sampler.history, remembered)


def test_sampler_is_uniform_until_every_step_has_ten_losses(make):
    sampler = make(diffusion_steps=3).sampler
    for t, count in ((0, 30), (1, 10), (2, 9)):
        sampler.push(torch.full((count,), t), torch.full((count,), 10.0**t))
    t, divisor = sampler.sample(6)
    assert divisor.tolist() == [1] * 6
    sampler.push(torch.tensor([2]), torch.tensor([100.0]))
    p = sampler.probabilities()
    assert p.sum().item() == pytest.approx(1)
    assert p.min() >= 0.001 / 3
    expected = [0.999 * x / 111 + 0.001 / 3 for x in (1, 10, 100)]
    assert p.tolist() == pytest.approx(expected)
    g = torch.tensor([5.0, -2.0, 0.3], dtype=torch.float64)
    assert (p * g / (3 * p)).sum().item() == pytest.approx(g.mean().item())
    t, divisor = sampler.sample(1000)
    assert torch.equal(divisor, 3 * p[t])


def test_history_keeps_the_last_ten_of_a_batch_that_holds_more():
    sampler = ImportanceSampler(2)
    sampler.push(torch.tensor([0] * 13 + [1]), torch.arange(14.0))
    sampler.push(torch.tensor([0]), torch.tensor([99.0]))
    assert sorted(sampler.history[0].tolist()) == [*range(4, 13), 99]
    assert sampler.history[1].sum() == 13


def test_scores_are_the_chain_from_the_clean_row(make, monkeypatch):
    model = make(dims=[4, 6])
    expected = p_sample(model.net, model.diffusion, rows(USERS))
    asked = []
    forward = model.net.hidden
    monkeypatch.setattr(model.net, "hidden", lambda x, t: asked.append(t) or forward(x, t))
    torch.testing.assert_close(model.full_sort_predict([USERS, None]), expected)
    assert asked == [4, 3, 2, 1, 0]
    first = model.net(rows(USERS), 4)
    assert not torch.allclose(first, expected)  # it is not one pass


@pytest.mark.parametrize("target", ["x_0", "eps"])
@pytest.mark.parametrize("options", [{}, {"row_norm": True}, {"sampling_noise": True}])
@pytest.mark.parametrize("sampling_steps", [0, 2])
def test_every_way_to_sample(make, sampling_steps, options, target):
    schedule = {"noise_scale": 0.5, "noise_min": 0.1, "noise_max": 0.9}
    model = make(sampling_steps=sampling_steps, target=target, **schedule, **options)
    generator, x = torch.Generator().manual_seed(0), rows(USERS)
    if sampling_steps:
        t = torch.full((4,), sampling_steps - 1)
        x = model.diffusion.q_sample(x, t, generator)
    noise = generator if "sampling_noise" in options else None
    expected = p_sample(model.net, model.diffusion, x, target, noise)
    before = torch.get_rng_state()
    torch.testing.assert_close(model.full_sort_predict([USERS, None]), expected)
    torch.testing.assert_close(model.full_sort_predict([USERS, None]), expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_is_off_for_scores_and_on_in_training(make):
    model = make()
    scores = model.full_sort_predict([USERS, None])
    torch.testing.assert_close(model.full_sort_predict([USERS, None]), scores)
    seen = []
    hidden = model.net.hidden
    model.net.hidden = lambda x, t: seen.append(x) or hidden(x, t)
    known_draw(model, torch.zeros(4, dtype=torch.int64))
    model.calculate_loss(USERS)
    model.train()
    known_draw(model, torch.zeros(4, dtype=torch.int64))
    model.calculate_loss(USERS)
    assert not torch.allclose(seen[0], seen[1])


def test_no_noise(make):
    model = make(noise_scale=0.0, reweight=False)
    t = torch.tensor([0, 4, 2, 1])
    known_draw(model, t)
    expected = F.mse_loss(model.net(rows(USERS), t), rows(USERS)).item()
    assert model.calculate_loss(USERS).item() == pytest.approx(expected)
    x = rows(USERS)
    for step in (4, 3, 2, 1, 0):
        x = model.net(x, step)
    torch.testing.assert_close(model.full_sort_predict([USERS, None]), x)


def test_state_is_the_network_and_the_losses_remembered(make):
    model = make()
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"net"}
    others = model.state_dict().keys() - dict(model.named_parameters()).keys()
    assert others == {"sampler.history", "sampler.count"}


def test_number_of_parameters():
    """As for tiktok's 6,710 items with the released sizes."""
    items, e, d = 6710, 10, 1000
    assert (items + e) * d + d + d * items + items + e * e + e == 13_437_820


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "x_t"}, "target must be one of x_0, eps, got 'x_t'"),
        ({"reweight": None}, "reweight must be True or False, got None"),
        ({"sampling_noise": None}, "sampling_noise must be True or False, got None"),
        ({"row_norm": None}, "row_norm must be True or False, got None"),
        ({"sampling_steps": 6}, r"sampling_steps must be an integer in \[0, 5\], got 6"),
        ({"diffusion_steps": 1}, "diffusion_steps must be an integer >= 2, got 1"),
        ({"noise_scale": 0.0}, "noise_scale must be above 0 for loss weights, got 0"),
        ({"noise_scale": 0.0, "target": "eps"}, "noise_scale must be above 0 for target eps"),
        ({"noise_min": 0.01}, r"noise_min must be a number in \(0, noise_max = 0.01\), got 0.01"),
        ({"dropout": 1.0}, r"dropout must be a number in \[0, 0.99\], got 1.0"),
        ({"use_full_sampling": False}, "use_full_sampling must be True: batches of users"),
    ],
)
def test_refuses_what_it_cannot_use(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.slow
def test_learns_a_small_world(blocks, tmp_path):
    from ld4mrec.search.train import run

    keys = {"data_path": f"{blocks.parent}/", "run_dir": str(tmp_path / "run"), "cache_dir": None}
    # three batches an epoch: the default rate, 5e-5, would learn too slowly
    sizes = {"dims": [[50]], "train_batch_size": 20, "epochs": 60, "threads": 1}
    sizes["learning_rate"] = 1e-3
    (one,) = run("DiffRec", blocks.name, keys | sizes | {"topk": [5], "valid_metric": "Recall@5"})
    assert one.result["test"]["recall@5"] > 0.8  # of ten items of the user's kind, five are left
