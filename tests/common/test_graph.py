import multiprocessing

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


@pytest.mark.parametrize("powers", [(-0.5, -0.5), (-1, 0), (0, -0.5)])
def test_degrees_and_normalized_equal_a_loop(powers):
    matrix = random_matrix()
    of_user, of_item = matrix.toarray().sum(1), matrix.toarray().sum(0)
    expected = np.zeros((30, 20))
    for u, i in zip(*matrix.nonzero(), strict=True):
        expected[u, i] = of_user[u] ** powers[0] * of_item[i] ** powers[1]
    np.testing.assert_allclose(graph.normalized(matrix, *powers).toarray(), expected, rtol=1e-12)
    users, items = graph.degree_powers(matrix, *powers)
    assert (users[3], items[5]) == (0, 0)
    kept_users, kept_items = of_user > 0, of_item > 0
    assert users[kept_users] == pytest.approx(of_user[kept_users] ** powers[0])
    assert items[kept_items] == pytest.approx(of_item[kept_items] ** powers[1])


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


def sums_of_rows(matrix, features):
    return (graph.normalized(matrix) @ features).astype(np.float32)


def write_often(folder):
    for _ in range(30):
        for path in folder.glob("*.npz"):
            path.unlink(missing_ok=True)
        array = graph.cached(folder, sums_of_rows, random_matrix(), np.eye(20))
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
