import math

import pytest
import torch
from torch import nn

from common.init import xavier_normal_initialization, xavier_uniform_initialization


def build():
    torch.manual_seed(0)
    with torch.no_grad():
        model = nn.Sequential(
            nn.Embedding(300, 100), nn.Linear(100, 300), nn.Linear(100, 300, bias=False)
        )
        model.append(nn.LayerNorm(5))
        model[3].weight.fill_(7)
    return model


@pytest.mark.parametrize(
    ("initialise", "spread"),
    [
        (xavier_normal_initialization, math.sqrt(2 / 400)),
        (xavier_uniform_initialization, math.sqrt(6 / 400) / math.sqrt(3)),
    ],
)
def test_spread_of_weights_and_zero_biases(initialise, spread):
    model = build().apply(initialise)
    for layer in model[:3]:
        assert layer.weight.std().item() == pytest.approx(spread, rel=0.03)
        assert layer.weight.requires_grad
    assert model[1].bias.eq(0).all()
    assert model[3].weight.eq(7).all()  # no Embedding, no Linear


def test_uniform_keeps_its_bound():
    model = build().apply(xavier_uniform_initialization)
    bound = math.sqrt(6 / 400)
    assert 0.98 * bound < model[0].weight.abs().max().item() <= bound
