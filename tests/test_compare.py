"""The command: what it trains, reuses, writes, prints and refuses."""

import csv

import pytest

import compare
from utils.errors import ConfigError


@pytest.fixture
def command(blocks, tmp_path):
    paths = [f"--data_path={blocks.parent}", f"--runs_dir={tmp_path / 'runs'}"]
    quick = ["--topk=[10,20]", "--threads=1", "--epochs=2", "--cache_dir=null"]
    return ["-d", "blocks", "--out", str(tmp_path / "report"), *paths, *quick]


def test_a_comparison_is_trained_once_and_written_twice(command, tmp_path, capsys):
    words = [*command, "-m", "BPR,Pop", "--seeds", "2"]
    assert compare.main(words) == 0
    out = capsys.readouterr().out
    assert "4 runs, 0 of them finished" in out
    assert "BPR: 2 runs of at least 2 epochs" in out
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
    assert "4 runs, 4 of them finished" in out
    assert "in all" not in out  # nothing is timed
    assert (folder / "report.csv").read_bytes() == before


def test_a_dry_run_says_what_is_missing_and_trains_nothing(command, tmp_path, capsys):
    assert compare.main([*command, "-m", "BPR", "--seeds", "3,5", "--dry-run"]) == 0
    assert "2 runs, 0 of them finished" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "report").exists()


def test_tuning_is_named_as_the_origin_of_the_settings(command, tmp_path):
    settings = tmp_path / "rows.yaml"
    settings.write_text("two: {model: BPR, reg_weight: [1.0e-1, 1.0e-5]}\n")
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
        (["-m", "BPR", "--target", "Pop", "--seeds", "1"], "no finished run of the target 'Pop'"),
        (["-m", "BPR", "--metrics", "recall@7", "--seeds", "1"], "recall@7"),
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
