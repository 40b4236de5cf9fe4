import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap

import pytest
import torch

import support
from ld4mrec import files
from ld4mrec.files import place, replacing, sha256, staged, tidy, write_json
from ld4mrec.training import checkpoint


def test_a_new_file_appears_whole_with_its_folder(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    with replacing(path, "w") as file:
        file.write("grüße")
        file.flush()
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "grüße"
    assert os.listdir(path.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("earlier", ["old", None])
def test_an_error_in_the_block_leaves_what_was_there(tmp_path, error, earlier):
    path = tmp_path / "file"
    if earlier:
        path.write_text(earlier)

    def break_off(file):
        file.write("half")
        raise error

    with pytest.raises(error), replacing(path, "w") as file:
        break_off(file)
    assert os.listdir(tmp_path) == (["file"] if earlier else [])
    assert not earlier or path.read_text() == earlier


def test_a_finished_file_can_be_read_by_others(tmp_path):
    path = tmp_path / "file"
    for _ in range(2):
        with replacing(path) as file:
            file.write(b"x")
        assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_content_is_on_the_disk_before_it_takes_the_place(tmp_path, monkeypatch):
    steps, sync, rename = [], os.fsync, os.replace

    def fsync(handle):
        steps.append(("sync", os.fstat(handle).st_size))
        sync(handle)

    def replace(source, target):
        steps.append(("rename", os.stat(source).st_size))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    with replacing(tmp_path / "file") as file:
        file.write(b"12345")
    assert steps == [("sync", 5), ("rename", 5)]


def test_write_json(tmp_path):
    write_json(tmp_path / "x.json", {"recall@20": 0.1, "best": None})
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text) == {"recall@20": 0.1, "best": None}
    assert text.endswith("}\n")
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(tmp_path / "x.json", {"bad": {1, 2}})
    assert (tmp_path / "x.json").read_text() == text


def test_sha256(tmp_path):
    content = bytes(range(256)) * 5000  # more than one block of a buffered reader
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_a_process_killed_while_it_writes_a_checkpoint_leaves_the_last_good_one(tmp_path):
    script = """
        import sys, time, torch
        from ld4mrec import files
        from ld4mrec.training import checkpoint
        path = sys.argv[1]
        checkpoint.save(path, {"epoch": 1, "weights": torch.ones(1000)})
        with files.replacing(path) as file:
            torch.save({"epoch": 2, "weights": torch.zeros(1000)}, file)
            file.truncate(1500)
            file.flush()
            print("half", flush=True)
            time.sleep(60)
    """
    path = tmp_path / "last.pt"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(support.ROOT / "src")},
    )
    assert process.stdout.readline() == b"half\n"
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    (half,) = set(os.listdir(tmp_path)) - {"last.pt"}
    assert half.startswith(".last.pt.")
    assert (tmp_path / half).stat().st_size == 1500
    loaded = checkpoint.load(path)
    checkpoint.save(path, loaded)  # nobody holds the half one: the next to write removes it
    assert os.listdir(tmp_path) == ["last.pt"]
    assert loaded["epoch"] == 1
    assert torch.equal(loaded["weights"], torch.ones(1000))


# --- what killed processes leave ------------------------------------------------------------

HOLDER = """
    import sys, time
    from ld4mrec import files
    with getattr(files, sys.argv[1])(sys.argv[2]) as made:
        print("begun", flush=True)
        time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A function (name, path) that starts a process which is within the block of files.name."""
    started = []

    def start(name, path):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(HOLDER), name, str(path)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(support.ROOT / "src")},
        )
        started.append(process)
        assert process.stdout.readline() == b"begun\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("name", ["replacing", "staged"])
def test_litter_is_removed_once_its_process_is_gone(tmp_path, holder, name):
    path = tmp_path / "made"
    process = holder(name, path)
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".made.")
    tidy(path)
    assert os.listdir(tmp_path) == [left]  # somebody is writing it
    process.kill()
    process.wait()
    tidy(path)
    assert os.listdir(tmp_path) == []


def test_what_others_write_is_left_alone(tmp_path, holder):
    holder("staged", tmp_path / "made")
    with staged(tmp_path / "made") as folder:
        (folder / "x").touch()
        assert len(os.listdir(tmp_path)) == 2
    assert len(os.listdir(tmp_path)) == 2
    (tmp_path / ".made.mine.tmp").touch()  # no name of ours
    (tmp_path / ".mad.12345678.tmp").touch()  # another's
    tidy(tmp_path / "made")
    assert len(os.listdir(tmp_path)) == 4


def test_a_folder_that_a_killed_process_was_replacing_comes_back(tmp_path):
    left = tmp_path / ".made.12345678.tmp"
    (left / "old").mkdir(parents=True)
    (left / "old" / "x").touch()
    (left / "new").mkdir()
    tidy(tmp_path / "made")
    assert os.listdir(tmp_path) == ["made"]
    assert os.listdir(tmp_path / "made") == ["x"]


def test_who_holds_a_lock_is_told_where_the_system_knows(tmp_path, holder):
    process = holder("staged", tmp_path / "made")
    (left,) = tmp_path.iterdir()
    assert files.holder(left) == f"process {process.pid}"
    (tmp_path / "free").touch()
    assert files.holder(tmp_path / "free") == "another process"
    assert files.holder(tmp_path / "gone") == "another process"


def test_where_nothing_can_be_locked_nothing_is_tidied(tmp_path, monkeypatch):
    def refuse(handle, how):
        raise OSError("no locks here")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    (tmp_path / ".file.12345678.tmp").touch()
    write_json(tmp_path / "file", {})
    assert sorted(os.listdir(tmp_path)) == [".file.12345678.tmp", "file"]


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o027, 0o640)])
def test_the_umask_decides_who_may_read(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_json(tmp_path / "file", {})
        with staged(tmp_path / "folder") as folder:
            (folder / "x").touch()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == mode | (mode & 0o444) >> 2


def test_a_name_as_long_as_the_file_system_allows(tmp_path):
    write_json(tmp_path / ("n" * 255), {})
    place(tmp_path / ("m" * 255), lambda path: path.touch())
    assert len(os.listdir(tmp_path)) == 2
    with pytest.raises(OSError, match="File name too long"):
        write_json(tmp_path / ("n" * 256), {})
