import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from ld4mrec.comparison.significance import (
    bootstrap_interval,
    cohen_d_z,
    compare_seeds,
    compare_users,
    holm,
    mean_over_seeds,
    paired_differences,
    paired_t,
    rank_biserial,
    t_interval,
    wilcoxon,
)
from ld4mrec.errors import RunError

SMALL = [0.5, 0.25, -0.125, 0.0]  # by hand: mean .15625, R+ = 3 + 2, R- = 1

# recalls of users with one to four relevant items, so that ties and zero differences are frequent
recalls = st.sampled_from([0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1])
pairs = st.lists(st.tuples(recalls, recalls), min_size=2, max_size=60).map(np.array)
probabilities = st.floats(0, 1)


def planted(gap, n=500, seed=0):
    """Per-user values of two systems whose means differ by about gap."""
    generator = np.random.default_rng(seed)
    values = generator.random((2, n))
    values[0] += gap
    return values


# --- tests ---


@given(pairs)
def test_t_is_scipys(table):
    d = paired_differences(*table.T)
    assume(np.ptp(d) > 0)
    assert paired_t(d) == pytest.approx(stats.ttest_rel(*table.T).pvalue, rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 7, 20, 49, 50, 51, 52, 400])
def test_wilcoxon_without_ties_is_scipys(n):
    d = np.random.default_rng(n).normal(0.2, 1, size=n)
    assert wilcoxon(np.append(d, 0)) == pytest.approx(stats.wilcoxon(d).pvalue, rel=1e-9)


def test_wilcoxon_of_many_with_ties_is_scipys():
    d = np.random.default_rng(0).choice([-0.5, 0, 0, 0.25, 0.5], size=300)
    assert wilcoxon(d) == stats.wilcoxon(d, zero_method="wilcox").pvalue


@given(st.lists(st.integers(-4, 4), min_size=2, max_size=9))
def test_wilcoxon_of_few_is_exact(d):
    """With ties too: the share of all signs whose sum of signed ranks is as far from zero."""
    d = np.array(d)
    sizes = stats.rankdata(np.abs(d[d != 0]))
    signs = np.array(list(itertools.product([-1, 1], repeat=len(sizes))))
    seen = abs(sizes @ np.sign(d[d != 0]))
    assert wilcoxon(d) == pytest.approx((abs(signs @ sizes) >= seen).mean())


def test_wilcoxon_hardly_jumps_where_it_stops_to_be_exact(monkeypatch):
    d = np.random.default_rng(1).choice([-0.5, -0.25, 0.25, 0.5, 1], size=50)
    exact = wilcoxon(d)
    monkeypatch.setattr("ld4mrec.comparison.significance.MOST_FOR_EXACT", 49)
    assert wilcoxon(d) == pytest.approx(exact, abs=0.005)
    assert wilcoxon(d) != exact


@given(pairs)
def test_the_other_way_round_only_signs_change(table):
    d = paired_differences(*table.T)
    for test in (paired_t, wilcoxon):
        assert test(d) == pytest.approx(test(-d))
    for size in (rank_biserial, cohen_d_z):
        assert size(d) == pytest.approx(-size(-d))


def test_t_by_hand():
    # differences 1, 2, 3: t = 2 / (1 / sqrt 3) with 2 degrees of freedom
    t = 2 * math.sqrt(3)
    expected = 1 - t / math.sqrt(2 + t**2)  # 2 P(T > t) in closed form for 2 degrees
    assert paired_t([1, 2, 3]) == pytest.approx(expected)


@pytest.mark.parametrize("n", [6, 7, 10])
def test_wilcoxon_of_equal_signs_is_2_over_2_to_the_n(n):
    assert wilcoxon(np.arange(1, n + 1)) == pytest.approx(2 / 2**n)
    assert wilcoxon(np.ones(n)) == pytest.approx(2 / 2**n)  # with ties too


def test_wilcoxon_leaves_zero_differences_out():
    d = np.array([0.5, -0.25, 0.375, 0.125, 0.75, 0.625, 1.0])
    assert wilcoxon(np.concatenate([d, np.zeros(100)])) == wilcoxon(d)


def test_rounding_is_no_difference():
    """0.1 + 0.2 is not 0.3: seeds' means of equal values in another order."""
    d = np.full(8, 0.1 + 0.2) - 0.3
    assert d.all()
    assert (paired_t(d), wilcoxon(d), cohen_d_z(d)) == (1, 1, 0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [2, 14, 60])
def test_equal_systems(n):
    d = np.zeros(n)
    assert (paired_t(d), wilcoxon(d), cohen_d_z(d), rank_biserial(d)) == (1, 1, 0, 0)
    assert bootstrap_interval(d) == t_interval(d) == (0, 0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("gap", [0.1, -0.1])
def test_a_constant_gap(gap):
    d = np.full(5, gap)
    assert paired_t(d) == 0
    assert cohen_d_z(d) == math.copysign(math.inf, gap)
    assert rank_biserial(d) == np.sign(gap)
    assert bootstrap_interval(d) == pytest.approx((gap, gap))


@pytest.mark.parametrize("test", [paired_t, wilcoxon, cohen_d_z, rank_biserial])
def test_what_cannot_be_tested_is_refused(test):
    with pytest.raises(ValueError, match="at least two pairs, got 1"):
        test([1.0])
    with pytest.raises(ValueError, match=r"two \(n,\) arrays, got \(2, 1\) and \(2, 1\)"):
        test(np.ones((2, 1)))
    with pytest.raises(ValueError, match="must be finite"):
        test([1, math.nan])


def test_what_cannot_be_paired_is_refused():
    with pytest.raises(ValueError, match=r"two \(n,\) arrays, got \(2,\) and \(3,\)"):
        paired_differences([1, 2], [1, 2, 3])


# --- Holm ---


def test_holm_by_hand():
    # sorted .01 .02 .03 .04, times 4 3 2 1: .04 .06 .06 .04, the last held up by the one before
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1, 1]
    assert holm([]) == []


def test_holm_does_not_count_tests_left_out():
    assert holm([0.03, None, 0.01, math.nan]) == [0.03, None, 0.02, None]
    assert holm([None, None]) == [None, None]


@given(st.lists(probabilities, min_size=1, max_size=12), st.randoms())
def test_holm_is_monotone_bounded_and_equivariant(p, random):
    adjusted = holm(p)
    bonferroni = np.minimum(np.array(p) * len(p), 1)
    assert (np.array(adjusted) >= p).all()
    assert (adjusted <= bonferroni + 1e-15).all()
    order = np.argsort(p)
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
    shuffled = random.sample(range(len(p)), len(p))
    assert holm([p[i] for i in shuffled]) == [adjusted[i] for i in shuffled]


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.inf])
def test_holm_refuses_what_is_no_probability(wrong):
    with pytest.raises(ValueError, match=r"p-values must be numbers in \[0, 1\]"):
        holm([0.1, wrong])


# --- effect sizes, intervals ---


def test_effect_sizes_by_hand():
    assert cohen_d_z([1, 2, 3]) == pytest.approx(2)
    assert rank_biserial(SMALL) == pytest.approx((3 + 2 - 1) / 6)
    assert rank_biserial([1, 1, -1, 0]) == pytest.approx(1 / 3)  # ranks 2, 2, 2
    assert paired_differences([1, 2], [0.5, 3]).tolist() == [0.5, -1]


@given(pairs)
def test_rank_biserial_is_scipys_statistic(table):
    d = np.round(table[:, 0] - table[:, 1], 12)
    assume(d.any())
    n = (d != 0).sum()
    total, smaller = n * (n + 1) / 2, stats.wilcoxon(d[d != 0], method="asymptotic").statistic
    assert abs(rank_biserial(d)) == pytest.approx((total - 2 * smaller) / total)


def test_intervals_near_the_normal_one():
    d = np.random.default_rng(1).normal(0.3, 1, size=4000)
    half = 1.96 / math.sqrt(4000) * d.std()
    for low, high in (bootstrap_interval(d), t_interval(d)):
        assert (low, high) == pytest.approx((d.mean() - half, d.mean() + half), abs=0.1 * half)


def test_bootstrap_by_hand():
    """Of two values the mean of a resample is the low, the middle or the high one, 1 : 2 : 1."""
    assert bootstrap_interval([0, 1]) == (0, 1)
    assert bootstrap_interval([0, 1], level=0.4) == (0.5, 0.5)


def test_bootstrap_is_repeated_by_its_seed_whatever_the_blocks(monkeypatch):
    d = np.random.default_rng(0).random(50)
    first = bootstrap_interval(d, seed=3, n=200)
    assert first != bootstrap_interval(d, seed=4, n=200)
    assert first == bootstrap_interval(d, seed=3, n=200)
    monkeypatch.setattr("ld4mrec.comparison.significance.RESAMPLED", 7 * 50)
    assert first == bootstrap_interval(d, seed=3, n=200)


def test_t_interval_agrees_with_the_t_test():
    """Zero lies on the edge of the interval whose level is 1 - p."""
    d = [0.3, 0.1, -0.05, 0.2]
    low, _ = t_interval(d, level=1 - paired_t(d))
    assert low == pytest.approx(0)


def test_intervals_refuse():
    with pytest.raises(ValueError, match="level must be a number"):
        bootstrap_interval(SMALL, level=95)
    with pytest.raises(ValueError, match="level must be a number"):
        t_interval(SMALL, level=95)
    with pytest.raises(ValueError, match="n must be an integer >= 1"):
        bootstrap_interval(SMALL, n=0)


# --- over users ---


def seed_1(users, values):
    """A system with a single seed."""
    return {1: (users, values)}


def test_a_planted_gap_is_found_and_a_planted_tie_is_not():
    users = np.arange(500)
    better, same = planted(0.2)
    tie = planted(0.0, seed=1)[1]
    found = compare_users(
        seed_1(users, same + 0.2), {"gap": seed_1(users, better - 0.2), "tie": seed_1(users, tie)}
    )
    gap = found["gap"]
    assert gap.n == 500
    assert gap.interval[0] > 0
    assert max(gap.holm_t, gap.holm_wilcoxon) < 0.001
    assert 0.2 < gap.d_z < 1
    assert 0.2 < gap.rank_biserial < 1
    tied = compare_users(seed_1(users, same), {"tie": seed_1(users, tie)})["tie"]
    assert tied.interval[0] < 0 < tied.interval[1]
    assert min(tied.holm_t, tied.holm_wilcoxon) > 0.05


def test_no_more_false_alarms_than_promised():
    """Of 400 pairs of equal systems about 5 in 100 are called different at p < .05."""
    values = np.random.default_rng(0).choice([0, 0, 0, 0.5, 1], size=(400, 2, 60))
    for test in (paired_t, wilcoxon):
        alarms = np.mean([test(a - b) < 0.05 for a, b in values])
        assert 0.025 < alarms < 0.075


def test_each_test_is_corrected_for_all_comparisons():
    users = np.arange(40)
    best, *others = np.random.default_rng(0).random((4, 40))
    best = best + 0.15
    found = compare_users(
        seed_1(users, best), {f"m{i}": seed_1(users, o) for i, o in enumerate(others)}
    )
    for test in ("t", "wilcoxon"):
        raw = [getattr(c, f"p_{test}") for c in found.values()]
        assert [getattr(c, f"holm_{test}") for c in found.values()] == holm(raw)
    assert found["m1"].p_t == paired_t(best - others[1])
    assert found["m1"].difference == pytest.approx((best - others[1]).mean())
    assert found["m1"].note == ""


def test_users_are_paired_by_their_id():
    generator = np.random.default_rng(0)
    users, order = generator.permutation(30) * 3, generator.permutation(30)
    a, b = generator.random((2, 30))
    plain = compare_users(seed_1(users, a), {"x": seed_1(users, b)})
    assert compare_users(seed_1(users, a), {"x": seed_1(users[order], b[order])}) == plain


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ([1, 2, 4], "best system and x were not tested on the same users .3 and 3, 2 in one"),
        ([1, 2], "best system and x were not tested on the same users .3 and 2, 1 in one"),
        ([1, 2, 2], "a user stands twice in the results of the seeds of x"),
    ],
)
def test_other_users_are_refused(users, message):
    with pytest.raises(RunError, match=message):
        compare_users(seed_1([1, 2, 3], [0.1, 0.2, 0.3]), {"x": seed_1(users, [0.5] * len(users))})


def test_only_seeds_that_both_have_are_compared():
    """One lucky seed is no match for the mean of two."""
    users = np.arange(40)
    poor, lucky = np.random.default_rng(0).random((2, 40))
    best = {1: (users, lucky), 2: (users, poor)}
    same = compare_users(best, {"x": {1: (users[::-1], lucky[::-1])}})["x"]
    assert same.difference == 0
    assert same.left_out == "over seed 1; of 2 only one of the two is there"
    both = compare_users(best, {"x": {1: (users, poor), 2: (users, poor)}})["x"]
    assert both.difference == pytest.approx((lucky - poor).mean() / 2)
    assert both.left_out == ""
    none = compare_users(best, {"x": {3: (users, lucky)}})["x"]
    assert (none.n, none.difference, none.p_t) == (0, None, None)
    assert none.note == "seeds shared: 0; nothing can be tested"
    assert none.left_out == "over no seed; of 1, 2, 3 only one of the two is there"


def test_users_without_values_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\) users have values of shape \(2,\)"):
        compare_users(seed_1([1, 2, 3], [0.1, 0.2]), {"x": seed_1([1, 2, 3], [0.1, 0.2, 0.3])})


def test_mean_over_seeds_by_user():
    users, values = mean_over_seeds([([3, 1], [0.5, 0.0]), ([1, 3], [1.0, 0.0])], "x")
    assert users.tolist() == [1, 3]
    assert values.tolist() == [0.5, 0.25]
    with pytest.raises(RunError, match="the seeds of x were not tested on the same users"):
        mean_over_seeds([([3, 1], [0.5, 0.0]), ([1, 2], [1.0, 0.0])], "x")


# --- over seeds ---


def test_five_seeds_have_no_wilcoxon_and_six_have():
    best = {s: 0.10 + 0.001 * s for s in range(6)}
    other = {s: 0.09 + 0.0015 * s for s in range(6)}
    six = compare_seeds(best, {"x": other})["x"]
    assert six.p_wilcoxon == six.holm_wilcoxon == pytest.approx(2 / 2**6)
    assert six.note == ""
    del other[0]
    del best[0]
    five = compare_seeds(best, {"x": other})["x"]
    assert five.p_wilcoxon is five.holm_wilcoxon is None
    assert "over 5 seeds no p-value is below 2/2^5 = 0.0625" in five.note
    assert five.p_t == five.holm_t == paired_t([0.01 - 0.0005 * s for s in best])
    assert five.interval == t_interval([0.01 - 0.0005 * s for s in range(1, 6)])
    assert six.d_z > 1
    assert five.d_z is five.rank_biserial is None
    assert "Effect sizes are left out" in five.note


def test_seeds_are_paired_by_their_number():
    best, other = {1: 0.3, 2: 0.1, 3: 0.2}, {3: 0.1, 9: 0.7, 1: 0.1}
    found = compare_seeds(best, {"x": other})["x"]
    assert found.n == 2
    assert found.difference == pytest.approx(0.15)
    assert found.left_out == "over seeds 1, 3; of 2, 9 only one of the two is there"
    assert found.note.startswith("Wilcoxon")


def test_systems_without_chance_are_not_tested_over_seeds():
    """Popularity against EASE: five equal differences say nothing about other seeds."""
    constant, other = dict.fromkeys(range(5), 0.3), dict.fromkeys(range(5), 0.1)
    found = compare_seeds(constant, {"x": other, "y": {s: 0.1 + s / 100 for s in range(5)}})
    assert found["x"].difference == pytest.approx(0.2)
    assert [found["x"].p_t, found["x"].interval, found["x"].d_z] == [None] * 3
    assert found["x"].note.startswith("each of the two has the same value with every seed")
    assert found["y"].p_t == found["y"].holm_t > 0  # the other pair is not corrected for


def test_one_seed_tells_nothing():
    found = compare_seeds({1: 0.3}, {"x": {1: 0.1}, "y": {2: 0.1}})
    assert found["x"].difference == pytest.approx(0.2)
    for c in found.values():
        assert [c.p_t, c.holm_t, c.p_wilcoxon, c.interval, c.d_z, c.rank_biserial] == [None] * 6
    assert found["x"].note == "seeds shared: 1; nothing can be tested"
    assert found["y"].n == 0
    assert found["y"].difference is None
    assert found["y"].note.endswith("seeds shared: 0; nothing can be tested")


def test_a_pair_left_out_does_not_raise_the_others_correction():
    best = {s: 0.1 + 0.01 * s**2 for s in range(4)}
    others = {"x": dict.fromkeys(range(4), 0.1), "y": {0: 0.1}}
    found = compare_seeds(best, others)
    assert found["x"].holm_t == found["x"].p_t
