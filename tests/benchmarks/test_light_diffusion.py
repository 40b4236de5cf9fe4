"""The cost benchmark: that it counts the right products and runs. No time is asserted."""

from collections import Counter
from itertools import pairwise

import bare
import light_diffusion
import pytest
import torch
from torch import nn

from support import write_block_world

SMALL = {"topk": [1, 5], "valid_metric": "recall@5", "train_batch_size": 25} | {
    "embedding_size": 9,
    "hidden_size": 8,
    "pg_hidden": 4,
    "svd_rank": 3,
    "threads": 1,
}


@pytest.fixture
def parent(tmp_path):
    write_block_world(tmp_path)
    return tmp_path


def case(parent, **overrides):
    keys = {"data_path": f"{parent}/", "use_gpu": False} | SMALL | overrides
    return light_diffusion.LightCase("blocks", keys, "cpu")


@pytest.mark.parametrize("transform", ["diag", "lowrank", "matrix"])
def test_bare_products_are_those_of_a_training_step(parent, transform):
    """The linear layers' shapes, and for which of them the input asks for a gradient."""
    made = case(parent, pg_transform=transform)
    model, seen = made.model, Counter()

    def note(layer, inputs):
        seen[layer.in_features, layer.out_features, inputs[0].requires_grad] += 1

    for layer in model.net.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_pre_hook(note)
    model.by_rows = lambda n: True  # the products are of the dense way
    model.calculate_loss(torch.arange(25))
    seen[40, 9, False] += 1  # FC in is a parameter, not a layer
    seen[8, 40, True] += 1  # FC out has its rows from item_out
    shapes = light_diffusion.shapes(made)
    assert Counter((s.n_in, s.n_out, s.into_input) for s in shapes) == seen


def test_bare_training_is_forward_and_gradients():
    product = bare.Product(bare.Shape(3, 2, True), 5, "cpu")
    x, w = product.x.clone().requires_grad_(), product.w.clone().requires_grad_()
    (x @ w.T).backward(product.grad_y)
    bare.Products([product])()
    assert torch.allclose(product.y, x @ w.T)
    assert torch.allclose(product.grad_w, w.grad)
    assert torch.allclose(product.grad_x, x.grad)
    assert bare.Product(bare.Shape(3, 2, False), 5, "cpu").grad_x is None


def test_steps_are_the_trainers_and_leave_short_batches_out(parent):
    made = case(parent)
    steps = light_diffusion.Steps(made.trainer, made.train)
    sizes = []
    made.trainer.step = lambda batch, index: sizes.append(len(batch)) or torch.zeros(1)
    for _ in range(5):
        steps()
    assert len(made.train) == 3  # of 25, 25 and 10 users
    assert sizes == [25] * 5
    assert made.model.training


def test_chain_with_a_perfect_network_returns_its_estimate(parent):
    made = case(parent)
    users = torch.arange(4)
    clean = made.model.history.dense(users)
    chain = light_diffusion.Chain(made.model, made.config, users, 5)
    model, seen = made.model, []
    net = model.served

    def hidden(entered, e, c, preferences):
        seen.append((entered.clone(), e))
        return torch.eye(4)

    net.hidden, net.item_out = hidden, lambda: (clean.T, torch.zeros(40))
    assert torch.allclose(chain(), clean, atol=1e-6)  # at t = 1 c1 is 1 and c2 is 0
    for t, (_, e) in zip((5, 4, 3, 2, 1), seen, strict=True):
        assert torch.equal(e, chain.codes[t] + model.user_step[users])
    of_clean = clean @ net.item_in  # what enters is linear in the row
    for t, ((above, _), (entered, _)) in zip((4, 3, 2, 1), pairwise(seen), strict=True):
        of_state, of_estimate = chain.steps[t]
        assert torch.allclose(entered, of_estimate * of_clean + of_state * above, atol=1e-6)
    assert chain.steps[0] == pytest.approx((0, 1))


def test_command_prints_all_tables(parent, capsys):
    words = [f"--{key}={value}" for key, value in SMALL.items()]
    words += ["--use_gpu=False", f"--data_path={parent}/", "--batches", "1"]
    assert light_diffusion.main(["-d", "blocks", *words]) == 0
    out = capsys.readouterr().out
    for title in ("training, seconds", "inference, seconds", "peak memory", "reverse chain"):
        assert f"**{title}" in out.replace("build once (seconds), ", "")
    assert out.count("| blocks |") == 3 + len(light_diffusion.CHAIN_STEPS)
    assert "1 thread, torch" in out


def test_command_refuses_what_it_does_not_know(parent, capsys):
    assert light_diffusion.main(["-d", "blocks", f"--data_path={parent}/", "--ablation=no_pg"]) == 2
    assert "ablation is no_pg" in capsys.readouterr().err
    assert light_diffusion.main(["--sizes", "tmall", "--embeding_size=3"]) == 2
    assert "embedding_size" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        light_diffusion.main(["--sizes", "big"])
    assert "no size big" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        light_diffusion.main(["--batches", "0"])


def test_the_ways_of_a_gpu_are_listed(parent, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function: function)
    before = torch.get_float32_matmul_precision()
    rows = light_diffusion.on_cuda(case(parent), 1)
    assert [row[0] for row in rows] == [
        name + tail for tail in ("", ", compiled") for name in ("float32", "TF32", "bf16")
    ]
    assert all(float(cell) > 0 for row in rows for cell in row[1:])
    assert torch.get_float32_matmul_precision() == before
