"""Search of the hyper-parameters by a number of trials instead of the full grid.

Which points are tried depends on the search's options and on the validation results of earlier
trials, never on the engine, on how fast a trial was or on what the ledger held before: trial k is
drawn when trials 0 to k - at_once are known, in this order. So nothing but the ledger is needed to
go on: the search, started again, draws the same trials and finds those that are finished.
"""

import itertools
import math
import random
from dataclasses import dataclass, replace

from ld4mrec.errors import ConfigError
from ld4mrec.runs.curve import best_until, validation_curve

METHODS = ("random", "tpe", "asha")
KEEP = 3  # asha: one in three goes on at each bar, and the next is three times as far
DIGITS = 4  # significant digits of a value drawn from a range: so it can be written by hand
GIVE_UP = (
    2000  # draws of nothing new after which a range's values, of DIGITS digits, count as used up
)
PATIENCE = 100  # draws of points known already before one is drawn uniformly from the others


@dataclass(frozen=True)
class Search:
    """method: random, tpe, or asha (random's points, the bad ones stopped early). trials: how many.
    seed: of the draws. at_once: how many trials are open at a time, None: as many as the engine
    trains. first_bar: epochs before asha
    may stop a trial.
    """

    method: str
    trials: int
    seed: int = 0
    at_once: int | None = None
    first_bar: int = 10

    def __post_init__(self):
        if self.method not in METHODS:
            raise ConfigError(f"--search is '{self.method}'; wanted one of {', '.join(METHODS)}")
        for name, value, least in (
            ("--trials", self.trials, 1),
            ("--search-seed", self.seed, 0),
            ("--workers", self.at_once, 1),
            ("--first-bar", self.first_bar, 1),
        ):
            if value is not None and value < least:
                raise ConfigError(f"{name} is {value}; wanted a whole number of at least {least}")


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


def add_search_options(parser):
    """Give an argparse parser --search, --trials, --search-seed and --first-bar."""
    parser.add_argument(
        "--search",
        metavar="METHOD",
        help="instead of the full grid: random points of it, tpe (drawn where earlier trials were "
        "good), asha (random points, bad ones stopped early)",
    )
    parser.add_argument("--trials", type=int, metavar="N", help="with --search: how many")
    parser.add_argument(
        "--search-seed", type=int, metavar="S", help="with --search: of the draws; default: 0"
    )
    parser.add_argument(
        "--first-bar",
        type=int,
        metavar="E",
        help="with --search asha: epochs before a trial may be stopped, then 3 and 9 times as many "
        "and so on; default: 10",
    )


def search_of(options):
    """The Search that the options of `add_search_options` name, None without; ConfigError."""
    given = {
        name: getattr(options, name)
        for name in ("trials", "search_seed", "first_bar")
        if getattr(options, name) is not None
    }
    if options.search is None:
        for name in given:
            raise ConfigError(f"--{name.replace('_', '-')} belongs to --search; add that")
        return None
    if "trials" not in given:
        raise ConfigError(f"--search {options.search} needs --trials N: how many points to try")
    if "first_bar" in given and options.search != "asha":
        raise ConfigError("--first-bar belongs to --search asha; leave it out")
    found = Search(options.search, given["trials"], given.get("search_seed", 0), options.workers)
    return replace(found, first_bar=given.get("first_bar", found.first_bar))


def take_ranges(overrides):
    """(the overrides without the ranges, {key: Range}); a range is {low: ..., high: ...}, as in
    --learning_rate='{low: 1e-4, high: 1e-2, log: true}'.
    """
    ranges = {k: v for k, v in overrides.items() if isinstance(v, dict) and {"low", "high"} & {*v}}
    rest = {key: value for key, value in overrides.items() if key not in ranges}
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


def distinct(values):
    """The different values of a list, in their order."""
    return [value for place, value in enumerate(values) if values.index(value) == place]


def first_of(axis):
    """A value of an axis, which is a list or a Range."""
    return axis.low if isinstance(axis, Range) else axis[0]


def is_single(axis):
    return isinstance(axis, list) and len(axis) == 1


class Proposals:
    """The points of a search, one after the other, each another.

    axes: {name: list of different values, or Range}. at_once: how many may be open at a time.
    """

    def __init__(self, search, axes, at_once=1, bigger=True):
        optuna = _optuna()
        self.axes = axes
        self.size = math.prod(
            axis.size if isinstance(axis, Range) else len(axis) for axis in axes.values()
        )
        self._failed = optuna.trial.TrialState.FAIL
        sampler = (
            optuna.samplers.TPESampler(seed=search.seed, constant_liar=at_once > 1)
            if search.method == "tpe"
            else optuna.samplers.RandomSampler(seed=search.seed)
        )
        direction = "maximize" if bigger else "minimize"
        self._study = optuna.create_study(sampler=sampler, direction=direction)
        self._distributions = {
            name: _distribution(axis, optuna.distributions)
            for name, axis in axes.items()
            if not is_single(axis)
        }
        self._random = random.Random(search.seed)
        self._seen = set()

    def next(self):
        """(trial, {name: value}) of a point not proposed before; (None, None) if all were."""
        if len(self._seen) >= self.size:
            return None, None
        for draws in itertools.count():
            if draws >= GIVE_UP and self.size == math.inf:
                return None, None
            if draws >= PATIENCE:
                self._study.enqueue_trial(self._uniform())
            trial = self._study.ask(self._distributions)
            point = {name: self._value(name, trial.params) for name in self.axes}
            if repr(point) not in self._seen:
                self._seen.add(repr(point))
                return trial, point
            self._study.tell(trial, state=self._failed)

    def tell(self, trial, value):
        """The validation value of a trial; None: it has none."""
        if value is None:
            self._study.tell(trial, state=self._failed)
        else:
            self._study.tell(trial, value)

    def _value(self, name, drawn):
        axis = self.axes[name]
        if isinstance(axis, Range):
            return axis.rounded(drawn[name])
        return axis[drawn.get(name, 0)]

    def _uniform(self):
        """Optuna's parameters of a point, each evenly drawn."""
        drawn = {}
        for name in self._distributions:
            axis = self.axes[name]
            if isinstance(axis, Range):
                draw = self._random.randint if axis.whole else self._random.uniform
                drawn[name] = draw(axis.low, axis.high)
            else:
                drawn[name] = self._random.randrange(len(axis))
        return drawn


def _distribution(axis, kinds):
    """Optuna's distribution of a range, or of the places of a list: ordered if its values are."""
    if isinstance(axis, Range):
        kind = kinds.IntDistribution if axis.whole else kinds.FloatDistribution
        return kind(axis.low, axis.high, log=axis.log)
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in axis)
    if numbers and axis in (sorted(axis), sorted(axis, reverse=True)):
        return kinds.IntDistribution(0, len(axis) - 1)
    return kinds.CategoricalDistribution(range(len(axis)))


def _optuna():
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("--search needs the package optuna: pip install '.[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class Halving:
    """Successive halving (asha): a trial goes on at a bar if it is among the best third of those
    that came so far, itself included, or the best while these are fewer than three.

    Li et al., MLSys 2020, arXiv:1810.05934. A trial is compared with those that were known when it
    was drawn, so its bars are fixed before it starts and need no word from other workers.
    """

    def __init__(self, first_bar, epochs, bigger=True):
        self.bigger = bigger
        self._values = {}  # {bar in epochs: values of the trials that reached it}
        while first_bar < epochs:
            self._values[first_bar] = []
            first_bar *= KEEP

    def bars(self):
        """{epochs: the least value to go on there} for the next trial."""
        found = {}
        for epochs, values in self._values.items():
            places = max(1, (len(values) + 1) // KEEP)
            if len(values) >= places:
                found[epochs] = sorted(values, reverse=self.bigger)[places - 1]
        return found

    def add(self, one):
        """Count a Run that ended, as far as its own bars let it come."""
        curve = validation_curve(one)
        for epochs in self._values:
            best = best_until(curve, epochs, self.bigger)
            if best is None or (curve[-1][0] < epochs and not one.result):
                return
            self._values[epochs].append(best)
            bar = one.bars.get(epochs)
            if bar is not None and (best < bar if self.bigger else best > bar):
                return
