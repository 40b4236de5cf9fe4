"""Objects with state: read, put back, and refused where another object stands."""

import random

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, OneCycleLR

from ld4mrec.training import living
from ld4mrec.training.checkpoint import RunError, as_built, restore, snapshot


def optimiser(lr=0.1):
    return torch.optim.Adam([torch.ones(3, requires_grad=True)], lr=lr)


GENERATORS = {
    "python": (lambda: random.Random(1), lambda it: it.random()),
    "numpy": (lambda: np.random.default_rng(1), lambda it: it.random()),
    "mersenne": (lambda: np.random.RandomState(1), lambda it: it.rand()),
    "torch": (
        lambda: torch.Generator().manual_seed(1),
        lambda it: torch.rand(1, generator=it).item(),
    ),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_goes_on_where_it_was(name):
    make, draw = GENERATORS[name]
    one, other = make(), make()
    draw(one)
    kind, state = living.state_of(one)
    expected = draw(one)
    living.check_kind(other, kind)
    living.put_state(other, state)
    assert draw(other) == expected


SCHEDULERS = [
    lambda of: CosineAnnealingLR(of, 5),
    lambda of: LambdaLR(of, lambda epoch: 0.9**epoch),
    lambda of: OneCycleLR(of, 1.0, total_steps=9),
]


@pytest.mark.parametrize("make", SCHEDULERS)
def test_a_scheduler_goes_on_where_it_was(make):
    def built():
        model = torch.nn.Linear(2, 1)
        model.alone = torch.ones(3, requires_grad=True)
        model.optimiser = torch.optim.Adam([model.alone], lr=0.1)
        model.scheduler = make(model.optimiser)
        return model

    def advance(model):
        model.optimiser.zero_grad()
        model.alone.square().sum().backward()
        model.optimiser.step()
        model.scheduler.step()
        return model.scheduler.get_last_lr(), model.alone.detach().clone()

    model, other = built(), built()
    fresh = as_built(model)
    for _ in range(3):
        advance(model)
    saved, unsaved = snapshot(model, built=fresh)
    assert unsaved == []
    restore(other, saved)
    assert other.scheduler.optimizer is other.optimiser
    rates, weights = advance(model)
    assert rates[0] != 0.1
    got_rates, got = advance(other)
    assert got_rates == rates
    assert torch.equal(got, weights)


def test_what_has_no_state():
    for value in (object(), iter("ab"), "text", test_what_has_no_state):
        assert living.state_of(value) is None


def test_another_object_is_refused_by_its_attribute():
    model, other = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    model.own = {1: [optimiser()]}
    saved, _ = snapshot(model)
    for present, found in (({1: [random.Random()]}, "a random.Random"), ({}, "nothing")):
        other.own = present
        with pytest.raises(
            RunError, match=rf"attribute 'own' was a torch.* and is {found} in a new"
        ):
            restore(other, saved)


def test_more_objects_than_at_first_are_named():
    model = torch.nn.Linear(1, 1)
    model.own = [optimiser()]
    built = as_built(model)
    assert snapshot(model, built=built)[1] == []
    model.own.append(optimiser())
    assert snapshot(model, built=built)[1] == ["own"]
    model.own[1] = model.own  # a circle
    assert snapshot(model, built=built)[1] == ["own"]


def test_tensors_of_a_passing_state_are_kept_apart():
    """The state of each generator is a new tensor, whose place another one may take."""
    model = torch.nn.Linear(1, 1)
    model.own = [torch.Generator().manual_seed(seed) for seed in range(20)]
    saved, _ = snapshot(model)
    states = [part["__object__"][1] for part in saved["attributes"]["own"]]
    assert all(torch.equal(s, g.get_state()) for s, g in zip(states, model.own, strict=True))
