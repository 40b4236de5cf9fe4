"""Objects in a model's attributes that have state: optimisers, schedulers, random generators, and
objects of the plugin's own classes.

Construction makes the object; a snapshot holds its state, as plain values, and restoring puts that
into the object which is there. Nothing is ever made of what is read.
"""

import random
import sys
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ld4mrec.training.values import OBJECT

OWN = ("models", "common", "utils")  # packages whose classes a plugin may have defined
# {kind of object: (how its state is read, how it is put back)}
STATES: dict[type, tuple[Callable, Callable]] = {
    Optimizer: (lambda it: it.state_dict(), lambda it, state: it.load_state_dict(state)),
    LRScheduler: (lambda it: it.state_dict(), lambda it, state: it.load_state_dict(state)),
    torch.amp.GradScaler: (lambda it: it.state_dict(), lambda it, state: it.load_state_dict(state)),
    torch.Generator: (lambda it: it.get_state(), lambda it, state: it.set_state(state.cpu())),
    random.Random: (lambda it: it.getstate(), lambda it, state: it.setstate(state)),
    np.random.RandomState: (
        lambda it: it.get_state(legacy=False),
        lambda it, state: it.set_state(state),
    ),
    np.random.Generator: (
        lambda it: it.bit_generator.state,
        lambda it, state: setattr(it.bit_generator, "state", state),
    ),
}


class OtherObjectError(TypeError):
    """The object that is there is not of the kind whose state was saved."""


def kind_of(value: object) -> str:
    """The name of an object's class."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def state_of(value: object) -> list | None:
    """[kind, state] of an object; None of one whose state cannot be had."""
    for kind, (read, _) in STATES.items():
        if isinstance(value, kind):
            return [kind_of(value), read(value)]
    return [kind_of(value), dict(vars(value))] if _is_own(value) else None


def check_kind(present: object, kind: str) -> None:
    """OtherObjectError unless `present` is of this kind."""
    if kind_of(present) != kind:
        found = "nothing" if present is None else f"a {kind_of(present)}"
        raise OtherObjectError(f"was a {kind} when it was saved, and is {found} in a new model")


def put_state(present: object, state: object) -> None:
    """Give an object the state that `state_of` read."""
    for kind, (_, put) in STATES.items():
        if isinstance(present, kind):
            put(present, state)
            return
    vars(present).clear()
    vars(present).update(state)


def kinds(encoded: object) -> list[str]:
    """The kinds of the objects whose states are in an encoded value, in their order."""
    return list(_kinds(encoded))


def _kinds(encoded) -> Iterator[str]:
    if isinstance(encoded, list):
        for item in encoded:
            yield from _kinds(item)
    elif isinstance(encoded, dict):
        for tag, item in encoded.items():
            if tag == OBJECT:
                yield item[0]
                item = item[1:]
            yield from _kinds(item)


def _is_own(value):
    """Whether it is an object of a plain class that a plugin's file defines."""
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    plain = kind.__base__ is object and not hasattr(kind, "__slots__") and not callable(value)
    return (
        package in OWN and plain and kind.__module__ in sys.modules and hasattr(value, "__dict__")
    )
