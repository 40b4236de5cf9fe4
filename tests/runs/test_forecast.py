"""What a run will need, said before it is made."""

import re

import pytest

from ld4mrec.commands import train
from ld4mrec.data.interactions import RecDataset
from ld4mrec.plugins.sources import find_model, load_model_class
from ld4mrec.runs.forecast import Forecast, forecast
from support import ROOT, config_for

KEYS = {"topk": [5], "valid_metric": "recall@5", "train_batch_size": 4}


def measured(folder, model, **keys):
    config = config_for(folder, model, **(KEYS | keys))
    return forecast(config, load_model_class(find_model(model)), RecDataset(config).split()), config


def test_steps_memory_and_disk_are_those_of_the_run(toy):
    found, _ = measured(toy, "BPR", embedding_size=1024)
    held = 12 * 1024 * 4
    assert found.steps == 3
    assert found.ram > 2 * held
    assert found.gpu == 0
    # best.pt, last.pt with two copies of the weights and two moments; four users' lists and figures
    assert 5 * held < found.disk < 5 * held + 1000
    assert min(found.build, found.train, found.valid) > 0
    assert found.line.startswith("toy of 5 users")


def test_a_model_that_is_not_trained_needs_no_steps(toy):
    found, config = measured(toy, "Pop")
    assert (found.steps, found.train) == (0, 0.0)
    assert any(line.startswith("a run: 1 epoch, ") for line in found.lines(config))


def test_the_sentences(toy):
    config = config_for(toy, "BPR", stopping_step=20, epochs=1000)
    found = Forecast(2.0, 10.0, 5.0, 46, 3 * 2**30, 0, 2**20, "the line")
    assert found.lines(config) == [
        "the line",
        "memory: about 3.0 GiB, the process as a whole",
        "an epoch: 10 s in 46 steps, and 5 s for a validation; 2 s to build the model",
        "a run: 22 to 1,000 epochs, 6 minutes to 4.2 hours, as patience decides",
        "disk: about 1 MiB",
    ]
    on_gpu = Forecast(2.0, 10.0, 5.0, 1, 2**30, 2**31, 2**20, "the line")
    lines = on_gpu.lines(config, runs=3)
    assert lines[1] == "memory: about 1.0 GiB and 2.0 GiB of the GPU's, the process as a whole"
    assert lines[3] == "a run: 1,000 epochs, 4.2 hours"
    assert lines[-1] == "all 3 runs, one after the other: 12.5 hours, 3 MiB"


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["-m", "BPR"], "one run, 0 finished; the next in "),
        (["-m", "BPR", "--grid", "--learning_rate=0.1"], "7 runs, 0 finished; the next in "),
        (
            ["-m", "BPR", "--search", "random", "--trials", "3"],
            "a search: 3 trials; one of ",
        ),
        (
            ["-m", "GraphMF", "--plugin", str(ROOT / "tests" / "plugins" / "theirs")],
            "[0-9]+ runs, 0 finished",
        ),
    ],
)
def test_a_dry_run_writes_nothing(words, first, toy, tmp_path, capsys):
    before = sorted(toy.iterdir())
    places = [f"--data_path={toy.parent}", f"--runs_dir={tmp_path / 'runs'}"]
    places += [f"--cache_dir={tmp_path / 'cache'}", "--topk=[5]", "--valid_metric=Recall@5"]
    assert train.main([*words, "-d", "toy", "--dry-run", *places, "--threads=1"]) == 0
    out = capsys.readouterr().out
    assert re.search(f"^{first}", out, re.M), out
    assert re.search(r"^memory: about \d+ MiB", out, re.M)
    assert re.search(r"^disk: about 0 MiB", out, re.M)
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "cache").exists()
    assert sorted(toy.iterdir()) == before
