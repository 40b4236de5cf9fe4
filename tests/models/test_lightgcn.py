import math

import numpy as np
import pytest
import torch

import golden
import support
from golden import BATCH, N_ITEMS, N_USERS, near

SMALL = golden.SMALL | {"reg_weight": 0.1}
PHASES = {"user_emb.weight": 1, "item_emb.weight": 2}


def build(folder, n_layers=2, interactions=None):
    model = golden.build(
        "LightGCN", folder, interactions=interactions, **SMALL | {"n_layers": n_layers}
    )
    return golden.set_waves(model, PHASES)


def nodes(model):
    return torch.cat(model()).detach()


def test_loss_and_gradients_are_the_references(toy):
    loss, norms = golden.loss_and_norms(build(toy))
    assert loss == near(0.739113)
    assert norms == near({"user_emb.weight": 0.061803, "item_emb.weight": 0.049143})


def test_scores_are_the_references_before_and_after_training(toy):
    model = build(toy)
    first = [0.109277, -0.073660, 0.064104, -0.083277, 0.109788, -0.091116, 0.060340]
    last = [-0.022254, 0.021458, -0.032785, 0.014640, 0.003057, -0.001981, 0.009922]
    assert golden.scores(model, [0, 4]).tolist() == [near(first), near(last)]
    losses = [0.739113, 0.733035, 0.727078, 0.721183, 0.715307]
    assert golden.trajectory(model.train(), BATCH) == near(losses)
    trained = [0.089498, -0.052373, 0.022386, -0.074104, 0.086653, -0.106361, 0.050453]
    assert golden.scores(model, [0])[0].tolist() == near(trained)


def test_no_layers_is_bpr(toy):
    bpr = golden.set_waves(golden.build("BPR", toy, **SMALL), PHASES)
    model = build(toy, n_layers=0)
    (loss, norms), (expected, other) = map(golden.loss_and_norms, (model, bpr))
    assert loss == pytest.approx(expected, rel=1e-12)
    assert norms == pytest.approx(other, rel=1e-12)
    assert golden.scores(model).equal(golden.scores(bpr))
    assert golden.trajectory(model.train(), BATCH)[-1] == near(0.632837)


@pytest.mark.parametrize("n_layers", [1, 3])
def test_propagation_is_linear(toy, n_layers):
    model = build(toy, n_layers)
    one, table = nodes(model), model.user_emb.weight
    with torch.no_grad():
        model.item_emb.weight.copy_(golden.wave((N_ITEMS, 8), 5))
        table.copy_(golden.wave(table.shape, 4))
        other = nodes(model)
        table.copy_(2 * golden.wave(table.shape, 1) - 3 * table)
        items = 2 * golden.wave((N_ITEMS, 8), 2) - 3 * model.item_emb.weight
        model.item_emb.weight.copy_(items)
    torch.testing.assert_close(nodes(model), 2 * one - 3 * other)


@pytest.mark.parametrize("n_layers", [1, 2, 4])
def test_root_of_degree_stays_as_it_is_and_isolated_nodes_shrink(toy, n_layers):
    model = build(toy, n_layers)
    full = golden.matrix(support.TRAIN)
    degree = np.concatenate([full.sum(1).A1, full.sum(0).A1])
    start = torch.from_numpy(np.sqrt(degree))
    start[-1] = 1.0  # item 6 has no training interaction
    with torch.no_grad():
        model.user_emb.weight[:, 0] = start[:N_USERS]
        model.item_emb.weight[:, 0] = start[N_USERS:]
    out = nodes(model)[:, 0]
    assert out[:-1].tolist() == pytest.approx(start[:-1].tolist(), abs=1e-6)
    torch.testing.assert_close(nodes(model)[-1], model.item_emb.weight[6] / (n_layers + 1))


def test_relabelling_permutes_the_scores(toy):
    model = build(toy)
    generator = np.random.default_rng(0)
    users, items = generator.permutation(N_USERS), generator.permutation(N_ITEMS)  # new -> old
    pairs = [(np.argsort(users)[u], np.argsort(items)[i]) for u, i in support.TRAIN]
    other = build(toy, interactions=golden.matrix(pairs))
    with torch.no_grad():
        other.user_emb.weight.copy_(model.user_emb.weight[users])
        other.item_emb.weight.copy_(model.item_emb.weight[items])
    expected = golden.scores(model)[users][:, items]
    torch.testing.assert_close(golden.scores(other), expected, rtol=0, atol=1e-7)


def test_another_component_does_not_matter(toy):
    apart = [(0, 0), (0, 1), (1, 1), (2, 2), (3, 3), (3, 2), (4, 4)]
    whole = build(toy, interactions=golden.matrix(apart))
    part = build(toy, interactions=golden.matrix(apart[:3]))
    one, other = (golden.scores(model, [0, 1])[:, :2] for model in (whole, part))
    torch.testing.assert_close(one, other)


def test_repeated_pairs_count_once(toy):
    twice = build(toy, interactions=golden.matrix(support.TRAIN * 2))
    assert golden.scores(twice).equal(golden.scores(build(toy)))


def test_tables_start_xavier_uniform_each_for_itself(toy):
    model = golden.build("LightGCN", toy, interactions=golden.matrix([(0, 0)], 3000, 200))
    for table in model.parameters():
        bound = math.sqrt(6 / sum(table.shape))
        assert bound * 0.99 < table.abs().max().item() <= bound


def test_embeddings_are_computed_once_per_evaluation(toy, monkeypatch):
    model, calls = build(toy), []
    forward = type(model).forward
    monkeypatch.setattr(type(model), "forward", lambda self: calls.append(1) or forward(self))
    first = golden.scores(model, [0])
    model.full_sort_predict([torch.tensor([1]), None])
    assert len(calls) == 1
    model.train()
    golden.trajectory(model, BATCH, steps=1)
    calls.clear()
    second = golden.scores(model, [0])
    assert len(calls) == 1
    assert not second.equal(first)


def test_loaded_weights_replace_kept_embeddings(toy):
    model, other = build(toy), golden.build("LightGCN", toy, **SMALL | {"n_layers": 2})
    expected = golden.scores(model)
    golden.scores(other)
    other.load_state_dict(model.state_dict())
    assert other.full_sort_predict([torch.arange(N_USERS), None]).equal(expected)


@pytest.mark.parametrize("evaluate", [True, False])
def test_scores_are_the_hosts_to_write_into(toy, evaluate):
    model = build(toy).train(not evaluate)
    users = torch.arange(N_USERS)
    scores = model.full_sort_predict([users, None])
    expected = scores.clone()
    scores.fill_(-1e10)
    assert model.full_sort_predict([users, None]).equal(expected)
    assert model.calculate_loss(BATCH).item() == near(0.739113)


@pytest.mark.parametrize("n_layers", [-1, 1.5])
def test_refused_layers(toy, n_layers):
    with pytest.raises(ValueError, match=f"n_layers must be an integer >= 0, got {n_layers}"):
        golden.build("LightGCN", toy, n_layers=n_layers)
