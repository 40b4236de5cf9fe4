"""The benchmark of the baselines on a small world: each model has its figures."""

import importlib
import subprocess
import sys

import bare
import baselines
import pytest
import torch
from costs import COSTS

import support
from ld4mrec.plugins import sources

SMALL = {
    "DiffMM": {"dims": [16]},
    "DiffRec": {"dims": [[16]]},
    "MMSSL": {"m_topk_rate": 0.1},
}
MODELS = [name for name in sources.model_names() if name not in baselines.ELSEWHERE]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_measured_beside_its_bare_cost(name, blocks):
    keys = {"data_path": f"{blocks.parent}/", "topk": [5, 20], "threads": 1, "train_batch_size": 32}
    found = baselines.measure(name, "blocks", keys | SMALL.get(name, {}), clock="cpu", batches=3)
    assert found["model"] == name
    assert found["evaluation"] > 0
    assert found["bare_evaluation"] > 0
    assert found["start"] > 0
    assert found["peak"] > 0
    if "epoch" in found:  # the others are not trained
        assert found["epoch"] > 0
        assert found["batches"] > 0
    else:
        assert name in ("EASE", "ItemKNN", "Pop")


def test_private_networks_count_as_parameters(blocks):
    keys = {"data_path": f"{blocks.parent}/", "topk": [5, 20], "threads": 1}
    for name in ("BPR", *baselines.PRIVATE):
        model = baselines.Case(name, "blocks", keys | SMALL.get(name, {}), "cpu").model
        own = sum(p.numel() for p in model.parameters())
        counted = sum(p.numel() for p in baselines.all_weights(model))
        assert (counted > own) == (name in baselines.PRIVATE)


def test_every_trained_model_declares_its_bare_costs():
    assert COSTS.keys() == set(MODELS) - {"EASE", "ItemKNN", "Pop"}


def test_a_bare_sparse_product_and_its_gradient():
    matrix = torch.rand(5, 4) * (torch.rand(5, 4) < 0.5)
    sparse = bare.Sparse(matrix.to_sparse_csr(), 3, matrix.T.contiguous().to_sparse_csr())
    bare.Products([sparse])()
    torch.testing.assert_close(sparse.out, matrix @ sparse.x)
    torch.testing.assert_close(sparse.grad_x, matrix.T @ sparse.grad)


def test_bare_rows_and_neighbours():
    rows = bare.Rows(6, 3, 10, "cpu")
    rows.forward()
    rows.backward()
    table = rows.table.clone().requires_grad_()
    assert torch.equal(rows.out, table[rows.rows])
    (wanted,) = torch.autograd.grad((table[rows.rows] * rows.grad).sum(), table)
    torch.testing.assert_close(rows.grad_table, wanted)
    near = bare.Neighbours(7, 3, 2, "cpu", rows=4)
    near.forward()
    torch.testing.assert_close(near.out.values, (near.x[4:] @ near.x.T).topk(2).values)


def test_repeated_products_and_the_order_of_a_step():
    calls = []

    class Noted:
        def __init__(self, name):
            self.forward = lambda: calls.append(name)
            self.backward = lambda: calls.append(name.upper())

    twice = bare.Products([Noted("a")], times=1.6)
    bare.Products([twice, bare.Products([Noted("b")], gradients=False), Noted("c")])()
    assert "".join(calls) == "aabcCAA"
    bare.Products([Noted("d")], gradients=False)()
    assert calls[-1] == "d"


def test_the_report_has_every_table(capsys):
    shared = {"peak": 3 * 2**20, "needed": 2**20, "imports": 1.0, "loading": 0.1, "building": 0.2}
    shared |= {
        "parameters": 1234,
        "start": 1.3,
        "users": 9,
        "evaluation": 0.5,
        "bare_evaluation": 0.4,
        "ratio": 1.25,
    }
    trained = {"batches": 3, "epoch": 1.5, "bare_epoch": 0.5, "optimiser": 0.1}
    sparse = {"csr": 0.004, "rows": 0.001, "csr_ratio": 4.0}
    results = [
        shared | trained | sparse | {"model": "MGCN", "data": "tiktok"},
        shared | trained | {"model": "MMSSL", "data": "hm", "bare_epoch": None, "opening": 0.25},
        shared | {"model": "EASE", "data": "hm"},
    ]
    baselines.report(results, torch_seconds=1.0, torch_bytes=2**20)
    out = capsys.readouterr().out
    assert out.count("\n**") + out.startswith("**") == 6
    assert "| MGCN | tiktok | 3 | 1.50 | 0.50 | 3.00 | - | 0.10 |  |" in out
    assert "| MMSSL | hm | 3 | 1.50 | - | - | 0.25 | 0.10 | 3 batches timed |" in out
    assert "| EASE | hm | 9 | 0.50 | 0.40 | 1.25 |" in out
    assert "| EASE | hm | 1,234 | 3 | 2 | 1.50 |" in out  # MiB
    assert "| MGCN | tiktok | 4.00 | 1.00 | 4.00 |" in out  # milliseconds
    # (5.75 + 1.5) / (1.5 + 0.5), and with 2.3 and 1.3 of start-up
    assert "| MGCN | 7.25 | 2.00 | 3.62 | 3 | 2.89 |" in out


def test_kept_figures_are_not_timed_again(tmp_path, monkeypatch):
    shared = dict.fromkeys(("peak", "needed", "parameters", "users", "imports", "loading"), 1)
    shared |= dict.fromkeys(("building", "start", "evaluation", "bare_evaluation", "ratio"), 1.0)
    timed = []

    def alone(name, dataset, words, options):
        timed.append((name, dataset))
        return shared | {"model": name, "data": dataset, "machine": "one"}

    monkeypatch.setattr(baselines, "alone", alone)
    monkeypatch.setattr(baselines, "start_up", lambda *_: 1.0)
    words = ["-d", "small", "--keep", str(tmp_path / "kept"), "--models"]
    assert baselines.main([*words, "Pop"]) == 0
    with open(tmp_path / "kept", "a", encoding="utf-8") as file:
        file.write('\n{"model": "EA')
    for _ in range(2):
        assert baselines.main([*words, "Pop,EASE"]) == 0
    assert timed == [("Pop", "small"), ("EASE", "small")]


def test_the_command_refuses_what_it_does_not_know(capsys):
    for words, message in (
        (["--models", "LD4MRec"], "no model LD4MRec"),
        (["--sizes", "big"], "no size big"),
        (["--batches", "0"], "--batches is 0"),
    ):
        with pytest.raises(SystemExit):
            baselines.main(words)
        assert message in capsys.readouterr().err


def test_the_command_stands_in_no_models_way():
    """benchmarks/models.py is found before src/models, which is a folder without __init__.py."""
    program = "import sys; sys.path[:0] = sys.argv[1:]; import models.bpr; print(models.bpr.BPR)"
    folders = [str(support.ROOT / name) for name in ("benchmarks", "src")]
    done = subprocess.run([sys.executable, "-c", program, *folders], capture_output=True, text=True)
    assert "models.bpr.BPR" in done.stdout, done.stderr
    assert importlib.import_module("models.vbpr").VBPR
