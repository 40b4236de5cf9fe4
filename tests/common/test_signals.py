import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from common import graph, signals
from common.signals import (
    FromHistory,
    GivenRows,
    HistorySignals,
    hide_items,
    scaling,
    unit_rows,
)
from common.svd import item_vectors

USERS, ITEMS, RANK = 30, 20, 6


def random_matrix(seed=0):
    """A binary CSR with one user and one item without interactions."""
    dense = (np.random.default_rng(seed).random((USERS, ITEMS)) < 0.2).astype(float)
    dense[3], dense[:, 5] = 0, 0
    return graph.binary_csr(sp.coo_matrix(dense))


def batch(histories):
    """Lists of items as items (N,) and begin (B,)."""
    sizes = np.array([len(mine) for mine in histories], dtype=np.int64)
    items = torch.tensor([i for mine in histories for i in mine], dtype=torch.int64)
    return items, torch.from_numpy(sizes.cumsum() - sizes)


def lists(items, begin):
    return [part.tolist() for part in torch.tensor_split(items, begin[1:].tolist())]


CONFIG = {
    "svd_rank": RANK,
    "svd_input": "normalized",
    "item_block": "mean",
    "signal_scale": "none",
    "feature_norm": True,
    "cache_dir": None,
}


def built(matrix, *features, **changed):
    return HistorySignals(matrix, list(features), CONFIG | changed)


def of_training_users(found, matrix):
    return found(*graph.HistoryRows(matrix).bags(torch.arange(matrix.shape[0])))


def some_features():
    features = np.random.default_rng(1).standard_normal((ITEMS, 4)).astype(np.float32)
    features[7] = 0  # an item without an image
    return features


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


def by_hand(mine, matrix, features, config):
    """c and m of one history, before scaling, item by item."""
    decomposed = matrix if config["svd_input"] == "raw" else graph.normalized(matrix)
    values, *items = item_vectors(decomposed, config["svd_rank"]).astype(np.float64)
    degree = np.bincount(matrix.indices, minlength=ITEMS)
    rank = len(values)
    near, mean, u, m = np.zeros(rank), np.zeros(rank), np.zeros(rank), np.zeros(4)
    for i in mine:
        share = 1 / np.sqrt(len(mine) * degree[i])
        near += items[i] * share
        mean += items[i] / len(mine)
        u += items[i] / values * (1 if config["svd_input"] == "raw" else share)
        length = np.sqrt((features[i] ** 2).sum())
        m += features[i] * share / (length if config["feature_norm"] and length > 0 else 1)
    u /= max(1, np.linalg.norm(u))
    second = {"paper": near, "mean": mean, "scaled": near * values, "none": []}
    return np.concatenate([u, second[config["item_block"]]]), m


def scaled_by_hand(raw, training, how):
    """raw (B, F) by numpy's mean and deviation of the training users' rows (U, F)."""
    if how == "none":
        return raw
    if how == "global":
        return raw / training.std()
    spread = training.std(0)
    return (raw - training.mean(0)) / np.where(spread > 0, spread, 1)


@pytest.mark.parametrize("svd_input", ["raw", "normalized"])
@pytest.mark.parametrize("item_block", ["paper", "mean", "scaled", "none"])
@pytest.mark.parametrize("signal_scale", ["global", "column", "none"])
@pytest.mark.parametrize("norm", [True, False])
def test_signals_of_any_history_equal_a_loop(svd_input, item_block, signal_scale, norm):
    matrix, features = random_matrix(), some_features()
    options = {"svd_input": svd_input, "item_block": item_block, "signal_scale": signal_scale}
    options["feature_norm"] = norm
    found = built(matrix, features, **options)
    training = [matrix[[u]].indices for u in range(USERS)]  # of one user, none
    histories = [[1, 4, 9], [7], [], [0, 2, 3, 8, 11]]
    raw = [
        [
            np.array(part)
            for part in zip(
                *(by_hand(m, matrix, features, CONFIG | options) for m in of), strict=True
            )
        ]
        for of in (training, histories)
    ]
    for of, given_raw in zip((training, histories), raw, strict=True):
        c, (m,) = found(*batch(of))
        assert c.dtype == m.dtype == torch.float32
        assert c.shape == (len(of), found.width)
        assert found.width == RANK * (1 if item_block == "none" else 2)
        for got, mine, everybody in zip((c, m), given_raw, raw[0], strict=True):
            expected = scaled_by_hand(mine, everybody, signal_scale)
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("svd_input", ["raw", "normalized"])
@pytest.mark.parametrize("rank", [RANK, ITEMS])
def test_training_users_vectors_are_those_of_the_decomposition(svd_input, rank):
    """Equation 14's U, though only V and S are kept; and the bound on lengths cuts none of them."""
    matrix = random_matrix()
    found = built(matrix, svd_rank=rank, svd_input=svd_input, item_block="none")
    u, _ = of_training_users(found, matrix)
    decomposed = matrix if svd_input == "raw" else graph.normalized(matrix)
    users, values, _ = np.linalg.svd(decomposed.toarray())
    kept = min(rank, ITEMS - 1)  # one item is empty
    assert u.shape == (USERS, kept)
    np.testing.assert_allclose(found.values, values[:kept], rtol=1e-4)
    cosines = np.abs((users[:, :kept] * u.numpy()).sum(0))
    np.testing.assert_allclose(cosines, 1, atol=1e-3)
    found.longest = np.inf
    torch.testing.assert_close(of_training_users(found, matrix)[0], u)


@pytest.mark.parametrize("how", ["global", "column"])
@pytest.mark.parametrize("item_block", ["mean", "scaled", "none"])
def test_signals_are_scaled_over_all_training_users(how, item_block):
    matrix, features = random_matrix(), some_features()
    c, (m,) = of_training_users(
        built(matrix, features, signal_scale=how, item_block=item_block), matrix
    )
    for signal in (c.double().numpy(), m.double().numpy()):
        if how == "global":
            assert signal.std() == pytest.approx(1, rel=1e-5)
        else:
            np.testing.assert_allclose(signal.mean(0), 0, atol=1e-5)
            np.testing.assert_allclose(signal.std(0), 1, rtol=1e-5)


@pytest.mark.parametrize("how", ["global", "column"])
def test_blocks_of_users_change_nothing(monkeypatch, how):
    matrix, features = random_matrix(), some_features()
    whole = built(matrix, features, signal_scale=how)
    monkeypatch.setattr(signals, "SIGNAL_ROWS", 7)
    parts = built(matrix, features, signal_scale=how)
    for name, buffer in whole.named_buffers():
        torch.testing.assert_close(dict(parts.named_buffers())[name], buffer, msg=name)


def test_scaling_equals_numpys():
    signal = torch.from_numpy(np.random.default_rng(0).normal(3, [1, 50], (500, 2)))
    sums = signal.sum(0), signal.square().sum(0)
    centre, spread = scaling(*sums, 500, "global")
    assert centre.item() == 0
    assert spread.item() == pytest.approx(signal.numpy().std())
    centre, spread = scaling(*sums, 500, "column")
    np.testing.assert_allclose(centre, signal.numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(spread, signal.numpy().std(0), rtol=1e-10)


@pytest.mark.parametrize("how", ["global", "column"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e6])
def test_a_column_without_spread_stays_finite(how, value):
    """The deviation of a constant column counts as 1, whatever rounding leaves of it."""
    signal = torch.full((300, 2), value, dtype=torch.float32).double()
    centre, spread = scaling(signal.sum(0), signal.square().sum(0), 300, how)
    assert spread.tolist() == ([1, 1] if how == "column" else 1)
    if how == "column":
        np.testing.assert_allclose(centre, value, rtol=1e-6)


def test_unit_rows_keep_zero_rows():
    rows = unit_rows(np.array([[3, 4], [0, 0], [1e-30, 0]], dtype=np.float32))
    assert rows.dtype == np.float64
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [1, 0]])


def test_nothing_of_users_times_anything_is_kept():
    found = built(random_matrix(), some_features(), signal_scale="global")
    assert not any(USERS in buffer.shape for buffer in found.buffers())
    assert not found.state_dict()


def test_of_a_batch_they_do_not_depend_on_the_others_in_it():
    found = built(random_matrix(), some_features(), signal_scale="column")
    c, (m,) = found(*batch([[], [1, 4, 9], [7]]))
    alone_c, (alone_m,) = found(*batch([[1, 4, 9]]))
    torch.testing.assert_close(c[1:2], alone_c)
    torch.testing.assert_close(m[1:2], alone_m)
    empty_c, (empty_m,) = found(*batch([]))
    assert (empty_c.shape, empty_m.shape) == ((0, 2 * RANK), (0, 4))


def test_the_decomposition_is_cached_by_matrix_rank_and_code(tmp_path, monkeypatch):
    matrix = random_matrix()

    def files(**changed):
        built(matrix, cache_dir=str(tmp_path), **changed)
        return len(list(tmp_path.iterdir()))

    assert [files(), files(item_block="paper"), files(svd_rank=3)] == [1, 1, 2]
    assert files(svd_input="raw") == 3
    monkeypatch.setattr(signals, "CODE", "of another version")
    assert files() == 4
    kept, fresh = built(matrix, cache_dir=str(tmp_path)), built(matrix)
    assert torch.equal(kept.vectors, fresh.vectors)


# --- the second block of eq. 15


def paired_correlation(matrix, item_block, rank):
    """Mean size of the correlation of a column of the first block with the second's."""
    c, _ = of_training_users(built(matrix, svd_rank=rank, item_block=item_block), matrix)
    signal = c.double().numpy()
    left, right = np.split(signal - signal.mean(0), 2, axis=1)
    product = (left * right).sum(0)
    return np.abs(product / np.sqrt((left**2).sum(0) * (right**2).sum(0))).mean()


def test_default_item_block_adds_something():
    generator = np.random.default_rng(0)
    popular = generator.pareto(1.5, 150)[None] * generator.pareto(1.5, 300)[:, None]
    matrix = graph.binary_csr(sp.coo_matrix(popular > 0.6))
    assert paired_correlation(matrix, "mean", 30) < 0.9
    # the paper's formula repeats the first block where the matrix is normalised
    assert paired_correlation(matrix, "paper", 30) > 0.999


def test_default_item_block_adds_something_on_tiktok(shared):
    rows = np.loadtxt(shared / "tiktok" / "tiktok.inter", skiprows=1, dtype=np.int64)
    user, item = rows[rows[:, 2] == 0, :2].T
    shape = tuple(rows[:, :2].max(0) + 1)
    matrix = graph.binary_csr(sp.coo_matrix((np.ones(len(user)), (user, item)), shape))
    assert paired_correlation(matrix, "mean", 400) < 0.9


def test_a_vector_is_never_longer_than_1():
    matrix = random_matrix()
    found = built(matrix, svd_rank=ITEMS)
    history = batch([[1, 8, 14, 17]])
    c, _ = found(*history)
    u = c[0, : len(found.values)]
    weights = found.item_scale[history[0]]
    by_hand = weights @ found.vectors[history[0]] / 2 / found.values
    assert by_hand.norm() > 1.05  # small singular values make it long
    assert u.norm().item() == pytest.approx(1)
    torch.testing.assert_close(u, by_hand / by_hand.norm())


def test_small_singular_values_take_no_precision():
    dense = np.random.default_rng(0).random((300, 300)) < 0.05
    matrix = graph.binary_csr(sp.coo_matrix(dense.astype(float)))
    found = built(matrix, svd_rank=300, item_block="none")
    assert found.values[-1] < 1e-3 * found.values[0]
    u, _ = of_training_users(found, matrix)
    users = u.double().numpy()
    assert np.linalg.norm(users.T @ users - np.eye(users.shape[1]), 2) < 1e-2


def test_no_modality():
    found = built(random_matrix())
    c, preferences = found(*batch([[1, 2]]))
    assert c.shape == (1, 2 * RANK)
    assert preferences == []


def test_given_rows_are_the_batch():
    items, begin = batch([[1, 3], [], [0]])
    rows = GivenRows(items, begin, 4).dense(torch.arange(3))
    assert rows.tolist() == [[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]]


class Sums(torch.nn.Module):
    """A network that shows what it is given."""

    def forward(self, items, begin, e, c, preferences):
        return torch.cat([e, c, *preferences], 1)


def test_scores_of_histories_read_a_step_for_each_or_one_for_all():
    matrix, step = random_matrix(), torch.tensor([3.0, 4.0])
    found = built(matrix, some_features())
    histories = batch([[1, 4, 9], [7]])
    c, (m,) = found(*histories)
    one = FromHistory(Sums(), found, step)
    assert torch.equal(one(*histories), torch.cat([step.expand(2, 2), c, m], 1))
    e = torch.tensor([[1.0], [2.0]])
    for module in (one, FromHistory(Sums(), found)):
        assert torch.equal(module(*histories, e), torch.cat([e, c, m], 1))
    assert not one.state_dict()
