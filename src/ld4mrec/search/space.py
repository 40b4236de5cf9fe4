"""The values that a search may take: lists, and ranges of numbers."""

import math
from dataclasses import dataclass

from ld4mrec.errors import ConfigError

DIGITS = 4  # significant digits of a value drawn from a range: so it can be written by hand


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, whole if both are; log: drawn evenly by their logarithm."""

    low: int | float
    high: int | float
    log: bool = False

    @property
    def whole(self):
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def size(self):
        """How many different values it has."""
        return self.high - self.low + 1 if self.whole else math.inf

    def rounded(self, value):
        value = value if self.whole else float(f"{value:.{DIGITS}g}")
        return min(max(value, self.low), self.high)


Space = dict[str, list | Range]  # the values that a search may take, by hyper-parameter


def take_ranges(keys: dict) -> tuple[dict, dict[str, Range]]:
    """(the keys without the ranges, {key: Range}); a range is {low: ..., high: ...}, as in
    --learning_rate='{low: 1e-4, high: 1e-2, log: true}'.
    """
    ranges = {k: v for k, v in keys.items() if isinstance(v, dict) and {"low", "high"} & {*v}}
    rest = {key: value for key, value in keys.items() if key not in ranges}
    return rest, {key: _range(key, value) for key, value in ranges.items()}


def _range(key, given):
    wanted = f"--{key} is {given}; wanted {{low: NUMBER, high: NUMBER, log: true or false}}"
    low, high, log = given.get("low"), given.get("high"), given.get("log", False)
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (low, high))
    if not numbers or set(given) - {"low", "high", "log"} or not isinstance(log, bool):
        raise ConfigError(wanted)
    if not low < high or math.isinf(low) or math.isinf(high) or (log and low <= 0):
        raise ConfigError(f"{wanted}, low below high{' and above 0' * log}")
    return Range(low, high, log)


def distinct(values: list) -> list:
    """The different values of a list, in their order."""
    return [value for place, value in enumerate(values) if values.index(value) == place]


def first_of(values: list | Range):
    """A value of a list or a Range."""
    return values.low if isinstance(values, Range) else values[0]


def is_single(values: list | Range) -> bool:
    return isinstance(values, list) and len(values) == 1
