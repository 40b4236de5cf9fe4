"""DiffMM against its equations written out with dense matrices, and what its traps would break."""

import copy
import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import golden
import support
from common.denoiser import p_sample
from golden import N_ITEMS, N_USERS, matrix
from ld4mrec.errors import DivergedError
from ld4mrec.search.train import run
from ld4mrec.training import checkpoint
from models.diffmm import DiffMM, drawn_graph, info_nce_of_all, looped_adjacency

BATCH = golden.BATCH[:, :4]  # shorter than the configured 5
SMALL = golden.SMALL | {"dims": [6], "time_size": 4}
PICKS = torch.tensor([[0, 4], [1, 6], [3, 4], [5, 0], [2, 6]])


@pytest.fixture
def make(toy):
    """A DiffMM in the toy world, float64, its modalities' graphs drawn at random."""

    def make(tables=golden.FEATURES, **options):
        model = golden.build("DiffMM", toy, tables, **SMALL | options)
        torch.manual_seed(1)
        for parameter in model.parameters():
            parameter.data.copy_(torch.randn(parameter.shape) * 0.5)
        for m in range(len(model.maps)):
            model.set_drawn(m, drawn_graph(PICKS.roll(m, 0), N_ITEMS, 0.7).double())
        return model

    return make


def three():
    tables = {name: golden.feature(6, phase) for name, phase in (("a", 1), ("b", 2), ("c", 3))}
    return {"tables": tables, "modalities": {name: f"{name}_feat.npy" for name in tables}}


def unit(x):
    return x / x.norm(dim=1, keepdim=True)


def literal(model):
    """Final embeddings and views, step by step and modality by modality as the sheet has them."""
    adjacency = model.adjacency.to_dense()
    users, items = model.user_emb.weight, model.item_emb.weight
    fused, views = 0, []
    for m, layer in enumerate(model.maps):
        g = getattr(model, f"features_{m}") @ layer.weight.T
        g = torch.where(g > 0, g, 0.2 * g) if model.leaky else g + layer.bias
        drawn = model.drawn(m)[0].to_dense()
        v = adjacency @ torch.cat([users, unit(g)])
        v = v + adjacency @ torch.cat([v[:N_USERS], items])
        v = v + model.ris_adj_lambda * drawn @ torch.cat([users, items])
        fused = fused + model.modal_logits.softmax(0)[m] * v
        layers = [drawn @ torch.cat([users, unit(g)])]
        for _ in range(model.n_layers):
            layers.append(adjacency @ layers[-1])
        views.append(sum(layers))
    layers = [fused]
    for _ in range(model.n_layers):
        layers.append(adjacency @ layers[-1])
    return sum(layers) + model.ris_lambda * unit(fused), views


OPTIONS = [
    {"projection": "matrix", "contrast": "views", "n_layers": 2},
    {"projection": "linear", "contrast": "main", "n_layers": 1},
    {"projection": "matrix", "contrast": "main", "n_layers": 0},
    {"projection": "linear", "contrast": "views", "n_layers": 1} | three(),
    {"projection": "matrix", "contrast": "main", "n_layers": 1} | three(),
]


@pytest.mark.parametrize("options", OPTIONS)
def test_collapsed_form_equals_the_literal_one(make, options):
    model = make(**options)
    final, views = literal(model)
    got = model.representations()
    torch.testing.assert_close(got[0], final)
    for view, expected in zip(got[1:], views, strict=True):
        torch.testing.assert_close(view, expected)
    torch.testing.assert_close(torch.cat(model()), final)
    scores = final[:N_USERS] @ final[N_USERS:].T
    torch.testing.assert_close(golden.scores(model), scores)


def plain_nce(anchors, others, rows, temp):
    a, b = unit(anchors), unit(others)
    terms = [-torch.log((a[s] @ b[s] / temp).exp() / (a[s] @ b.T / temp).exp().sum()) for s in rows]
    return sum(terms) / len(terms)


@pytest.mark.parametrize("options", OPTIONS)
def test_loss_equals_the_equations(make, options):
    weights = {"reg_weight": 0.3, "ssl_reg": 0.7, "temp": 0.3}
    model = make(**options | weights)
    final, views = literal(model)
    users, positives, negatives = BATCH
    scores = final[:N_USERS] @ final[N_USERS:].T
    difference = scores[users, positives] - scores[users, negatives]
    ranking = -torch.log(torch.sigmoid(difference)).sum() / 5
    squares = model.user_emb.weight.square().sum() + model.item_emb.weight.square().sum()
    if options["contrast"] == "main":
        pairs = [(final, view) for view in views]
    else:
        pairs = [(views[i], views[j]) for i in range(len(views)) for j in range(i + 1, len(views))]
    contrast = 0
    for one, other in pairs:
        contrast = contrast + plain_nce(one[:N_USERS], other[:N_USERS], users, 0.3)
        contrast = contrast + plain_nce(one[N_USERS:], other[N_USERS:], positives, 0.3)
    expected = ranking, 0.3 * squares, 0.7 * contrast
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(sum(expected), parameters)
    got = model.calculate_loss(BATCH.clone())
    for part, wanted in zip(got, expected, strict=True):
        torch.testing.assert_close(part, wanted)
    for gradient, wanted in zip(torch.autograd.grad(sum(got), parameters), gradients, strict=True):
        torch.testing.assert_close(gradient, wanted)


def test_info_nce_of_all_and_its_gradient(monkeypatch):
    torch.manual_seed(0)
    tables = [torch.randn(6, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    rows = torch.tensor([4, 0, 4, 5])
    monkeypatch.setattr("models.diffmm.ROWS", 3)  # blocks of 3 and 1

    def loss(one, other):
        return info_nce_of_all(F.normalize(one), F.normalize(other), rows, 0.2)

    torch.testing.assert_close(loss(*tables), plain_nce(*tables, rows, 0.2))
    assert torch.autograd.gradcheck(loss, tables)


def test_info_nce_of_all_stands_a_tiny_temperature():
    one = F.normalize(torch.randn(5, 3))
    loss = info_nce_of_all(one, -one, torch.arange(5), 1e-3)
    assert loss.isfinite()
    assert loss > 500


def test_adjacency_has_self_loops():
    graph = looped_adjacency(matrix(support.TRAIN)).to_dense().double()
    assert torch.equal(graph, graph.T)
    degree = torch.zeros(N_USERS + N_ITEMS, dtype=torch.float64) + 1
    for u, i in support.TRAIN:
        degree[u] += 1
        degree[N_USERS + i] += 1
    torch.testing.assert_close(graph.diagonal(), 1 / degree, rtol=1e-6, atol=0)
    torch.testing.assert_close(graph @ degree.sqrt(), degree.sqrt(), rtol=1e-6, atol=0)
    assert torch.linalg.eigvalsh(graph).abs().max().item() == pytest.approx(1)
    assert (graph != 0).sum() == 2 * len(support.TRAIN) + N_USERS + N_ITEMS


def test_drawn_graph_by_hand():
    graph = drawn_graph(PICKS, N_ITEMS).to_dense()
    chosen = torch.bincount(PICKS.flatten(), minlength=N_ITEMS).tolist()
    expected = torch.zeros_like(graph)
    for u, items in enumerate(PICKS.tolist()):
        expected[u, u] = 1 / 3
        for i in items:
            value = 1 / math.sqrt(3 * (chosen[i] + 1))
            expected[u, N_USERS + i] = expected[N_USERS + i, u] = value
    for i, count in enumerate(chosen):
        expected[N_USERS + i, N_USERS + i] = 1 / (count + 1)
    torch.testing.assert_close(graph, expected)


def test_dropping_keeps_the_mean_and_doubles_what_stays():
    torch.manual_seed(0)
    whole = drawn_graph(PICKS, N_ITEMS).to_dense()
    draws = torch.stack([drawn_graph(PICKS, N_ITEMS, 0.5).to_dense() for _ in range(300)])
    doubled = torch.isclose(draws, 2 * whole) | (draws == 0)
    assert doubled.all()
    torch.testing.assert_close(draws.mean(0), whole, atol=0.12, rtol=0)
    there, back = draws[:, 0, N_USERS] > 0, draws[:, N_USERS, 0] > 0
    assert (there & ~back).any()  # directions are dropped one by one
    assert (draws[:, 0, 0] == 0).any()  # self-loops too


def test_transposed_graph_is_kept_beside(make):
    model = make()
    for m in range(2):
        graph, transposed = model.drawn(m)
        assert not torch.equal(graph.to_dense(), transposed.to_dense())
        assert torch.equal(graph.to_dense().T, transposed.to_dense())


def test_schedule_equals_the_sheet(make):
    process = make().drawer.diffusion
    lost = [1e-4, 5.97455e-4, 1.09491e-3, 1.59237e-3, 2.08982e-3]
    np.testing.assert_allclose(1 - process.alpha_bar, lost, rtol=1e-5)
    weights = [1, 8326.23, 760.449, 285.320, 149.487]
    np.testing.assert_allclose(process.snr_weights(), weights, rtol=1e-5)


def rows():
    dense = torch.zeros(N_USERS, N_ITEMS, dtype=torch.float64)
    dense[tuple(torch.tensor(support.TRAIN).T)] = 1
    return dense


def test_diffusion_loss_equals_the_equations(make, monkeypatch):
    model = make(e_loss=0.4)
    drawer, net = model.drawer, model.drawer.denoisers[0].eval()
    x, g, items = rows(), model.projected()[0].detach(), model.item_emb.weight.detach()
    t, z = torch.tensor([0, 4, 2, 1, 3]), torch.randn(5, N_ITEMS, dtype=torch.float64)
    monkeypatch.setattr("torch.randint", lambda high, size, device: t)
    kept = drawer.diffusion.alpha_bar
    monkeypatch.setattr(
        drawer.diffusion,
        "q_sample",
        lambda x, t: kept[t].sqrt()[:, None] * x + (1 - kept[t]).sqrt()[:, None] * z,
    )
    weights, losses = [1, 8326.23, 760.449, 285.320, 149.487], []
    for u, step in enumerate(t.tolist()):
        predicted = net((kept[step].sqrt() * x[u] + (1 - kept[step]).sqrt() * z[u])[None], step)[0]
        error = weights[step] * (x[u] - predicted).square().mean()
        losses.append(error + 0.4 * (predicted @ g - x[u] @ items).square().mean())
    got = drawer.loss(net, x, x @ items, g)
    assert got.item() == pytest.approx((sum(losses) / 5).item(), rel=1e-5)


def test_training_the_denoisers_sees_all_users_and_constants(make, monkeypatch):
    model = make(train_batch_size=2)
    drawer, seen = model.drawer, []

    def loss(net, x, liked, g):
        assert net.training
        m = [net is other for other in drawer.denoisers].index(True)
        torch.testing.assert_close(liked, x.double() @ model.item_emb.weight)
        torch.testing.assert_close(g, model.projected()[m])
        assert not liked.requires_grad
        assert not g.requires_grad
        seen.append((m, x))
        return net.out.bias.sum()

    monkeypatch.setattr(drawer, "loss", loss)
    model.pre_epoch_processing()
    for m in range(2):
        batches = [x for which, x in seen if which == m]
        assert [len(x) for x in batches] == [2, 2, 1]
        got = sorted(torch.cat(batches).tolist())
        assert got == sorted(rows().tolist())


def float32(model):
    """The toy model as a run has it; the process's tables stay float64."""
    tables = copy.deepcopy(model.drawer.diffusion)
    model.float()
    for name in ("beta", "alpha_bar", "weights"):
        setattr(model.drawer.diffusion, name, getattr(tables, name))
    return model


@pytest.fixture
def ready(make):
    """A model as a run has it, in float32, before its first epoch."""

    def ready(*args, **options):
        return float32(make(*args, **options))

    return ready


@pytest.mark.parametrize("k", [1, 3])
def test_graphs_are_drawn_from_the_chain_s_top_items(ready, k):
    model = ready(rebuild_k=k, keep_rate=1.0)
    for parameter in model.drawer.modules.parameters():
        parameter.data.copy_(torch.randn(parameter.shape))
    for m, picks in enumerate(model.drawer.draw(model.history, 2)):
        net = model.drawer.denoisers[m]
        assert not net.training
        scores = p_sample(net, model.drawer.diffusion, rows().float())
        assert torch.equal(picks, scores.topk(k).indices)


def test_an_oracle_draws_its_items_even_clicked_ones(ready):
    model = ready(rebuild_k=2, keep_rate=1.0)
    for net, best in zip(model.drawer.denoisers, ([0, 3], [6, 2]), strict=True):
        for parameter in net.parameters():
            parameter.data.zero_()
        net.out.bias.data[best] = torch.tensor([2.0, 1.0])
    for m, (picks, best) in enumerate(
        zip(model.drawer.draw(model.history, 3), ([0, 3], [6, 2]), strict=True)
    ):
        assert picks.tolist() == [best] * N_USERS, m  # users 0 and 2 had item 0 already
    graph = drawn_graph(picks, N_ITEMS).to_dense()
    edge = 1 / math.sqrt(3 * (N_USERS + 1))
    assert graph[:N_USERS, N_USERS + 6].tolist() == pytest.approx([edge] * N_USERS)
    assert graph[N_USERS + 6, N_USERS + 6].item() == pytest.approx(1 / (N_USERS + 1))
    assert graph[N_USERS, N_USERS].item() == 1  # nobody picked item 0 here


def states(model):
    recommender = {name: p.detach().clone() for name, p in model.named_parameters()}
    return recommender, copy.deepcopy(model.drawer.denoisers.state_dict())


def equal(one, other):
    return [torch.equal(one[key], other[key]) for key in one]


def test_the_two_phases_leave_each_other_s_parameters_alone(ready):
    model = ready()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, weight_decay=0.5)
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert not known & {id(p) for p in model.drawer.denoisers.parameters()}
    before = states(model)
    sum(model.calculate_loss(BATCH.clone())).backward()
    optimizer.step()
    middle = states(model)
    assert not any(equal(before[0], middle[0]))
    assert all(equal(before[1], middle[1]))
    model.zero_grad()
    graphs = [model.drawn(m)[0].to_dense() for m in range(2)]
    model.pre_epoch_processing()
    after = states(model)
    assert all(equal(middle[0], after[0]))
    assert not any(equal(middle[1], after[1]))
    assert all(p.grad is None for p in model.parameters())
    assert not any(torch.equal(graphs[m], model.drawn(m)[0].to_dense()) for m in range(2))


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_dropout_is_active_in_each_epoch_whatever_the_mode(ready, mode, monkeypatch):
    model, dropped = ready(), []
    monkeypatch.setattr("common.denoiser.dropped_out", lambda x, p: dropped.append(p) or x)
    for _ in range(2):
        getattr(model, mode)()
        with torch.no_grad():  # as after a host's evaluation
            model.pre_epoch_processing()
        assert not any(net.training for net in model.drawer.denoisers)
    assert dropped == [0.5] * 4  # two modalities, one batch, two epochs


def test_reports_a_loss_that_is_not_finite(ready):
    model = ready()
    model.features_0.mul_(float("inf"))
    with pytest.raises(DivergedError, match=r"the diffusion loss is not finite: \[nan, "):
        model.pre_epoch_processing()


def test_extra_state_holds_everything_private(ready):
    model, other = ready(), ready()
    for _ in range(2):
        model.pre_epoch_processing()
    saved, unsaved = checkpoint.snapshot(model, fixed_buffers=False)
    assert not unsaved
    checkpoint.restore(other, saved)
    for m in range(2):
        for graph, same in zip(model.drawn(m), other.drawn(m), strict=True):
            assert torch.equal(graph.to_dense(), same.to_dense())
    assert torch.equal(golden.scores(model), golden.scores(other))
    for one in (model, other):
        torch.manual_seed(7)
        one.pre_epoch_processing()
    assert all(equal(states(model)[1], states(other)[1]))
    assert torch.equal(golden.scores(model), golden.scores(other))


def test_the_denoisers_move_and_convert_with_the_model(ready):
    model = ready().double()
    assert {p.dtype for p in model.drawer.modules.parameters()} == {torch.float64}
    for net, optimizer in zip(model.drawer.denoisers, model.drawer.optimizers, strict=True):
        (group,) = optimizer.param_groups
        assert all(
            one is other for one, other in zip(group["params"], net.parameters(), strict=True)
        )
    assert model.to("meta").drawer.denoisers[0].item_in.device.type == "meta"


def test_before_the_first_epoch_the_drawn_graphs_are_loops(toy):
    model = golden.build("DiffMM", toy, **SMALL)
    for m in range(2):
        assert torch.equal(model.drawn(m)[0].to_dense(), torch.eye(12).double())


@pytest.mark.parametrize(("contrast", "n"), [("views", 2), ("main", 3)])
def test_weights_start_equal(toy, contrast, n):
    options = SMALL | {"contrast": contrast} | (three() if n == 3 else {})
    model = golden.build("DiffMM", toy, **options)
    assert model.modal_logits.tolist() == pytest.approx([1 / n] * n)
    for layer in model.maps:
        assert layer.weight.abs().max() <= math.sqrt(6 / (layer.in_features + 8))


def test_one_modality_contrasts_with_the_final_embeddings(make):
    tables = {"tables": {"image": golden.feature(6, 1)}}
    losses = [
        sum(make(contrast=contrast, **tables).calculate_loss(BATCH.clone())).item()
        for contrast in ("views", "main")
    ]
    assert losses[0] == losses[1]


def test_zero_features_are_no_trouble(make):
    table = golden.feature(6, 1)
    table[[0, 6]] = 0
    model = make({"image": table, "text": golden.feature(5, 2)}, projection="matrix")
    loss = sum(model.calculate_loss(BATCH.clone()))
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_number_of_parameters(make):
    def count(users, items, d, widths, bias):
        return (users + items) * d + sum((f + bias) * d for f in widths) + len(widths)

    for projection, bias in (("matrix", 0), ("linear", 1)):
        model = make(projection=projection)
        got = sum(p.numel() for p in model.parameters())
        assert got == count(N_USERS, N_ITEMS, 8, (5, 6), bias)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"projection": "relu"}, "projection must be one of matrix, linear, got 'relu'"),
        ({"contrast": "all"}, "contrast must be one of views, main, got 'all'"),
        ({"rebuild_k": 0}, r"rebuild_k must be an integer in \[1, 7\], got 0"),
        ({"rebuild_k": 8}, r"rebuild_k must be an integer in \[1, 7\], got 8"),
        ({"keep_rate": 0.0}, "keep_rate must be above 0, got 0.0"),
        ({"keep_rate": 1.1}, r"keep_rate must be a number in \[0, 1\], got 1.1"),
        ({"temp": 0.0}, "temp must be above 0, got 0.0"),
        ({"ssl_reg": -1.0}, "ssl_reg must be a number in"),
        ({"reg_weight": -1.0}, "reg_weight must be a number in"),
        ({"e_loss": -1.0}, "e_loss must be a number in"),
        ({"ris_lambda": -1.0}, "ris_lambda must be a number in"),
        ({"ris_adj_lambda": -1.0}, "ris_adj_lambda must be a number in"),
        ({"n_layers": -1}, "n_layers must be an integer >= 0, got -1"),
        ({"embedding_size": 0}, "embedding_size must be an integer >= 1, got 0"),
        ({"diffusion_steps": 1}, "diffusion_steps must be an integer >= 2, got 1"),
        ({"noise_scale": 0.0}, "noise_scale must be above 0, got 0.0"),
    ],
)
def test_refuses_what_it_cannot_use(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.fixture
def world(blocks, tmp_path):
    """A function that runs DiffMM in the small world in a folder of a name."""
    sizes = {"embedding_size": 8, "dims": [16], "train_batch_size": 32, "topk": [5], "epochs": 3}
    keys = {"data_path": f"{blocks.parent}/", "cache_dir": None, "threads": 1}

    def go(name, resume=False, **more):
        keys_ = keys | sizes | {"valid_metric": "Recall@5", "checkpoint_seconds": 0} | more
        place = {"run_dir": str(tmp_path / name)}
        (ended,) = run("DiffMM", blocks.name, keys_ | place, resume=resume)
        return ended

    return go


def test_going_on_equals_never_stopping(world, monkeypatch):
    straight = world("straight").folder.path
    stops = iter([False, True])  # after the second epoch's training

    def interrupted(model):
        if next(stops):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(DiffMM, "post_epoch_processing", interrupted)
        with pytest.raises(KeyboardInterrupt):
            world("stopped")
    stopped = world("stopped", resume=True).folder.path
    lines = (stopped / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2]
    for file in ("best.pt", "per_user.npz", "topk.npz", "metrics.jsonl"):
        assert (straight / file).read_bytes() == (stopped / file).read_bytes(), file


@pytest.mark.slow
def test_learns_a_small_world(world):
    finished = world("run", epochs=40)
    # of ten items of the user's kind, five are left
    assert finished.result["test"]["recall@5"] > 0.8
