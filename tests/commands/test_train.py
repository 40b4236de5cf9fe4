"""The command line, end to end on small data: what it trains, prints, writes and refuses."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml

import support
from ld4mrec.commands import train as main
from ld4mrec.config.words import FLAGS
from ld4mrec.errors import RunError
from utils.quick_start import quick_start

SMALL = ["--embedding_size=16", "--hidden_size=16", "--svd_rank=8", "--pg_hidden=8"]
QUICK = [*SMALL, "--topk=[5,20]", "--threads=1", "--epochs=3"]
PLUGINS = support.ROOT / "tests" / "plugins" / "theirs"

GRID = ("--grid", "--learning_rate=6e-4")


@pytest.fixture
def command(blocks, tmp_path):
    """Arguments of main.py for LD4MRec on the block world, and where its runs are."""
    paths = [f"--data_path={blocks.parent}", f"--runs_dir={tmp_path / 'runs'}"]
    paths.append(f"--cache_dir={tmp_path / 'cache'}")
    return ["-m", "LD4MRec", "-d", "blocks", *QUICK, *paths]


def replaced(command, **options):
    names = {f"--{name}" for name in options}
    kept = [word for word in command if word.partition("=")[0] not in names]
    return kept + [f"--{name}={value}" for name, value in options.items()]


def results(folder):
    return sorted(folder.glob("**/result.json"))


def process(arguments, **options):
    program = [sys.executable, str(support.ROOT / "src" / "main.py"), *arguments]
    return subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )


def wait_until(happened, seconds=120):
    """Wait for something a child process does; the test fails if it does not happen."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_one_run_writes_its_folder(command, tmp_path, capsys):
    assert main.main(command) == 0
    out = capsys.readouterr().out
    (path,) = results(tmp_path / "runs" / "blocks" / "LD4MRec")
    folder = path.parent
    assert f"results in {folder}" in out
    assert "epoch 2 | loss" in out
    names = {
        "config.yaml",
        "manifest.json",
        "log.txt",
        "metrics.jsonl",
        "result.json",
        "per_user.npz",
        "topk.npz",
    }
    assert names | {"best.pt", "last.pt"} <= {file.name for file in folder.iterdir()}
    result = json.loads(path.read_text())
    assert set(result["test"]) == {
        f"{m}@{k}" for m in ("recall", "ndcg", "precision", "map") for k in (5, 20)
    }
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    best = lines[result["best_epoch"]]
    assert best["valid"] == result["valid"]
    assert best["valid"]["recall@20"] == max(line["valid"]["recall@20"] for line in lines)
    per_user = np.load(folder / "per_user.npz")
    assert per_user["recall@20"].mean() == pytest.approx(result["test"]["recall@20"], abs=1e-12)
    top = np.load(folder / "topk.npz")
    assert top["items"].shape == (len(top["users"]), 20)
    assert (top["users"] == per_user["users"]).all()
    assert yaml.safe_load((folder / "config.yaml").read_text())["soft_prob"] == 0.01
    assert json.loads((folder / "manifest.json").read_text())["packages"]["numpy"] == np.__version__
    weights = torch.load(folder / "best.pt", weights_only=True)["content"]
    assert weights["epoch"] == result["best_epoch"]
    assert result["peak_memory"]["ram_bytes"] > 1e7
    assert {"start", "loaders", "model", "train", "valid", "test"} <= set(result["seconds"])


def test_a_finished_run_is_not_repeated(command, tmp_path, capsys):
    main.main(command)
    (path,) = results(tmp_path)
    before = path.stat().st_mtime_ns
    assert main.main(command) == 0
    assert "finished earlier" in capsys.readouterr().out
    assert path.stat().st_mtime_ns == before


def test_run_dir_names_the_folder_and_keeps_other_runs_out(command, tmp_path, capsys):
    own = [*command, f"--run_dir={tmp_path / 'mine'}"]
    assert main.main(own) == 0
    assert (tmp_path / "mine" / "result.json").is_file()
    assert main.main([*own, "--seed=5"]) == 2
    assert "holds another run" in capsys.readouterr().err


def test_grid_prints_its_winner_by_validation(command, tmp_path, capsys):
    grid = [*command, *GRID, "--soft_prob=[0.01,0.2]", "--soft_gamma=0.1", "--seed=[1,2]"]
    assert main.main(grid) == 0
    out = capsys.readouterr().out
    found = [json.loads(path.read_text()) for path in results(tmp_path)]
    assert len(found) == 4
    best = max(result["valid"]["recall@20"] for result in found)
    (winner,) = [
        line for line in out.splitlines() if line.startswith("winner by validation recall@20:")
    ]
    chosen = next(result for result in found if winner.endswith(result["id"]))
    assert chosen["valid"]["recall@20"] == best
    assert "soft_gamma" not in winner  # it does not vary


def test_a_killed_grid_goes_on(command, tmp_path, capsys):
    grid = [
        *replaced(command, epochs=4),
        *GRID,
        "--soft_prob=[0.01,0.2]",
        "--soft_gamma=[0.01,0.2]",
    ]
    whole = [*grid, f"--runs_dir={tmp_path / 'whole'}"]
    whole = [word for word in whole if word != f"--runs_dir={tmp_path / 'runs'}"]
    assert main.main(whole) == 0
    child = process([*grid, "--checkpoint_seconds=0"])
    wait_until(lambda: len(results(tmp_path / "runs")) >= 2)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    done = {path: path.stat().st_mtime_ns for path in results(tmp_path / "runs")}
    assert 2 <= len(done) < 4
    assert main.main(grid) == 0
    assert f"grid of 4 runs, {len(done)} of them finished" in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    for result, other in zip(results(tmp_path / "runs"), results(tmp_path / "whole"), strict=True):
        assert result.parent.name == other.parent.name
        for name in ("best.pt", "topk.npz", "per_user.npz", "metrics.jsonl"):
            assert (result.parent / name).read_bytes() == (other.parent / name).read_bytes(), name


def test_two_processes_share_a_grid(command, tmp_path):
    grid = [
        *replaced(command, epochs=6),
        *GRID,
        "--soft_prob=[0.01,0.05,0.1]",
        "--soft_gamma=[0.01,0.2]",
    ]
    children = [process(grid), process(grid)]
    outputs = [child.communicate(timeout=300)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    assert len(results(tmp_path / "runs")) == 6
    winners = {line for text in outputs for line in text.splitlines() if line.startswith("winner")}
    assert len(winners) == 1
    starts = sum(text.count("LD4MRec: ") for text in outputs)
    assert starts == 6  # each run was trained by one of them, once


def test_the_second_of_two_commands_waits_and_takes_over(command, tmp_path):
    long = replaced(command, epochs=100000, stopping_step=100000)
    first = process(long)
    second = None
    try:
        wait_until(lambda: list(tmp_path.glob("runs/**/metrics.jsonl")))
        second = process(long)
        lines = iter(second.stdout.readline, "")
        assert any(f"process {first.pid} is training this run in" in line for line in lines)
        first.kill()
        assert any("epoch 1 |" in line for line in lines)
    finally:
        for child in filter(None, (first, second)):
            child.kill()
            child.communicate()


def test_a_finished_run_is_reused_where_nothing_can_be_written(command, monkeypatch, capsys):
    assert main.main(command) == 0
    first = capsys.readouterr().out.splitlines()[-3:]

    def refuse(self, timeout):
        raise RunError("the disk is read-only")

    monkeypatch.setattr("ld4mrec.runs.folder.RunFolder.lock", refuse)
    assert main.main(command) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == first


def test_from_any_folder_with_paths_of_the_caller(command, blocks, tmp_path):
    relative = replaced(command, data_path="data/", runs_dir="here")
    child = process(relative, cwd=tmp_path)
    out = child.communicate(timeout=120)[0]
    assert child.returncode == 0, out
    assert len(results(tmp_path / "here")) == 1


def test_the_cache_changes_no_number(command, tmp_path):
    texts = []
    for name in ("cold", "warm", "none"):
        cache = [] if name != "none" else ["--cache_dir=null"]
        words = replaced(command, run_dir=tmp_path / name)
        words = [w for w in words if not (cache and w.startswith("--cache_dir"))] + cache
        assert main.main(words) == 0
        texts.append((tmp_path / name / "metrics.jsonl").read_text())
    kept = list((tmp_path / "cache").glob("*.npy"))
    assert len(kept) == 6  # singular vectors, neighbours by text and image, three item graphs
    assert texts[0] == texts[1] == texts[2]


def test_nothing_is_written_into_the_data_folder(command, blocks):
    before = sorted(blocks.iterdir())
    assert main.main(command) == 0
    assert (
        main.main(["-m", "ItemKNNGraph", *command[2:4], *command[8:], "--plugin", str(PLUGINS)])
        == 0
    )
    assert sorted(blocks.iterdir()) == before


@pytest.mark.parametrize(
    "name", ["GraphMF", "ItemKNNGraph", "CachedPref", "SelfBoot", "NeighbourSample"]
)
def test_an_outsiders_model_file_runs_unchanged(name, command, tmp_path, capsys):
    words = [
        "-m",
        name,
        *command[2:4],
        *command[8:],
        "--plugin",
        str(PLUGINS / f"{name.lower()}.py"),
    ]
    assert main.main(words) == 0
    found = [json.loads(path.read_text()) for path in results(tmp_path)]
    grid = yaml.safe_load((PLUGINS / f"{name}.yaml").read_text())
    count = 1
    for key in grid["hyper_parameters"]:
        count *= len(grid[key])
    assert len(found) == count  # a third party's lists are its grid
    assert all(0 < result["test"]["recall@20"] <= 1 for result in found)
    assert not hasattr(np, "float")  # the shims are gone


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "LD4MRek"], "there is no model 'LD4MRek'.*Did you mean 'LD4MRec'"),
        (["-d", "tiktik"], "unknown data set 'tiktik'.*Did you mean 'tiktok'"),
        (["-d", "demo"], "no data folder .*python preprocessing/demo.py"),
        (["--learning_rat=0.1"], "unknown key 'learning_rat'.*Did you mean 'learning_rate'"),
        (["--epochs=ten"], "epochs is 'ten'; wanted a whole number"),
        (["--epochs"], "--epochs has no value"),
        (["--grdi"], "--grdi has no value.*Did you mean '--grid'"),
        (["epochs=3"], "'epochs=3' is no option.*Did you mean --epochs=3"),
        (["--seed=1", "--seed=2"], "--seed is given twice"),
        (["--soft_prob=[0.1,0.2]"], r"'soft_prob' got the values \[0.1, 0.2\].*--grid"),
        (["--topk=[5,20,4000]"], "topk has 4000, but there are only 40 items"),
        (["--activation=tahn"], "LD4MRec: activation must be one of .* got 'tahn'"),
        (["--metrics=[Recal]"], "metrics is .*, not 'Recal'. Did you mean 'recall'"),
        (["--valid_metric=Recall@7"], "valid_metric is 'Recall@7'; wanted one of"),
        (["--weight_decay=-1"], "weight_decay is -1; wanted a number of at least 0"),
        (["--inter_splitting_label=itemID"], "name .*; wanted three different columns"),
        (["--field_separator=;"], "has one column, .*; set field_separator"),
        (["--use_full_sampling=False"], "use_neg_sampling and use_full_sampling must be True"),
        (["--hyper_parameters=[sede]", "--grid"], "hyper_parameters lists 'sede'"),
        (
            ["--embedding_size=1000000", "--hidden_size=1000000"],
            "the memory is too small for LD4MRec with this configuration; lower",
        ),
        (["--hidden_size=9223372036854775807"], "hidden_size is .*; wanted a number of at most 1"),
        (["--runs_dir="], "--runs_dir has no value; write --runs_dir=value, or leave it out"),
        (["--seed=!!int ''"], "seed is \"!!int ''\"; wanted a whole number"),
        (["--plugin=/nowhere/x.py"], "no plugin file or folder /nowhere/x.py"),
        (["--clip_grad_norm={max_norm: 1"], "the value of --clip_grad_norm is not valid yaml"),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_nothing(words, message, command, tmp_path, capsys):
    for word in words:  # an option replaces the one that the command has
        key = word.partition("=")[0]
        if key not in ("--seed", "-d", "--model"):
            command = [w for w in command if w.partition("=")[0] != key]
    assert main.main([*command, *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "Traceback" not in error
    assert re.search(message, error), error
    assert not list(tmp_path.glob("runs/**/*.*"))


def test_a_key_that_any_yaml_has_is_an_axis(command, tmp_path, capsys):
    assert main.main([*command, *GRID, "--soft_prob=0.1", "--soft_gamma=0.1"]) == 0
    capsys.readouterr()
    grid = [*command, *GRID, "--soft_prob=0.1", "--soft_gamma=0.1"]
    assert main.main([*grid, "--l2_weight=[0.02,0.5]", "--step_size=[10]"]) == 0
    out = capsys.readouterr().out
    assert "grid of 2 runs, 1 of them finished" in out  # the default's value is its run
    assert re.search(r"winner by validation recall@20: l2_weight=(0.02|0.5)  ", out)


def test_a_runs_folder_that_is_a_file_is_named(command, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main.main([*command, f"--run_dir={tmp_path / 'file'}"]) == 2
    assert "file cannot be written" in capsys.readouterr().err


def test_an_invalid_point_does_not_end_a_grid(command, tmp_path, capsys):
    assert main.main([*command, *GRID, "--soft_prob=[0.1,2]", "--soft_gamma=0.1"]) == 0
    out = capsys.readouterr().out
    assert "failed" in out
    assert "soft_prob must be a number in [0, 1], got 2" in out
    assert len(results(tmp_path)) == 1


def test_a_plugin_brings_its_data_sets_yaml_and_sees_only_a_view(blocks, tmp_path, capsys):
    source = tmp_path / "checkout" / "src"
    (source / "models").mkdir(parents=True)
    (source / "configs" / "dataset").mkdir(parents=True)
    (blocks / "blocks.inter").rename(blocks / "clicks.txt")
    (source / "configs" / "dataset" / "blocks.yaml").write_text("inter_file_name: clicks.txt\n")
    (source / "models" / "nosy.py").write_text(
        "import os, torch\nfrom common.abstract_recommender import GeneralRecommender\n"
        "class Nosy(GeneralRecommender):\n"
        "    def __init__(self, config, dataset):\n"
        "        super().__init__(config, dataset)\n"
        "        path = dataset.dataset.dataset_path\n"
        "        open(os.path.join(path, 'mine.txt'), 'w').close()\n"
        "        torch.save(torch.ones(2), os.path.join(path, 'graph.pt'))\n"
        "        self.bias = torch.nn.Parameter(torch.zeros(self.n_items))\n"
        "    def calculate_loss(self, interaction):\n"
        "        return -self.bias[interaction[1]].mean()\n"
        "    def full_sort_predict(self, interaction):\n"
        "        return self.bias.expand(len(interaction[0]), -1).clone()\n"
    )
    before = sorted(path.name for path in blocks.iterdir())
    words = [f"--data_path={blocks.parent}", f"--runs_dir={tmp_path / 'runs'}", "--topk=[5,20]"]
    words += [f"--cache_dir={tmp_path / 'cache'}", "--epochs=2", "--threads=1"]
    plugin = ["--plugin", str(tmp_path / "checkout")]
    assert main.main(["-m", "Nosy", "-d", "blocks", *words, *plugin]) == 0
    assert sorted(path.name for path in blocks.iterdir()) == before
    (view,) = (tmp_path / "cache" / "plugin_data").glob("*/blocks")
    assert {"mine.txt", "graph.pt"} <= {path.name for path in view.iterdir()}
    assert not list(view.glob(".*.tmp"))


def test_quick_start_runs_the_grid(blocks, tmp_path):
    paths = {"data_path": str(blocks.parent), "runs_dir": str(tmp_path / "runs"), "cache_dir": None}
    found = quick_start("Pop", "blocks", paths | {"seed": [1, 2], "topk": [5, 20]})
    assert [run.result["seed"] for run in found] == [1, 2]


def test_help_shows_models_and_data_sets(capsys):
    with pytest.raises(SystemExit) as stop:
        main.main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "LD4MRec" in out
    assert "tiktok" in out
    assert "    python src/main.py -m LD4MRec -d tiktok --grid\n" in out


def test_the_flags_that_are_suggested_are_there():
    shown = main.parser().format_help()
    assert [flag for flag in FLAGS if flag not in shown] == []


def test_a_plugin_that_raises_at_its_import_is_a_sentence_first_and_last(command, tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text("def half():\n    return 1 / 0\n\n\nhalf()\n\n\nclass Mine:\n    pass\n")
    paths = command[-3:]
    assert main.main(["-m", "Mine", "-d", "blocks", f"--plugin={file}", *paths]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == lines[-1]
    assert re.fullmatch(
        "error: model Mine cannot be imported: mine.py line 2, in half: ZeroDivisionError: "
        rf"division by zero \(in {tmp_path}\); .*to be mended there",
        lines[0],
    )
    assert [line.strip() for line in lines[1:-1] if "File" in line] == [
        f'File "{file}", line 5, in <module>',
        f'File "{file}", line 2, in half',
    ]
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_says_how_to_go_on(command, tmp_path):
    child = process(
        replaced(command, epochs=100000, stopping_step=100000),
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    wait_until(lambda: list(tmp_path.glob("runs/**/metrics.jsonl")))
    child.send_signal(signal.SIGINT)
    out = child.communicate(timeout=300)[0]
    assert child.returncode == 130
    assert "--resume goes on" in out
    assert "Traceback" not in out
