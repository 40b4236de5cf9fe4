import multiprocessing
import random

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from common import graph


def random_matrix(users=30, items=20, density=0.2, seed=0):
    """A binary CSR with one user and one item without interactions."""
    generator = np.random.default_rng(seed)
    dense = (generator.random((users, items)) < density).astype(float)
    dense[3], dense[:, 5] = 0, 0
    return graph.binary_csr(sp.coo_matrix(dense))


def test_repeated_pairs_count_once():
    coo = sp.coo_matrix((np.ones(4), ([0, 0, 1, 0], [1, 1, 2, 0])), shape=(2, 3))
    matrix = graph.binary_csr(coo)
    assert matrix.toarray().tolist() == [[1, 1, 0], [0, 0, 1]]
    assert graph.binary_csr(coo.tocsr()).toarray().tolist() == matrix.toarray().tolist()
    assert coo.data.tolist() == [1, 1, 1, 1]  # the caller's matrix is untouched


@given(st.integers(0, 99))
def test_preference_signal_equals_a_loop(seed):
    matrix = random_matrix(seed=seed)
    features = np.random.default_rng(seed).standard_normal((20, 4))
    features[7] = 0  # an item without an image
    users = [matrix[[u]].indices for u in range(30)]
    degree = np.bincount(matrix.indices, minlength=20)
    for norm in (True, False):
        signal = graph.preference_signal(matrix, features, norm)
        assert signal.dtype == np.float32
        for u, mine in enumerate(users):
            expected = np.zeros(4)
            for i in mine:
                x = features[i]
                if norm and i != 7:
                    x = x / np.sqrt((x**2).sum())
                expected += x / (np.sqrt(len(mine)) * np.sqrt(degree[i]))
            np.testing.assert_allclose(signal[u], expected, atol=1e-6)


@pytest.mark.parametrize("svd_input", ["raw", "normalized"])
@pytest.mark.parametrize("item_block", ["paper", "mean", "scaled", "none"])
def test_collaborative_signal_equals_a_loop(svd_input, item_block):
    matrix, rank = random_matrix(), 6
    signal = graph.collaborative_signal(matrix, rank, svd_input, item_block)
    decomposed = matrix if svd_input == "raw" else graph.normalized(matrix)
    users, values, items = graph.randomized_svd(decomposed, rank)
    assert signal.shape == (30, 6 if item_block == "none" else 12)
    degree = np.bincount(matrix.indices, minlength=20)
    for u in range(30):
        mine = matrix[[u]].indices
        clicked = np.zeros(rank)
        for i in mine:
            if item_block == "mean":
                clicked += items[i] / len(mine)
            else:
                scale = values if item_block == "scaled" else 1
                clicked += items[i] * scale / (np.sqrt(len(mine)) * np.sqrt(degree[i]))
        expected = users[u] if item_block == "none" else np.concatenate([users[u], clicked])
        np.testing.assert_allclose(signal[u], expected, atol=1e-6)


@given(st.integers(0, 99), st.integers(1, 12))
def test_svd_equals_the_dense_one(seed, rank):
    matrix = random_matrix(seed=seed)
    users, values, items = graph.randomized_svd(matrix, rank)
    expected = np.linalg.svd(matrix.toarray(), compute_uv=False)[:rank]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    for vectors in (users, items):
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(rank), atol=1e-9)
    np.testing.assert_allclose(matrix @ items, users * values, atol=1e-2 * values[0])
    assert (items[np.abs(items).argmax(0), np.arange(rank)] > 0).all()


@pytest.mark.parametrize("rank", [5, 19, 20, 1000])
def test_rank_is_clipped_to_the_matrix(rank):
    matrix = random_matrix()  # one empty item: rank 19
    users, values, items = graph.randomized_svd(matrix, rank)
    kept = min(rank, 19)
    assert (users.shape, values.shape, items.shape) == ((30, kept), (kept,), (20, kept))
    if kept == 19:
        np.testing.assert_allclose((users * values) @ items.T, matrix.toarray(), atol=1e-9)


def random_states():
    numpy_state = np.random.get_state()[1].tolist()  # noqa: NPY002 - the global one is meant
    return random.getstate(), numpy_state, torch.get_rng_state().tolist()


def test_svd_of_equal_input_is_equal_and_leaves_random_states_alone():
    matrix = random_matrix()
    before = random_states()
    first, second = graph.randomized_svd(matrix, 5), graph.randomized_svd(matrix, 5)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert random_states() == before


def paired_correlation(matrix, svd_input, item_block, rank):
    signal = graph.collaborative_signal(matrix, rank, svd_input, item_block).astype(np.float64)
    left, right = np.split(signal - signal.mean(0), 2, axis=1)
    product = (left * right).sum(0)
    return np.abs(product / np.sqrt((left**2).sum(0) * (right**2).sum(0))).mean()


def test_default_item_block_adds_something():
    generator = np.random.default_rng(0)
    popular = generator.pareto(1.5, 150)[None] * generator.pareto(1.5, 300)[:, None]
    matrix = graph.binary_csr(sp.coo_matrix(popular > 0.6))
    assert paired_correlation(matrix, "normalized", "mean", 30) < 0.9
    # the paper's formula repeats the first block where the matrix is normalised
    assert paired_correlation(matrix, "normalized", "paper", 30) > 0.999


def test_default_item_block_adds_something_on_tiktok(shared):
    rows = np.loadtxt(shared / "tiktok" / "tiktok.inter", skiprows=1, dtype=np.int64)
    user, item = rows[rows[:, 2] == 0, :2].T
    shape = tuple(rows[:, :2].max(0) + 1)
    matrix = graph.binary_csr(sp.coo_matrix((np.ones(len(user)), (user, item)), shape))
    assert paired_correlation(matrix, "normalized", "mean", 400) < 0.9


def test_signal_scales():
    signal = np.random.default_rng(0).normal(3, [1, 50], (500, 2)).astype(np.float32)
    assert graph.scaled(signal, "none") is signal
    overall = graph.scaled(signal, "global")
    assert overall.std() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(overall / overall[0, 0], signal / signal[0, 0], rtol=1e-4)
    column = graph.scaled(signal, "column")
    np.testing.assert_allclose(column.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(column.std(0), 1, rtol=1e-5)
    for how in ("global", "column"):
        assert graph.scaled(np.zeros((3, 2), np.float32), how).tolist() == [[0, 0]] * 3


class Counting:
    """A signal that counts how often it is computed."""

    __name__ = "counting"

    def __init__(self):
        self.calls = 0

    def __call__(self, matrix, *arrays, **options):
        self.calls += 1
        return np.full((2, 3), sum(map(np.sum, arrays)), np.float32)


def test_cache_hit_and_miss(tmp_path):
    matrix, other, count = random_matrix(), random_matrix(seed=1), Counting()
    x = np.ones(3)
    for _ in range(2):
        assert graph.cached(tmp_path / "new", count, matrix, x, rank=2).tolist() == [[3] * 3] * 2
    assert count.calls == 1
    graph.cached(tmp_path / "new", count, other, x, rank=2)
    graph.cached(tmp_path / "new", count, matrix, x + 1, rank=2)
    graph.cached(tmp_path / "new", count, matrix, x, rank=3)
    assert count.calls == 4
    assert len(list((tmp_path / "new").iterdir())) == 4  # and no temporary file
    for _ in range(2):
        graph.cached(None, count, matrix, x, rank=2)
    assert count.calls == 6


def test_the_code_in_the_key_is_what_the_file_says(tmp_path):
    file = tmp_path / "code.py"

    def syntax(text):
        file.write_text(text)
        return graph.syntax(file)

    plain = syntax('"""A."""\n\ndef f(x):\n    """B."""\n    return x + 1\n')
    assert plain == syntax('"""C."""\ndef f(x):\n    """D."""  # E\n    return (x +\n        1)\n')
    for other in ("return x + 2", "return 1", "x + 1"):
        assert plain != syntax(f'"""A."""\n\ndef f(x):\n    """B."""\n    {other}\n')


@pytest.mark.parametrize("harm", ["empty", "cut", "flipped", "text", "pickle"])
def test_damaged_cache_file_is_rebuilt(tmp_path, harm):
    matrix, count = random_matrix(), Counting()
    graph.cached(tmp_path, count, matrix)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    half = len(whole) // 2
    if harm == "pickle":
        np.savez(path, array=np.array([{"a": 1}], dtype=object))
    else:
        flipped = whole[:half] + bytes([whole[half] ^ 255]) + whole[half + 1 :]
        content = {"empty": b"", "cut": whole[:half], "flipped": flipped, "text": b"not a zip"}
        path.write_bytes(content[harm])
    assert graph.cached(tmp_path, count, matrix).shape == (2, 3)
    assert graph.cached(tmp_path, count, matrix).shape == (2, 3)
    assert count.calls == 2


def test_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        graph.cached(tmp_path, Counting(), random_matrix())
    assert list(tmp_path.iterdir()) == []


def write_often(folder):
    for _ in range(30):
        for path in folder.glob("*.npz"):
            path.unlink(missing_ok=True)
        array = graph.cached(folder, graph.preference_signal, random_matrix(), np.eye(20))
        assert array.shape == (30, 20)


def test_two_writers_do_no_harm(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_often, args=(tmp_path,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert not list(tmp_path.glob("*.tmp"))


@given(st.integers(0, 99), st.lists(st.integers(0, 29), max_size=12))
def test_history_rows(seed, users):
    matrix = random_matrix(seed=seed)
    history = graph.HistoryRows(matrix)
    batch = torch.tensor(users, dtype=torch.int64)
    assert history.dense(batch).tolist() == matrix.toarray()[users].tolist()
    items, begin = history.bags(batch)
    table = torch.randn(20, 3, dtype=torch.float64)
    bags = torch.nn.functional.embedding_bag(items, table, begin, mode="sum")
    np.testing.assert_allclose(bags.numpy(), matrix.toarray()[users] @ table.numpy(), atol=1e-12)
    assert list(history.state_dict()) == []
