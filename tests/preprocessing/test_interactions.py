"""De-duplication, samples, k-core: against slow references, and by property."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ld4mrec.errors import UserError
from ld4mrec.preprocessing.steps import collecting, interactions
from ld4mrec.preprocessing.steps.collecting import Collector, NumberCodes, TextCodes
from ld4mrec.preprocessing.steps.interactions import (
    coded,
    earliest,
    k_core,
    sample_for_core,
    sample_users,
    user_order,
)
from ld4mrec.preprocessing.steps.raw import RawError

PAIR = st.tuples(st.integers(0, 12), st.integers(0, 9))
PAIRS = st.sets(PAIR, min_size=1, max_size=60).map(sorted)
ROW = st.tuples(st.integers(0, 7), st.integers(0, 5), st.integers(0, 2**31 - 1))


def made(pairs):
    """Interactions of (user number, item number) pairs, times by position."""
    users, items = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return coded(users, items, np.arange(len(pairs)))


def pairs_of(some):
    return set(
        zip(
            some.user_ids.values[some.users].tolist(),
            some.item_ids.values[some.items].tolist(),
            strict=True,
        )
    )


def random_pairs(n, users=60, items=40, seed=0):
    rng = np.random.default_rng(seed)
    return sorted(set(zip(rng.integers(users, size=n), rng.integers(items, size=n), strict=True)))


def slow_core(pairs, k):
    """Drops one user or item after the other, in no particular order."""
    pairs = set(pairs)
    while True:
        for side in (0, 1):
            for one in {pair[side] for pair in pairs}:
                mine = {pair for pair in pairs if pair[side] == one}
                if len(mine) < k:
                    pairs -= mine
                    break
            else:
                continue
            break
        else:
            return pairs


@given(PAIRS, st.integers(1, 4))
def test_k_core_equals_the_slow_one(pairs, k):
    core, rounds = k_core(made(pairs), k)
    assert pairs_of(core) == slow_core(pairs, k)
    assert rounds[-1] == core.counts()
    assert rounds[0] == made(pairs).counts()
    assert all(a[2] > b[2] for a, b in itertools.pairwise(rounds))


@given(PAIRS, st.integers(1, 4), st.randoms())
def test_k_core_is_idempotent_and_does_not_hang_on_order(pairs, k, random):
    core, _ = k_core(made(pairs), k)
    again, rounds = k_core(core, k)
    assert pairs_of(again) == pairs_of(core)
    assert len(rounds) == 1
    random.shuffle(pairs)
    assert pairs_of(k_core(made(pairs), k)[0]) == pairs_of(core)
    # maximal: every part whose users and items have k interactions lies within
    assert slow_core(pairs, k) <= pairs_of(core)


@given(st.lists(ROW, max_size=40), st.integers(1, 8), st.integers(1, 30))
def test_earliest_is_the_minimum_per_pair(rows, slice_rows, part):
    wanted = {}
    for user, item, time in rows:
        wanted[user, item] = min(time, wanted.get((user, item), time))
    columns = np.array(rows, dtype=np.int32).reshape(-1, 3).T
    parts = [tuple(columns[:, at : at + part]) for at in range(0, max(1, len(rows)), part)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interactions, "SLICE", slice_rows)
        users, items, times = earliest(parts)
    assert list(zip(users.tolist(), items.tolist(), times.tolist(), strict=True)) == [
        (*pair, time) for pair, time in sorted(wanted.items())
    ]
    assert users.dtype == items.dtype == times.dtype == np.int32


def test_earliest_where_a_row_does_not_fit_one_number():
    big = np.array([0, 2**31 - 1, 0, 0], dtype=np.int64)
    users, items, times = earliest([(big, big.copy(), np.array([9, 2**40, 4, 7]))])
    assert users.tolist() == items.tolist() == [0, 2**31 - 1]
    assert times.tolist() == [4, 2**40]


@given(st.lists(ROW, max_size=60), st.integers(1, 20), st.sampled_from([None, 1, 3, 100]))
def test_collector_does_not_hang_on_blocks(rows, size, most_users):
    columns = np.array(rows, dtype=np.int32).reshape(-1, 3).T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Collector, "PART", 4)
        patch.setattr(Collector, "MOST_PENDING", 7)
        collector = Collector(most_users, seed=3)
        for at in range(0, len(rows), size):
            collector.add(*columns[:, at : at + size])
        got = collector.result()
    users = np.unique(columns[0])
    first = users[np.argsort(user_order(users.astype(np.uint64), 3))][:most_users]
    chosen = np.isin(columns[0], first)
    wanted = earliest([tuple(columns[:, chosen])])
    assert [column.tolist() for column in got] == [column.tolist() for column in wanted]


def test_the_collector_forgets_repeated_rows(monkeypatch):
    monkeypatch.setattr(Collector, "PART", 10)
    monkeypatch.setattr(Collector, "MOST_PENDING", 50)
    collector, row = Collector(), np.arange(10, dtype=np.int32)
    for _ in range(100):
        collector.add(row, row, row)
        assert sum(len(part[0]) for part in collector.parts) <= 70
    assert collector.result()[0].tolist() == row.tolist()


@given(st.lists(st.lists(st.integers(0, 50), max_size=10), max_size=6))
def test_number_codes_count_in_order_of_appearance(blocks):
    codes, known = NumberCodes(), {}
    for block in blocks:
        wanted = [known.setdefault(number, len(known)) for number in block]
        assert codes(np.array(block, dtype=np.int64)).tolist() == wanted
    assert codes.ids().values.tolist() == list(known)


@given(st.lists(st.lists(st.text("ab", min_size=8, max_size=8), max_size=10), max_size=6))
def test_text_codes_count_in_order_of_appearance(blocks):
    codes, known = TextCodes(8), {}
    for block in blocks:
        wanted = [known.setdefault(text, len(known)) for text in block]
        texts = np.frombuffer("".join(block).encode(), dtype=np.uint8).reshape(-1, 8)
        assert codes(texts).tolist() == wanted
    assert codes.ids().texts() == list(known)


def test_text_codes_grow_and_refuse_a_shared_key():
    codes = TextCodes(16)
    texts = np.frombuffer(b"".join(b"%016d" % n for n in range(3000)), np.uint8).reshape(-1, 16)
    assert codes(texts).tolist() == list(range(3000))
    assert codes(texts[::-1]).tolist() == list(range(3000))[::-1]
    codes.weights[:] = 0  # every text has the key 0 now
    with pytest.raises(RawError, match="share a 64-bit key"):
        codes(texts[:2])
    with pytest.raises(ValueError, match="whole 8-byte words, got 10"):
        TextCodes(10)


@pytest.mark.parametrize("limit", [0, collecting.np.iinfo(np.int64).max])
def test_compressed_codes_are_ascending(limit, monkeypatch):
    monkeypatch.setattr(interactions, "LARGEST_TABLE", limit)
    codes, numbers = interactions.compressed(np.array([7, 3, 7, 900]))
    assert codes.tolist() == [1, 0, 1, 2]
    assert numbers.tolist() == [3, 7, 900]


def test_renumbered_ids_have_no_gaps_and_lead_back():
    some = made(random_pairs(300)).take(slice(40, 200))
    new = some.renumbered()
    assert pairs_of(new) == pairs_of(some)
    for codes, ids in ((new.users, new.user_ids), (new.items, new.item_ids)):
        assert sorted(set(codes.tolist())) == list(range(len(ids)))
        assert (np.diff(ids.values) > 0).all()


def test_ids_are_written_as_the_raw_files_write_them():
    assert interactions.Ids(np.array([7, 12]), prefix="u").texts() == ["u7", "u12"]
    assert interactions.Ids(np.array([7, 12]), digits=4).texts() == ["0007", "0012"]


@given(PAIRS, st.integers(0, 5))
def test_samples_are_nested_and_do_not_hang_on_order(pairs, seed):
    some = made(pairs)
    n_users = some.counts()[0]
    before = set()
    for n in range(1, n_users + 1):
        drawn = pairs_of(sample_users(some, n, seed))
        assert before < drawn
        assert len({user for user, _ in drawn}) == n
        assert drawn == pairs_of(sample_users(made(pairs[::-1]), n, seed))
        # a user comes with all its rows
        assert {p for p in pairs if p[0] in {user for user, _ in drawn}} == drawn
        before = drawn


def test_another_seed_draws_other_users():
    some = made(random_pairs(900))
    drawn = [frozenset(u for u, _ in pairs_of(sample_users(some, 30, seed))) for seed in range(4)]
    assert len(set(drawn)) == 4


def test_user_order_is_a_bijection_that_looks_uniform():
    order = user_order(np.arange(100_000, dtype=np.uint64), 7)
    assert len(np.unique(order)) == 100_000
    shares = np.histogram(order.astype(float), bins=10, range=(0, 2.0**64))[0] / 100_000
    assert shares == pytest.approx(0.1, abs=0.005)


def test_more_users_than_there_are():
    with pytest.raises(UserError, match="--users 99: the data has 5 users"):
        sample_users(made([(u, 0) for u in range(5)]), 99, 0)


@pytest.mark.parametrize("seed", range(4))
def test_a_sample_for_a_core_of_a_size(seed):
    some = made(random_pairs(4000, users=400, items=60, seed=seed))
    for target in (100, 150, 300):
        drawn, n = sample_for_core(some, 5, target, seed)
        assert abs(k_core(drawn, 5)[0].counts()[0] - target) <= 0.01 * target
        assert pairs_of(drawn) == pairs_of(sample_users(some, n, seed))


def test_no_sample_has_such_a_core():
    some = made(random_pairs(900))
    everything = k_core(some, 5)[0].counts()[0]
    message = f"no sample of users has a 5-core of 1000 users .* {everything} users out of"
    with pytest.raises(UserError, match=message):
        sample_for_core(some, 5, 1000, 0)


@given(PAIRS, st.integers(1, 3), st.integers(0, 3))
def test_the_core_grows_with_the_sample(pairs, k, seed):
    some = made(pairs)
    sizes = [
        k_core(sample_users(some, n, seed), k)[0].counts()[0]
        for n in range(1, some.counts()[0] + 1)
    ]
    assert sizes == sorted(sizes)
