"""Checks of options: each raises ValueError with the option's name, the value and what is wanted.

Nothing here knows the host, so LD4MRec takes this file along into a MMRec checkout.
"""

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any


def check_option(name: str, value: Any, wanted: str, ok: bool) -> None:
    """Raise ValueError unless ok, naming the option, the value got and the values wanted."""
    if not ok:
        hint = ""
        if isinstance(value, str) and wanted.startswith("a number"):
            hint = " (text: in yaml write 1.0e-4, not 1e-4)"
        raise ValueError(f"{name} must be {wanted}, got {value!r}{hint}")


def is_number(value: Any) -> bool:
    """A real number; True and False are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_integer(value: Any) -> bool:
    """An integer; True and False are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_number(name: str, value: Any, low: float, high: float) -> None:
    """Raise ValueError unless value is a number in [low, high]."""
    wanted = f"a number in [{low}, {high}]"
    check_option(name, value, wanted, is_number(value) and low <= value <= high)


def check_positive(name: str, value: Any) -> None:
    """Raise ValueError unless value is a number above 0, and not infinite."""
    check_option(name, value, "a number above 0", is_number(value) and 0 < value < math.inf)


def check_integer(name: str, value: Any, low: int, high: float = math.inf) -> None:
    """Raise ValueError unless value is an integer in [low, high]."""
    wanted = f"an integer >= {low}" if high == math.inf else f"an integer in [{low}, {high}]"
    check_option(name, value, wanted, is_integer(value) and low <= value <= high)


def check_integers(config: Mapping, **lowest: int) -> None:
    """Raise ValueError unless each of these options is an integer from its lowest value on."""
    for name, low in lowest.items():
        check_integer(name, config[name], low)


def check_not_negative(config: Mapping, *names: str) -> None:
    """Raise ValueError unless each of these options is a number in [0, inf]."""
    for name in names:
        check_number(name, config[name], 0, math.inf)


def check_flag(name: str, value: Any) -> None:
    """Raise ValueError unless value is True or False."""
    check_option(name, value, "True or False", isinstance(value, bool))


def check_choice(name: str, value: Any, allowed: Iterable) -> None:
    """Raise ValueError unless value is one of those allowed."""
    allowed = tuple(allowed)
    check_option(name, value, f"one of {', '.join(map(str, allowed))}", value in allowed)


def check_choices(config: Mapping, choices: Mapping[str, Iterable]) -> None:
    """`check_choice` of several options of a configuration; choices: {option: values allowed}."""
    for name, allowed in choices.items():
        check_choice(name, config[name], allowed)


def check_batches_of_users(config: Mapping) -> None:
    """Raise ValueError unless the configuration makes each batch a vector of users."""
    by_user = bool(config["use_neg_sampling"] and config["use_full_sampling"])
    name = "use_neg_sampling and use_full_sampling"
    check_option(name, by_user, "True: batches of users", by_user)
