"""Kinds of values: what a key takes, how it is read from a word of the command line, its limits."""

import math
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from ld4mrec.config.yaml_files import parse_word
from ld4mrec.errors import ConfigError, nearest

NULLS = ("null", "Null", "NULL", "None", "~")
FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
WHOLE = re.compile(r"[-+]?[0-9][0-9_]*")
FRACTION = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.?inf")
DIGITS = 400  # of a number: more than any float has
LONGEST = 255  # bytes of a file's name, of most file systems
SHOWN = 80  # characters of a value in a message


class Unfit(Exception):
    """A value that a kind does not take; the text says what is wanted."""


@dataclass(frozen=True)
class Kind:
    """Any value; the base of the others.

    optional: null is a value, too. An optional key's word `null` or `None` means it.
    """

    optional: bool = field(default=True, kw_only=True)

    @property
    def wanted(self) -> str:
        """What it takes, as in 'wanted ...'."""
        return "any value"

    def read(self, text: str) -> object:
        """The value of a word of the command line; yet to be checked."""
        if self.optional and text in NULLS:
            return None
        return self._read(text)

    def _read(self, text):
        return parse_word(text)

    def take(self, value: object) -> object:
        """The value as the key holds it, such as 10 for 1e1; Unfit, with what is wanted."""
        if value is None and self.optional:
            return None
        return self._take(value)

    def _take(self, value):
        if _has_odd_number(value):
            raise Unfit("numbers that are no NaN and that a float can hold")
        return value

    def _refuse(self, hint=""):
        raise Unfit(self.wanted + hint)


@dataclass(frozen=True)
class Number(Kind):
    """A number from low to high. above: not low itself, nor infinite. whole: without a fraction.
    tidy: 3.0 becomes 3.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    whole: bool = False
    tidy: bool = False

    @property
    def wanted(self) -> str:
        what = "a whole number" if self.whole else "a number"
        limits = []
        if self.above:
            limits.append("a positive number" if self.low == 0 else f"above {self.low:g}")
            what = "" if self.low == 0 else what
        elif self.low > -math.inf:
            limits.append(f"of at least {self.low:.15g}")
        if self.high < math.inf:
            limits.append(f"at most {self.high:.15g}")
        text = " ".join(filter(None, [what, " and ".join(limits)]))
        return text.replace(" at most", " of at most") if len(limits) == 1 else text

    def _read(self, text):
        number = number_of(text)
        if number is None:
            return parse_word(text) if text[0] in "[{" else text
        return number

    def _take(self, value):
        if not is_number(value) or not self.low <= value <= self.high:
            self._refuse()
        if self.above and (value == self.low or math.isinf(value)):
            self._refuse()
        is_whole = not math.isinf(value) and float(value).is_integer()
        if self.whole and not is_whole:
            self._refuse()
        return int(value) if is_whole and (self.whole or self.tidy) else value


@dataclass(frozen=True)
class Rate(Number):
    """A number that is held as a float: 1 and 1.0 are the same run."""

    def _take(self, value):
        return float(super()._take(value))


@dataclass(frozen=True)
class Decay(Rate):
    """A number that MMRec's yaml files may hold as text."""

    def _take(self, value):
        found = number_of(value) if isinstance(value, str) else value
        return super()._take(value if found is None else found)


@dataclass(frozen=True)
class Flag(Kind):
    """True or False; on the command line also yes, no, on, off."""

    @property
    def wanted(self) -> str:
        return "True or False"

    def _read(self, text):
        return FLAGS.get(text.lower(), parse_word(text) if text[0] in "[{" else text)

    def _take(self, value):
        if not isinstance(value, bool):
            self._refuse()
        return value


@dataclass(frozen=True)
class Text(Kind):
    """Text that is taken literally. example: for the message. literal: also where it begins with a
    bracket, as no list of values can be meant.
    """

    example: str = ""
    literal: bool = False

    @property
    def wanted(self) -> str:
        return f"text such as '{self.example}'" if self.example else "text"

    def _read(self, text):
        return parse_word(text) if text[0] in "[{" and not self.literal else text

    def _take(self, value):
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if not isinstance(value, str):
            self._refuse(", in quotes" * (not isinstance(value, list | dict)))
        if not value:
            self._refuse("; it is empty")
        if any(ord(sign) < 32 and sign not in "\t\n" for sign in value):
            self._refuse("; it has a control character")
        return value


@dataclass(frozen=True)
class Name(Text):
    """The path of a file or folder."""

    def _take(self, value):
        value = super()._take(value)
        if any(len(os.fsencode(part)) > LONGEST for part in value.split(os.sep)):
            self._refuse(f"; no file's name has more than {LONGEST} bytes")
        return value


@dataclass(frozen=True)
class Separator(Text):
    """What stands between two columns; the two signs `\\t` mean a TAB."""

    def _take(self, value):
        value = super()._take(value)
        return "\t" if value == "\\t" else value


@dataclass(frozen=True)
class Choice(Kind):
    """One of some names, in any case."""

    names: tuple[str, ...] = ()

    @property
    def wanted(self) -> str:
        return f"one of {', '.join(self.names)}"

    def _read(self, text):
        return parse_word(text) if text[0] in "[{" else text

    def _take(self, value):
        if not isinstance(value, str) or value.lower() not in self.names:
            self._refuse(f".{nearest(value, self.names)}" if isinstance(value, str) else "")
        return value


@dataclass(frozen=True)
class ListOf(Kind):
    """A list of different values of a kind; one alone stands for a list of it. what: how the list
    is called. length: exactly so many, and then they may be equal.
    """

    of: Kind = Kind()
    what: str = "a list"
    length: int | None = None

    @property
    def wanted(self) -> str:
        return self.what

    def _read(self, text):
        return parse_word(text) if text[0] in "[{" else self.of.read(text)

    def _take(self, value):
        values = value if isinstance(value, list) else [value]
        taken = [self._taken(item) for item in values]
        if not taken or (self.length and len(taken) != self.length):
            self._refuse()
        if not self.length and any(taken.index(item) < place for place, item in enumerate(taken)):
            self._refuse()
        return taken

    def _taken(self, item):
        try:
            return self.of.take(item)
        except Unfit:
            close = nearest(item, self.of.names) if isinstance(self.of, Choice) else ""
            raise Unfit(f"{self.what}, not {shown(item)}.{close}".rstrip(".")) from None


@dataclass(frozen=True)
class Schedule(ListOf):
    """MMRec's [a, b]: the rate is multiplied by a ** (epoch / b)."""

    def _take(self, value):
        a, b = taken = super()._take(value)
        if a <= 0 or b == 0 or math.isinf(a) or math.isinf(b):
            self._refuse()
        return taken


@dataclass(frozen=True)
class Mapping(Kind):
    """{name: value}. known: the names there may be, () for any. needed: one that must be there."""

    of: Kind = Kind()
    what: str = "{name: value}"
    known: tuple[str, ...] = ()
    needed: str = ""

    @property
    def wanted(self) -> str:
        return self.what

    def _take(self, value):
        if not value and not isinstance(value, str) and self.optional:
            return value  # False and {} switch off
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            self._refuse()
        if self.known and not set(value) <= set(self.known):
            self._refuse()
        if self.needed and self.needed not in value:
            self._refuse()
        try:
            return {name: self.of.take(item) for name, item in value.items()}
        except Unfit as unfit:
            raise Unfit(f"{self.what}: {unfit}") from None


def is_number(value: object) -> bool:
    """Whether it is a number that a float can hold, not NaN; yaml's True and False are none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= sys.float_info.max
    return isinstance(value, float) and not math.isnan(value)


def number_of(text: str) -> int | float | None:
    """The number that a text writes, in decimal digits; None if it writes none."""
    if len(text) > DIGITS:
        return None
    if WHOLE.fullmatch(text):
        return int(text)
    return float(text.lower().replace(".inf", "inf")) if FRACTION.fullmatch(text.lower()) else None


def kind_like(value: object, largest: float) -> Kind:
    """The kind of a key of which a yaml file shows a value; `largest`: for whole numbers."""
    if isinstance(value, bool):
        return Flag()
    if isinstance(value, float):
        return Rate()
    if isinstance(value, int):
        # a yaml that says 1 may mean a fraction (noise_scale: 1): the model knows which
        return Number(high=largest, tidy=True)
    if isinstance(value, str):
        return Text(example=value)
    if isinstance(value, list) and value:
        return _Lists(kind_like(value[0], largest), "a list")
    return Kind()


class _Lists(ListOf):
    """A list of any length, whose values may be equal."""

    def _take(self, value):
        return [self.of.take(item) for item in (value if isinstance(value, list) else [value])]


def taken(kind: Kind, key: str, value: object, where: str = "") -> object:
    """`kind.take(value)`; ConfigError that names the key, and the file `where` it stands."""
    try:
        return kind.take(value)
    except Unfit as unfit:
        place = f"{where}: " if where else ""
        raise ConfigError(f"{place}{key} is {shown(value)}; wanted {unfit}") from None


def shown(value: object) -> str:
    """A value in a message; of a long one the beginning."""
    if isinstance(value, int) and abs(value) >= 10**SHOWN:
        return f"a number of more than {SHOWN} digits"
    text = repr(value) if not _has_long_number(value) else f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _parts(value):
    """The values in a value of lists and mappings, however deep."""
    open_parts = [value]
    while open_parts:
        part = open_parts.pop()
        if isinstance(part, dict):
            open_parts += [*part, *part.values()]
        elif isinstance(part, Sequence) and not isinstance(part, str | bytes):
            open_parts += part
        else:
            yield part


def _has_odd_number(value):
    return any(
        isinstance(part, int | float) and not isinstance(part, bool) and not is_number(part)
        for part in _parts(value)
    )


def _has_long_number(value):
    return any(isinstance(part, int) and abs(part) >= 10**SHOWN for part in _parts(value))
