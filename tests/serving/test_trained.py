"""Opening a finished run: which one a path means, and that it is still what it was."""

import json
import shutil

import numpy as np
import pytest

import support
from ld4mrec.errors import DataError, RunError
from ld4mrec.runs.identity import RESULTS_VERSION, run_id
from ld4mrec.serving.ranking import check_same_lists
from ld4mrec.serving.trained import changed_code, find_run, open_run


@pytest.fixture
def pop(finished, tmp_path):
    """A copy of a finished run of Pop, to spoil."""
    folder = finished("Pop")
    copy = tmp_path / "runs" / folder.name
    shutil.copytree(folder, copy)
    return copy


def test_a_path_means_the_run_that_it_leads_to(pop):
    assert find_run(pop) == pop
    assert find_run(pop.parent) == pop  # a folder with one finished run in it
    assert find_run(f"{pop.parent}/s9") == pop  # the beginning of a name
    assert find_run(f"{pop.parent.parent}/ru") == pop
    shutil.copytree(pop, pop.parent / "s998")
    assert find_run(f"{pop.parent}/s999-") == pop
    with pytest.raises(RunError, match=r"means 2 finished runs: s998, s999-\w+; name one of"):
        find_run(pop.parent)


def test_what_is_no_finished_run_is_refused(pop, tmp_path):
    with pytest.raises(RunError, match="there is no finished run at .*absent/x"):
        find_run(tmp_path / "absent" / "x")
    (pop / "result.json").unlink()
    with pytest.raises(RunError, match=r"is not finished \(no result.json\); main.py --resume"):
        find_run(pop)


@pytest.mark.parametrize("name", ["manifest.json", "config.yaml"])
def test_a_damaged_run_is_refused(pop, name):
    (pop / name).write_text("{")
    with pytest.raises((RunError, DataError, ValueError), match=name):
        open_run(pop)
    (pop / name).unlink()
    with pytest.raises(RunError, match=rf"is absent or damaged|{name} cannot be read"):
        open_run(pop)


def test_a_run_without_weights_is_refused(pop):
    (pop / "best.pt").unlink()
    with pytest.raises(RunError, match=r"has no finished run with best.pt"):
        open_run(pop)


def test_an_archived_run_is_refused(pop):
    (pop / "best.pt").unlink()
    (pop / "config.yaml").unlink()
    with pytest.raises(RunError, match="a result without weights.* the folder that the run was"):
        open_run(pop)


def test_other_interactions_are_refused(pop, world, tmp_path):
    moved = tmp_path / "elsewhere" / "blocks"
    shutil.copytree(world, moved)
    assert open_run(pop, {"data_path": f"{moved.parent}/"}).train.nnz
    with open(moved / "blocks.inter", "a", encoding="utf-8") as file:
        file.write("0\t1\t0\n")
    with pytest.raises(DataError, match=r"blocks.inter has another content .* was trained on"):
        open_run(pop, {"data_path": f"{moved.parent}/"})


def test_rewritten_id_maps_are_refused(pop, world, tmp_path):
    moved = tmp_path / "elsewhere" / "blocks"
    shutil.copytree(world, moved)
    path = moved / "i_id_mapping.csv"
    header, first, second, *rest = path.read_text().splitlines()
    (one, row), (two, other) = first.split("\t"), second.split("\t")
    swapped = [f"{one}\t{other}", f"{two}\t{row}"]
    path.write_text("\n".join([header, *swapped, *rest]) + "\n")
    with pytest.raises(DataError, match=r"i_id_mapping.csv has another content .* was trained on"):
        open_run(pop, {"data_path": f"{moved.parent}/"})


def test_lost_features_are_refused_where_the_model_reads_them(finished, pop, world, tmp_path):
    moved = tmp_path / "elsewhere" / "blocks"
    shutil.copytree(world, moved)
    (moved / "text_feat.npy").unlink()
    assert open_run(pop, {"data_path": f"{moved.parent}/"})
    with pytest.raises(DataError, match=r"text_feat.npy is gone"):
        open_run(finished("LD4MRec"), {"data_path": f"{moved.parent}/"})


def test_data_that_lies_elsewhere_is_asked_for(pop, tmp_path):
    with pytest.raises(DataError, match=r"no data folder .*nowhere/blocks.* --data_path=FOLDER/"):
        open_run(pop, {"data_path": f"{tmp_path}/nowhere/"})


def test_a_third_partys_run_is_refused(pop):
    change_identity(pop, code={"plugin/Theirs": "0"})
    with pytest.raises(RunError, match="is a run of a model file of a third party"):
        open_run(pop)


def test_changed_code_is_told_with_what_it_changed(pop, caplog):
    check_same_lists(open_run(pop))
    assert not caplog.messages
    change_identity(pop, code={"Pop": "0"})
    check_same_lists(open_run(pop))
    assert "changed since the run was made (Pop): of 60 test users, 60" in caplog.text
    with np.load(pop / "topk.npz") as file:
        users, items = file["users"], file["items"]
    np.savez(pop / "topk.npz", users=users, items=np.roll(items, 1, axis=1))
    wanted = "of 60 test users, 0 get the run's list; that is another model than was evaluated"
    with pytest.raises(RunError, match=wanted):
        check_same_lists(open_run(pop))
    (pop / "topk.npz").unlink()
    check_same_lists(open_run(pop))
    assert caplog.messages[-1].endswith("(Pop); the run kept no lists to compare with")


def test_a_run_of_before_definitions_were_digested_says_so(pop):
    change_identity(pop, code={"models/pop.py": "0"})
    assert changed_code(open_run(pop)) == ["the run kept digests of files, not of definitions"]


def test_another_version_of_results_is_told(pop, caplog):
    change_identity(pop, results_version=1)
    check_same_lists(open_run(pop))
    assert (
        f"(the host's results: version 1 then, {RESULTS_VERSION} now): of 60 test users"
        in caplog.text
    )


def change_identity(folder, **keys):
    support.without_checksums(folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    identity = manifest["identity"]
    identity |= keys | {"code": identity["code"] | keys.get("code", {})}
    manifest["id"] = run_id(manifest["identity"])
    path.write_text(json.dumps(manifest))


def test_known_items_are_those_of_the_splits_that_the_mask_names(finished, world):
    rows = np.loadtxt(world / "blocks.inter", dtype=int, skiprows=1)
    rows = rows[rows[:, 0] < 60]  # the last user has no training row
    trained = open_run(finished("Pop"))
    for mask, labels in (("none", []), ("train", [0]), ("train+valid", [0, 1]), ("all", [0, 1, 2])):
        expected = np.zeros((61, 40))
        expected[tuple(rows[np.isin(rows[:, 2], labels), :2].T)] = 1
        assert (trained.known(mask).toarray() == expected).all()
