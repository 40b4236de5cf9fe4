"""Is one system better than others? Paired tests, their correction, effect sizes, intervals.

Differences are always the first system's value minus the second's, paired by user or by seed; all
p-values are two-sided. Over users a test asks whether these trained models would differ on other
users of the same kind; over seeds, whether other seeds would part the systems on these users. Which
tests suit per-user metrics: Smucker et al., CIKM 2007, who prefer the t-test and the bootstrap to
Wilcoxon's test, because that is not about the mean that a table reports.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from common.options import check_integer, check_number
from ld4mrec.errors import RunError

UserValues = tuple[ArrayLike, ArrayLike]  # users (n,), a metric's value of each (n,)
Interval = tuple[float, float]

DECIMALS = 12  # of a difference; metrics are of order 1, so what lies beyond is rounding
RESAMPLED = 2**22  # values that the bootstrap holds at a time: 32 MiB of indices, 32 of values
MOST_FOR_EXACT = 50  # differences that are not 0
CONSTANT = "each of the two has the same value with every seed: there is no chance to test against"
# pairs; with n pairs no p-value is below 2 / 2^n, which is .0625 for 5. For effect sizes, too
FEWEST_FOR_WILCOXON = 6


@dataclass(frozen=True)
class Comparison:
    """One system against another over n pairs; None: left out, and `note` says why.

    difference: mean of first - second. interval: of that mean, at .95. holm_t, holm_wilcoxon: p_t
    and p_wilcoxon adjusted for the other comparisons of the same call, each test for itself.
    left_out: which seeds were not compared, as only one of the two has them.
    """

    n: int
    difference: float | None = None
    interval: Interval | None = None
    p_t: float | None = None
    p_wilcoxon: float | None = None
    holm_t: float | None = None
    holm_wilcoxon: float | None = None
    d_z: float | None = None
    rank_biserial: float | None = None
    note: str = ""
    left_out: str = ""


def compare_users(
    best: dict[int, UserValues], others: dict[str, dict[int, UserValues]], seed: int = 0
) -> dict[str, Comparison]:
    """{name: Comparison} of one system, {seed: UserValues}, with each of the others over the test
    users, whose values are means over the seeds that the two share.

    Users may stand in any order. The interval is the bootstrap's, drawn with `seed`. Raises
    RunError if a system has other users.
    """
    compared = {}
    for name, other in others.items():
        shared, left_out = _shared(best, other)
        if shared:
            means = [
                mean_over_seeds([values[s] for s in shared], whose)
                for values, whose in ((best, "the best system"), (other, name))
            ]
            d = paired_differences(*_aligned(means, f"the best system and {name}")[1])
            found = _compared(d, "users", lambda d: bootstrap_interval(d, seed))
        else:
            found = Comparison(0, note="seeds shared: 0; nothing can be tested")
        compared[name] = replace(found, left_out=left_out)
    return _corrected(compared)


def compare_seeds(
    best: dict[int, float], others: dict[str, dict[int, float]]
) -> dict[str, Comparison]:
    """{name: Comparison} of one system, {seed: mean over users}, with each of the others over the
    seeds they share. The interval is Student's: a bootstrap of so few values is too narrow.
    """
    compared = {}
    for name, other in others.items():
        shared, left_out = _shared(best, other)
        values = [[values[s] for s in shared] for values in (best, other)]
        d = paired_differences(*values)
        if len(shared) > 1 and not np.round(np.ptp(values, axis=1), DECIMALS).any():
            found = Comparison(len(d), float(d[0]), note=CONSTANT)
        else:
            found = _compared(d, "seeds", t_interval)
        compared[name] = replace(found, left_out=left_out)
    return _corrected(compared)


def _shared(best: dict[int, object], other: dict[int, object]) -> tuple[list[int], str]:
    """(seeds that both have, what is left out in words) of two {seed: ...}."""
    shared, alone = sorted(best.keys() & other.keys()), sorted(best.keys() ^ other.keys())
    if not alone:
        return shared, ""
    seeds = f"seed{'s' * (len(shared) > 1)} {', '.join(map(str, shared))}" if shared else "no seed"
    left = ", ".join(map(str, alone))
    return shared, f"over {seeds}; of {left} only one of the two is there"


def mean_over_seeds(tables: Sequence[UserValues], whose: str) -> UserValues:
    """Mean of each user over tables, users ascending; RunError if they are not the same."""
    users, values = _aligned(tables, f"the seeds of {whose}")
    return users, np.mean(values, axis=0)


def _aligned(tables: Sequence[UserValues], whose: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """(users, [values, ...]), all in ascending order of the users, which must be the same."""
    everyone = [np.asarray(users) for users, _ in tables]
    orders = [np.argsort(users, kind="stable") for users in everyone]
    first = everyone[0][orders[0]]
    for users, order, (_, values) in zip(everyone, orders, tables, strict=True):
        if users.shape != np.shape(values):
            raise ValueError(f"{users.shape} users have values of shape {np.shape(values)}")
        if len(np.unique(users)) < len(users):
            raise RunError(f"a user stands twice in the results of {whose}; wanted one value each")
        if not np.array_equal(users[order], first):
            alone = len(np.setxor1d(users, first))
            raise RunError(
                f"{whose} were not tested on the same users ({len(first)} and {len(users)}, {alone}"
                " in one of the two only); run them on the same data set with the same split"
            )
    return first, [np.asarray(v)[o] for o, (_, v) in zip(orders, tables, strict=True)]


def _compared(d: np.ndarray, unit: str, interval: Callable[[np.ndarray], Interval]) -> Comparison:
    """The Comparison of differences d (n,), not yet corrected."""
    n = len(d)
    if n < 2:
        note = f"{unit} shared: {n}; nothing can be tested"
        return Comparison(n, float(d[0]) if n else None, note=note)
    found = Comparison(n, float(d.mean()), interval(d), p_t=paired_t(d))
    if n >= FEWEST_FOR_WILCOXON:
        sizes = {"d_z": cohen_d_z(d), "rank_biserial": rank_biserial(d)}
        return replace(found, p_wilcoxon=wilcoxon(d), **sizes)
    note = (
        f"Wilcoxon's test is left out: over {n} {unit} no p-value is below 2/2^{n} = {2 / 2**n}. "
        "Effect sizes are left out: a spread of so few is too uncertain to divide by"
    )
    return replace(found, note=note)


def _corrected(compared: dict[str, Comparison]) -> dict[str, Comparison]:
    """The comparisons with Holm's p-values, over all of them and for each test by itself."""
    t = holm([c.p_t for c in compared.values()])
    w = holm([c.p_wilcoxon for c in compared.values()])
    return {
        name: replace(c, holm_t=p_t, holm_wilcoxon=p_wilcoxon)
        for (name, c), p_t, p_wilcoxon in zip(compared.items(), t, w, strict=True)
    }


def paired_differences(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """a - b of two (n,) arrays, rounded to 12 decimals. Raises ValueError unless finite, n equal.

    Unrounded, the means over seeds of {0, 1/3, 2/3} in two orders may differ by 1e-17, and a test
    on ranks would take that for a difference.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"paired values must be two (n,) arrays, got {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("paired values must be finite; a run that gave NaN has no result")
    return np.round(a - b, DECIMALS)


def _checked(differences: ArrayLike) -> np.ndarray:
    """Differences (n,), rounded; ValueError for fewer than two."""
    d = paired_differences(differences, np.zeros(np.shape(differences)))
    if len(d) < 2:
        raise ValueError(f"a paired test needs at least two pairs, got {len(d)}")
    return d


def paired_t(differences: ArrayLike) -> float:
    """p of Student's paired t-test: is the mean of the differences (n,) zero? Of equal ones: 1 if
    they are 0, else 0, the limit of ever smaller spread.
    """
    d = _checked(differences)
    if np.ptp(d) == 0:
        return float(d[0] == 0)
    return float(stats.ttest_1samp(d, 0).pvalue)


def wilcoxon(differences: ArrayLike) -> float:
    """p of Wilcoxon's signed-rank test: are the differences (n,) symmetric about zero?

    Zero differences are left out before ranking (scipy's zero_method "wilcox", Wilcoxon 1945); with
    nothing left p is 1. Equal sizes share their mean rank. Up to 50 differences the p-value is
    exact, above it is scipy's, from the normal distribution with tie correction.
    """
    d = _checked(differences)
    d = d[d != 0]
    if len(d) > MOST_FOR_EXACT:
        return float(stats.wilcoxon(d).pvalue)
    # scipy's exact test with ties takes up to a second, and before 1.15 it ignores the ties
    doubled = np.rint(2 * stats.rankdata(np.abs(d))).astype(np.int64)  # mean ranks are halves
    share = np.ones(1)  # share[s] = P(2 R+ = s) if either sign of each difference is as likely
    for rank in doubled.tolist():
        share = np.convolve(share, np.bincount([0, rank]) / 2)
    seen = doubled[d > 0].sum()
    return float(min(1, 2 * min(share[: seen + 1].sum(), share[seen:].sum())))


def holm(p_values: Iterable[float | None]) -> list[float | None]:
    """Holm's step-down adjusted p-values, in the order given; Holm, Scand. J. Statist. 6, 1979.

    The j-th smallest of m is max_{i<=j} min(1, (m - i + 1) p_(i)). None or NaN is a test left out:
    not counted in m, None in the list returned. Raises ValueError outside [0, 1].
    """
    p = np.array(p_values, dtype=np.float64)  # None becomes NaN
    tested = np.flatnonzero(~np.isnan(p))
    if ((p[tested] < 0) | (p[tested] > 1)).any():
        raise ValueError(f"p-values must be numbers in [0, 1], got {list(p_values)}")
    order = tested[np.argsort(p[tested])]
    still_open = np.arange(len(order), 0, -1)  # m - i + 1
    adjusted = np.minimum(np.maximum.accumulate(still_open * p[order]), 1)
    found = dict(zip(order.tolist(), adjusted.tolist(), strict=True))
    return [found.get(place) for place in range(len(p))]


def cohen_d_z(differences: ArrayLike) -> float:
    """Mean of differences (n,) over their standard deviation (n - 1); Cohen 1988, Lakens 2013.

    0 if all differences are 0; infinite, with their sign, if they are equal otherwise.
    """
    d = _checked(differences)
    if np.ptp(d) == 0:
        return math.copysign(math.inf, d[0]) if d[0] else 0.0
    return float(d.mean() / d.std(ddof=1))


def rank_biserial(differences: ArrayLike) -> float:
    """Matched-pairs rank-biserial correlation (R+ - R-) / (R+ + R-), Kerby 2014; in [-1, 1].

    R+ and R-: Wilcoxon's sums of ranks, zero differences left out; 0 if nothing is left.
    """
    d = _checked(differences)
    d = d[d != 0]
    ranks = stats.rankdata(np.abs(d))
    return float((ranks * np.sign(d)).sum() / ranks.sum()) if len(d) else 0.0


def bootstrap_interval(
    differences: ArrayLike, seed: int = 0, level: float = 0.95, n: int = 2000
) -> Interval:
    """Of the mean difference: the percentile bootstrap, Efron 1979, of n resamples."""
    check_number("level", level, 0, 1)
    check_integer("n", n, 1)
    d = _checked(differences)
    batch, generator = max(1, RESAMPLED // len(d)), np.random.default_rng(seed)
    how = {"n_resamples": n, "batch": batch, "confidence_level": level, "method": "percentile"}
    found = stats.bootstrap((d,), np.mean, random_state=generator, **how)
    return tuple(map(float, found.confidence_interval))


def t_interval(differences: ArrayLike, level: float = 0.95) -> Interval:
    """Of the mean difference, by Student's t distribution."""
    check_number("level", level, 0, 1)
    d = _checked(differences)
    reach = stats.t.ppf((1 + level) / 2, len(d) - 1) * d.std(ddof=1) / math.sqrt(len(d))
    return float(d.mean() - reach), float(d.mean() + reach)
