"""The benchmark of large catalogues: what it measures and draws. No time is asserted."""

import large
import pytest
import sizes

from support import write_block_world

SMALL = {"embedding_size": 9, "hidden_size": 8, "pg_hidden": 4, "svd_rank": 3, "threads": 1}


def test_measures_a_data_set(tmp_path):
    write_block_world(tmp_path)
    keys = {"data_path": f"{tmp_path}/", "use_gpu": False, "train_batch_size": 25} | SMALL
    found = large.measure("blocks", keys, steps=1)
    assert list(found) == [*large.SECONDS, "MiB"]
    assert all(value > 0 for value in found.values())
    assert found["epoch"] >= 2 * found["step"]


def test_names_its_sizes(capsys):
    with pytest.raises(SystemExit):
        large.main(["--sizes", "hm_half"])
    assert "no size hm_half; there are tmall, microlens, hm, hm_whole" in capsys.readouterr().err


def test_sizes_are_those_of_the_whole_of_hm_and_of_a_million():
    assert vars(sizes.ALL["hm_whole"]) == {
        "users": 889_000,
        "items": 90_700,
        "interactions": 26_000_000,
    }
    assert sizes.ALL["million"].users == sizes.ALL["million"].items == 1_000_000


@pytest.mark.slow
def test_draws_how_cost_grows(tmp_path, capsys):
    words = [f"--{key}={value}" for key, value in SMALL.items()]
    grown = ["--grow", "120,240", "--steps", "1", "--plot", str(tmp_path / "grown.svg")]
    assert large.main([*grown, *words]) == 0
    printed = capsys.readouterr().out
    assert "| 240 | 240 | 240 | 2,400 |" in printed
    assert "peak memory" in (tmp_path / "grown.svg").read_text()
