import os
import subprocess
import sys

import pytest

import support
from ld4mrec.plugins import data_view
from ld4mrec.plugins.data_view import private_data_view

RACE = """
import sys
from ld4mrec.plugins.data_view import private_data_view
for _ in range(40):
    view = private_data_view(*sys.argv[1:])
    assert (view / "toy.inter").read_text() and (view / "deep" / "x.txt").read_text()
"""


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "data" / "toy"
    (folder / "deep").mkdir(parents=True)
    (folder / "toy.inter").write_text("interactions")
    (folder / "mm_adj_10.pt").write_text("left here by another tool")
    (folder / "deep" / "x.txt").write_text("x")
    return folder


def test_holds_links_but_no_caches(source, tmp_path):
    view = private_data_view(source, tmp_path / "cache", "k1")
    assert view == tmp_path / "cache" / "plugin_data" / "k1" / "toy"
    assert sorted(p.name for p in view.iterdir()) == ["deep", "toy.inter"]
    assert (view / "toy.inter").is_symlink()
    assert not (view / "deep").is_symlink()
    assert (view / "deep" / "x.txt").read_text() == "x"


def test_what_a_plugin_writes_stays_there(source, tmp_path):
    view = private_data_view(source, tmp_path / "cache", "k1")
    (view / "mm_adj_10.pt").write_text("mine")
    (view / "deep" / "new").write_text("mine")
    assert private_data_view(source, tmp_path / "cache", "k1") == view
    assert (view / "mm_adj_10.pt").read_text() == "mine"
    assert not (source / "deep" / "new").exists()
    other = private_data_view(source, tmp_path / "cache", "k2")
    assert not (other / "mm_adj_10.pt").exists()


def test_links_follow_the_data_folder(source, tmp_path):
    view = private_data_view(source, tmp_path / "cache", "k1")
    (source / "toy.inter").write_text("changed")
    (source / "deep" / "x.txt").unlink()
    (source / "new.npy").write_text("new")
    (view / "toy.inter").unlink()
    (view / "toy.inter").symlink_to(tmp_path / "elsewhere")
    private_data_view(source, tmp_path / "cache", "k1")
    assert (view / "toy.inter").read_text() == "changed"
    assert (view / "new.npy").read_text() == "new"
    assert not os.path.lexists(view / "deep" / "x.txt")


def test_copies_where_links_are_not_possible(source, tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError("no links here")

    monkeypatch.setattr(data_view.os, "symlink", refuse)
    view = private_data_view(source, tmp_path / "cache", "k1")
    assert not (view / "toy.inter").is_symlink()
    (source / "toy.inter").write_text("changed")
    later = (view / "toy.inter").stat().st_mtime + 10
    os.utime(source / "toy.inter", (later, later))
    private_data_view(source, tmp_path / "cache", "k1")
    assert (view / "toy.inter").read_text() == "changed"


def test_leaves_nothing_half_made(source, tmp_path):
    view = private_data_view(source, tmp_path / "cache", "k1")
    assert [p.name for p in view.rglob(".*")] == []


def test_two_processes_at_once(source, tmp_path):
    command = [sys.executable, "-c", RACE, str(source), str(tmp_path / "cache"), "k1"]
    environment = os.environ | {"PYTHONPATH": str(support.ROOT / "src")}
    both = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[1] for process in both] == [b"", b""]
    assert [process.returncode for process in both] == [0, 0]


@pytest.mark.parametrize("key", ["", "a/b", "..", "."])
def test_key_must_be_a_plain_name(source, tmp_path, key):
    with pytest.raises(ValueError, match="the key of a data view must be a plain folder name"):
        private_data_view(source, tmp_path / "cache", key)


def test_absent_data_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no data folder .*nothing"):
        private_data_view(tmp_path / "nothing", tmp_path / "cache", "k1")


def test_cache_inside_the_data_folder(source):
    with pytest.raises(ValueError, match="lies inside the data folder"):
        private_data_view(source, source / "cache", "k1")
