"""The generated data set: its format, its split, what is planted in it, and when it is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import demo

SCRIPT = Path(demo.__file__)
SMALL = {"users": 60, "items": 70}
FILES = {"image_feat.npy", "text_feat.npy", "u_id_mapping.csv", "i_id_mapping.csv", "manifest.json"}


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rows(folder):
    return pd.read_csv(folder / f"{folder.name}.inter", sep="\t")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "tiny"
    manifest, made = demo.generate(folder, **SMALL)
    assert made
    return folder, manifest


@pytest.fixture(scope="module")
def default():
    """The default data set's world and what can be reached on it."""
    world, rng = demo.draw(demo.Options())
    return world, demo.reachable(world, rng)


def test_files_are_those_of_the_format(small):
    folder, manifest = small
    assert {path.name for path in folder.iterdir()} == FILES | {"tiny.inter"}
    table = rows(folder)
    assert list(table) == ["userID", "itemID", "x_label", "timestamp"]
    assert (table.dtypes == "int64").all()
    assert sorted(table["userID"].unique()) == list(range(60))
    n_items = table["itemID"].nunique()
    assert sorted(table["itemID"].unique()) == list(range(n_items))
    assert not table.duplicated(["userID", "itemID"]).any()  # so the splits are disjoint
    assert set(table["x_label"]) == {0, 1, 2}
    for name, size in (("text", 64), ("image", 96)):
        feat = np.load(folder / f"{name}_feat.npy", allow_pickle=False)
        assert feat.shape == (n_items, size)
        assert feat.dtype == np.float32
        assert np.isfinite(feat).all()
        assert manifest["features"][name] == [n_items, size]


def test_mappings_name_every_id_once(small):
    folder, manifest = small
    for name, columns, n in (
        ("u", ["user_id", "userID"], manifest["counts"]["users"]),
        ("i", ["item_id", "itemID"], manifest["counts"]["items"]),
    ):
        table = pd.read_csv(folder / f"{name}_id_mapping.csv", sep="\t")
        assert list(table) == columns
        assert list(table[columns[1]]) == list(range(n))
        assert table[columns[0]].is_unique


def test_manifest_tells_the_truth(small):
    folder, manifest = small
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    assert set(manifest["outputs"]) == {path.name for path in folder.iterdir()} - {"manifest.json"}
    for name, facts in manifest["outputs"].items():
        assert facts["sha256"] == demo.sha256(folder / name)
        assert facts["bytes"] == (folder / name).stat().st_size
    assert manifest["options"] == {**vars(demo.Options()), **SMALL}
    table, n = rows(folder), manifest["counts"]
    assert n["interactions"] == len(table)
    assert n["items"] + n["items_dropped_without_click"] == SMALL["items"]
    assert [n["train"], n["validation"], n["test"]] == list(np.bincount(table["x_label"]))
    in_train = table[table["x_label"] == 0].groupby("itemID").size()
    assert n["items_unseen_in_train"] == n["items"] - len(in_train)
    assert n["items_with_1_to_4_train_clicks"] == (in_train < 5).sum()
    assert n["density"] == pytest.approx(len(table) / (n["users"] * n["items"]), abs=1e-6)


@settings(max_examples=25)
@given(st.lists(st.integers(3, 70), min_size=1, max_size=30), st.integers(0, 1000))
def test_split_is_mmrecs_for_every_user(counts, seed):
    counts = np.array(counts)
    labels = demo.split_labels(counts, np.random.default_rng(seed))
    for n, mine in zip(counts, np.split(labels, np.cumsum(counts)[:-1]), strict=True):
        held_out = int(0.2 * n)
        validation, test = (1, 1) if n < 10 else (held_out // 2, held_out - held_out // 2)
        assert list(np.bincount(mine, minlength=3)) == [n - validation - test, validation, test]


def test_split_is_random_within_a_user():
    labels = demo.split_labels(np.full(4000, 5), np.random.default_rng(0)).reshape(4000, 5)
    for label in (1, 2):
        assert (labels == label).mean(0) == pytest.approx(0.2, abs=0.03)  # 0.03: five sigma


@settings(max_examples=8)
@given(
    users=st.integers(50, 90),
    items=st.integers(60, 120),
    seed=st.integers(0, 2**63 - 1),
    subjects=st.integers(1, 6),
    looks=st.integers(1, 6),
    nuisance_rank=st.integers(0, 3),
    late=st.floats(0, 1),
)
def test_any_small_world_is_well_formed(**options):
    world, _ = demo.draw(demo.Options(**options))
    clicks, n_items = world.clicks, len(world.item_kind)
    assert sorted(clicks["userID"].unique()) == list(range(options["users"]))
    assert sorted(clicks["itemID"].unique()) == list(range(n_items))
    per_user = clicks.groupby("userID").size()
    assert per_user.min() >= 5
    assert per_user.max() <= options["items"] // 4
    assert not clicks.duplicated(["userID", "itemID"]).any()
    assert clicks.groupby("userID")["x_label"].nunique().eq(3).all()
    assert len(world.text) == len(world.image) == len(world.kind_loglik) == n_items
    assert demo.true_probabilities(world).sum(1) == pytest.approx(1)
    assert clicks["timestamp"].between(*demo.YEAR_2024).all()


def test_same_seed_same_bytes_and_another_seed_other_bytes(small, tmp_path):
    folder, _ = small
    demo.generate(tmp_path / "tiny", **SMALL)
    assert content(tmp_path / "tiny") == content(folder)
    demo.generate(tmp_path / "other" / "tiny", **SMALL, seed=1)
    other = content(tmp_path / "other" / "tiny")
    assert all(other[name] != data for name, data in content(folder).items())


def test_recall_and_ndcg_by_hand():
    scores = np.arange(30, 0, -1) * np.ones((2, 1))  # item 0 ranks first
    train, relevant = np.zeros((2, 30)), np.zeros((2, 30))
    train[0, 0] = 1
    relevant[0, [1, 3]] = 1  # item 0 is masked: ranks 1 and 3
    relevant[1, [1, 25]] = 1  # rank 2, and one beyond the list
    recall, ndcg = demo.recall_ndcg(scores, sp.csr_matrix(train), sp.csr_matrix(relevant))
    assert recall.tolist() == [1, 0.5]
    ideal = 1 + 1 / np.log2(3)
    assert ndcg == pytest.approx([1.5 / ideal, (1 / np.log2(3)) / ideal])


def test_feature_likelihood_is_the_gaussian_of_the_docstring():
    options = demo.Options(nuisance_rank=2, noise=0.5)
    group = np.array([0, 1, 2, 1])
    rows_of, loglik = demo.draw_features(options, group, 3, 4, np.random.default_rng(3))
    rng = np.random.default_rng(3)  # the same parameters again, in the order they are drawn
    centres, common = rng.standard_normal((3, 4)), 0.5 * rng.standard_normal(4)
    directions = options.nuisance * rng.standard_normal((2, 4))
    precision = np.linalg.inv(directions.T @ directions + 0.25 * np.eye(4))
    gap = rows_of[:, None] - common - centres  # (I, groups, F)
    expected = -np.einsum("igf,fh,igh->ig", gap, precision, gap) / 2
    difference = loglik - expected  # a constant for each item
    assert difference == pytest.approx(np.tile(difference[:, :1], 3), abs=1e-4)


def test_tastes_are_planted_and_need_both_modalities(default):
    world, _ = default
    item, user = (
        np.divmod(kind, world.options.looks) for kind in (world.item_kind, world.user_kind)
    )
    u, i = world.clicks["userID"], world.clicks["itemID"]
    subject, look = item[0][i] == user[0][u], item[1][i] == user[1][u]
    by_chance = 1 / world.options.subjects  # both have as many groups
    assert subject.mean() > 3 * by_chance
    assert look.mean() > 3 * by_chance
    assert (subject & look).mean() > 15 * by_chance**2
    for feat, group in ((world.text, item[0]), (world.image, item[1])):
        between = np.mean([feat[group == g].mean(0).var() for g in np.unique(group)])
        assert between > 0.3 * feat.var()  # the groups show ...
        assert between < 0.7 * feat.var()  # ... and are not all there is


def test_bounds_stand_in_order_with_clear_gaps(default):
    _, reachable = default
    recall = {name: one["recall@20"] for name, one in reachable.items()}
    error = max(one["recall@20_stderr"] for one in reachable.values())
    order = ["popularity", "ease", "content_blind", "with_content", "oracle"]
    assert list(reachable) == order
    assert recall["ease"] > 1.15 * recall["popularity"]
    assert recall["content_blind"] > recall["ease"] + 4 * error
    assert recall["with_content"] > recall["content_blind"] + 3 * error
    assert recall["oracle"] > recall["with_content"] + 3 * error
    ndcg = [one["ndcg@20"] for one in reachable.values()]
    assert ndcg == sorted(ndcg)


def test_without_tastes_nothing_beats_the_exposure():
    options = demo.Options(users=400, items=200, subject_strength=0, look_strength=0)
    world, rng = demo.draw(options)
    p = demo.true_probabilities(world)
    assert p == pytest.approx(np.tile(world.exposure, (400, 1)))
    assert demo.posterior_mean(world, rng, True, burn_in=1, kept=2) == pytest.approx(p)


def test_true_features_help_a_simple_model_and_shuffled_ones_do_not(default):
    world, reachable = default
    train, test = world.matrix(demo.TRAIN), world.matrix(demo.TEST)
    n_user, n_item = np.asarray(train.sum(1)).ravel(), np.asarray(train.sum(0)).ravel()
    hop = sp.diags(n_user**-0.5) @ train @ sp.diags(np.maximum(n_item, 1) ** -0.5)

    def recall(order):
        feats = np.hstack(
            [
                f[order] / np.linalg.norm(f, axis=1, keepdims=True)[order]
                for f in (world.text, world.image)
            ]
        )
        signal = hop @ feats  # the preference signal of LD4MRec, eq. 16
        signal = (signal - signal.mean(0)) / signal.std()
        target = train.toarray()
        weights = np.linalg.solve(
            signal.T @ signal + 1e3 * np.eye(feats.shape[1]), signal.T @ (target - target.mean(0))
        )
        scores = signal @ weights + target.mean(0) + demo.ease_scores(train, 300)
        return demo.recall_ndcg(scores, train, test)[0].mean()

    n_items = len(world.item_kind)
    true, shuffled = (
        recall(np.arange(n_items)),
        recall(np.random.default_rng(0).permutation(n_items)),
    )
    assert true > shuffled + 4 * reachable["ease"]["recall@20_stderr"]
    assert true > reachable["ease"]["recall@20"] * 1.2


def test_same_generation_is_left_alone(small):
    folder, manifest = small
    before = (folder / "tiny.inter").stat().st_mtime_ns
    assert demo.generate(folder, **SMALL) == (manifest, False)
    assert (folder / "tiny.inter").stat().st_mtime_ns == before


def test_another_generation_is_refused_and_replaced_by_force(tmp_path):
    folder = tmp_path / "tiny"
    demo.generate(folder, **SMALL)
    old = content(folder)
    with pytest.raises(FileExistsError, match="manifest has seed 0, asked for is 1; .*--force"):
        demo.generate(folder, **SMALL, seed=1)
    assert content(folder) == old
    manifest, made = demo.generate(folder, **SMALL, seed=1, force=True)
    assert made
    assert manifest["options"]["seed"] == 1
    (folder / "text_feat.npy").write_bytes(b"changed")
    with pytest.raises(FileExistsError, match="text_feat.npy is gone or was changed"):
        demo.generate(folder, **SMALL, seed=1)
    (folder / "text_feat.npy").unlink()
    with pytest.raises(FileExistsError, match="text_feat.npy is gone or was changed"):
        demo.generate(folder, **SMALL, seed=1)
    folder.rename(tmp_path / "renamed")
    with pytest.raises(FileExistsError, match="manifest has name 'tiny', asked for is 'renamed'"):
        demo.generate(tmp_path / "renamed", **SMALL, seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["renamed"]  # no temporary folder stays


@pytest.mark.parametrize("manifest", [None, "{", "[]", '{"generator": "another"}'])
def test_foreign_folder_is_never_replaced(tmp_path, manifest):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    if manifest is not None:
        (tmp_path / "mine" / "manifest.json").write_text(manifest)
    with pytest.raises(FileExistsError, match="is not the data set asked for: it has no manifest"):
        demo.generate(tmp_path / "mine", **SMALL)
    with pytest.raises(FileExistsError, match="was not made by this program .* leaves it alone"):
        demo.generate(tmp_path / "mine", **SMALL, force=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_file_in_the_way_and_empty_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="is a file; --out must name the folder"):
        demo.generate(tmp_path / "file", **SMALL)
    (tmp_path / "empty").mkdir()
    assert demo.generate(tmp_path / "empty", **SMALL)[1]


@pytest.mark.parametrize("force", [False, True])
def test_failure_leaves_what_was_there(tmp_path, monkeypatch, force):
    folder = tmp_path / "tiny"
    if force:
        demo.generate(folder, **SMALL)
    before = content(folder) if force else None

    def fail(world, rng):
        assert not (folder / "tiny.inter").exists() or force
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(demo, "reachable", fail)  # the last step before the manifest is written
    with pytest.raises(RuntimeError, match="disk on fire"):
        demo.generate(folder, **SMALL, seed=1, force=force)
    assert folder.exists() == force
    assert not force or content(folder) == before
    assert len(list(tmp_path.iterdir())) == int(force)


def test_failed_rename_puts_the_old_folder_back(tmp_path, monkeypatch):
    folder = tmp_path / "tiny"
    demo.generate(folder, **SMALL)
    before, replace = content(folder), os.replace

    def refuse_new(source, target):
        if Path(source).name == "new":
            raise OSError("no room")
        replace(source, target)

    monkeypatch.setattr(demo.os, "replace", refuse_new)
    with pytest.raises(OSError, match="no room"):
        demo.generate(folder, **SMALL, seed=1, force=True)
    assert content(folder) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"users": 49}, r"users is 49; it must be between 50 and 20000000"),
        ({"items": 59}, r"items is 59; it must be between 60 and"),
        ({"users": 20_000, "items": 2_000}, r"users x items is 40000000; .* fewer users or items"),
        ({"seed": -1}, r"seed is -1; it must be between 0"),
        ({"users": 60.0}, r"users is 60.0; it must be a whole number"),
        ({"users": True}, r"users is True; it must be a whole number"),
        ({"noise": "0.8"}, r"noise is '0.8'; it must be a number"),
        ({"noise": float("nan")}, r"noise is nan; it must be between"),
        ({"wrong_clicks": 0}, r"wrong_clicks is 0; it must be between 0.001 and 1"),
        ({"min_clicks": 2}, r"min_clicks is 2; it must be between 3 and"),
    ],
)
def test_bad_option(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        demo.generate(tmp_path / "x", **options)
    assert not list(tmp_path.iterdir())


def test_unknown_option_is_an_error(tmp_path):
    with pytest.raises(TypeError, match="user_count"):
        demo.generate(tmp_path / "x", user_count=100)


def test_command_from_another_folder(tmp_path):
    command = [sys.executable, str(SCRIPT), "--out", "data/toy", "--users", "60", "--items", "70"]

    def run(*more):
        return subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, text=True)

    first = run()
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("data/toy: made\n60 users, ")
    assert "content_blind" in first.stdout
    assert (tmp_path / "data" / "toy" / "toy.inter").is_file()
    assert "is there already, the same generation; nothing done" in run().stdout
    refused = run("--seed", "1")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ")
    assert "Traceback" not in refused.stderr


def test_main_prints_errors_and_exits_2(tmp_path, capsys):
    assert demo.main(["--out", str(tmp_path / "x"), "--users", "3"]) == 2
    assert capsys.readouterr().err.startswith("error: users is 3; it must be between 50")
