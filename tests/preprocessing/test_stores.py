"""The store: what is written comes back, it grows, holds against others, and says what is wrong."""

import signal
import subprocess
import sys

import lmdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ld4mrec.preprocessing.steps import stores
from ld4mrec.preprocessing.steps.stores import ArrayStore, StoreError, content_key
from support import ROOT

KEYS = [content_key(f"item {i}") for i in range(100)]
WRITER = """
import sys
import numpy as np

from ld4mrec.preprocessing.steps.stores import ArrayStore, content_key

folder, start = sys.argv[1], int(sys.argv[2])
with ArrayStore(folder, map_size=2**16) as store:
    space = store.space("maker", (500,), np.float32)
    for first in range(start, start + 200, 5):
        numbers = range(first, first + 5)
        rows = [np.full(500, number, np.float32) for number in numbers]
        space.write([content_key(str(number)) for number in numbers], rows)
"""


def rows(n, size=3):
    return np.arange(n * size, dtype=np.float32).reshape(n, size)


@pytest.fixture
def store(tmp_path):
    with ArrayStore(tmp_path / "store") as made:
        yield made


def test_round_trip_and_reopening(tmp_path):
    with ArrayStore(tmp_path) as store:
        space = store.space("maker", (3,), np.float32)
        assert space.absent(KEYS[:5]) == KEYS[:5]
        assert space.record() is None
        space.write(KEYS[:3], rows(3))
    with ArrayStore(tmp_path) as store:
        space = store.space("maker", (3,), np.float32)
        assert space.absent(KEYS[:5]) == KEYS[3:5]
        read = space.read([KEYS[2], KEYS[0], KEYS[2]])
        assert np.array_equal(read, rows(3)[[2, 0, 2]])
        assert read.dtype == np.float32


def test_values_are_the_raw_bytes_and_the_record_tells_their_form(tmp_path):
    with ArrayStore(tmp_path) as store:
        space = store.space({"encoder": "e"}, (3,), np.float32, made_with={"torch": "1"})
        space.write(KEYS[:1], rows(1))
        store.space({"encoder": "e"}, (3,), np.float32, made_with={"torch": "2"}).write(
            KEYS[1:2], rows(1)
        )
        assert space.record() == {
            "description": {"encoder": "e"},
            "dtype": "<f4",
            "shape": [3],
            "format": 1,
            "first made with": {"torch": "1"},
        }
        identity = space.id
    with lmdb.open(str(tmp_path)) as env, env.begin() as transaction:
        assert transaction.get(identity + KEYS[0]) == rows(1).astype("<f4").tobytes()


def test_spaces_are_apart(store):
    spaces = [
        store.space("a", (3,), np.float32),
        store.space("b", (3,), np.float32),
        store.space("a", (3,), np.uint8),
        store.space("a", (1, 3), np.float32),
    ]
    spaces[0].write(KEYS[:1], rows(1))
    assert [space.absent(KEYS[:1]) for space in spaces] == [[]] + [KEYS[:1]] * 3
    assert len({space.id for space in spaces}) == 4


def test_writing_again_replaces(store):
    space = store.space("maker", (3,), np.float32)
    space.write(KEYS[:1], rows(1))
    space.write(KEYS[:1], rows(1) + 1)
    assert np.array_equal(space.read(KEYS[:1]), rows(1) + 1)


def test_it_grows_when_full(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40, 50, 3), dtype=np.uint8)
    with ArrayStore(tmp_path, map_size=2**16) as store:
        space = store.space("maker", (40, 50, 3), np.uint8)
        for start in range(0, 60, 20):
            space.write(KEYS[start : start + 20], pixels[start : start + 20])
        assert np.array_equal(space.read(KEYS[:60]), pixels)


def test_wrong_arrays_are_refused(store):
    space = store.space("maker", (3,), np.float32)
    with pytest.raises(ValueError, match="2 keys for 3 arrays"):
        space.write(KEYS[:2], rows(3))
    with pytest.raises(ValueError, match=r"holds float32 of shape \(3,\), got float32 of .*4"):
        space.write(KEYS[:1], rows(1, 4))
    with pytest.raises(ValueError, match="got float64"):
        space.write(KEYS[:1], rows(1).astype(float))
    with pytest.raises(StoreError, match=f"holds nothing under {KEYS[0].hex()}"):
        space.read(KEYS[:1])


def test_two_processes_at_once(tmp_path):
    """Both grow the map and write overlapping keys; every array is there and whole."""
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    both = [
        subprocess.Popen([*command, str(start)], env={"PYTHONPATH": str(ROOT / "src")})
        for start in (0, 100)
    ]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    with ArrayStore(tmp_path) as store:
        space = store.space("maker", (500,), np.float32)
        read = space.read([content_key(str(number)) for number in range(300)])
    assert np.array_equal(read, np.repeat(np.arange(300, dtype=np.float32)[:, None], 500, axis=1))


HOLDER = """
import sys
import numpy as np

from ld4mrec.preprocessing.steps.stores import ArrayStore, content_key

def write(transaction):
    print("writing", flush=True)
    sys.stdin.readline()
    transaction.put(b"theirs", b"1")

with ArrayStore(sys.argv[1]) as store:
    store.transact(write, write=True)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that writes into the store of `tmp_path` until it gets a line."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        env={"PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_another_writer_is_named_once_and_waited_for(tmp_path, holder, how, monkeypatch, caplog):
    monkeypatch.setattr(stores, "PATIENCE", 0.1)
    with ArrayStore(tmp_path) as store:
        space = store.space("maker", (3,), np.float32)
        assert space.absent(KEYS[:2]) == KEYS[:2]  # reading waits for nobody
        acquire = store._writer.acquire

        def let_go(timeout=None):
            if timeout is None:  # it was said: the other one ends now
                holder.send_signal(signal.SIGKILL) if how == "is killed" else holder.communicate("")
            return acquire(timeout)

        monkeypatch.setattr(store._writer, "acquire", let_go)
        space.write(KEYS[:2], rows(2))
        assert np.array_equal(space.read(KEYS[:2]), rows(2))
        theirs = store.transact(lambda t: t.get(b"theirs") is not None)
    assert theirs == (how == "ends")
    said = f"process {holder.pid} writes into the store {tmp_path}; waiting for it"
    assert [record.message for record in caplog.records] == [said]


def test_ctrl_c_ends_the_waiting(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(stores, "PATIENCE", 0.1)
    with ArrayStore(tmp_path) as store:
        space = store.space("maker", (3,), np.float32)
        warn = stores.logger.warning

        def pressed(*words):
            warn(*words)
            signal.setitimer(signal.ITIMER_REAL, 0.2)

        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(stores.logger, "warning", pressed)
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                space.write(KEYS[:1], rows(1))
        finally:
            signal.signal(signal.SIGALRM, before)


def test_a_larger_map_of_another_process_is_taken_over(tmp_path):
    with ArrayStore(tmp_path, map_size=2**16) as store:
        space = store.space("maker", (500,), np.float32)
        subprocess.run(
            [sys.executable, "-c", WRITER, str(tmp_path), "0"],
            env={"PYTHONPATH": str(ROOT / "src")},
            check=True,
            timeout=300,
        )
        assert space.read([content_key("199")])[0, 0] == 199
        space.write(KEYS[:1], np.zeros((1, 500), np.float32))
        assert space.absent(KEYS[:1]) == []


def test_a_file_that_is_no_store(tmp_path):
    (tmp_path / "data.mdb").write_bytes(b"garbage" * 10_000)
    with pytest.raises(StoreError, match="not a readable store.*remove the folder"):
        ArrayStore(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be used.*--store"):
        ArrayStore(tmp_path / "file" / "store")


def test_a_full_disk(store, monkeypatch):
    class Full:
        def begin(self, write, buffers):
            raise lmdb.DiskError("No space left on device")

        def close(self):
            pass

    space = store.space("maker", (3,), np.float32)
    env, store._env = store._env, Full()
    with pytest.raises(StoreError, match="No space left.*is the disk full.*stays valid"):
        space.write(KEYS[:1], rows(1))
    store._env = env


def test_a_value_of_another_length(tmp_path):
    with ArrayStore(tmp_path) as store:
        space = store.space("maker", (3,), np.float32)
        space.write(KEYS[:1], rows(1))
        store.transact(lambda t: t.put(space.id + KEYS[0], b"short"), write=True)
        with pytest.raises(StoreError, match="holds damage under .*; remove the folder"):
            space.read(KEYS[:1])
        assert space.absent(KEYS[:1]) == KEYS[:1]


@given(st.lists(st.lists(st.integers(0, 99), unique=True, max_size=12), max_size=6))
def test_absent_is_what_was_never_written(tmp_path_factory, batches):
    with ArrayStore(tmp_path_factory.mktemp("store")) as store:
        space = store.space("maker", (1,), np.float32)
        for batch in batches:
            space.write([KEYS[i] for i in batch], np.array(batch, np.float32).reshape(-1, 1))
        written = sorted({i for batch in batches for i in batch})
        assert space.absent(KEYS) == [key for i, key in enumerate(KEYS) if i not in written]
        assert space.read([KEYS[i] for i in written])[:, 0].tolist() == written


# --- damage ---------------------------------------------------------------------------------


def change_value(store, key, change):
    """Another value under a key, as a flipped bit of the file makes it."""

    def put(transaction):
        value = bytearray(transaction.get(key))
        change(value)
        transaction.put(key, bytes(value))

    store.transact(put, write=True)


def test_a_flipped_bit_of_an_array_makes_it_absent(store, caplog):
    space = store.space("maker", (3,), np.float32)
    space.write(KEYS[:3], rows(3))

    def flip(value):
        value[5] ^= 1

    change_value(store, space.id + KEYS[1], flip)
    assert space.absent(KEYS[:3]) == KEYS[1:2]
    assert "1 stored arrays are damaged and made anew" in caplog.text
    with pytest.raises(StoreError, match="holds damage under"):
        space.read(KEYS[:3])
    space.write(KEYS[1:2], rows(3)[1:2])
    assert np.array_equal(space.read(KEYS[:3]), rows(3))


def test_an_array_under_another_key_is_damage(store):
    space = store.space("maker", (3,), np.float32)
    space.write(KEYS[:2], rows(2))
    values = [store.transact(lambda t, k=k: bytes(t.get(space.id + k))) for k in KEYS[:2]]
    store.transact(lambda t: t.put(space.id + KEYS[0], values[1]), write=True)
    assert space.absent(KEYS[:2]) == KEYS[:1]


def test_arrays_of_before_there_were_checksums_are_read(store):
    space = store.space("maker", (3,), np.float32)
    space.write(KEYS[:1], rows(1))
    store.transact(lambda t: t.delete(b"sum:" + space.id + KEYS[0]), write=True)
    assert space.absent(KEYS[:1]) == []
    assert np.array_equal(space.read(KEYS[:1]), rows(1))


@pytest.mark.parametrize("text", [b"[]", b"{", b"\xff"])
def test_a_damaged_record_is_a_sentence(store, text):
    space = store.space("maker", (3,), np.float32)
    store.transact(lambda t: t.put(b"space:" + space.id, text), write=True)
    with pytest.raises(StoreError, match="holds a damaged record; remove the folder"):
        space.record()


@pytest.mark.parametrize("left", [0.2, 0.5, 0.95])
def test_a_store_that_is_cut_short_is_a_sentence(tmp_path, left):
    with ArrayStore(tmp_path) as store:
        store.space("maker", (3000,), np.float32).write(KEYS[:20], rows(20, 3000))
    path = tmp_path / "data.mdb"
    with open(path, "r+b") as file:
        file.truncate(int(left * path.stat().st_size))
    with pytest.raises(StoreError, match=r"data.mdb is not a readable store .*remove the folder"):
        ArrayStore(tmp_path)


def test_flipped_bits_give_what_was_stored_or_a_sentence(tmp_path):
    with ArrayStore(tmp_path) as store:
        store.space("maker", (30,), np.float32).write(KEYS[:50], rows(50, 30))
    path = tmp_path / "data.mdb"
    whole, generator = path.read_bytes(), np.random.default_rng(0)
    for place in generator.integers(len(whole), size=25):
        content = bytearray(whole)
        content[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(content)
        try:
            with ArrayStore(tmp_path) as store:
                space = store.space("maker", (30,), np.float32)
                left = [n for n in range(50) if KEYS[n] not in space.absent(KEYS[:50])]
                assert np.array_equal(space.read([KEYS[n] for n in left]), rows(50, 30)[left])
        except StoreError as error:
            assert "remove the folder" in str(error)  # noqa: PT017 (either is right)
