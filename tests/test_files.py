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
from ld4mrec.files import replacing, sha256, write_json
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
    assert loaded["epoch"] == 1
    assert torch.equal(loaded["weights"], torch.ones(1000))
