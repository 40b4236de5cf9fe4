"""Kept runs: what compare needs of them, and nothing of the machine."""

import json
import shutil

import numpy as np
import pytest

from ld4mrec import files
from ld4mrec.comparison import ledger
from ld4mrec.comparison.archive import archive
from ld4mrec.comparison.entries import Entry
from ld4mrec.errors import RunError

KEYS = {"embedding_size": 4, "epochs": 1, "topk": [10, 20], "threads": 1, "cache_dir": None}
BPR = Entry("BPR", "BPR", {}, "yaml defaults")


def test_an_archived_run_is_a_ledger_without_weights(blocks, tmp_path):
    keys = KEYS | {"data_path": f"{blocks.parent}/", "runs_dir": str(tmp_path / "runs")}
    (row,) = ledger.rows_of([BPR], "blocks", keys, [1])
    ledger.train(row)
    (row,) = ledger.rows_of([BPR], "blocks", keys, [1, 2])
    assert archive([row], tmp_path / "kept") == 1  # the second seed is not finished
    files.write_json(row.done[0].folder.path / "bound.json", {"later": 1})
    assert archive([row], tmp_path / "kept") == 0
    before = ledger.per_user(row.done[0])
    shutil.rmtree(tmp_path / "runs")

    (row,) = ledger.rows_of([BPR], "blocks", keys, [1, 2], tmp_path / "kept")
    assert [one.config["seed"] for one in row.done] == [1]
    kept = row.done[0].folder.path
    names = ["bound.json", "manifest.json", "per_user.npz", "result.json"]
    assert sorted(path.name for path in kept.iterdir()) == names
    after = ledger.per_user(row.done[0])
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert str(tmp_path) not in json.dumps(row.done[0].folder.read_json("manifest.json"))
    assert archive([row], tmp_path / "kept") == 0


def test_a_folder_that_cannot_be_written_is_a_sentence(blocks, tmp_path):
    keys = KEYS | {"data_path": f"{blocks.parent}/", "runs_dir": str(tmp_path / "runs")}
    (row,) = ledger.rows_of([BPR], "blocks", keys, [1])
    row = ledger.train(row)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="--archive .*file cannot be written"):
        archive([row], tmp_path / "file")
