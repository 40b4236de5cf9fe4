"""Search of the hyper-parameters by a number of trials instead of the full grid.

Which points are tried depends on the search's options and on the validation results of earlier
trials, never on the engine, on how fast a trial was or on what the ledger held before: trial k is
drawn when trials 0 to k - at_once are known, in this order. So nothing but the ledger is needed to
go on: the search, started again, draws the same trials and finds those that are finished.
"""

import itertools
import math
import random

from ld4mrec.errors import ConfigError
from ld4mrec.search.options import Search
from ld4mrec.search.space import Range, Space, is_single, size_of

# Draws of nothing new after which a range's values, of DIGITS digits, count as used up.
GIVE_UP = 2000
PATIENCE = 100  # draws of points known already before one is drawn uniformly from the others


class Proposals:
    """The points of a search, one after the other, each another.

    space: {name: list of different values, or Range}. at_once: how many may be open at a time.
    first: the point to begin with, None: drawn as the others.
    """

    def __init__(self, search: Search, space: Space, at_once: int = 1, first: dict | None = None):
        optuna = _optuna()
        self.space = space
        self.size = size_of(space)
        self._failed = optuna.trial.TrialState.FAIL
        sampler = (
            optuna.samplers.TPESampler(seed=search.seed, constant_liar=at_once > 1)
            if search.method == "tpe"
            else optuna.samplers.RandomSampler(seed=search.seed)
        )
        self._study = optuna.create_study(sampler=sampler, direction="maximize")
        self._distributions = {
            name: _distribution(values, optuna.distributions)
            for name, values in space.items()
            if not is_single(values)
        }
        if first is not None:
            self._study.enqueue_trial(self._drawn(first))
        self._random = random.Random(search.seed)
        self._seen = set()

    def next(self) -> tuple:
        """(trial, {name: value}) of a point not proposed before; (None, None) if all were."""
        if len(self._seen) >= self.size:
            return None, None
        for draws in itertools.count():
            if draws >= GIVE_UP and self.size == math.inf:
                return None, None
            if draws >= PATIENCE:
                self._study.enqueue_trial(self._uniform())
            trial = self._study.ask(self._distributions)
            point = {name: self._value(name, trial.params) for name in self.space}
            if repr(point) not in self._seen:
                self._seen.add(repr(point))
                return trial, point
            self._study.tell(trial, state=self._failed)

    def tell(self, trial, value: float | None) -> None:
        """The validation value of a trial; None: it has none."""
        if value is None:
            self._study.tell(trial, state=self._failed)
        else:
            self._study.tell(trial, value)

    def _value(self, name, drawn):
        values = self.space[name]
        if isinstance(values, Range):
            return values.rounded(drawn[name])
        return values[drawn.get(name, 0)]

    def _drawn(self, point):
        """Optuna's parameters of a point."""
        lists = {n: v for n, v in self.space.items() if not isinstance(v, Range)}
        return {
            name: lists[name].index(point[name]) if name in lists else point[name]
            for name in self._distributions
        }

    def _uniform(self):
        """Optuna's parameters of a point, each evenly drawn."""
        drawn = {}
        for name in self._distributions:
            values = self.space[name]
            if isinstance(values, Range):
                draw = self._random.randint if values.whole else self._random.uniform
                drawn[name] = draw(values.low, values.high)
            else:
                drawn[name] = self._random.randrange(len(values))
        return drawn


def _distribution(values, kinds):
    """Optuna's distribution of a range, or of the places of a list: ordered if its values are."""
    if isinstance(values, Range):
        kind = kinds.IntDistribution if values.whole else kinds.FloatDistribution
        return kind(values.low, values.high, log=values.log)
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in values)
    if numbers and values in (sorted(values), sorted(values, reverse=True)):
        return kinds.IntDistribution(0, len(values) - 1)
    return kinds.CategoricalDistribution(range(len(values)))


def _optuna():
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("--search needs the package optuna: pip install '.[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
