import errno
import fcntl
import multiprocessing
import os
import re
import stat

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


def rewritten(path, array):
    """Write a file of another array, with the checksum that stood there."""
    end = path.read_bytes()[-16:]
    with open(path, "wb") as file:
        np.save(file, array)
        file.write(end)


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


HARMS = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "flipped value": lambda path: flip(path, 140),
    "flipped header": lambda path: flip(path, 60),
    "flipped checksum": lambda path: flip(path, -1),
    "other values": lambda path: rewritten(path, np.ones((2, 3), np.float32)),
    "other shape": lambda path: rewritten(path, np.zeros((3, 2), np.float32)),
    "other type": lambda path: rewritten(path, np.zeros((2, 3), np.int32)),
    "pickle": lambda path: rewritten(path, np.array([{"a": 1}], dtype=object)),
    "text": lambda path: path.write_text("not an array"),
    "zip": lambda path: path.write_bytes(b"PK" + path.read_bytes()[2:]),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_cache_file_is_made_anew_with_a_warning(tmp_path, caplog, harm):
    matrix, count = random_matrix(), Counting()
    graph.cached(tmp_path, count, matrix)
    (path,) = tmp_path.iterdir()
    HARMS[harm](path)
    for _ in range(2):
        array = graph.cached(tmp_path, count, matrix)
        assert array.dtype == np.float32
        assert array.tolist() == [[0] * 3] * 2
    assert count.calls == 2
    (warning,) = caplog.messages
    assert re.fullmatch(rf"{path} cannot be read \(.+\); it is computed again", warning)


def test_another_entry_in_an_entry_s_place_is_made_anew(tmp_path, caplog):
    matrix, count = random_matrix(), Counting()
    graph.cached(tmp_path, count, matrix, np.ones(3))
    (path,) = tmp_path.iterdir()
    other = path.read_bytes()
    path.unlink()
    graph.cached(tmp_path, count, matrix, np.ones(2))
    (path,) = tmp_path.iterdir()
    path.write_bytes(other)
    assert graph.cached(tmp_path, count, matrix, np.ones(2))[0, 0] == 2
    assert "not what was written" in caplog.text


def test_an_array_of_any_layout_and_type_comes_back(tmp_path):
    edges = np.array([(1, 0.5), (2, 0.25)], dtype=[("item", np.int32), ("cosine", np.float64)])
    for n, array in enumerate((edges, np.asfortranarray(np.eye(3)[:2]), np.array(2.0))):
        path = tmp_path / f"{n}.npy"
        graph.keep(path, array)
        back = graph.kept(path)
        assert (back.dtype, back.tolist()) == (array.dtype, array.tolist())
        assert back.flags.writeable


def test_a_folder_that_cannot_be_used_is_done_without(tmp_path, caplog):
    (file := tmp_path / "file").write_text("")
    array = graph.cached(file, Counting(), random_matrix())
    assert array.shape == (2, 3)
    assert f"{file}/counting-" in caplog.messages[-1]
    assert "cannot be kept" in caplog.messages[-1]
    assert caplog.messages[-1].endswith("; the run goes on without")


def test_a_folder_in_an_entry_s_place_is_done_without(tmp_path, caplog):
    count = Counting()
    graph.cached(tmp_path, count, random_matrix())
    (path,) = tmp_path.iterdir()
    path.unlink()
    path.mkdir()
    assert graph.cached(tmp_path, count, random_matrix()).shape == (2, 3)
    assert [re.search("cannot be (\\w+)", m)[1] for m in caplog.messages] == ["read", "kept"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_nothing_and_is_a_warning(tmp_path, monkeypatch, caplog):
    def full(file, array, **options):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert graph.cached(tmp_path, Counting(), random_matrix()).shape == (2, 3)
    assert "No space left on device" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_the_umask_decides_who_may_read(tmp_path):
    before = os.umask(0o077)
    try:
        graph.cached(tmp_path, Counting(), random_matrix())
    finally:
        os.umask(before)
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_a_killed_process_left_is_written_over(tmp_path):
    graph.cached(tmp_path, Counting(), random_matrix())
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.rename(left := tmp_path / f".{path.name}.tmp")
    left.write_bytes(whole + b"more than one half")
    graph.cached(tmp_path, Counting(), random_matrix())
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == whole


def test_what_another_process_is_writing_is_left_to_it(tmp_path, caplog):
    graph.cached(tmp_path, Counting(), random_matrix())
    (path,) = tmp_path.iterdir()
    path.unlink()
    other = tmp_path / f".{path.name}.tmp"
    with open(other, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b"half")
        file.flush()
        assert graph.cached(tmp_path, Counting(), random_matrix()).shape == (2, 3)
    assert list(tmp_path.iterdir()) == [other]
    assert other.read_bytes() == b"half"
    assert caplog.messages == []


def sums_of_rows(matrix, features):
    return (graph.normalized(matrix) @ features).astype(np.float32)


def write_often(folder):
    for _ in range(30):
        for path in folder.glob("*.npy"):
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
