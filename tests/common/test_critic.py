"""The critic against the plain computation with whole inputs and autograd's gradient of them."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from common.critic import Critic, Discriminator, Similarity

N_ITEMS = 40


def uniform(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def similarities(modalities, n_users=6):
    """What a batch of users hands to the critic, with gradients to the factors."""
    bags = torch.arange(2 * n_users) % N_ITEMS, torch.arange(n_users) * 2  # two items each
    factors = [
        (uniform(n_users, 3, seed=m), uniform(N_ITEMS, 3, seed=9 + m)) for m in range(modalities)
    ]
    return [Similarity(a.requires_grad_(), b.requires_grad_(), *bags) for a, b in factors]


def critic(gp_rate=1.0):
    torch.manual_seed(0)
    critic = Critic(N_ITEMS, 3e-4, 0.0, gp_rate)
    critic.network.double()
    return critic


def test_thin_products_equal_the_product_of_the_dense_matrix():
    (similarity,) = similarities(1)
    weight = uniform(N_ITEMS, 5, seed=3).requires_grad_()
    leaves, probe = (similarity.left, similarity.right, weight), uniform(6, 5, seed=4)
    one, other = similarity.times(weight), similarity.dense() @ weight
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    got = torch.autograd.grad((one * probe).sum(), leaves, retain_graph=True)
    wanted = torch.autograd.grad((other * probe).sum(), leaves)
    for x, y in zip(got, wanted, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-12)


def plain_network(network):
    """The sheet's layers, biases before statistics and activations of slope 1 among them."""
    first, rest = network.first, copy.deepcopy(network.rest)
    wide, narrow = first.shape[1], rest[2].out_features
    layers = [nn.Linear(N_ITEMS, wide), nn.LeakyReLU(1.0), rest[0], rest[1]]
    layers += [nn.Linear(wide, narrow), nn.LeakyReLU(1.0), *rest[3:], nn.Sigmoid()]
    plain = nn.Sequential(*layers).double().requires_grad_(True)
    with torch.no_grad():
        plain[0].weight.copy_(first.T)
        plain[4].weight.copy_(rest[2].weight)
    return plain


def plain_loss(plain, real, fakes, gp_rate):
    """The sheet's loss of whole inputs, with autograd's gradient; draws in our order."""
    fake = torch.cat([f.dense() for f in fakes])
    real = torch.cat([real] * len(fakes))
    share = torch.rand(len(fake), 1, dtype=fake.dtype)
    mixed = (share * real + (1 - share) * fake).requires_grad_()
    loss = 100 * plain(fake).mean() - 100 * plain(real).mean()
    ones = torch.ones(len(mixed), 1).double()
    (gradient,) = torch.autograd.grad(100 * plain(mixed), mixed, ones, create_graph=True)
    return loss + gp_rate * 0.3 * ((gradient.norm(2, dim=1) - 1) ** 2).mean()


@pytest.mark.parametrize("modalities", [1, 2, 3])
@pytest.mark.parametrize("dropout", [True, False])
def test_the_loss_and_its_gradients_are_the_plain_ones(modalities, dropout):
    judge = critic(gp_rate=2.0)
    fakes = [
        Similarity(f.left.detach(), f.right.detach(), f.items, f.begin)
        for f in similarities(modalities)
    ]
    real = F.normalize(uniform(6, N_ITEMS, seed=7))
    network = judge.network.requires_grad_(True)
    if not dropout:
        network.rest[1].p = network.rest[4].p = 0.0
    plain = plain_network(network)
    torch.manual_seed(3)
    one = judge.loss(real, fakes)
    torch.manual_seed(3)
    other = plain_loss(plain, real, fakes, 2.0)
    assert one.item() == pytest.approx(other.item(), rel=1e-9)
    one.backward()
    other.backward()
    pairs = [(network.first.grad.T, plain[0].weight.grad)]
    pairs += [(network.rest[2].weight.grad, plain[4].weight.grad)]
    for mine, theirs in ((0, 2), (3, 6), (5, 8)):
        both = network.rest[mine].parameters(), plain[theirs].parameters()
        pairs += [(p.grad, q.grad) for p, q in zip(*both, strict=True)]
    assert all(y.abs().max() > 1e-3 for _, y in pairs[:2])
    for x, y in pairs:
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-8)
    for bias in (plain[0].bias, plain[4].bias):  # what we leave out
        assert bias.grad.abs().max() < 1e-8


@pytest.mark.parametrize("modalities", [1, 2])
def test_the_adversarial_gradient_is_that_of_dense_inputs(modalities):
    judge, fakes = critic(), similarities(modalities)
    leaves = [x for f in fakes for x in (f.left, f.right)]
    torch.manual_seed(3)
    got = torch.autograd.grad(judge(fakes).mean(), leaves, retain_graph=True)
    torch.manual_seed(3)
    rows = torch.cat([f.dense() for f in fakes])
    wanted = torch.autograd.grad(judge.network(rows @ judge.network.first).mean(), leaves)
    for x, y in zip(got, wanted, strict=True):
        assert y.abs().max() > 1e-6
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-10)


def test_sizes_on_baby():
    with torch.device("meta"):
        network = Discriminator(7050)
    shapes = [tuple(p.shape) for p in network.parameters()]
    wide, narrow = (1762,), (881,)
    assert shapes == [(7050, 1762), wide, wide, (881, 1762), narrow, narrow, (1, 881), (1,)]
    assert [x.p for x in network.rest if isinstance(x, torch.nn.Dropout)] == [0.31, 0.5]
    assert not any(x.running_mean is not None for x in (network.rest[0], network.rest[3]))


def test_it_starts_as_the_sheet_says():
    torch.manual_seed(0)
    network = Discriminator(2000)
    assert network.first.std().item() == pytest.approx(math.sqrt(2 / 2000), rel=0.01)
    assert network.rest[2].weight.std().item() == pytest.approx(math.sqrt(2 / 500), rel=0.02)
    assert network.rest[5].weight.std().item() == pytest.approx(math.sqrt(2 / 250), rel=0.2)
    assert network.rest[5].bias.item() == 0
    with torch.no_grad():
        values = network(torch.randn(64, 500))
    assert values.shape == (64, 1)
    assert 0 < values.min() < values.max() < 100
