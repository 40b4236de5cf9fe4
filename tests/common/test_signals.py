import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from common import graph
from common.signals import GivenRows, HistorySignals, hide_items, item_vectors

USERS, ITEMS, RANK = 30, 20, 6


def random_matrix(seed=0):
    """A binary CSR with one user and one item without interactions."""
    dense = (np.random.default_rng(seed).random((USERS, ITEMS)) < 0.2).astype(float)
    dense[3], dense[:, 5] = 0, 0
    return graph.binary_csr(sp.coo_matrix(dense))


def batch(histories):
    """Lists of items as items (N,) and begin (B,)."""
    sizes = np.array([len(mine) for mine in histories])
    items = torch.tensor([i for mine in histories for i in mine], dtype=torch.int64)
    return items, torch.from_numpy(sizes.cumsum() - sizes)


def lists(items, begin):
    return [part.tolist() for part in torch.tensor_split(items, begin[1:].tolist())]


def signals(matrix, features=None, **changed):
    config = {
        "svd_rank": RANK,
        "svd_input": "normalized",
        "item_block": "mean",
        "signal_scale": "none",
        "feature_norm": True,
        "cache_dir": None,
    } | changed
    options = {key: config[key] for key in ("svd_rank", "svd_input", "item_block")}
    c = graph.collaborative_signal(matrix, **options)
    features = [] if features is None else [features]
    raw = [graph.preference_signal(matrix, x, config["feature_norm"]) for x in features]
    found = HistorySignals(matrix, features, c, raw, config)
    c, *m = (graph.scaled(signal, config["signal_scale"]) for signal in (c, *raw))
    return found, c, m


@given(
    st.lists(st.lists(st.integers(0, 50), max_size=9, unique=True).map(sorted), min_size=1),
    st.floats(0, 0.99),
    st.integers(0, 99),
)
def test_hidden_histories_are_parts_of_the_whole_ones(histories, chance, seed):
    torch.manual_seed(seed)
    left = lists(*hide_items(*batch(histories), chance))
    assert len(left) == len(histories)
    for mine, whole in zip(left, histories, strict=True):
        assert mine == [i for i in whole if i in mine]  # in the order of before
        assert bool(mine) == bool(whole)
        if chance == 0:
            assert mine == whole


def test_items_are_hidden_with_the_chance_given_and_one_stays():
    torch.manual_seed(0)
    left = lists(*hide_items(*batch([list(range(200))] * 50), 0.8))
    share = np.mean([len(mine) for mine in left]) / 200
    assert share == pytest.approx(0.2, abs=5 * np.sqrt(0.16 / 10_000))
    pairs = lists(*hide_items(*batch([[4, 7]] * 4_000), 0.9))
    # both stay: 0.01; else the one that drew more, 4 or 7 alike
    for mine, wanted in (([4], 0.495), ([7], 0.495), ([4, 7], 0.01)):
        found = np.mean([one == mine for one in pairs])
        assert found == pytest.approx(wanted, abs=5 * np.sqrt(wanted * (1 - wanted) / 4_000))


@pytest.mark.parametrize("svd_input", ["raw", "normalized"])
@pytest.mark.parametrize("item_block", ["paper", "mean", "scaled", "none"])
@pytest.mark.parametrize("signal_scale", ["global", "column", "none"])
@pytest.mark.parametrize("norm", [True, False])
def test_signals_of_any_history_equal_a_loop(svd_input, item_block, signal_scale, norm):
    matrix = random_matrix()
    features = np.random.default_rng(1).standard_normal((ITEMS, 4)).astype(np.float32)
    options = {"svd_input": svd_input, "item_block": item_block, "signal_scale": signal_scale}
    found, _, _ = signals(matrix, features, feature_norm=norm, **options)
    decomposed = matrix if svd_input == "raw" else graph.normalized(matrix)
    _, values, items = graph.randomized_svd(decomposed, RANK)
    degree = np.bincount(matrix.indices, minlength=ITEMS)
    read = features / np.linalg.norm(features, axis=1, keepdims=True) if norm else features
    histories = [[1, 4, 9], [7], [], [0, 2, 3, 8, 11]]
    c, (m,) = found(*batch(histories))
    raw_c = graph.collaborative_signal(matrix, RANK, svd_input, item_block)
    raw_m = graph.preference_signal(matrix, features, norm)
    for b, mine in enumerate(histories):
        near, mean, u, m_u = np.zeros(RANK), np.zeros(RANK), np.zeros(RANK), np.zeros(4)
        for i in mine:
            share = 1 / np.sqrt(len(mine) * degree[i])
            near += items[i] * share
            mean += items[i] / len(mine)
            u += items[i] / values * (1 if svd_input == "raw" else share)
            m_u += read[i] * share
        u /= max(1, np.linalg.norm(u))
        second = {"paper": near, "mean": mean, "scaled": near * values, "none": []}[item_block]
        for got, by_hand, raw in ((c, np.concatenate([u, second]), raw_c), (m, m_u, raw_m)):
            centre, spread = graph.scaling(raw, signal_scale)
            np.testing.assert_allclose(got[b], (by_hand - centre) / spread, rtol=1e-4, atol=1e-5)


def test_of_whole_histories_they_are_the_training_users():
    matrix = random_matrix()
    features = np.random.default_rng(1).standard_normal((ITEMS, 4)).astype(np.float32)
    found, c, (m,) = signals(matrix, features, svd_rank=ITEMS, signal_scale="global")
    got_c, (got_m,) = found(*graph.HistoryRows(matrix).bags(torch.arange(USERS)))
    np.testing.assert_allclose(got_c, c, atol=1e-4)  # all singular vectors: N V S^-1 is U
    np.testing.assert_allclose(got_m, m, atol=1e-5)


def test_a_vector_is_never_longer_than_1():
    matrix = random_matrix()
    found, *_ = signals(matrix, svd_rank=ITEMS)
    history = batch([[1, 8, 14, 17]])
    c, _ = found(*history)
    u = c[0, : len(found.values)]
    weights = found.item_scale[history[0]]
    by_hand = weights @ found.vectors[history[0]] / 2 / found.values
    assert by_hand.norm() > 1.05  # small singular values make it long
    assert u.norm().item() == pytest.approx(1)
    torch.testing.assert_close(u, by_hand / by_hand.norm())


@pytest.mark.parametrize("rank", [RANK, ITEMS])
def test_item_vectors_are_the_svds_that_found_the_users(rank):
    decomposed = graph.normalized(random_matrix())
    users, values, items = graph.randomized_svd(decomposed, rank)
    found_values, found = item_vectors(decomposed, users.astype(np.float32))
    np.testing.assert_allclose(found_values, values, rtol=1e-5)
    np.testing.assert_allclose(found, items, atol=1e-4)


def test_small_singular_values_take_no_precision():
    dense = np.random.default_rng(0).random((300, 300)) < 0.05
    matrix = graph.binary_csr(sp.coo_matrix(dense.astype(float)))
    decomposed = graph.normalized(matrix)
    users, values, _ = graph.randomized_svd(decomposed, 300)
    assert values[-1] < 1e-3 * values[0]
    found_values, found = item_vectors(decomposed, users.astype(np.float32))
    folded_in = decomposed @ found / found_values
    assert np.linalg.norm(folded_in - users) < 1e-4 * np.linalg.norm(users)


def test_no_modality():
    found, *_ = signals(random_matrix())
    c, preferences = found(*batch([[1, 2]]))
    assert c.shape == (1, 2 * RANK)
    assert preferences == []


def test_given_rows_are_the_batch():
    items, begin = batch([[1, 3], [], [0]])
    rows = GivenRows(items, begin, 4).dense(torch.arange(3))
    assert rows.tolist() == [[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]]
