"""A comparison's report against the runs it is made of."""

import shutil
import statistics
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import support
from ld4mrec.comparison import ledger
from ld4mrec.comparison.cells import shown
from ld4mrec.comparison.entries import Entry
from ld4mrec.comparison.findings import Findings
from ld4mrec.runs.folder import RunFolder
from ld4mrec.search.train import run

KEYS = {"epochs": 3, "topk": [10, 20], "threads": 1, "train_batch_size": 64}
ENTRIES = [
    Entry("BPR", "BPR", {"embedding_size": 8, "learning_rate": 0.05}, "yaml defaults"),
    Entry("slow", "BPR", {"embedding_size": 8}, "settings of x.yaml", ("slow lies on the edge",)),
    Entry("Pop", "Pop", {}, "yaml defaults"),
]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("findings")
    blocks = support.write_block_world(folder / "data")
    paths = {"data_path": f"{blocks.parent}/", "runs_dir": str(folder / "runs")}
    return KEYS | paths | {"cache_dir": None}


@pytest.fixture(scope="module")
def rows(keys):
    return ledger.train_all(ledger.rows_of(ENTRIES, "blocks", keys, [1, 2]))


def findings(rows, keys, target="BPR"):
    (popularity,) = run("Pop", "blocks", keys)
    return Findings(rows, "blocks", ["recall@10", "ndcg@20"], target, popularity)


def test_accuracy_is_mean_and_spread_of_the_runs(rows, keys):
    table = findings(rows, keys).accuracy()
    assert table.columns == ("validation Recall@20", "test Recall@10", "test NDCG@20")
    for row in rows:
        values = [run.result["test"]["ndcg@20"] for run in row.runs]
        cell = table.column("test NDCG@20")[row.label]
        assert cell.value == statistics.mean(values)
        assert cell.spread == (None if row.label == "Pop" else statistics.stdev(values))
    assert "one run for all seeds, and no spread" in table.notes[1]
    best = max(rows, key=lambda row: row.mean("test", "recall@10"))
    assert table.column("test Recall@10")[best.label].mark == "best"


def test_the_first_table_says_what_was_used(rows, keys):
    found = findings(rows, keys)
    section = found.report().sections[0]
    (table,) = section.content
    assert table.title == "What was used"
    assert table.notes[0].startswith("blocks of 60 users, 40 items, ")
    by_column = {name: table.column(name)["BPR"] for name in table.columns}
    assert by_column["features"].value == "none, is_multimodal_model is False"
    assert by_column["parameters"].value == 8 * 100
    assert by_column["device"].value == "cpu, 1 thread"
    assert by_column["seeds"].value == "1, 2"


def test_keys_of_the_command_line_stand_in_the_settings(rows, keys):
    table = findings(rows, keys).settings()
    assert table.column("from")["Pop"].value == "yaml defaults and the command line"
    said = table.column("hyper-parameters")["Pop"].value
    assert said == "epochs=3, topk=[10, 20], threads=1, train_batch_size=64"


def test_the_improvement_is_over_the_strongest_other_by_validation(rows, keys):
    table = findings(rows, keys).improvement()
    other = max(rows[1:], key=lambda row: row.mean("valid", "recall@20"))
    ((label, cells),) = table.rows
    assert label == f"BPR over {other.label}"
    wanted = rows[0].mean("valid", "recall@20") / other.mean("valid", "recall@20") - 1
    assert cells[0].value == pytest.approx(wanted)


def test_tests_over_users_are_those_of_the_users_means(rows, keys):
    table = findings(rows, keys).over_users()
    for row in rows[1:]:
        mean = {
            r.label: np.mean([ledger.per_user(o)["recall@20"] for o in r.done], 0) for r in rows
        }
        wanted = stats.ttest_rel(mean["BPR"], mean[row.label])
        assert table.column("difference")[row.label].value == pytest.approx(
            (mean["BPR"] - mean[row.label]).mean()
        )
        assert table.column("p, t-test")[row.label].value == pytest.approx(wanted.pvalue)
    holm = [cell.value for cell in table.column("p, t-test, Holm").values()]
    plain = [cell.value for cell in table.column("p, t-test").values()]
    assert min(holm) == pytest.approx(min(1, 2 * min(plain)))


def test_a_row_with_fewer_seeds_is_compared_over_those_alone(rows, keys):
    target, slow, pop = rows
    half = replace(slow, runs=(slow.runs[0], replace(slow.runs[1], result=None)))
    made = findings([target, half, pop], keys)
    (label, cell), other = made.over_users().column("difference").items()
    assert (label, cell.note) == ("slow", "over seed 1; of 2 only one of the two is there")
    assert other[1].note is None
    first = [ledger.per_user(row.runs[0])["recall@20"].mean() for row in (target, slow)]
    assert cell.value == pytest.approx(first[0] - first[1])
    noted = made.accuracy().column("test Recall@10")["slow"]
    assert (noted.note, noted.mark) == ("1 of 2 seeds", None)


def test_two_seeds_have_no_wilcoxon_and_the_cell_says_why(rows, keys):
    table = findings(rows, keys).over_seeds()
    cell = table.column("p, Wilcoxon")["slow"]
    assert cell.value is None
    assert "over 2 seeds no p-value is below" in cell.note


def test_bands_of_users_average_to_the_overall_recall(rows, keys):
    made = findings(rows, keys)
    bands = made.by_user()
    assert sum(int(name.split("(")[1].rstrip(")")) for name in bands.columns) == made.test.nnz
    assert made.by_item().columns[0].startswith("0 (")


def test_the_report_holds_every_table_and_says_what_to_know(rows, keys):
    report = findings(rows, keys).report()
    names = [table.name for table in report.tables]
    wanted = ["used", "accuracy", "improvement"]
    wanted += ["significance-users", "significance-seeds", "cost"]
    wanted += ["losses-by-epoch", "validation-by-epoch"]
    assert names == [*wanted, "beyond-accuracy", "by-activity", "by-popularity", "settings"]
    assert "slow lies on the edge" in report.warnings
    assert any(text.startswith("2 seeds at the least") for text in report.warnings)
    assert report.lead[0].split()[0] in {row.label for row in rows}
    beyond = next(table for table in report.tables if table.name == "beyond-accuracy")
    assert {"diversity text", "diversity image"} <= set(beyond.columns)


def test_popularity_not_beaten_and_missing_seeds_are_warnings(rows, keys):
    broken = Entry("broken", "BPR", {"learning_rate": 1e30}, "yaml defaults")
    (row,) = ledger.rows_of([broken], "blocks", keys, [1, 2])
    row = ledger.train(row)
    made = findings([*rows, row], keys)
    assert [r.label for r in made.rows] == ["BPR", "slow", "Pop"]
    texts = list(made.warnings())
    assert any(text.startswith("broken, seeds 1, 2 are missing: the loss is not") for text in texts)
    made.popularity.result["valid"]["recall@20"] = 1.1  # out of reach
    texts = list(made.warnings())
    assert {t.split(" never")[0] for t in texts if "never beat" in t} == {"BPR", "slow"}


def test_a_lead_inside_the_noise_is_a_warning(rows, keys):
    same = [rows[0], replace(rows[0], entry=Entry("twin", "BPR", {}, "yaml defaults"))]
    texts = list(findings(same, keys).warnings())
    assert "the lead of BPR over twin is inside the noise of the users" in texts
    assert "BPR and twin are the same runs under different labels" in texts


def test_tables_of_lists_say_which_runs_have_none(rows, keys, tmp_path):
    """As where --ledger brings archived runs: what is shown is of fewer seeds."""
    target, slow, pop = rows
    shutil.copytree(slow.runs[1].folder.path, tmp_path / "bare")
    (tmp_path / "bare" / "topk.npz").unlink()
    bare = RunFolder(tmp_path / "bare", slow.runs[1].folder.identity)
    bare = replace(slow.runs[1], folder=bare)
    made = findings([target, replace(slow, runs=(slow.runs[0], bare)), pop], keys)
    alone = findings([target, replace(slow, runs=slow.runs[:1]), pop], keys)
    for name in ("beyond", "by_user", "by_item"):
        (_, cells), (_, wanted) = getattr(made, name)().rows[1], getattr(alone, name)().rows[1]
        for cell, same in zip(cells, wanted, strict=True):
            if cell.is_number:
                assert cell.note.startswith("1 of 2 seeds; of the others the runs have no top-K")
                assert (cell.value, cell.mark) == (same.value, None)
    assert made.accuracy().rows[1][1][0].note is None  # metrics are there


def test_metrics_are_shown_by_their_names():
    assert [shown(m) for m in ("recall@20", "ndcg@5", "hit@1")] == ["Recall@20", "NDCG@5", "hit@1"]
