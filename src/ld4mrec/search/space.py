"""The values that a search may take: lists, and ranges of numbers."""

import math
from dataclasses import dataclass

from ld4mrec.config.configuration import Config
from ld4mrec.errors import ConfigError

EDGE = 0.05  # of a range, at either end: a value there lies on its edge
DIGITS = 4  # significant digits of a value drawn from a range: so it can be written by hand


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, whole if both are; log: drawn evenly by their logarithm."""

    low: int | float
    high: int | float
    log: bool = False

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def size(self) -> int | float:
        """How many different values it has."""
        return self.high - self.low + 1 if self.whole else math.inf

    def holds(self, value: object) -> bool:
        """Whether a value may be drawn."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and (not self.whole or value == int(value))

    def is_edge(self, value: int | float) -> bool:
        """Whether a value lies in the first or last twentieth of the range, as it is drawn."""
        low, high, value = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return min(value - low, high - value) <= EDGE * (high - low)

    def rounded(self, value: int | float) -> int | float:
        value = value if self.whole else float(f"{value:.{DIGITS}g}")
        return min(max(value, self.low), self.high)


Space = dict[str, list | Range]  # the values that a search may take, by hyper-parameter


def take_ranges(keys: dict) -> tuple[dict, dict[str, Range]]:
    """(the keys without the ranges, {key: Range}); a range is {low: ..., high: ...}, as in
    --learning_rate='{low: 1e-4, high: 1e-2, log: true}'.
    """
    ranges = {k: v for k, v in keys.items() if isinstance(v, dict) and {"low", "high"} & {*v}}
    rest = {key: value for key, value in keys.items() if key not in ranges}
    return rest, {key: range_of(f"--{key}", value) for key, value in ranges.items()}


def range_of(name: str, given: dict) -> Range:
    """The Range of {low: ..., high: ..., log: ...}; ConfigError, with the name of whose it is."""
    wanted = f"{name} is {given}; wanted {{low: NUMBER, high: NUMBER, log: true or false}}"
    low, high, log = given.get("low"), given.get("high"), given.get("log", False)
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (low, high))
    if not numbers or set(given) - {"low", "high", "log"} or not isinstance(log, bool):
        raise ConfigError(wanted)
    if not low < high or math.isinf(low) or math.isinf(high) or (log and low <= 0):
        raise ConfigError(f"{wanted}, low below high{' and above 0' * log}")
    return Range(low, high, log)


def space_of(config: Config, ranges: dict[str, Range]) -> Space:
    """What a search draws from: the yaml's `search` block, or the lists of the hyper-parameters
    where there is none. With a block the other hyper-parameters stay at their defaults.

    config: of the request, without its ranges. What the caller gave goes first: ranges, lists,
    values, and the names in hyper_parameters. Lists may hold a value twice.
    """
    block, listed = config.search or {}, config["hyper_parameters"]
    chosen = "hyper_parameters" in config.overridden
    if chosen:
        block = {name: values for name, values in block.items() if name in listed}
    with_block = config.search is not None and not chosen
    space = {}
    for name in dict.fromkeys([*listed, *block, *ranges]):
        if name in ranges:
            space[name] = ranges[name]
        elif name in config.overridden or not (name in block or with_block):
            space[name] = listed_values(config, name)
        elif name not in block:
            space[name] = [config.defaults.get(name, config[name])]
        elif isinstance(block[name], dict):
            space[name] = range_of(f"search of {config['model']}: {name}", block[name])
        else:
            space[name] = block[name]
    return space


def start_of(config: Config, space: Space) -> dict | None:
    """The point of a space at the model's defaults, with which its search begins; None where the
    yaml has no `search` block or the space does not hold them.
    """
    if config.search is None:
        return None
    start = {}
    for name, values in space.items():
        value = config.defaults.get(name, config[name])
        value = values[0] if is_single(values) else value
        if not (values.holds(value) if isinstance(values, Range) else value in values):
            return None
        start[name] = value
    return start


def listed_values(config: Config, name: str) -> list:
    """The values that a configuration lists for a key, or its one value."""
    value = config[name]
    if name in config["hyper_parameters"] and isinstance(value, list) and value:
        return value
    return [value]


def size_of(space: Space) -> int | float:
    """How many points a space has."""
    return math.prod(
        values.size if isinstance(values, Range) else len(distinct(values))
        for values in space.values()
    )


def distinct(values: list) -> list:
    """The different values of a list, in their order."""
    return [value for place, value in enumerate(values) if values.index(value) == place]


def first_of(values: list | Range) -> object:
    """A value of a list or a Range."""
    return values.low if isinstance(values, Range) else values[0]


def is_single(values: list | Range) -> bool:
    return isinstance(values, list) and len(values) == 1
