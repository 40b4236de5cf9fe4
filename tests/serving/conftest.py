"""Finished runs on the block world, with original ids, to recommend from."""

import csv

import pytest

import support
from ld4mrec.search.train import run
from ld4mrec.terminal import quiet

SMALL = {
    "LD4MRec": {"embedding_size": 8, "hidden_size": 8, "svd_rank": 6, "pg_hidden": 4},
    "DiffRec": {"dims": [[8]], "learning_rate": 0.01, "eval_step": 1},
    "ItemKNN": {"n_neighbours": 10},
    "EASE": {"reg_weight": 5.0},
    "BPR": {"embedding_size": 8},
}
HOST = {"topk": [5, 20], "threads": 1, "epochs": 3, "learning_rate": 0.05, "cache_dir": None}
ODD_IDS = {1: 'u,"1"', 2: "ü 2", 3: "007"}  # what a careless writer or reader would spoil


def user_id(number):
    return ODD_IDS.get(number, f"u{7 * number}")


def item_id(number):
    return f"{1000 - number}"


def write_maps(folder, users, items):
    """Maps of original ids as preprocessing writes them, their rows in no order."""
    for kind, n, name in (("user", users, user_id), ("item", items, item_id)):
        with open(folder / f"{kind[0]}_id_mapping.csv", "w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file, delimiter="\t", lineterminator="\n")
            lines.writerow([f"{kind}_id", f"{kind}ID"])
            lines.writerows((name(number), number) for number in reversed(range(n)))


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Folder of the block world: 61 users, of whom the last has a test row alone, 40 items."""
    folder = support.write_block_world(tmp_path_factory.mktemp("data"))
    with open(folder / "blocks.inter", "a", encoding="utf-8") as file:
        file.write("60\t0\t2\n")
    write_maps(folder, 61, 40)
    return folder


@pytest.fixture(scope="session")
def finished(world, tmp_path_factory):
    """A function (model, **keys) to the folder of a finished run; the same work is done once."""
    place = tmp_path_factory.mktemp("runs")

    def train(model, **keys):
        paths = {"data_path": f"{world.parent}/", "runs_dir": str(place)}
        with quiet():
            (one,) = run(model, world.name, HOST | SMALL.get(model, {}) | paths | keys)
        return one.folder.path

    return train
