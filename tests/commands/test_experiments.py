"""The command: what each experiment trains, reuses, writes and refuses, on a small world."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

import support
from ld4mrec.commands import experiments
from ld4mrec.errors import ConfigError
from ld4mrec.paper import knockout, missing, noise
from ld4mrec.paper.ablation import PARTS
from ld4mrec.report import writing

SMALL = ["--embedding_size=8", "--hidden_size=8", "--svd_rank=4", "--pg_hidden=4", "--average=0"]


def absent(*_):
    """In the place of what draws a figure: as if matplotlib was not there."""
    raise ModuleNotFoundError("not for this test", name="matplotlib")


@pytest.fixture(autouse=True)
def without_figures(request, monkeypatch):
    """Reports without figures, which take most of the time, but for those of tests that ask for
    `draws`.
    """

    if "draws" not in request.fixturenames:
        monkeypatch.setattr(writing.figures, "draw", absent)


@pytest.fixture
def draws():
    """For a test whose reports have figures."""
    pytest.importorskip("matplotlib", reason="figures need the extra 'compare'")


@pytest.fixture
def command(blocks, tmp_path):
    """Words of experiments.py on the block world, without the model's own keys."""
    paths = [f"--data_path={blocks.parent}", f"--runs_dir={tmp_path / 'runs'}"]
    paths += [f"--cache_dir={tmp_path / 'cache'}", "--out", str(tmp_path / "reports")]
    return ["-d", "blocks", *paths, "--topk=[10,20]", "--threads=1", "--epochs=2", "--seeds", "2"]


def numbers(folder, table):
    """{(row, column): value} of a table in report.csv; None for an empty cell."""
    with open(folder / "report.csv", encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["table"] == table]
    return {(line["row"], line["column"]): line["value"] or None for line in lines}


def results(tmp_path, name="*"):
    return sorted((tmp_path / "runs").glob(f"{name}/*/*/result.json"))


def written(folder):
    """That a report is whole; its Markdown."""
    for name in ("report.md", "report.csv", "report.tex", "report.html"):
        assert (folder / name).stat().st_size > 100
    return (folder / "report.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_models_own_experiments_share_their_runs(command, draws, tmp_path, capsys, monkeypatch):
    words = [*command, *SMALL, "--only", "ablation,inference,bound"]
    assert experiments.main(words) == 0
    # inference and bound ask the full model's weights; SMALL has no average already
    assert len(results(tmp_path)) == 2 * (len(PARTS) - 1)
    folder = tmp_path / "reports"
    text = written(folder / "ablation")
    assert "| w/o PG |" in text
    tests = [json.loads(path.read_text())["test"]["recall@20"] for path in results(tmp_path)]
    full = float(numbers(folder / "ablation", "ablation")["LD4MRec", "test Recall@20"])
    assert any(full == pytest.approx((a + b) / 2) for a in tests for b in tests)
    free = numbers(folder / "inference", "inference")
    assert float(free["forward-free", "test Recall@20"]) == pytest.approx(full)
    assert ("5 forward steps", "test Recall@20") in free  # T is 5
    assert ("10 forward steps", "test Recall@20") not in free
    terms = numbers(folder / "bound", "bound")
    assert float(terms["forward-free", "shift"]) == 0
    assert float(terms["t = 5", "shift"]) > 0
    for name, figure in (("ablation", "ablation"), ("inference", "inference"), ("bound", "bound")):
        written(folder / name)
        assert (folder / name / "figures" / f"{figure}.svg").is_file()
        assert (folder / name / "figures" / f"{figure}.png").is_file()

    capsys.readouterr()
    before = {path: path.read_bytes() for path in folder.glob("*/report.csv")}
    for path in (tmp_path / "runs").glob("*/*/*/best.pt"):
        path.unlink()  # what was measured on the weights is kept
    monkeypatch.setattr(writing.figures, "draw", absent)
    assert experiments.main(words) == 0
    out = capsys.readouterr().out
    assert f"ablation: {2 * len(PARTS)} runs, {2 * len(PARTS)} of them finished" in out
    assert "in all" not in out  # nothing is timed
    assert {path: path.read_bytes() for path in before} == before


def test_without_weights_an_inference_is_empty_with_the_reason(command, tmp_path):
    words = [*command, *SMALL, "--only", "inference"]
    assert experiments.main(words) == 0
    for path in (tmp_path / "runs").glob("*/*/*/inference.json"):
        path.unlink()
        (path.parent / "best.pt").unlink()
    assert experiments.main(words) == 0
    text = written(tmp_path / "reports" / "inference")
    assert "(best.pt) are gone" in text


def test_noise_trains_on_noisy_data_and_leaves_the_users_alone(
    command, blocks, tmp_path, monkeypatch
):
    monkeypatch.setattr(noise, "SHARES", (0.05, 0.2))
    before = {path.name: path.read_bytes() for path in blocks.iterdir()}
    words = [*command, "--only", "noise", "-m", "BPR", "--seeds", "1,4"]
    assert experiments.main(words) == 0
    assert {path.name: path.read_bytes() for path in blocks.iterdir()} == before
    names = {path.parts[-4] for path in results(tmp_path)}
    noisy = {f"blocks_noise{share}_seed{seed}" for share in ("05", "20") for seed in (1, 4)}
    assert names == {"blocks", *noisy}
    assert len(results(tmp_path)) == 2 * 3
    folder = tmp_path / "reports" / "noise"
    written(folder)
    losses = numbers(folder, "relative-loss-recall")
    recall = {}
    for path in results(tmp_path):
        found = json.loads(path.read_text())
        recall[path.parts[-4], found["model"], found["seed"]] = found["test"]["recall@20"]
    by_seed = [
        1 - recall[f"blocks_noise20_seed{seed}", "BPR", seed] / recall["blocks", "BPR", seed]
        for seed in (1, 4)
    ]
    assert float(losses["BPR", "20%"]) == pytest.approx(sum(by_seed) / 2)


@pytest.mark.slow
def test_missing_and_knockout_change_the_features_and_leave_the_users_alone(
    command, blocks, draws, tmp_path, monkeypatch
):
    monkeypatch.setattr(missing, "SHARES", (0.5, 0.9))
    before = {path.name: path.read_bytes() for path in blocks.iterdir()}
    words = [*command, "--only", "missing,knockout", "-m", "VBPR,FREEDOM", "--embedding_size=8"]
    words += ["--learning_rate=0.01", "--train_batch_size=64", "--seeds", "1"]
    assert experiments.main(words) == 0
    assert {path.name: path.read_bytes() for path in blocks.iterdir()} == before
    names = {path.parts[-4] for path in results(tmp_path)}
    lost = {f"missing{n}_{what}" for n in (50, 90) for what in ("all", "text", "image")}
    gone = {"constant_all", "noise_all", "permutation_all", "permutation_text"}
    gone |= {"permutation_image"}
    assert names == {"blocks", *(f"blocks_{name}_seed1" for name in lost | gone)}
    assert len(results(tmp_path)) == 2 * (1 + len(lost) + len(gone))
    recall = {}
    for path in results(tmp_path):
        found = json.loads(path.read_text())
        recall[path.parts[-4], found["model"]] = found["test"]["recall@20"]
    folder = tmp_path / "reports"
    for name, table, column, data in (
        ("missing", "loss-1-all-modalities", "90%", "blocks_missing90_all_seed1"),
        ("missing", "loss-2-text", "50%", "blocks_missing50_text_seed1"),
        ("knockout", "relative-loss", "noise", "blocks_noise_all_seed1"),
        ("knockout", "relative-loss", "permutation of text", "blocks_permutation_text_seed1"),
    ):
        written(folder / name)
        assert (folder / name / "figures" / f"{table}.svg").is_file()
        losses = numbers(folder / name, table)
        for model in ("VBPR", "FREEDOM"):
            expected = 1 - recall[data, model] / recall["blocks", model]
            assert float(losses[model, column]) == pytest.approx(expected)
    accuracy = numbers(folder / "missing", "accuracy-recall")
    assert float(accuracy["VBPR", "all features"]) == recall["blocks", "VBPR"]
    true = numbers(folder / "knockout", "accuracy-0")
    assert float(true["FREEDOM", "test Recall@20"]) == recall["blocks", "FREEDOM"]


@pytest.mark.slow
def test_each_multimodal_model_trains_on_a_constant(command, tmp_path, monkeypatch):
    monkeypatch.setattr(
        knockout, "changes", lambda setup: {"constant": ("constant", ("text", "image"))}
    )
    words = [*command, *SMALL, "--only", "knockout", "--seeds", "1", "--train_batch_size=32"]
    assert experiments.main(words) == 0
    losses = numbers(tmp_path / "reports" / "knockout", "relative-loss")
    assert len(losses) == len(knockout.MODELS) + 3  # three have variants
    assert None not in losses.values()


@pytest.mark.slow
def test_sensitivity_is_a_map_and_lines(command, tmp_path):
    axes = ["--soft_prob=[0.01,0.2]", "--diffusion_steps=[2,5]", "--noise_scale=1e-4"]
    words = [*command, "--embedding_size=8", "--only", "sensitivity", "--grid", "3x2", *axes]
    assert experiments.main([*words, "--svd_rank=4", "--seeds", "1"]) == 0
    folder = tmp_path / "reports" / "sensitivity"
    text = written(folder)
    found = numbers(folder, "soft-labels-validation")
    assert set(found) == {(p, gamma) for p in ("0.01", "0.2") for gamma in ("0.01", "0.2")}
    assert len(results(tmp_path)) == 2 * 2 + 1  # T = 5 is a point of the map
    assert set(numbers(folder, "diffusion-steps")) >= {("2", "test Recall@20")}
    assert "noise-scale" not in text


def test_keys_reach_the_models_and_experiments_that_have_them(command, capsys):
    """LD4MRec's keys beside other models, and lists of `sensitivity` beside other experiments."""
    words = [*command, "--only", "noise,inference,sensitivity", "-m", "LD4MRec,Pop", *SMALL]
    words += ["--seeds", "1", "--soft_gamma=[0,0.1]", "--grid", "1x1", "--dry-run"]
    assert experiments.main([*words, "--diffusion_steps=3", "--noise_scale=0.1"]) == 0
    out = capsys.readouterr().out
    assert "noise: 12 runs, 0 of them finished" in out
    assert "cannot be" not in out
    assert "inference: 1 run, 0" in out
    assert "sensitivity: 3 runs, 0" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ablation,efficiency", "--sizes", "tmal"], "--sizes names 'tmal', which is no size. Did"),
        (["inference,ablation", "--ablation=no_pg"], "--ablation is what ablation varies"),
        (["bound", "--n_layers=3"], "--n_layers is no option of experiments.py and no key of what"),
        (["bound", "--svd_rank=[50,100]"], "--svd_rank is a list, which sensitivity varies"),
        (["ablation,sensitivity", "--svd_rank=[]"], "--svd_rank is an empty list"),
    ],
)
def test_an_option_of_a_later_experiment_is_refused_before_any(
    command, tmp_path, capsys, words, message
):
    assert experiments.main([*command, "--only", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_what_one_experiment_lacks_does_not_stop_the_others(command, capsys):
    words = [*command, "--only", "noise,bound", "-m", "LD4MRec", "--cache_dir=null", "--dry-run"]
    words = [word for word in words if not word.startswith("--cache_dir=/")]
    assert experiments.main([*words, "--seeds", "1"]) == 1
    found = capsys.readouterr()
    assert "noise: error: " in found.err
    assert "bound: 1 run, 0 of them finished" in found.out


def test_metrics_that_the_reports_show_are_asked_for_first(command, capsys):
    for words in (command, [*command[2:], "--paper", "-d", "blocks"]):
        assert experiments.main([w for w in words if w != "--topk=[10,20]"] + ["--topk=[20]"]) == 2
        assert "--topk (now [20]) must have 10 and 20" in capsys.readouterr().err


@pytest.mark.slow
def test_tables_beside_the_paper(command, blocks, tmp_path):
    shutil.copytree(blocks, blocks.parent / "tmall")
    (blocks.parent / "tmall" / "blocks.inter").rename(blocks.parent / "tmall" / "tmall.inter")
    words = [*command, "--only", "tables,datasets", "-m", "Pop,BPR,VBPR"]
    words[words.index("blocks")] = "tmall"
    assert experiments.main(words) == 0
    folder = tmp_path / "reports" / "tables"
    written(folder)
    found = numbers(folder, "beside-the-paper")
    assert float(found["BPR", "Recall@20, paper's"]) == 0.0232
    assert found["Pop", "Recall@20, paper's"] is None
    assert 0 < float(found["VBPR", "Recall@20, ours"]) <= 1
    counts = numbers(tmp_path / "reports" / "datasets", "datasets-beside")
    assert (counts["tmall", "users, ours"], counts["tmall", "users, paper's"]) == ("60", "13114")
    assert counts["hm", "users, ours"] is None


@pytest.mark.slow
def test_a_model_that_refuses_the_data_is_an_empty_cell(command, blocks, tmp_path, capsys):
    for path in blocks.glob("*.npy"):
        path.unlink()
    words = [*command, "--only", "tables,ablation", "-m", "BPR,MGCN", "--seeds", "1"]
    assert experiments.main(words) == 0
    assert "MGCN: 1 run that cannot be" in capsys.readouterr().out
    text = written(tmp_path / "reports" / "tables")
    assert re.search(r"<sup>\w</sup> .*MGCN .*modalit", text)
    text = written(tmp_path / "reports" / "ablation")
    assert "the data set has no features" in text


@pytest.mark.slow
def test_the_paper_on_what_is_present(command, blocks, tmp_path, capsys):
    shutil.copytree(blocks, blocks.parent / "other")
    (blocks.parent / "other" / "blocks.inter").rename(blocks.parent / "other" / "other.inter")
    words = [*command[2:], "--paper", "-m", "BPR,LD4MRec", "--seeds", "1"]
    only = ["--only", "datasets,ablation,inference,tables"]
    assert experiments.main([*words, *only]) == 0
    folder = tmp_path / "reports"
    text = written(folder)
    for name in ("blocks", "other"):
        written(folder / name / "ablation")
        assert f"Ablation: {name}" in text
    written(folder / "datasets")
    assert "not in data_path, so empty in every table: TMALL, Microlens, H\\&M" in text
    found = numbers(folder, "accuracy-recall-20")
    assert float(found["BPR", "hm, paper's"]) == 0.0320
    assert found["BPR", "hm, ours"] is None
    assert float(found["BPR", "other, ours"]) == float(found["BPR", "blocks, ours"])
    share = numbers(folder, "relative")
    assert float(share["BPR", "tmall, paper's"]) == pytest.approx(0.0232 / 0.0409)
    assert "2.73" in text  # Table 5's published part stands there without ours
    assert not any(re.search("noise", path.name) for path in (tmp_path / "runs").iterdir())


def test_a_dry_run_trains_and_writes_nothing(command, tmp_path, capsys):
    words = [*command, *SMALL, "--only", "ablation,inference,efficiency", "--dry-run"]
    assert experiments.main(words) == 0
    out = capsys.readouterr().out
    assert f"ablation: {2 * len(PARTS)} runs, 0 of them finished" in out
    assert (
        f"LD4MRec: {2 * len(PARTS) - 2} runs of about 2 epochs of " in out
    )  # one without a network
    assert "efficiency: 15 measurements, 0 of them there" in out
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "reports").exists()


def test_what_is_finished_is_reported_and_the_rest_is_empty(command, tmp_path, capsys):
    words = [*command, "--only", "tables", "--seeds", "1"]
    assert experiments.main([*words, "-m", "BPR"]) == 0
    assert experiments.main([*words, "-m", "BPR,VBPR", "--finished"]) == 0
    found = numbers(tmp_path / "reports" / "tables", "beside-the-paper")
    assert found["BPR", "Recall@20, ours"]
    assert found["VBPR", "Recall@20, ours"] is None
    assert "not run" in written(tmp_path / "reports" / "tables")
    assert not list((tmp_path / "runs").glob("*/VBPR"))


def test_one_that_cannot_be_does_not_stop_the_others(command, tmp_path, capsys):
    words = [*command, "--only", "tables,datasets", "-m", "BPR", "--finished"]
    assert experiments.main(words) == 1
    assert "tables: error: no run of the tables is finished" in capsys.readouterr().err
    written(tmp_path / "reports" / "datasets")


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped(command, tmp_path):
    words = [*command, *SMALL, "--only", "ablation", "--epochs=60", "--stopping_step=100"]
    words.remove("--epochs=2")
    program = [sys.executable, str(support.ROOT / "src" / "experiments.py"), *words]
    process = subprocess.Popen(program, stderr=subprocess.PIPE, text=True)
    for _ in range(1200):
        if results(tmp_path):
            break
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "the same command goes on from here" in err
    done = results(tmp_path)
    assert 1 <= len(done) < len(PARTS)
    stamps = [path.stat().st_mtime_ns for path in done]
    assert experiments.main(words) == 0
    assert len(results(tmp_path)) == 2 * (len(PARTS) - 1)
    assert [path.stat().st_mtime_ns for path in done] == stamps


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "noize"], "--only names 'noize', which is no experiment. Did you mean 'noise'"),
        (["--epochz=3"], "--epochz is no option of experiments.py"),
        (["-m", "LightGNC"], "Did you mean 'LightGCN'"),
        (["-m", "BPR", "--only", "bound"], "--only bound has nothing to choose: leave -m out"),
        (["--grid", "3"], "--grid is '3'; wanted two numbers from 1, such as 3x3"),
        (["--seeds", "1,1"], "different seeds"),
        (["--seed=3"], "give --seeds 3"),
        (["--run_dir=here"], "give --runs_dir=FOLDER"),
        (["--batches", "3"], "--batches is 3; wanted 20 or more"),
        (["--cell-minutes", "0"], "--cell-minutes is 0"),
        (["--only", "tables", "--topk=[5,20]"], "recall@10"),
    ],
)
def test_what_cannot_be_done_is_refused(command, words, message, capsys):
    given = [word for word in command if not words[0].startswith(word.partition("=")[0])]
    if words[0] == "--seeds":
        given.remove("2")
    if "--topk=[5,20]" in words:
        given = [word for word in given if not word.startswith("--topk")]
    assert experiments.main([*given, *words]) == 2
    assert message in capsys.readouterr().err


def test_an_experiments_own_key_or_an_unknown_data_set(command, capsys):
    assert experiments.main([*command, "--only", "ablation", "--ablation=no_pg"]) == 2
    assert "--ablation is what ablation varies" in capsys.readouterr().err
    assert experiments.main(["-d", "blokcs", *command[2:], "--only", "ablation"]) == 2
    assert "Did you mean 'blocks'" in capsys.readouterr().err
    assert experiments.main(command[2:]) == 2
    assert "no data set: give -d NAME, or --paper" in capsys.readouterr().err
    assert experiments.main(["-d", "baby,tiktok", *command[2:]]) == 2
    assert "several data sets are for --paper; add that" in capsys.readouterr().err


def test_a_settings_file_is_obeyed_and_checked(command, tmp_path, capsys):
    file = tmp_path / "best.yaml"
    file.write_text("BPR: {reg_weight: 0.5}\nPop: {}\n")
    words = [*command, "--only", "tables", "-m", "BPR", "--seeds", "1", "--settings", str(file)]
    assert experiments.main(words) == 0
    text = written(tmp_path / "reports" / "tables")
    assert "settings of best.yaml" in text
    assert "reg_weight=0.5" in text
    file.write_text("BRP: {reg_weight: 0.5}\n")
    assert experiments.main(words) == 2
    assert "best.yaml names 'BRP', which is no model. Did you mean 'BPR'" in capsys.readouterr().err


def test_grids():
    assert experiments.grid_of("3x5") == (3, 5)
    with pytest.raises(ConfigError, match="--grid is '0x5'"):
        experiments.grid_of("0x5")


def test_the_paper_without_a_data_set_is_refused(tmp_path, capsys):
    words = ["--paper", "--only", "datasets", f"--data_path={tmp_path / 'none'}"]
    assert experiments.main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "there is no data set in" in capsys.readouterr().err


def test_a_plugin_belongs_to_a_comparison(capsys):
    for words in (["--plugin", "x.py"], ["--plugin=x.py"]):
        assert experiments.main(["-d", "tiktok", *words]) == 2
        assert "compare.py --plugin a third party's model is a row" in capsys.readouterr().err
