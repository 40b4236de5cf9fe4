"""The generated data set: its format, its split, what is planted in it, and when it is refused."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from ld4mrec.checksums import unsealed
from ld4mrec.errors import UserError
from ld4mrec.files import sha256
from ld4mrec.preprocessing import demo
from ld4mrec.preprocessing.samples import world
from ld4mrec.preprocessing.samples.world import LOOKS, SUBJECTS
from ld4mrec.preprocessing.steps.writing import OutputError
from support import ROOT

SCRIPT = ROOT / "preprocessing" / "demo.py"
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
    """The default data set and what can be reached on it."""
    made, rng = demo.draw(demo.USERS, demo.ITEMS, 0)
    return made, demo.reachable(made, rng)


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
    assert unsealed((folder / "manifest.json").read_bytes()) == manifest
    assert set(manifest["outputs"]) == {path.name for path in folder.iterdir()} - {"manifest.json"}
    for name, facts in manifest["outputs"].items():
        assert facts["sha256"] == sha256(folder / name)
        assert facts["bytes"] == (folder / name).stat().st_size
    assert manifest["options"] == {**SMALL, "seed": 0}
    table, n = rows(folder), manifest["counts"]
    assert n["interactions"] == len(table)
    assert n["items"] + n["items_dropped_without_click"] == SMALL["items"]
    assert [n["train"], n["validation"], n["test"]] == list(np.bincount(table["x_label"]))
    in_train = table[table["x_label"] == 0].groupby("itemID").size()
    assert n["items_unseen_in_train"] == n["items"] - len(in_train)
    assert n["items_with_1_to_4_train_clicks"] == (in_train < 5).sum()
    assert n["density"] == pytest.approx(len(table) / (n["users"] * n["items"]), abs=1e-6)


@settings(max_examples=8)
@given(
    users=st.integers(20, 90),
    items=st.integers(40, 120),
    seed=st.integers(0, 2**63 - 1),
)
def test_any_small_data_set_is_well_formed(users, items, seed):
    made, _ = demo.draw(users, items, seed)
    clicks, n_items = made.interactions, len(made.item_kind)
    assert clicks.counts() == (users, n_items, len(made.labels))
    per_user = np.bincount(clicks.users)
    assert per_user.min() >= 5
    assert per_user.max() <= items // 4
    assert len(np.unique(clicks.users * 1000 + clicks.items)) == len(clicks)  # splits are disjoint
    for label in (demo.TRAIN, demo.VALIDATION, demo.TEST):
        assert made.matrix(label).getnnz(axis=1).min() >= 1
    assert {len(rows) for rows in made.features.values()} == {n_items} == {len(made.kind_loglik)}
    assert demo.true_probabilities(made).sum(1) == pytest.approx(1)
    low, high = demo.YEAR_2024
    assert low <= clicks.times.min() <= clicks.times.max() < high


def test_same_seed_same_bytes_and_another_seed_other_bytes(small, tmp_path):
    folder, _ = small
    demo.generate(tmp_path / "tiny", **SMALL)
    assert content(tmp_path / "tiny") == content(folder)
    demo.generate(tmp_path / "other" / "tiny", **SMALL, seed=1)
    other = content(tmp_path / "other" / "tiny")
    same = {name for name, data in content(folder).items() if other[name] == data}
    assert same <= {"u_id_mapping.csv", "i_id_mapping.csv"}


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
    group = np.array([0, 1, 2, 1])
    rows_of, loglik = demo.draw_features(group, 3, 4, np.random.default_rng(3))
    rng = np.random.default_rng(3)  # the same parameters again, in the order they are drawn
    centres, common = rng.standard_normal((3, 4)), demo.OFFSET * rng.standard_normal(4)
    directions = demo.NUISANCE * rng.standard_normal((demo.NUISANCE_RANK, 4))
    precision = np.linalg.inv(directions.T @ directions + demo.NOISE**2 * np.eye(4))
    gap = rows_of[:, None] - common - centres  # (I, groups, F)
    expected = -np.einsum("igf,fh,igh->ig", gap, precision, gap) / 2
    difference = loglik - expected  # a constant for each item
    assert difference == pytest.approx(np.tile(difference[:, :1], 3), abs=1e-4)


def test_tastes_are_planted_and_need_both_modalities(default):
    made, _ = default
    item, user = (np.divmod(kind, LOOKS) for kind in (made.item_kind, made.world.user_kind))
    u, i = made.interactions.users, made.interactions.items
    subject, look = item[0][i] == user[0][u], item[1][i] == user[1][u]
    by_chance = 1 / SUBJECTS  # both have as many groups
    assert subject.mean() > 2.5 * by_chance
    assert look.mean() > 2.5 * by_chance
    assert (subject & look).mean() > 10 * by_chance**2
    for feat, group in zip(made.features.values(), item, strict=True):
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


def test_without_tastes_nothing_beats_the_exposure(monkeypatch):
    monkeypatch.setattr(world, "STRENGTH", 0)
    made, rng = demo.draw(400, 200, 0)
    p = demo.true_probabilities(made)
    assert p == pytest.approx(np.tile(made.exposure, (400, 1)))
    assert demo.posterior_mean(made, rng, True, burn_in=1, kept=2) == pytest.approx(p)


def test_true_features_help_a_simple_model_and_shuffled_ones_do_not(default):
    made, reachable = default
    train, test = made.matrix(demo.TRAIN), made.matrix(demo.TEST)
    n_user, n_item = np.asarray(train.sum(1)).ravel(), np.asarray(train.sum(0)).ravel()
    hop = sp.diags(n_user**-0.5) @ train @ sp.diags(np.maximum(n_item, 1) ** -0.5)

    def recall(order):
        feats = np.hstack(
            [
                f[order] / np.linalg.norm(f, axis=1, keepdims=True)[order]
                for f in made.features.values()
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

    n_items = len(made.item_kind)
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
    with pytest.raises(OutputError, match="is there already; .* replace it with --force"):
        demo.generate(folder, **SMALL, seed=1)
    assert content(folder) == old
    manifest, made = demo.generate(folder, **SMALL, seed=1, force=True)
    assert made
    assert manifest["options"]["seed"] == 1
    (folder / "text_feat.npy").write_bytes(b"changed")
    with pytest.raises(OutputError, match="is there already"):
        demo.generate(folder, **SMALL, seed=1)
    (folder / "text_feat.npy").unlink()
    with pytest.raises(OutputError, match="is there already"):
        demo.generate(folder, **SMALL, seed=1)
    demo.generate(folder, **SMALL, seed=1, force=True)
    folder.rename(tmp_path / "renamed")
    with pytest.raises(OutputError, match="is there already"):
        demo.generate(tmp_path / "renamed", **SMALL, seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["renamed"]  # no temporary folder stays


@pytest.mark.parametrize("manifest", [None, "{", "[]", '{"generator": "another"}'])
def test_foreign_folder_is_never_replaced(tmp_path, manifest):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    if manifest is not None:
        (tmp_path / "mine" / "manifest.json").write_text(manifest)
    with pytest.raises(OutputError, match="is there already"):
        demo.generate(tmp_path / "mine", **SMALL)
    with pytest.raises(OutputError, match="was not made by preprocessing .* leaves it alone"):
        demo.generate(tmp_path / "mine", **SMALL, force=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"users": 19}, r"--users is 19; wanted 20 to"),
        ({"items": 39}, r"--items is 39; wanted 40 to"),
        ({"users": 20_000, "items": 2_000}, r"users x items is 40000000; .* fewer users or items"),
        ({"seed": -1}, r"--seed is -1; wanted a whole number from 0"),
    ],
)
def test_bad_option(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        demo.generate(tmp_path / "x", **options)
    assert not list(tmp_path.iterdir())


def test_command_from_another_folder(tmp_path):
    command = [sys.executable, str(SCRIPT), "--out", "data/toy", "--users", "60", "--items", "70"]

    def run(*more):
        return subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, text=True)

    first = run()
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("data/toy: made\n60 users, ")
    assert "content_blind" in first.stdout
    assert (tmp_path / "data" / "toy" / "toy.inter").is_file()
    assert "is there already, the same; nothing done" in run().stdout
    refused = run("--seed", "1")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ")
    assert "Traceback" not in refused.stderr


def test_main_prints_errors_and_exits_2(tmp_path, capsys):
    assert demo.main(["--out", str(tmp_path / "x"), "--users", "3"]) == 2
    assert capsys.readouterr().err.startswith("error: --users is 3; wanted 20")
