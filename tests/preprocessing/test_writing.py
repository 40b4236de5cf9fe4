"""The data folder: its files, and that it appears whole or not at all."""

import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ld4mrec import files
from ld4mrec.checksums import unsealed
from ld4mrec.files import sha256
from ld4mrec.preprocessing.steps import writing
from ld4mrec.preprocessing.steps.interactions import coded
from ld4mrec.preprocessing.steps.writing import (
    OutputError,
    staged,
    write_interactions,
    write_manifest,
)


@pytest.fixture
def some():
    users, items = np.array([9, 4, 9, 4, 4]), np.array([100, 7, 7, 100, 55])
    times = np.array([50, 30, 10, 30, 20])
    return coded(users, items, times, user_prefix="u").renumbered()


def test_files_and_their_order(some, tmp_path):
    write_interactions(tmp_path, "toy", some, np.array([2, 0, 1, 0, 0]))
    assert (tmp_path / "toy.inter").read_bytes() == (
        b"userID\titemID\tx_label\ttimestamp\n"
        b"0\t1\t0\t20\n0\t0\t0\t30\n0\t2\t0\t30\n1\t0\t1\t10\n1\t2\t2\t50\n"
    )
    assert (tmp_path / "u_id_mapping.csv").read_text() == "user_id\tuserID\nu4\t0\nu9\t1\n"
    assert (tmp_path / "i_id_mapping.csv").read_text() == "item_id\titemID\n7\t0\n55\t1\n100\t2\n"
    table = pd.read_csv(tmp_path / "i_id_mapping.csv", sep="\t")
    assert table["item_id"].tolist() == some.item_ids.values.tolist()


def test_manifest_has_every_file_with_its_checksum(tmp_path):
    (tmp_path / "a").write_text("x")
    write_manifest(tmp_path, {"generator": "preprocessing/x.py, version 1"})
    content = (tmp_path / "manifest.json").read_bytes()
    manifest = unsealed(content)
    assert manifest["outputs"] == {"a": {"bytes": 1, "sha256": sha256(tmp_path / "a")}}
    assert writing.manifest_of(tmp_path) == manifest
    (tmp_path / "manifest.json").write_bytes(content.replace(b"version 1", b"version 2"))
    assert writing.manifest_of(tmp_path) is None


def left_over(folder):
    return sorted(path.name for path in folder.parent.iterdir())


def fail_in(out, failure):
    with staged(out) as folder:
        (folder / "file").write_text("x")
        raise failure


def test_the_folder_appears_when_complete(tmp_path):
    out = tmp_path / "deep" / "set"
    with staged(out) as folder:
        (folder / "file").write_text("x")
        assert not out.exists()
    assert (out / "file").read_text() == "x"
    assert left_over(out) == ["set"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, OSError(errno.EIO, "bad disk")])
def test_a_failure_leaves_nothing_and_keeps_what_was(tmp_path, failure):
    out = tmp_path / "set"
    with pytest.raises(failure if isinstance(failure, type) else OSError):
        fail_in(out, failure)
    assert left_over(out) == []
    with staged(out) as folder:
        write_manifest(folder, {"generator": "preprocessing/x.py, version 1"})
    before = (out / "manifest.json").read_bytes()
    with pytest.raises(ZeroDivisionError), staged(out, force=True) as folder:
        raise ZeroDivisionError
    assert (out / "manifest.json").read_bytes() == before
    assert left_over(out) == ["set"]


def test_a_full_disk(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OutputError, match="the disk that holds .* is full; nothing was left"):
        fail_in(tmp_path / "set", full)
    assert left_over(tmp_path / "set") == []


def test_occupied_folders(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OutputError, match="is a file; --out must name the folder"), staged(file):
        pass
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    with staged(ours) as folder:
        write_manifest(folder, {"generator": "preprocessing/x.py, version 1"})
    theirs.mkdir()
    (theirs / "precious").write_text("x")
    with pytest.raises(OutputError, match="is there already; .* replace it with --force"):
        staged(ours).__enter__()
    with pytest.raises(OutputError, match="was not made by preprocessing"):
        staged(theirs, force=True).__enter__()
    with staged(ours, force=True) as folder:
        (folder / "new").write_text("x")
    assert [path.name for path in ours.iterdir()] == ["new"]
    assert (theirs / "precious").is_file()


def test_a_parent_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"), staged(tmp_path / "file" / "set"):
        pass


def test_an_empty_folder_is_free(tmp_path):
    (tmp_path / "set").mkdir()
    with staged(tmp_path / "set") as folder:
        (folder / "file").write_text("x")
    assert (tmp_path / "set" / "file").is_file()


def test_a_folder_that_cannot_be_renamed_puts_the_old_one_back(tmp_path, monkeypatch):
    out, replace = tmp_path / "set", os.replace
    out.mkdir()
    (out / "old").write_text("x")

    def refuse_new(source, target):
        if Path(source).name == "new":
            raise OSError("no room")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse_new)
    with pytest.raises(OSError, match="no room"), files.staged(out, replace=True):
        pass
    assert [path.name for path in out.iterdir()] == ["old"]
    assert left_over(out) == ["set"]


def test_what_appeared_meanwhile_is_not_replaced(tmp_path):
    out = tmp_path / "set"
    with pytest.raises(OSError, match="not empty"), files.staged(out):
        (out / "theirs").mkdir(parents=True)
    assert [path.name for path in out.iterdir()] == ["theirs"]


def test_a_folder_that_another_command_made_meanwhile_is_left(tmp_path):
    out = tmp_path / "set"
    with (
        pytest.raises(OutputError, match="set was made by another command meanwhile; nothing was"),
        staged(out),
    ):
        (out / "theirs").mkdir(parents=True)
    assert [path.name for path in out.iterdir()] == ["theirs"]


def test_litter_of_a_killed_command_goes_with_the_next_look(tmp_path):
    (tmp_path / ".set.0123abcd.tmp" / "new").mkdir(parents=True)
    assert not writing.check_free(tmp_path / "set", force=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_copied_where_links_cannot_be(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.write_text("x")
    files.link_or_copy(source, tmp_path / "link")
    assert (tmp_path / "link").readlink() == source

    def refuse(*_):
        raise NotImplementedError

    monkeypatch.setattr(os, "symlink", refuse)
    files.link_or_copy(source, tmp_path / "link")  # takes the link's place
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_text() == "x"
    assert left_over(source) == ["link", "source"]
