"""DiffRec against its sheet's tables, the equations written out, and what its traps would break."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import golden
import support
from common.denoiser import p_sample
from common.diffusion import GaussianDiffusion
from golden import N_ITEMS, N_USERS
from models.diffrec import DiffRec

USERS = torch.tensor([3, 0, 4, 1])
SMALL = {"dims": [[6]], "time_size": 4}
NOISY = {"noise_scale": 0.5, "noise_min": 0.1, "noise_max": 0.9}


@pytest.fixture
def make(tmp_path):
    """A DiffRec in the toy world, in evaluation mode; options as on the command line."""
    folder = support.write_toy(tmp_path, features=False)

    def make(**options):
        keys = {key: [value] for key, value in options.items() if key == "dims"}
        config = support.config_for(folder, "DiffRec", **SMALL | options | keys)
        torch.manual_seed(0)
        model = DiffRec(config, golden.loader(golden.matrix(support.TRAIN))).eval()
        for parameter in model.parameters():
            parameter.data.copy_(0.5 * torch.randn(parameter.shape))
        return model

    return make


def rows(users):
    matrix = torch.zeros(N_USERS, N_ITEMS)
    matrix[tuple(torch.tensor(support.TRAIN).T)] = 1
    return matrix[users]


@pytest.mark.parametrize("fixed", [1e-5, None])
def test_schedule_and_weights_are_the_configured_ones(make, fixed):
    model = make(**NOISY, diffusion_steps=4, beta_fixed=fixed)
    process = GaussianDiffusion(4, *NOISY.values(), fixed)
    assert torch.equal(model.diffusion.alpha_bar, process.alpha_bar)
    assert torch.equal(model.diffusion.weights, process.snr_weights())


def known_draw(model, t):
    """Make the next calculate_loss draw steps t, uniformly, and return the noise it will add."""
    model.diffusion.draw = lambda n: (t, torch.ones(n, dtype=torch.float64))
    torch.manual_seed(3)
    noise = torch.randn(len(t), N_ITEMS)
    torch.manual_seed(3)
    return noise


@pytest.mark.parametrize("reweight", [True, False])
@pytest.mark.parametrize("target", ["x_0", "eps"])
def test_loss_equals_the_equations_row_by_row(make, target, reweight):
    model = make(target=target, reweight=reweight, **NOISY)
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
    assert model.diffusion.sampler.history[0, :2].tolist() == pytest.approx(expected[::3], rel=2e-3)
    assert model.diffusion.sampler.count.tolist() == [2, 0, 1, 0, 1]


def test_loss_is_divided_by_the_chance_and_remembered_undivided(make):
    model = make()
    t = torch.tensor([4, 1, 1, 2])
    known_draw(model, t)
    plain = model.calculate_loss(USERS).item()
    sampler = model.diffusion.sampler
    remembered = sampler.history.clone()
    sampler.history.zero_(), sampler.count.zero_()
    known_draw(model, t)
    model.diffusion.draw = lambda n: (t, torch.full((n,), 4.0, dtype=torch.float64))
    assert model.calculate_loss(USERS).item() == pytest.approx(plain / 4)
    assert torch.equal(sampler.history, remembered)


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
    model = make(sampling_steps=sampling_steps, target=target, **NOISY, **options)
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
    assert others == {"diffusion.sampler.history", "diffusion.sampler.count"}


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
    sizes |= {"learning_rate": 1e-3, "topk": [5], "valid_metric": "Recall@5"}
    (finished,) = run("DiffRec", blocks.name, keys | sizes)
    # of ten items of the user's kind, five are left
    assert finished.result["test"]["recall@5"] > 0.8
