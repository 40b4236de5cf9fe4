"""What is given from Python, checked where it enters: a wrong type is a sentence."""

from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ld4mrec.errors import ConfigError

PATH = (str, Path)
TABLE = (str, Path, pd.DataFrame)


def check(name: str, value: object, kinds: type | tuple, wanted: str) -> None:
    """ConfigError unless a value is of one of these kinds; a bool is no number."""
    whole = kinds if isinstance(kinds, tuple) else (kinds,)
    no_number = isinstance(value, bool) and bool not in whole and {Integral, Real} & set(whole)
    if no_number or not isinstance(value, kinds):
        raise ConfigError(
            f"{name} is {value!r:.80}, of type {type(value).__name__}; wanted {wanted}"
        )


def check_path(name: str, value: object) -> None:
    """ConfigError unless a value can be a path."""
    check(name, value, PATH, "a path")


def texts(name: str, value: object) -> list[str]:
    """A text with commas or several texts as a list; else ConfigError."""
    if isinstance(value, str):
        value = value.split(",")
    check(name, value, Iterable, "a list of texts")
    value = [*value]
    for one in value:
        check(f"one of {name}", one, str, "a text")
    return value


def plain_keys(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of the configuration with numpy's numbers and arrays as Python's."""
    numpy = (np.generic, np.ndarray)
    return {key: v.tolist() if isinstance(v, numpy) else v for key, v in keys.items()}
