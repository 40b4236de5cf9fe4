"""The command: what it writes, prints and refuses."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

import support
from ld4mrec.commands import recommend
from ld4mrec.search.train import run
from ld4mrec.serving import ranking
from ld4mrec.serving.trained import open_run

HOST = {"topk": [5, 20], "threads": 1, "epochs": 3, "cache_dir": None}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("recommend")


@pytest.fixture(scope="module")
def world(place):
    """The block world with original ids; user 60 has a test row alone."""
    folder = support.write_block_world(place / "data")
    with open(folder / "blocks.inter", "a", encoding="utf-8") as file:
        file.write("60\t0\t2\n")
    users = "".join(f"u{number}\t{number}\n" for number in range(61))
    (folder / "u_id_mapping.csv").write_text(f"user_id\tuserID\n{users}")
    items = "".join(f"i{number}\t{number}\n" for number in range(40))
    (folder / "i_id_mapping.csv").write_text(f"item_id\titemID\n{items}")
    return folder


def trained_on(folder, place, model, **keys):
    paths = {"data_path": f"{folder.parent}/", "runs_dir": str(place / "runs")}
    return str(run(model, folder.name, HOST | paths | keys)[0].folder.path)


@pytest.fixture(scope="module")
def bpr(world, place):
    return trained_on(world, place, "BPR", embedding_size=8)


@pytest.fixture(scope="module")
def ease(world, place):
    return trained_on(world, place, "EASE")


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_everybodys_lists_are_the_models(bpr, tmp_path, capsys):
    assert recommend.main([bpr, "-k", "5", "--out", str(tmp_path / "top.csv")]) == 0
    assert "60 users' lists in" in capsys.readouterr().err
    trained = open_run(bpr)
    scores = trained.model.full_sort_predict([torch.arange(61), None]).clone()
    scores[trained.known("all").toarray() > 0] = -np.inf
    expected = [
        (f"u{user}", str(rank + 1), f"i{item}")
        for user in range(60)
        for rank, item in enumerate(sorted(range(40), key=lambda i: (-scores[user, i], i))[:5])
    ]
    rows = rows_of(tmp_path / "top.csv")
    assert [(row["user"], row["rank"], row["item"]) for row in rows] == expected
    by_hand = [scores[int(user[1:]), int(item[1:])].item() for user, _, item in expected]
    assert [float(row["score"]) for row in rows] == pytest.approx(by_hand, rel=1e-5)


def test_the_masks_of_the_evaluation_give_its_lists(ease, tmp_path):
    out = tmp_path / "top.csv"
    assert recommend.main([ease, "--mask", "train", "--out", str(out)]) == 0
    lists = {}
    for row in rows_of(out):
        lists.setdefault(row["user"], []).append(int(row["item"][1:]))
    with np.load(f"{ease}/topk.npz") as file:
        for user, items in zip(file["users"], file["items"], strict=True):
            assert lists[f"u{user}"] == items.tolist()


def test_formats_hold_the_same_table(ease, tmp_path):
    pytest.importorskip("pyarrow")
    for name in ("top.csv", "top.jsonl", "top.parquet"):
        assert recommend.main([ease, "--out", str(tmp_path / name)]) == 0
    table = pd.read_csv(tmp_path / "top.csv")
    assert table.columns.tolist() == ["user", "rank", "item", "score"]
    lines = [json.loads(line) for line in (tmp_path / "top.jsonl").read_text().splitlines()]
    for other in (pd.DataFrame(lines), pd.read_parquet(tmp_path / "top.parquet")):
        assert other.columns.tolist() == table.columns.tolist()
        assert (other == table).all(axis=None)


def test_users_are_chosen_by_a_list_or_a_file(ease, tmp_path, capsys):
    assert recommend.main([ease, "--users", "u7, u3,u7", "--topk", "2"]) == 0
    printed = capsys.readouterr().out
    users = [line.split(",")[0] for line in printed.splitlines() if re.match(r"u\d", line)]
    assert users == ["u7", "u7", "u3", "u3"]
    (tmp_path / "who.txt").write_text("u7\n\nu3\n")
    out = tmp_path / "top.csv"
    words = [ease, "--users", str(tmp_path / "who.txt"), "--k=2", "--out", str(out)]
    assert recommend.main(words) == 0
    assert [line for line in printed.splitlines() if "," in line][:5] == [
        ",".join(row) for row in csv.reader(out.read_text().splitlines())
    ]


def test_batches_change_nothing(ease, tmp_path):
    for size in ("4096", "7"):
        words = [ease, f"--eval_batch_size={size}", "--out", str(tmp_path / f"{size}.csv")]
        assert recommend.main(words) == 0
    assert (tmp_path / "7.csv").read_bytes() == (tmp_path / "4096.csv").read_bytes()


def test_users_without_history(bpr, world, place, tmp_path, capsys):
    out = str(tmp_path / "top.csv")
    assert recommend.main([bpr, "--out", out]) == 0
    assert "left out: 1 users have no training history, of which BPR" in capsys.readouterr().err
    assert recommend.main([bpr, "--users", "u60,u1", "--out", out]) == 2
    error = capsys.readouterr().err
    assert "BPR has learned nothing: u60; take them out of --users (Pop serves anybody)" in error
    pop = trained_on(world, place, "Pop")
    assert recommend.main([pop, "--users", "u60", "--out", out]) == 0
    rows = rows_of(out)
    assert [row["user"] for row in rows] == ["u60"] * 20
    counts = open_run(pop).model.counts.tolist()
    best = sorted(range(40), key=lambda item: (-counts[item], item))[:20]
    assert [row["item"] for row in rows] == [f"i{item}" for item in best]


def test_a_catalogue_that_is_too_small_is_said(ease, tmp_path, capsys):
    out = tmp_path / "top.csv"
    assert recommend.main([ease, "-k", "100", "--out", str(out)]) == 0
    assert re.search(r"60 users get fewer than 100 items: of 40 items", capsys.readouterr().err)
    known = open_run(ease).known("all")
    assert len(rows_of(out)) == 60 * 40 - known[:60].nnz


def test_new_users(ease, tmp_path, capsys):
    train = open_run(ease).train
    history = tmp_path / "history.csv"
    lines = [f"new{user},i{item}" for user in (5, 9) for item in train[user].indices]
    history.write_text("user,item\n" + "\n".join(lines) + "\n")
    out, own = tmp_path / "new.csv", tmp_path / "own.csv"
    assert recommend.main([ease, "--history", str(history), "--out", str(out)]) == 0
    words = [ease, "--users", "u5,u9", "--mask", "train", "--out", str(own)]
    assert recommend.main(words) == 0
    assert out.read_text().replace("new", "u") == own.read_text()
    history.write_text("user,item\na,i1\na,x9\n")
    assert recommend.main([ease, "--history", str(history)]) == 2
    assert "column item, has 1 unknown item ids: 'x9'" in capsys.readouterr().err


def test_unknown_ids_are_skipped_and_counted_where_that_is_asked_for(ease, tmp_path, capsys):
    history, out = tmp_path / "history.csv", tmp_path / "new.csv"
    words = [ease, "--history", str(history), "--out", str(out), "-k", "3"]
    history.write_text("user,item\na,i1\na,i5\nb,i2\n")
    assert recommend.main(words) == 0
    expected = out.read_text()
    history.write_text("user,item\na,i1\nz,x8\na,x9\na,i5\nb,i2\n")
    assert recommend.main(words) == 2
    assert "2 unknown item ids: 'x8', 'x9'" in (text := capsys.readouterr().err)
    assert "--skip-unknown (in Python skip_unknown=True) leaves the others out" in text
    assert recommend.main([*words, "--skip-unknown"]) == 0
    assert out.read_text() == expected  # z had nothing else
    assert (
        f"left out: 2 of 5 in the rows of {history} are items that the run does not know (the "
        "first: 'x8')"
    ) in capsys.readouterr().err
    history.write_text("user,item\na,x9\n")
    assert recommend.main([*words, "--skip-unknown"]) == 2
    assert "error: 1 of 1 in the rows of" in capsys.readouterr().err
    words = [ease, "--users", "u1,nobody,u2", "--skip-unknown", "--out", str(out), "-k", "1"]
    assert recommend.main(words) == 0
    assert [row["user"] for row in rows_of(out)] == ["u1", "u2"]
    assert "are users that the run does not know (the first: 'nobody')" in capsys.readouterr().err


def test_ids_that_a_spreadsheet_would_run(world, place, tmp_path, capsys):
    folder = shutil.copytree(world, tmp_path / "data" / world.name)
    users = ["=cmd|' /C calc'!A0", "-5", "@SUM(1)", "+1+2", "-a", "a=b"]
    rows = "".join(f"{users[n] if n < 6 else n}\t{n}\n" for n in range(61))
    (folder / "u_id_mapping.csv").write_text(f"user_id\tuserID\n{rows}")
    ease = trained_on(folder, tmp_path, "EASE")
    (wanted := tmp_path / "wanted.txt").write_text("\n".join(users))
    out = tmp_path / "x.csv"
    words = [ease, "--users", str(wanted), "-k", "1"]
    assert recommend.main([*words, "--out", str(out)]) == 0
    assert [row["user"] for row in rows_of(out)] == users  # programs read what was written
    assert (
        """4 ids would be formulas in a spreadsheet (the first: "=cmd|' /C calc'!A0"); for one, """
        "write the table with --spreadsheet"
    ) in capsys.readouterr().err
    assert recommend.main([*words, "--out", str(out), "--spreadsheet"]) == 0
    safe = [f"'{user}" for user in users]
    found = [row["user"] for row in rows_of(out)]
    assert found == [safe[0], "-5", *safe[2:5], "a=b"]
    assert "formulas" not in capsys.readouterr().err


def test_models_of_users_refuse_new_ones_before_they_read(bpr, tmp_path, capsys):
    assert recommend.main([bpr, "--history", str(tmp_path / "absent.csv")]) == 2
    assert "--history works with DiffRec, EASE" in capsys.readouterr().err


def test_without_maps_ids_are_integers(place, tmp_path, capsys):
    folder = support.write_block_world(tmp_path / "data", "plain")
    ease = trained_on(folder, tmp_path, "EASE")
    assert recommend.main([ease, "--users", "3", "-k", "1", "--out", str(tmp_path / "x.csv")]) == 0
    assert capsys.readouterr().err.count("no map of original user ids") == 1
    (row,) = rows_of(tmp_path / "x.csv")
    assert row["user"] == "3"
    assert int(row["item"]) % 4 == 3  # that user's kind


def test_export(ease, tmp_path, capsys):
    folder = tmp_path / "served"
    assert recommend.main([ease, "--export", str(folder)]) == 0
    assert re.search(r"6 files, 0.0 MB, in", capsys.readouterr().err)
    assert json.loads((folder / "manifest.json").read_text())["model"] == "EASE"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-k", "0"], "-k is 0; wanted at least 1"),
        (["--users", "u1", "--history", "h.csv"], "leave it out with --history"),
        (["--export", "x", "--out", "y.csv"], "--export does without --out"),
        (["--export", "x", "-k", "20"], "--export does without -k"),
        (["--export", "x", "--skip-unknown", "--users", "u1"], "--export does without --users"),
        (["--export", "x", "--spreadsheet"], "--export does without --spreadsheet"),
        (["--spreadsheet", "--out", "y.jsonl"], "--spreadsheet is for CSV, and --out is y.jsonl"),
        (["--skip-unknown"], "--skip-unknown goes with --users or --history"),
        (["--out", "top.xls"], "whose suffix '.xls' names no format"),
        (["--history", "h.txt"], "--history is h.txt"),
        (["--users", "u1,nobody"], "unknown user ids: 'nobody'; the run knows ids such as 'u0'"),
        (["--users", "absent.txt"], "there is no file absent.txt"),
        (["--users", " , "], "names no user"),
        (["--threads=many"], "threads"),
        (["--data_path=/nowhere"], "no data folder /nowhere/blocks"),
    ],
)
def test_what_cannot_be_done_is_refused(ease, words, message, capsys):
    assert recommend.main([ease, *words]) == 2
    assert message in capsys.readouterr().err


def test_help_tells_the_options(capsys):
    with pytest.raises(SystemExit, match="0"):
        recommend.main(["--help"])
    text = capsys.readouterr().out
    for word in ("--users", "--history", "--mask", "--export", "--out", "-k", "--data_path"):
        assert word in text
    with pytest.raises(SystemExit, match="2"):
        recommend.main(["RUN", "--learning_rate=1"])
    assert "unrecognized arguments: --learning_rate=1" in capsys.readouterr().err


def test_an_interruption_leaves_the_old_file(ease, tmp_path, monkeypatch, capsys):
    out = tmp_path / "top.csv"
    assert recommend.main([ease, "--out", str(out)]) == 0
    before, calls = out.read_bytes(), []

    def interrupted(scores, k):
        calls.append(k)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return torch.topk(scores, k)

    monkeypatch.setattr(ranking, "largest", interrupted)
    assert recommend.main([ease, "--eval_batch_size=5", "--out", str(out)]) == 130
    assert "interrupted; no file was written" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.slow
def test_a_signal_leaves_nothing(tmp_path):
    folder = support.write_block_world(tmp_path / "data", "many", users=30000, items=2000)
    pop = trained_on(folder, tmp_path, "Pop")
    words = [pop, "-k", "1000", "--eval_batch_size=500", "--out", str(tmp_path / "out" / "top.csv")]
    program = [sys.executable, str(support.ROOT / "src" / "recommend.py"), *words]
    child = subprocess.Popen(program, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "out").glob(".top.csv.*")):  # it has begun to write
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    error = child.communicate(timeout=300)[1]
    assert child.returncode == 130, error
    assert list((tmp_path / "out").iterdir()) == []
