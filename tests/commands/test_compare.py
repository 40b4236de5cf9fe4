"""The command: what it trains, reuses, writes, prints and refuses."""

import csv

import pytest

import support
from ld4mrec.commands import compare
from ld4mrec.errors import ConfigError


@pytest.fixture
def command(blocks, tmp_path):
    paths = [f"--data_path={blocks.parent}", f"--runs_dir={tmp_path / 'runs'}"]
    quick = ["--topk=[10,20]", "--threads=1", "--epochs=2", "--cache_dir=null"]
    return ["-d", "blocks", "--out", str(tmp_path / "report"), *paths, *quick]


def test_a_comparison_is_trained_once_and_written_twice(command, tmp_path, capsys):
    words = [*command, "-m", "BPR,Pop", "--seeds", "2"]
    assert compare.main(words) == 0
    out = capsys.readouterr().out
    assert "3 runs, 0 of them finished" in out  # Pop's stands for all seeds
    assert "BPR: 2 runs of about 2 epochs" in out
    assert "winner" not in out  # rows vary in their seeds only, and none is picked
    folder = tmp_path / "report"
    for name in ("report.md", "report.csv", "report.tex", "report.html"):
        assert (folder / name).stat().st_size > 500
    assert "| BPR |" in (folder / "report.md").read_text(encoding="utf-8")
    with open(folder / "report.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert {line["row"] for line in lines if line["table"] == "accuracy"} == {"BPR", "Pop"}
    before = (folder / "report.csv").read_bytes()
    assert compare.main(words) == 0
    out = capsys.readouterr().out
    assert "3 runs, 3 of them finished" in out
    assert "in all" not in out  # nothing is timed
    *said, where, files = out.splitlines()[out.splitlines().index("2 systems on blocks") :]
    assert said[1].startswith("BPR is best on validation: ")
    assert len(said) <= 6  # five lines and the warnings' number; the rest is in the files
    assert where == f"the report is in {folder}:"
    assert files == "  report.html, .md, .csv, .tex, figures/"
    assert max(map(len, said)) <= 80
    assert (folder / "report.csv").read_bytes() == before


def test_a_dry_run_says_what_is_missing_and_trains_nothing(command, tmp_path, capsys):
    assert compare.main([*command, "-m", "BPR", "--seeds", "3,5", "--dry-run"]) == 0
    assert "2 runs, 0 of them finished" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("more", [[], ["--dry-run"], ["--tune"], ["--tuned"]])
def test_data_that_is_not_there_is_a_sentence(command, more, tmp_path, capsys):
    words = [word for word in command if "data_path" not in word]
    place = f"--data_path={tmp_path}"
    for found in (f"there is no data folder {tmp_path}/tiktok; how to get", "tiktok has no tiktok"):
        assert compare.main([*words, "-d", "tiktok", "-m", "BPR,EASE", place, *more]) == 2
        assert found in capsys.readouterr().err
        (tmp_path / "tiktok").mkdir(exist_ok=True)
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_of_tuning_trains_nothing(command, tmp_path, capsys):
    settings = tmp_path / "rows.yaml"
    settings.write_text(
        "two: {model: BPR, learning_rate: 0.001, reg_weight: [1.0e-1, 1.0e-5]}\nPop: {}\n"
    )
    words = [*command, "--settings", str(settings), "--seeds", "3", "--tune", "--dry-run"]
    assert compare.main(words) == 0
    out = capsys.readouterr().out
    assert "tuning 1 of 2 rows on seed 1: 2 grid points, 0 of them finished" in out
    assert "two: 2 runs of about 2 epochs" in out
    assert "then 3 runs of each row" in out
    assert not (tmp_path / "runs").exists()


def test_rows_that_do_not_compare_are_refused_before_training(command, tmp_path, capsys):
    settings = tmp_path / "rows.yaml"
    settings.write_text("A: {model: BPR}\nB: {model: BPR, mask_valid_at_test: True}\n")
    assert compare.main([*command, "--settings", str(settings), "--seeds", "1"]) == 2
    assert "B and A do not compare: mask_valid_at_test is True" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    settings.write_text("BPR: {seed: 7}\n")
    assert compare.main([*command, "--settings", str(settings)]) == 2
    assert "gives BPR a seed; leave it out" in capsys.readouterr().err


def test_a_row_that_cannot_be_leaves_the_others(command, tmp_path, capsys):
    settings = tmp_path / "rows.yaml"
    settings.write_text("BPR: {}\nodd: {model: LightGCN, n_layers: -1}\n")
    words = [*command, "--settings", str(settings), "--seeds", "1,2"]
    assert compare.main(words) == 0
    out = capsys.readouterr().out
    assert "odd: 2 runs that cannot be: " in out
    report = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "odd, seeds 1, 2 are missing: " in report  # the terminal has the warnings' number
    assert compare.main([*words, "--target", "odd"]) == 2
    assert (
        "no finished run of odd, which the others are tested against: " in capsys.readouterr().err
    )


@pytest.mark.slow
def test_tuning_checks_first_and_leaves_out_who_refuses(command, tmp_path, capsys):
    settings = tmp_path / "rows.yaml"
    unlike = "{model: BPR, reg_weight: [0.1, 0.2], mask_valid_at_test: True}"
    settings.write_text(f"BPR: {{}}\nB: {unlike}\n")
    assert compare.main([*command, "--settings", str(settings), "--seeds", "1", "--tune"]) == 2
    assert "B and BPR do not compare: mask_valid_at_test" in capsys.readouterr().err
    settings.write_text("BPR: {}\nodd: {model: LightGCN, n_layers: [-1, -2], reg_weight: 0.1}\n")
    words = [*command, "--settings", str(settings), "--seeds", "1", "--tune", "--embedding_size=8"]
    assert compare.main([*words, "--metrics", "recall@7"]) == 2
    assert not (tmp_path / "runs").exists()
    assert compare.main([*words[:-1], "--reg_weight=0.1"]) == 0
    assert "odd, seed 1 is missing: " in (tmp_path / "report" / "report.md").read_text()


def test_trials_are_announced_as_many_as_there_are(command, tmp_path, capsys):
    pytest.importorskip("optuna", reason="--search needs the extra 'search'")
    settings = tmp_path / "rows.yaml"
    given = "learning_rate: 0.001, reg_weight: [0.1, 0.2], embedding_size: 8"
    settings.write_text(f"BPR: {{{given}}}\n")
    words = [*command, "--settings", str(settings), "--seeds", "1", "--tune", "--dry-run"]
    assert compare.main([*words, "--search", "random", "--trials", "12"]) == 0
    assert "2 trials of --search random\nBPR: 2 runs of about 2 epochs" in capsys.readouterr().out


def test_what_all_rows_measure_popularity_measures_too(command, tmp_path):
    settings = tmp_path / "rows.yaml"
    settings.write_text("BPR: {topk: [15], valid_metric: Recall@15}\n")
    words = [*command, "--settings", str(settings), "--seeds", "1", "--metrics", "recall@15"]
    assert compare.main(words) == 0
    assert "test Recall@15" in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")


def test_tuning_is_named_as_the_origin_of_the_settings(command, tmp_path):
    settings = tmp_path / "rows.yaml"
    settings.write_text("two: {model: BPR, learning_rate: 0.001, reg_weight: [1.0e-1, 1.0e-5]}\n")
    words = [*command, "--settings", str(settings), "--seeds", "1", "--tune"]
    assert compare.main(words) == 0
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "best of 2 of 2 grid points on validation, seed 1" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to compare"),
        (["-m", "BPR", "--seeds", "0"], "--seeds is '0'"),
        (["-m", "BPR", "--seeds", "1,1"], "different seeds"),
        (["-m", "BPR", "--target", "Pop", "--seeds", "1"], "--target is 'Pop', no row. Known: BPR"),
        (
            ["-m", "BPR", "--metrics", "recall@7", "--seeds", "1"],
            "They measure the keys topk and metrics",
        ),
        (["-m", "BPR", "--seed=3"], "--seed=3: give --seeds 3"),
        (["-m", "BPR", "--run_dir=here"], "give --runs_dir=FOLDER"),
        (
            ["-m", "LightGCN,Pop", "--n_layers=1"],
            "Pop has no such key; give it in --settings, to Li",
        ),
        (["-m", "Nothing"], "Nothing"),
    ],
)
def test_what_cannot_be_done_is_refused(command, words, message, capsys):
    assert compare.main([*command, *words]) == 2
    assert message in capsys.readouterr().err


def test_seeds_are_a_number_or_a_list():
    assert compare.seeds_of("3") == [1, 2, 3]
    assert compare.seeds_of("7,2") == [7, 2]
    with pytest.raises(ConfigError, match="--seeds is 'many'"):
        compare.seeds_of("many")


THEIRS = support.ROOT / "tests" / "plugins" / "theirs"


@pytest.mark.slow
def test_a_plugin_is_a_row_beside_ours(command, tmp_path, capsys):
    settings = tmp_path / "rows.yaml"
    settings.write_text(
        "BPR: {embedding_size: 8}\nGraphMF: {n_layers: 1, reg_weight: 1.0e-4}\n", encoding="utf-8"
    )
    words = [*command, "--settings", str(settings), "--plugin", str(THEIRS / "graphmf.py")]
    assert compare.main([*words, "--seeds", "2"]) == 0
    out = capsys.readouterr().out
    assert "GraphMF: 2 runs of a plugin, not timed" in out
    with open(tmp_path / "report" / "report.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    tables = {line["table"] for line in lines if line["row"] == "GraphMF" and line["value"]}
    assert {"accuracy", "cost", "significance-users", "validation-by-epoch"} <= tables
    assert {"beyond-accuracy", "by-activity", "settings"} <= tables
    assert compare.main([*words, "--seeds", "2"]) == 0
    assert "4 runs, 4 of them finished" in capsys.readouterr().out
