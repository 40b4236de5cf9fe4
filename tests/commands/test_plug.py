"""The plugin in a checkout: what is copied, what is refused, training there without our host."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import support
from ld4mrec.commands import plug
from ld4mrec.errors import UserError
from ld4mrec.search.train import run

STAND_IN = Path(__file__).parents[1] / "stand_in"
SMALL = {"embedding_size": 16, "hidden_size": 16, "svd_rank": 8, "pg_hidden": 8}
ONE_POINT = {
    "soft_prob": 0.01,
    "soft_gamma": 0.01,
    "learning_rate": 6e-4,
    "seed": 5,
    "epochs": 3,
    "train_batch_size": 16,
}


@pytest.fixture
def checkout(tmp_path):
    return shutil.copytree(STAND_IN, tmp_path / "checkout")


def files_below(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*.*"))}


def train_there(checkout, dataset, changes):
    """What the stand-in prints: trained in its own process, with nothing of ours on the path."""
    words = [f"{key}={value}" for key, value in changes.items()]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "main.py", "-m", "LD4MRec", "-d", dataset, *words],
        cwd=checkout / "src",
        env=environment | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def with_data(checkout):
    """The learnable world as the checkout's `demo` data set."""
    return support.write_block_world(checkout / "data", "demo")


def test_the_copied_files_train_without_our_host(checkout):
    copied, kept = plug.plug(checkout)
    assert set(plug.NEEDED) < set(copied)
    assert kept == ["configs/dataset/baby.yaml"]
    with_data(checkout)
    printed = train_there(
        checkout, "demo", SMALL | ONE_POINT | {"epochs": 40, "learning_rate": 0.01}
    )
    (one,) = printed["runs"]
    assert one["losses"][-1] < one["losses"][0]
    assert one["test"] > 0.9  # each user likes one of four kinds, ten items of each: chance is .5
    ours = [file for file in printed["files"] if Path(file).is_relative_to(support.ROOT / "src")]
    assert not ours
    there = [f for f in printed["files"] if Path(f).is_relative_to(checkout.resolve())]
    names = {Path(file).name for file in there}
    assert names >= {Path(name).name for name in plug.NEEDED if name.endswith(".py")}


def test_the_same_numbers_there_as_on_our_host(checkout, tmp_path):
    plug.plug(checkout)
    folder = with_data(checkout)
    printed = train_there(checkout, "demo", SMALL | ONE_POINT)
    paths = {"data_path": f"{folder.parent}/", "runs_dir": str(tmp_path / "runs")}
    settings = paths | SMALL | ONE_POINT | {"cache_dir": None, "threads": 1, "topk": [20]}
    (here,) = run("LD4MRec", "demo", settings)
    lines = (here.folder.path / "metrics.jsonl").read_text().splitlines()
    # there sums over the epoch's four batches, here means; the parts of a loss are one sum there
    losses = [4 * sum(json.loads(line)["loss"]) for line in lines]
    assert printed["runs"][0]["losses"] == pytest.approx(losses, rel=1e-5)


def test_the_order_of_modalities_there_by_a_key(checkout, tmp_path):
    """MMRec takes what stands for text first; docs/plugin.md gives the key that does so here."""
    plug.plug(checkout)
    folder = with_data(checkout)
    (folder / "text_feat.npy").rename(folder / "audio_feat.npy")
    there = {"text_feature_file": "audio_feat.npy", "vision_feature_file": "image_feat.npy"}
    printed = train_there(checkout, "demo", SMALL | ONE_POINT | there)
    paths = {"data_path": f"{folder.parent}/", "runs_dir": str(tmp_path / "runs")}
    settings = paths | SMALL | ONE_POINT | {"cache_dir": None, "threads": 1, "topk": [20]}
    losses = {}
    for name, order in (
        ("key", {"modalities": {"text": "audio_feat.npy", "image": "image_feat.npy"}}),
        ("no key", {}),
    ):
        (here,) = run("LD4MRec", "demo", settings | order)
        lines = (here.folder.path / "metrics.jsonl").read_text().splitlines()
        losses[name] = [4 * sum(json.loads(line)["loss"]) for line in lines]
    assert printed["runs"][0]["losses"] == pytest.approx(losses["key"], rel=1e-5)
    assert printed["runs"][0]["losses"] != pytest.approx(losses["no key"], rel=1e-5)


def test_the_lists_of_the_yaml_are_a_grid_there(checkout):
    plug.plug(checkout)
    with_data(checkout)
    changes = SMALL | {"soft_gamma": "[0.01]", "learning_rate": "[6.0e-4]", "epochs": 1}
    points = train_there(checkout, "demo", changes)["runs"]
    assert [point["soft_prob"] for point in points] == [0.005, 0.01, 0.05, 0.1, 0.2]


def test_removing_leaves_the_checkout_as_it_was(checkout):
    before = files_below(checkout)
    plug.plug(checkout)
    removed, changed = plug.unplug(checkout)
    assert set(plug.NEEDED) < set(removed)
    assert not changed
    assert files_below(checkout) == before


def test_removing_leaves_what_was_edited(checkout):
    plug.plug(checkout)
    yaml = checkout / "src/configs/model/LD4MRec.yaml"
    yaml.write_text("epochs: 3\n")
    (checkout / "src/common/graph.py").unlink()
    removed, changed = plug.unplug(checkout)
    assert changed == ["configs/model/LD4MRec.yaml"]
    assert "common/graph.py" not in removed
    assert yaml.read_text() == "epochs: 3\n"


def test_nothing_is_overwritten(checkout):
    theirs = checkout / "src/common/graph.py"
    theirs.write_text("mine = 1\n")
    before = files_below(checkout)
    with pytest.raises(UserError, match=r"already has common/graph.py, and nothing is overwritten"):
        plug.plug(checkout)
    assert files_below(checkout) == before


def test_a_second_copy_is_refused(checkout):
    plug.plug(checkout)
    with pytest.raises(UserError, match=r"is already in .*--remove takes it out first"):
        plug.plug(checkout / "src")


def test_a_stopped_copy_can_be_removed(checkout, monkeypatch):
    before = files_below(checkout)

    def full(path, mode="wb"):
        if path.name == "diffusion.py":
            raise OSError(28, "No space left on device")
        return replacing(path, mode)

    replacing = plug.replacing
    monkeypatch.setattr(plug, "replacing", full)
    with pytest.raises(OSError, match="No space left"):
        plug.plug(checkout)
    plug.unplug(checkout)
    assert files_below(checkout) == before


def test_what_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"is no MMRec checkout: neither it nor its src folder"):
        plug.plug(tmp_path)
    with pytest.raises(UserError, match=r"is this project itself"):
        plug.plug(support.ROOT)


def test_remove_without_a_copy_is_refused(checkout):
    with pytest.raises(UserError, match=r"was not put into .* there is no ld4mrec_plug.json"):
        plug.unplug(checkout)
    (checkout / "src" / plug.RECORD).write_text("{")
    with pytest.raises(UserError, match=r"is damaged .*delete these files by hand: models/ld4mrec"):
        plug.unplug(checkout)


def test_a_record_cannot_name_files_elsewhere(checkout):
    plug.plug(checkout)
    outside = checkout / "src" / "main.py"
    names = ("main.py", "configs/dataset/../../main.py")
    digests = dict.fromkeys(names, plug.sha256(outside))
    (checkout / "src" / plug.RECORD).write_text(json.dumps(digests))
    plug.unplug(checkout)
    assert outside.is_file()


def test_the_command(checkout, capsys):
    assert plug.main([str(checkout)]) == 0
    out = capsys.readouterr().out
    assert "copied models/ld4mrec.py" in out
    assert "kept the checkout's own configs/dataset/baby.yaml" in out
    assert "python main.py -m LD4MRec -d tmall" in out
    assert plug.main([str(checkout)]) == 2
    assert "error: LD4MRec is already in" in capsys.readouterr().err
    assert plug.main([str(checkout), "--remove"]) == 0
    assert "removed models/ld4mrec.py" in capsys.readouterr().out


def test_a_copy_is_made_again_beside_what_was_edited(checkout):
    plug.plug(checkout)
    yaml = checkout / "src/configs/model/LD4MRec.yaml"
    yaml.write_text("epochs: 3\n")
    plug.unplug(checkout)
    assert plug.unplug(checkout) == ([], ["configs/model/LD4MRec.yaml"])
    copied, kept = plug.plug(checkout)
    assert "models/ld4mrec.py" in copied
    assert "configs/model/LD4MRec.yaml" in kept
    assert yaml.read_text() == "epochs: 3\n"
    removed, changed = plug.unplug(checkout)
    assert "models/ld4mrec.py" in removed
    assert changed == ["configs/model/LD4MRec.yaml"]
    yaml.unlink()
    assert plug.unplug(checkout) == ([], [])
    assert not (checkout / "src" / plug.RECORD).exists()
