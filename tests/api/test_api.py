"""`import ld4mrec`: the commands' folders, DataFrames in original ids, the same errors."""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

import ld4mrec
import support
from ld4mrec.search.train import run as by_command

KEYS = {"threads": 1, "topk": [5, 10], "valid_metric": "recall@10", "cache_dir": None}
KEYS |= {"use_gpu": False}
SMALL = {"epochs": 3, "embedding_size": 8, "learning_rate": 0.05}


def table():
    """Everybody likes one of four kinds of items; ids are texts."""
    generator = np.random.default_rng(0)
    rows = []
    for user in range(40):
        mine = generator.permutation(np.flatnonzero(np.arange(32) % 4 == user % 4))[:7]
        rows += [(f"ann {user}@example.org", f"00{item}", place) for place, item in enumerate(mine)]
    frame = pd.DataFrame(rows, columns=["user", "item", "place"])
    frame["time"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame.pop("place"), unit="D")
    return frame


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def data(place):
    quiet = {"verbose": False, "k_core": 1, "split": "leave-one-out"}
    return ld4mrec.prepare(table(), out=place / "data" / "mine", **quiet)


@pytest.fixture(scope="module")
def keys(place):
    return KEYS | SMALL | {"runs_dir": str(place / "runs")}


@pytest.fixture(scope="module")
def bpr(data, keys):
    return ld4mrec.train("BPR", data, seed=1, verbose=False, **keys)


def test_the_names_are_there_and_import_nothing_before_they_are_asked_for():
    assert set(ld4mrec.__all__) <= set(dir(ld4mrec))
    for name in ld4mrec.__all__:
        assert getattr(ld4mrec, name).__doc__
    with pytest.raises(AttributeError, match="module 'ld4mrec' has no attribute 'trian'"):
        _ = ld4mrec.trian
    light = "import sys, ld4mrec; print({'torch', 'numpy', 'pandas'} & sys.modules.keys())"
    environment = os.environ | {"PYTHONPATH": str(support.ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", light], env=environment, capture_output=True)
    assert done.stdout.decode().strip() == "set()"


def test_every_name_is_in_the_docs():
    page = (support.ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for name in ld4mrec.__all__:
        assert f"`{name}" in page
    for kind in (ld4mrec.Run, ld4mrec.Data, ld4mrec.Curve, ld4mrec.Comparison):
        public = [name for name in vars(kind) if not name.startswith("_")]
        described = page.split(f"| `{kind.__name__}` |")[1].split("\n")[0]
        missing = [name for name in public if f".{name}" not in described and name != "keys"]
        assert not missing, (kind, missing)


def test_data(data):
    assert data.name == "mine"
    frame = data.interactions()
    expected = set(map(tuple, table()[["user", "item"]].to_numpy()))
    assert set(zip(frame["user"], frame["item"], strict=True)) == expected
    assert frame["split"].value_counts().to_dict() == {"train": 200, "validation": 40, "test": 40}
    assert "40 users, 32 items, 280 interactions" in repr(data)
    assert ld4mrec.open_data(data) is data
    assert ld4mrec.open_data(data.folder) == data
    with pytest.raises(ld4mrec.UserError, match="there is no data folder .*nowhere"):
        ld4mrec.open_data("nowhere")


def test_the_same_data_is_made_once(data):
    before = data.manifest, (data.folder / "mine.inter").stat().st_ino
    again = {"k_core": 1, "split": "leave-one-out", "out": data.folder}
    said = io.StringIO()
    with redirect_stdout(said):
        assert ld4mrec.prepare(table(), **again) == data
    assert "made earlier" in said.getvalue()
    assert (data.manifest, (data.folder / "mine.inter").stat().st_ino) == before
    with pytest.raises(ld4mrec.UserError, match="is there already; choose another folder"):
        ld4mrec.prepare(table()[1:], verbose=False, **again)
    with pytest.raises(ld4mrec.UserError, match="is there already"):
        ld4mrec.prepare(table(), verbose=False, **again | {"seed": 5})


def test_files_and_named_columns(place):
    frame = table().rename(columns={"user": "buyer", "item": "sku", "time": "when"})
    frame.to_csv(place / "sold.csv", index=False)
    made = ld4mrec.prepare(
        place / "sold.csv",
        out=place / "data" / "sold",
        columns={"user": "buyer", "item": "sku", "time": "when"},
        k_core=1,
        verbose=False,
    )
    assert len(made.interactions()) == len(frame)
    with pytest.raises(ld4mrec.UserError, match="which column is the user cannot be told"):
        ld4mrec.prepare(place / "sold.csv", out=place / "data" / "other", verbose=False)
    with pytest.raises(ld4mrec.UserError, match="no option 'k_cor'. Did you mean 'k_core'"):
        ld4mrec.prepare(place / "sold.csv", out=place / "data" / "other", k_cor=1)


def test_a_run_is_the_commands(bpr, data, keys):
    (found,) = by_command("BPR", "mine", keys | data.keys() | {"seed": [1]})
    assert found.reused
    assert found.folder.path == bpr.folder
    assert (bpr.test, bpr.valid) == (found.result["test"], found.result["valid"])
    (made,) = by_command("BPR", "mine", keys | data.keys() | {"seed": [2]})
    assert ld4mrec.train("BPR", data, seed=2, verbose=False, **keys).folder == made.folder.path
    assert ld4mrec.open_run(bpr.folder) == bpr
    assert (bpr.model, bpr.seed, bpr.data) == ("BPR", 1, data)


def test_every_epoch_is_called_and_kept(data, keys):
    seen = []
    done = ld4mrec.train("BPR", data, seed=3, on_epoch=seen.append, verbose=False, **keys)
    assert [epoch.epoch for epoch in seen] == [0, 1, 2]
    frame = done.curve.frame
    assert frame["epoch"].tolist() == [1, 2, 3]
    assert frame["loss"].tolist() == [sum(epoch.loss) for epoch in seen]
    assert frame["recall@10"].tolist() == [epoch.valid["recall@10"] for epoch in seen]
    assert seen[-1].best == max(frame["recall@10"]) == done.valid["recall@10"]
    assert seen[-1].best_epoch + 1 == done.best_epoch == done.curve.best_epoch
    again = []
    ld4mrec.train("BPR", data, seed=3, on_epoch=again.append, verbose=False, **keys)
    assert not again


def test_what_a_callback_raises_ends_the_training_which_goes_on_then(data, keys, bpr):
    class Stop(Exception):
        pass

    def stop(epoch):
        if epoch.epoch == 1:
            raise Stop

    keys = keys | {"checkpoint_seconds": 0}
    with pytest.raises(Stop):
        ld4mrec.train("BPR", data, seed=4, on_epoch=stop, verbose=False, **keys)
    seen = []
    done = ld4mrec.train("BPR", data, seed=4, on_epoch=seen.append, verbose=False, **keys)
    assert [epoch.epoch for epoch in seen] == [2]
    assert done.curve.frame["epoch"].tolist() == [1, 2, 3]


def test_recommendations_in_original_ids(bpr, data):
    lists = bpr.recommend(["ann 3@example.org", "ann 7@example.org"], k=4)
    assert list(lists) == ["user", "rank", "item", "score"]
    assert lists["user"].unique().tolist() == ["ann 3@example.org", "ann 7@example.org"]
    assert lists["rank"].tolist() == [1, 2, 3, 4] * 2
    frame = data.interactions()
    known = set(zip(frame["user"], frame["item"], strict=True))
    assert not known & set(zip(lists["user"], lists["item"], strict=True))
    assert len(bpr.recommend(k=1)) == 40
    one = bpr.recommend("ann 3@example.org", k=4)
    pd.testing.assert_frame_equal(one, lists[:4], check_exact=False)
    with pytest.raises(ld4mrec.UserError, match="unknown user id: 'bob'"):
        bpr.recommend(["bob"])
    with pytest.raises(ld4mrec.UserError, match="k is 0; wanted at least 1"):
        bpr.recommend(k=0)


def test_new_people_are_folded_in(data, keys):
    ease = ld4mrec.train("EASE", data, seed=1, verbose=False, **_without_sizes(keys))
    history = pd.DataFrame({"user": ["new", "new"], "item": ["000", "004"]})
    lists = ease.recommend(history=history, k=3)
    assert set(lists["user"]) == {"new"}
    assert not set(lists["item"]) & {"000", "004"}
    with pytest.raises(ld4mrec.UserError, match=r"history has no column \['item'\]"):
        ease.recommend(history=history[["user"]])


def _without_sizes(keys):
    return {key: value for key, value in keys.items() if key not in SMALL}


def test_users_metrics(bpr):
    frame = bpr.per_user()
    assert set(frame["user"]) == {f"ann {user}@example.org" for user in range(40)}
    assert frame["recall@10"].mean() == pytest.approx(bpr.test["recall@10"])


DAMAGED = {
    "result.json": (b'"best_epoch": 2', lambda run: run.test),
    "config.yaml": (b"valid_metric: recall@10", lambda run: run.config),
    "metrics.jsonl": (b'"loss": [', lambda run: run.curve),
    "per_user.npz": (b"recall@10.npy", lambda run: run.per_user()),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_of_a_run_is_a_sentence(name, bpr, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(bpr.folder, folder)
    intact, path = ld4mrec.open_run(folder), folder / name
    before, read = DAMAGED[name]
    assert read(intact) is not None
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, before[:-1] + b"1", 1))
    with pytest.raises(ld4mrec.UserError, match=f"{name} is damaged"):
        read(ld4mrec.open_run(folder))


def test_users_metrics_are_of_the_ids_that_the_run_had(data, keys, place):
    other = place / "other" / "mine"
    shutil.copytree(data.folder, other)
    run = ld4mrec.train("Pop", other, seed=1, verbose=False, runs_dir=str(place / "others"), **KEYS)
    path = other / "u_id_mapping.csv"
    path.write_text(path.read_text().replace("ann 1@", "bob 1@"))
    with pytest.raises(ld4mrec.UserError, match="u_id_mapping.csv has another content"):
        run.per_user()


def test_an_archive_has_no_curve(bpr, tmp_path):
    shutil.copytree(bpr.folder, tmp_path / "run", ignore=lambda *_: ["metrics.jsonl"])
    with pytest.raises(ld4mrec.UserError, match="has no metrics.jsonl; an archive keeps none"):
        _ = ld4mrec.open_run(tmp_path / "run").curve


def test_curves_are_drawn(bpr):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    axes = bpr.curve.plot("ndcg@5")
    (line, _) = axes.get_lines()
    assert line.get_ydata().tolist() == bpr.curve.frame["ndcg@5"].tolist()
    with pytest.raises(ld4mrec.UserError, match="the curve has no recall@7; it has recall@5"):
        bpr.curve.plot("recall@7")


def test_errors_are_the_commands_sentences(data, keys):
    with pytest.raises(ld4mrec.UserError, match="Did you mean 'LightGCN'"):
        ld4mrec.train("LigtGCN", data, **keys)
    with pytest.raises(ld4mrec.UserError, match="Did you mean 'learning_rate'"):
        ld4mrec.train("BPR", data, lerning_rate=1)
    with pytest.raises(ld4mrec.UserError, match="there is no finished run at"):
        ld4mrec.open_run("nowhere")


def test_a_comparison_shows_the_reports_tables(bpr, data, keys, place, capsys):
    keys = keys | {"metrics": "recall@5,recall@10", "epochs": 3}
    keys = {key: value for key, value in keys.items() if key not in ("embedding_size",)}
    found = ld4mrec.compare(["BPR", "Pop"], data, seeds=[1, 2], out=place / "report", **keys)
    assert (place / "report" / "report.html").is_file()
    assert list(found.accuracy.index) == ["BPR", "Pop"]
    numbers = found.numbers.query("table == 'accuracy' and row == 'BPR'")
    assert numbers["value"].tolist() == pytest.approx(found.accuracy.loc["BPR"].tolist())
    assert "±" in found.tables["accuracy"].loc["BPR", "test Recall@10"]
    assert "validation-by-epoch" in found.tables
    capsys.readouterr()
    found.show("accuracy")
    out = capsys.readouterr().out
    assert "test Recall@10" in out
    assert "report.html" in out
    with pytest.raises(ld4mrec.UserError, match="there is no table 'acuracy'"):
        found.show("acuracy")
    with pytest.raises(ld4mrec.UserError, match="wanted a number from 1"):
        ld4mrec.compare(["BPR"], data, seeds=0, **keys)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["first_steps", "comparison"])
def test_notebooks_run_as_they_are_kept(name, tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="notebooks need the extra 'notebooks'")
    pytest.importorskip("nbclient", reason="notebooks need the extra 'notebooks'")
    sys.path.insert(0, str(support.ROOT / "docs"))
    try:
        import run_notebooks
    finally:
        sys.path.pop(0)
    path = support.ROOT / "notebooks" / f"{name}.ipynb"
    now = run_notebooks.run(path, tmp_path, support.ROOT / "src")
    kept = nbformat.read(path, as_version=4)
    for then, cell in zip(kept.cells, now.cells, strict=True):
        if cell.cell_type == "code":
            kinds = [output.output_type for output in cell.outputs if "name" not in output]
            assert kinds == [output.output_type for output in then.outputs if "name" not in output]


WRONG = {
    "min_rating='4'": (
        lambda it: it.prepared(min_rating="4"),
        "min_rating is '4'; wanted a number",
    ),
    "k_core='5'": (lambda it: it.prepared(k_core="5"), "k_core is '5'; wanted a whole number"),
    "k_core=True": (lambda it: it.prepared(k_core=True), "k_core is True; wanted a whole number"),
    "seed='x'": (lambda it: it.prepared(seed="x"), "seed is 'x'; wanted a whole number"),
    "split=3": (lambda it: it.prepared(split=3), "split is 3; wanted one of mmrec, temporal"),
    "resume=1": (lambda it: it.prepared(resume=1), "resume is 1; wanted True or False"),
    "items": (lambda it: it.prepared(items="x"), "no option 'items'; the table of items is text="),
    "out=None": (lambda it: it.prepared(out=None), "out is None, of type NoneType; wanted a path"),
    "images=3": (lambda it: it.prepared(images=3), "images is 3, of type int; wanted a path"),
    "interactions=5": (
        lambda it: ld4mrec.prepare(5, out="x"),
        "interactions is 5, of type int; wanted a path or a DataFrame",
    ),
    "open_data(7)": (lambda it: ld4mrec.open_data(7), "data is 7, of type int; wanted a path"),
    "open_run(None)": (lambda it: ld4mrec.open_run(None), "folder is None, .* wanted a path"),
    "model=None": (
        lambda it: ld4mrec.train(None, it.data),
        "model is None, .* the name of a model",
    ),
    "on_epoch=3": (
        lambda it: ld4mrec.train("BPR", it.data, on_epoch=3),
        "on_epoch is 3, of type int; wanted a function that takes an Epoch",
    ),
    "plugin=1": (lambda it: ld4mrec.train("BPR", it.data, plugin=1), "plugin is 1, .* a path"),
    "k='2'": (lambda it: it.run.recommend(k="2"), "k is '2', of type str; wanted a whole number"),
    "k=2.5": (lambda it: it.run.recommend(k=2.5), "k is 2.5, of type float; wanted a whole"),
    "users=5": (lambda it: it.run.recommend(5), "users is 5, of type int; wanted a list of ids"),
    "history": (
        lambda it: it.run.recommend(history={"user": ["a"]}),
        "history is {'user.*, of type dict; wanted a DataFrame",
    ),
    "export(None)": (lambda it: it.run.export(None), "folder is None, .* wanted a path"),
    "seeds='3'": (
        lambda it: ld4mrec.compare(["Pop"], it.data, seeds="3"),
        "one of seeds is '3', of type str; wanted a whole number",
    ),
    "seeds=[1, 1]": (
        lambda it: ld4mrec.compare(["Pop"], it.data, seeds=[1, 1]),
        r"seeds is \[1, 1\]; wanted different seeds",
    ),
    "models=[int]": (
        lambda it: ld4mrec.compare([int], it.data),
        "one of models is <class 'int'>, of type type; wanted a text",
    ),
    "metrics=[]": (
        lambda it: ld4mrec.compare(["Pop"], it.data, metrics=["recall@5"]),
        "metrics is .*, of type list; wanted a text",
    ),
}


class It(NamedTuple):
    """What the wrong calls need."""

    data: object
    run: object
    prepared: Callable


@pytest.mark.parametrize("name", WRONG)
def test_a_value_of_another_type_is_a_sentence(bpr, data, tmp_path, name):
    def prepared(**given):
        frame = pd.DataFrame({"user": ["a"], "item": ["b"], "rating": [1]})
        return ld4mrec.prepare(frame, **({"out": tmp_path / "x"} | given))

    call, message = WRONG[name]
    with pytest.raises(ld4mrec.UserError, match=message):
        call(It(data, bpr, prepared))


def test_numbers_of_numpy_are_numbers(data, keys, tmp_path):
    plain = keys | {"learning_rate": 0.5, "epochs": 2, "topk": [5, 10]}
    numpy = {"learning_rate": np.float64(0.5), "epochs": np.int64(2), "topk": np.array([5, 10])}
    assert ld4mrec.train("BPR", data, **plain).id == ld4mrec.train("BPR", data, **plain | numpy).id
    frame = pd.DataFrame({"user": list("aaabbbccc"), "item": list("xyzxyzxyz")})
    made = ld4mrec.prepare(frame, out=tmp_path / "x", k_core=np.int64(1), seed=np.int32(0))
    assert made.manifest["options"]["k_core"] == 1
