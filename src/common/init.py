"""Initialisers for `module.apply`, as MMRec's API has them; other kinds of module are left alone.

For a matrix (n, d): uniform within +-sqrt(6 / (n + d)), or normal with standard deviation sqrt(2 /
(n + d)). Biases become zero. Glorot and Bengio, AISTATS 2010.
"""

from torch import nn


def xavier_normal_initialization(module: nn.Module) -> None:
    """Normal weights for Embedding and Linear, zero biases."""
    _initialize(module, nn.init.xavier_normal_)


def xavier_uniform_initialization(module: nn.Module) -> None:
    """Uniform weights for Embedding and Linear, zero biases."""
    _initialize(module, nn.init.xavier_uniform_)


def _initialize(module, fill):
    if isinstance(module, nn.Embedding | nn.Linear):
        fill(module.weight.data)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias.data)
