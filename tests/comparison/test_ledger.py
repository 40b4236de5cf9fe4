"""The runs of a comparison: what is missing, what is trained, what compares."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

import support
from ld4mrec.comparison import curves, ledger
from ld4mrec.comparison.entries import Entry
from ld4mrec.engines.in_turn import InTurn
from ld4mrec.errors import ConfigError, DamagedError, RunError

KEYS = {"embedding_size": 4, "epochs": 2, "topk": [10, 20], "threads": 1, "train_batch_size": 64}
BPR = Entry("BPR", "BPR", {}, "yaml defaults")


@pytest.fixture
def keys(blocks, tmp_path):
    paths = {"data_path": f"{blocks.parent}/", "runs_dir": str(tmp_path / "runs")}
    return KEYS | paths | {"cache_dir": None}


def trained(keys, seeds=(1, 2), entry=BPR):
    (row,) = ledger.rows_of([entry], "blocks", keys, seeds)
    return ledger.train(row)


def test_a_row_has_a_run_per_seed_and_trains_only_what_is_missing(keys, tmp_path):
    (row,) = ledger.rows_of([BPR], "blocks", keys, [3, 1])
    assert [one.config["seed"] for one in row.runs] == [3, 1]
    assert row.done == []
    assert not (tmp_path / "runs").exists()  # nothing is written before training
    row = trained(keys, [1])
    stamp = (row.runs[0].folder.path / "result.json").stat().st_mtime_ns
    row = trained(keys, [1, 2])
    assert [one.config["seed"] for one in row.done] == [1, 2]
    assert (row.runs[0].folder.path / "result.json").stat().st_mtime_ns == stamp
    assert row.values("test", "recall@20") == [o.result["test"]["recall@20"] for o in row.runs]
    assert row.mean("valid", "recall@20") == np.mean(row.values("valid", "recall@20"))


def test_an_estimate_says_what_is_missing(keys):
    rows = ledger.rows_of([BPR], "blocks", keys, [1, 2])
    first, last = ledger.estimate({row.label: [row] for row in rows})
    assert first.startswith("BPR: 2 runs of about 2 epochs of ")
    assert re.fullmatch(r"in all about \d+ seconds", last)
    rule = {"epochs": 1000, "stopping_step": 20, "patience_steps": 0}
    patient = ledger.rows_of([BPR], "blocks", keys | rule, [1])
    first, last = ledger.estimate({"BPR": patient})
    assert first.startswith("BPR: 1 run of at least 22 epochs of ")
    assert last.startswith("in all at least ")
    row = trained(keys, [1])
    (row,) = ledger.rows_of([BPR], "blocks", keys, [1, 2])
    assert ledger.estimate({"BPR": [row]})[0].startswith("BPR: 1 run of about 2 epochs of ")
    assert ledger.estimate({"BPR": [trained(keys)]}) == []


def test_only_the_row_that_refuses_is_named(keys):
    bad = Entry("bad", "LightGCN", {"n_layers": -1}, "")
    good = Entry("good", "LightGCN", {"n_layers": 1}, "")
    rows = ledger.rows_of([bad, good], "blocks", keys, [1, 2])
    refused, timed, _ = ledger.estimate({"LightGCN": rows})
    assert refused.startswith("LightGCN: 2 runs that cannot be: LightGCN: n_layers")
    assert timed.startswith("LightGCN: 2 runs of about 2 epochs")
    bad, good = ledger.train_all(rows)
    assert "n_layers must be" in bad.reason
    assert good.reason is None
    assert len(good.done) == 2


def test_popularity_has_no_axes(keys):
    rows = ledger.rows_of([BPR], "blocks", keys | {"topk": [15], "valid_metric": "recall@15"}, [1])
    searched = {key: keys[key] for key in ("data_path", "runs_dir", "cache_dir")}
    searched |= {"learning_rate": {"low": 1e-4, "high": 1e-2}, "weight_decay": [0.0, 0.1]}
    found = ledger.popularity(rows, "blocks", searched, trains=False)
    assert found.config["topk"] == [15]
    assert found.config["weight_decay"] == 0


def test_a_further_ledger_is_read_and_not_trained_again(keys, tmp_path):
    row = trained(keys, [1])
    kept = tmp_path / "kept" / "blocks" / "BPR" / row.runs[0].folder.id
    kept.mkdir(parents=True)
    for name in ("result.json", "manifest.json", "per_user.npz"):
        shutil.copy(row.runs[0].folder.path / name, kept)
    shutil.rmtree(tmp_path / "runs")
    (other,) = ledger.rows_of([BPR], "blocks", keys, [1, 2], tmp_path / "kept")
    assert [one.config["seed"] for one in other.done] == [1]
    other = ledger.train(other, tmp_path / "kept")
    assert [one.config["seed"] for one in other.done] == [1, 2]
    assert len(list((tmp_path / "runs").glob("**/result.json"))) == 1
    assert ledger.top_items(other.done[0]) is None
    users, items = ledger.top_items(other.done[1])
    assert items.shape == (len(users), 20)


def test_rows_evaluated_otherwise_are_refused(keys):
    row = trained(keys, [1])
    masked = trained(keys | {"mask_valid_at_test": True}, [1])
    with pytest.raises(ConfigError, match="do not compare: mask_valid_at_test is True in"):
        ledger.check_protocol([row, masked])
    ledger.check_protocol([row, trained(keys, [2])])


def test_other_interactions_are_refused(keys, blocks):
    row = trained(keys, [1])
    with open(blocks / "blocks.inter", "a", encoding="utf-8") as file:
        file.write("0\t39\t0\n")
    with pytest.raises(ConfigError, match="SHA-256 of the interactions"):
        ledger.check_protocol([row, trained(keys, [1])])


def test_nothing_finished_is_said(keys):
    with pytest.raises(RunError, match="no run of the comparison is finished"):
        ledger.check_protocol(ledger.rows_of([BPR], "blocks", keys, [1]))


def test_a_failed_run_is_kept_with_its_reason(keys):
    row = trained(keys | {"learning_rate": 1e30}, [1])
    assert row.done == []
    assert "not finite" in row.runs[0].failure


def test_a_ledger_that_is_not_there_is_refused(keys, tmp_path):
    with pytest.raises(ConfigError, match=r"--ledger is .*typo, which is no folder"):
        ledger.rows_of([BPR], "blocks", keys, [1], tmp_path / "typo")


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "cannot be read"), (b"", "is damaged"), (b"no zip", "is damaged")],
)
@pytest.mark.parametrize("listed", [True, False])
def test_a_runs_arrays_that_are_absent_or_damaged_are_a_sentence(keys, content, why, listed):
    (one,) = trained(keys, [1]).done
    path = one.folder.path / "per_user.npz"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    if not listed:
        support.without_checksums(one.folder.path)
    with pytest.raises(DamagedError, match=rf"per_user.npz {why} .*delete .* to run again"):
        ledger.per_user(one)


OTHER_ARRAYS = [
    ("per_user.npz", lambda a: a.pop("users"), "no list of distinct users"),
    ("per_user.npz", lambda a: a.update(users=a["users"] * 0), "no list of distinct users"),
    ("per_user.npz", lambda a: a.update(users=a["users"].astype(float)), "no list of distinct"),
    ("per_user.npz", lambda a: a.pop("recall@10"), "no recall@10 of each user"),
    ("per_user.npz", lambda a: a.update({"recall@10": a["recall@10"][1:]}), "no recall@10 of each"),
    ("per_user.npz", lambda a: a.update({"recall@10": a["recall@10"].astype(str)}), "no recall@10"),
    ("per_user.npz", lambda a: a.update({"recall@10": a["recall@10"] * np.nan}), "not all finite"),
    ("topk.npz", lambda a: a.pop("items"), "no users with a list of items each"),
    ("topk.npz", lambda a: a.update(items=a["items"][0]), "no users with a list of items each"),
    ("topk.npz", lambda a: a.update(items=a["items"] * 1j), "no users with a list of items each"),
    ("topk.npz", lambda a: a.update(items=a["items"] - 9999), "no users with a list of items"),
    ("topk.npz", lambda a: a.update(items=a["items"][1:]), "60 users and lists of shape"),
]


@pytest.mark.parametrize(("name", "change", "why"), OTHER_ARRAYS)
def test_a_runs_arrays_of_another_shape_are_a_sentence(keys, name, change, why):
    (one,) = trained(keys, [1]).done
    read = ledger.per_user if name == "per_user.npz" else ledger.top_items
    arrays = one.folder.read_arrays(name)
    change(arrays)
    one.folder.write_arrays(name, **arrays)
    with pytest.raises(DamagedError, match=rf"{name} is damaged .*is not what was written"):
        read(one)
    support.without_checksums(one.folder.path)
    with pytest.raises(DamagedError, match=rf"{name} is damaged \(.*{why}"):
        read(one)


OTHER_RESULTS = [
    (lambda r: r.pop("test"), "test is 'absent'"),
    (lambda r: r.update(epochs="3"), "epochs is '3'"),
    (lambda r: r.update(valid=[1]), "valid is"),
    (lambda r: r["valid"].update({"recall@20": "a"}), "valid holds something else than numbers"),
    (lambda r: r["seconds"].update(train=None), "seconds holds something else than numbers"),
    (lambda r: r["test"].pop("recall@20"), "test has no recall@20"),
    (lambda r: r["test"].pop("recall@10"), "valid and test have different metrics"),
    (lambda r: r.update(best_epoch=True), "best_epoch is True"),
    (lambda r: r.clear(), "id is 'absent'"),
]


@pytest.mark.parametrize(("change", "why"), OTHER_RESULTS)
def test_a_result_of_another_shape_is_a_sentence_and_its_run_is_trained_anew(
    keys, change, why, caplog
):
    (one,) = trained(keys, [1]).done
    path = one.folder.path / "result.json"
    support.without_checksums(one.folder.path)
    before = json.loads(path.read_text())
    support.change_json(path, change)
    with pytest.raises(DamagedError, match=rf"result.json is damaged \(.*{why}"):
        one.folder.result()
    (again,) = trained(keys, [1]).done
    assert f"training anew: {path} is damaged" in caplog.text
    assert {k: again.result[k] for k in ("valid", "test")} == {
        k: before[k] for k in ("valid", "test")
    }


@pytest.mark.parametrize(
    "name", ["result.json", "manifest.json", "per_user.npz", "topk.npz", "last.pt", "best.pt"]
)
@pytest.mark.parametrize("how", ["flipped", "empty"])
def test_a_single_damaged_run_is_trained_anew(keys, name, how, caplog):
    first, second = trained(keys | {"keep_last": True}).done
    path = first.folder.path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content if how == "flipped" else b"")
    if name == "last.pt":  # as of a run that was interrupted
        (first.folder.path / "result.json").unlink()
    row = trained(keys | {"keep_last": True})
    assert [one.result["test"] for one in row.done] == [first.result["test"], second.result["test"]]
    if name != "best.pt":  # a comparison does not read the weights
        assert re.search(rf"(training anew|starting afresh|damaged).*{name}", caplog.text)
    row.done[0].folder.check_arrays()
    assert ledger.per_user(row.done[0])


@pytest.mark.parametrize("damage", [b"", b'{"epoch": 0, "loss": [9.0]}\n'])
def test_curves_leave_out_a_run_whose_epochs_are_damaged(keys, damage, caplog):
    row = trained(keys)
    before, _, _, _ = curves.training([row], "recall@20", "BPR")
    path = row.done[0].folder.path / "metrics.jsonl"
    kept, content = row.done[1:], path.read_bytes()
    path.write_bytes(damage + content.partition(b"\n")[2])
    found, _, _, _ = curves.training([row], "recall@20", "BPR")
    assert f"no curve of this run: {path} is damaged (its content is not what was" in caplog.text
    alone, _, _, _ = curves.training([replace(row, runs=kept)], "recall@20", "BPR")
    assert dict(found.lines())["BPR"] == dict(alone.lines())["BPR"]
    assert dict(found.lines())["BPR"] != dict(before.lines())["BPR"]


def test_runs_of_before_there_were_checksums_are_read(keys):
    (one,) = trained(keys, [1]).done
    stamp = (one.folder.path / "per_user.npz").stat().st_mtime_ns
    support.without_checksums(one.folder.path)
    (again,) = trained(keys, [1]).done
    assert again.reused
    assert (one.folder.path / "per_user.npz").stat().st_mtime_ns == stamp
    assert again.result["test"] == one.result["test"]
    assert ledger.top_items(again)[1].shape == (60, 20)


def test_a_damaged_run_of_a_further_ledger_is_trained_here(keys, tmp_path, caplog):
    (one,) = trained(keys, [1]).done
    shutil.move(tmp_path / "runs", tmp_path / "other")
    place = tmp_path / "other" / one.folder.path.relative_to(tmp_path / "runs")
    (place / "result.json").write_text("{")
    (row,) = ledger.rows_of([BPR], "blocks", keys, [1], tmp_path / "other")
    assert "training anew" in caplog.text
    assert row.missing
    assert row.runs[0].folder.path == one.folder.path


class TwoAtATime(InTurn):
    """An engine that is asked for the runs of all rows at once."""

    workers = 2


@pytest.mark.parametrize("engine", [InTurn, TwoAtATime])
def test_rows_of_one_label_keep_their_own_runs(keys, engine):
    """As those of a system on several data sets, which the experiment on noise trains together."""
    rows = [ledger.rows_of([BPR], "blocks", keys | {"epochs": epochs}, [1])[0] for epochs in (1, 2)]
    trained = ledger.train_all(rows, engine=engine())
    assert [row.done[0].result["epochs"] for row in trained] == [1, 2]
    assert [row.runs[0].id for row in trained] == [row.runs[0].id for row in rows]


@pytest.mark.parametrize("engine", [InTurn, TwoAtATime])
def test_a_row_that_refuses_the_data_leaves_the_others_alone(keys, blocks, engine):
    for file in blocks.glob("*_feat.npy"):
        file.unlink()
    few = {k: v for k, v in keys.items() if k != "train_batch_size"}
    names = ("BPR", "VBPR", "LightGCN", "Pop")
    own = {
        name: few if name != "Pop" else {k: few[k] for k in few if k[0] != "e"} for name in names
    }
    rows = [
        ledger.rows_of([Entry(name, name, {}, "")], "blocks", own[name], [1, 2])[0]
        for name in names
    ]
    trained = {row.label: row for row in ledger.train_all(rows, engine=engine())}
    assert {name: len(row.done) for name, row in trained.items()} == {
        "BPR": 2,
        "VBPR": 0,
        "LightGCN": 2,
        "Pop": 1,  # one run for all seeds
    }
    assert list(trained["Pop"].by_seed) == [1, 2]
    assert "VBPR wants item features" in trained["VBPR"].reason
    assert [row.reason for name, row in trained.items() if name != "VBPR"] == [None] * 3


def test_a_cut_off_beyond_the_catalogue_is_a_sentence_of_the_estimate(keys):
    rows = ledger.rows_of([BPR], "blocks", keys | {"topk": [20, 500]}, [1])
    (refused,) = ledger.estimate({"BPR": rows})
    assert refused.startswith("BPR: 1 run that cannot be: topk has 500, but there are only")
