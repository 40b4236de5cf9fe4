"""MMSSL against its sheet's equations with dense matrices, and the properties it lists."""

import math

import pytest
import torch
import torch.nn.functional as F

import golden
import support
from golden import close, matrix
from ld4mrec.search.train import run
from ld4mrec.training.trainer import Trainer
from models.mmssl import (
    BipartiteGraph,
    LatestEdges,
    Similarity,
    TiledEdges,
    user_contrast,
)

# m_topk_rate: k = 2 of 7 items
SETTING = golden.SMALL | {"n_heads": 4, "dropout": 0.2, "m_topk_rate": 0.3, "G_rate": 0.5}
USERS, POSITIVES, NEGATIVES = [0, 1, 2, 3, 4], [1, 3, 4, 5, 5], [4, 0, 5, 0, 3]
PARTS = ("ranking", "penalty", "content", "contrast", "adversarial")


@pytest.fixture
def make(toy):
    """An MMSSL in the toy world, in float64; tables: other features."""

    def make(tables=golden.FEATURES, **options):
        options = SETTING | options
        return golden.build("MMSSL", toy, tables, **options)

    return make


def fix_batch(model, monkeypatch):
    batch = [torch.tensor(x) for x in (USERS, POSITIVES, NEGATIVES)]
    monkeypatch.setattr(model.sampler, "forward", lambda n: batch)


def uniform(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# --- the forward pass and the losses, written out ---


def degrees_of(graph):
    return graph.sum(1, keepdim=True).clamp(min=1).sqrt()


def literal_forward(model, learned, content):
    """Sections 3 and 4 with dense matrices. learned: (U, I) each; content: f_m, (I, D) each."""
    r = torch.from_numpy(matrix(support.TRAIN).toarray())
    g_ui, g_iu = r / degrees_of(r), r.T / degrees_of(r.T)
    e_u, e_i = model.user_emb.weight, model.item_emb.weight
    xu = [g_ui @ f for f in content]
    xi = [g_iu @ x for x in xu]
    pu = [a / degrees_of(a) @ e_i for a in learned]
    pi = [a.T / degrees_of(a.T) @ e_u for a in learned]
    w = sum(model.mix.chunk(4, 0))
    u0 = e_u + 0.36 * F.normalize(sum(pu) / len(pu) @ w)
    i0 = e_i + 0.36 * F.normalize(sum(pi) / len(pi) @ w)
    u1 = g_ui @ i0
    i1 = g_iu @ u1
    u2 = (g_ui @ i1).softmax(1)
    i2 = (g_iu @ u2).softmax(1)
    u = (u0 + u1 + u2) / 3 + 0.55 * sum(F.normalize(x) for x in xu)
    i = (i0 + i1 + i2) / 3 + 0.55 * sum(F.normalize(x) for x in xi)
    return u, i, xu, xi, pu


def literal_similarity(users, a, b):
    r = torch.from_numpy(matrix(support.TRAIN).toarray())[users]
    return F.normalize((a[users] @ b.T) * (1 - r))


def literal_loss(model, learned, content):
    """Section 5 for the fixed batch; the discriminator as it is."""
    users = torch.tensor(USERS)
    u, i, xu, xi, pu = literal_forward(model, learned, content)
    u_b, p_b, n_b = u[users], i[POSITIVES], i[NEGATIVES]
    ranking = -F.logsigmoid((u_b * p_b).sum(1) - (u_b * n_b).sum(1)).mean()
    penalty = 1e-5 * 0.5 * sum(x.norm() ** 2 for x in (u_b, p_b, n_b)) / 5
    feature = 1e-5 * 0.5 * sum(x.norm() ** 2 for x in (*xu, *xi)) / 7
    contrast = 0.03 * sum(literal_contrast(x[users], u_b) for x in pu)
    fake = torch.cat([literal_similarity(users, a, b) for a, b in zip(xu, xi, strict=True)])
    network = model.critic.network
    adversarial = -0.5 * network(fake @ network.first).mean()
    return ranking, penalty, feature, contrast, adversarial


def literal_contrast(z1, z2, tau=0.5):
    def e(a, b):
        return torch.exp(F.cosine_similarity(a, b, dim=0) / tau)

    total = 0
    for a in range(len(z1)):
        below = sum(e(z1[a], z1[b]) + e(z1[a], z2[b]) for b in range(len(z1))) - e(z1[a], z1[a])
        total = total - torch.log(e(z1[a], z2[a]) / below + 1e-8)
    return total / len(z1)


def dense(graph):
    out = torch.zeros(5, 7, dtype=torch.float64)
    return out.index_put(tuple(graph.edges), torch.tensor(1.0).double(), accumulate=True)


def still(model):
    """Without dropout in the discriminator, whose masks are drawn anew in each call."""
    for layer in model.critic.network.rest:
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0


@pytest.mark.parametrize("modalities", [1, 2, 3])
def test_the_loss_is_the_sheets(make, monkeypatch, modalities):
    tables = {f"m{m}": golden.feature(5 + m, m) for m in range(modalities)}
    model = make(tables, dropout=0.0, modalities={name: f"{name}_feat.npy" for name in tables})
    fix_batch(model, monkeypatch)
    still(model)
    edges = torch.tensor([[0, 1, 1, 4, 4], [2, 0, 0, 6, 1]])  # one of them twice
    model.replace_graphs([edges.roll(m, 1) for m in range(modalities)])
    learned = [dense(graph) for graph in model.modal_graphs]
    got = model.calculate_loss(None)
    names = sorted(tables)
    content = [linear(tables[name]) for name, linear in zip(names, model.maps, strict=True)]
    expected = literal_loss(model, learned, content)
    for name, one, other in zip(PARTS, got, expected, strict=True):
        assert one.item() == pytest.approx(other.item(), rel=1e-6), name  # degrees are float32
    parameters = dict(model.named_parameters())
    wanted = torch.autograd.grad(sum(expected), parameters.values())
    sum(got).backward()
    for (name, p), gradient in zip(parameters.items(), wanted, strict=True):
        torch.testing.assert_close(p.grad, gradient, rtol=1e-5, atol=1e-9, msg=name)


def test_evaluation_is_the_sheets_without_dropout(make):
    model = make().eval()
    learned = [dense(graph) for graph in model.modal_graphs]  # the training pairs, at first
    content = [linear(getattr(model, f"features_{m}")) for m, linear in enumerate(model.maps)]
    u, i, *_ = literal_forward(model, learned, content)
    close(golden.scores(model), (u @ i.T).tolist(), 1e-6)


def test_attention_is_the_mean_times_the_sum_of_the_heads(make):
    model = make()
    modal = [uniform(9, 8, seed=m) for m in range(2)]
    stacked = torch.stack(modal)  # (M, N, D)
    query = (stacked @ uniform(8, 8, seed=5)).view(2, 9, 4, 2).permute(2, 0, 1, 3)  # W_q, any
    key = query
    logits = torch.einsum("hmnd,hknd->hmkn", query, key) / math.sqrt(2)
    weights = logits.softmax(2)  # over the key modality
    heads = torch.einsum("hmkn,mnd->hmnd", weights, stacked)  # times the query modality's value
    concatenated = heads.permute(1, 2, 0, 3).reshape(2, 9, 32)
    expected = (concatenated @ model.mix).mean(0)
    close(model.attention(modal), expected.tolist(), 1e-9)


def test_rows_of_a_graph_sum_to_the_root_of_the_degree():
    edges = torch.tensor([[0, 0, 2, 0], [1, 1, 0, 3]])  # (0, 1) twice; users 1, 3 without any
    graph = BipartiteGraph(edges, (4, 5), torch.float64)
    ones = torch.ones(5, 1, dtype=torch.float64)
    close(graph.to_users(ones), [[math.sqrt(3)], [0], [1], [0]], 1e-12)
    close(graph.to_items(ones[:4]), [[1], [math.sqrt(2)], [0], [1], [0]], 1e-12)
    x = uniform(5, 3).requires_grad_()
    (graph.to_users(x) * uniform(4, 3, seed=1)).sum().backward()
    a = torch.zeros(4, 5, dtype=torch.float64).index_put(tuple(edges), ones[0, 0], accumulate=True)
    close(x.grad, ((a / degrees_of(a)).T @ uniform(4, 3, seed=1)).tolist(), 1e-12)


def test_an_empty_graph_gives_zeros_without_a_gradient():
    graph = BipartiteGraph(torch.empty(2, 0, dtype=torch.int64), (4, 5))
    x = torch.ones(5, 3, requires_grad=True)
    users = graph.to_users(x)
    assert users.shape == (4, 3)
    assert not users.any()
    assert not users.requires_grad
    assert graph.to_items(users).shape == (5, 3)


def test_contrast_with_empty_graphs_is_a_constant():
    final = uniform(1024, 4).requires_grad_()
    loss = user_contrast(torch.zeros(1024, 4, dtype=torch.float64), final, 0.5)
    assert loss.item() == pytest.approx(math.log(2 * 1024 - 1), abs=1e-4)
    loss.backward()
    assert (final.grad == 0).all()


# --- the discriminator ---


def test_a_similarity_is_masked_and_of_length_one(make):
    model = make()
    users = torch.tensor([4, 0])
    a, b = uniform(5, 3), uniform(7, 3, seed=1)
    similarity = Similarity(a[users], b, *model.history.bags(users))
    close(similarity.dense(), literal_similarity(users, a, b).tolist(), 1e-12)
    assert (similarity.dense()[1, :3] == 0).all()  # the items of user 0
    zero = Similarity(torch.zeros(2, 3).double(), b, *model.history.bags(users))
    assert not zero.dense().any()
    assert not zero.times(uniform(7, 2)).any()


def test_what_learns_when(make, monkeypatch):
    model = make()
    network, tables = model.critic.network, list(model.parameters())
    before = [p.clone() for p in network.parameters()]
    seen = []
    learn = model.critic.learn

    def watched(*args):
        learn(*args)
        seen.extend(p.grad for p in tables)

    monkeypatch.setattr(model.critic, "learn", watched)
    sum(model.calculate_loss(None)).backward()
    assert seen == [None] * len(tables)  # the critic's step is on constants
    assert all(p.grad is not None and p.grad.isfinite().all() for p in tables)
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    assert all((a != b).any() for a, b in zip(before, network.parameters(), strict=True))


def test_the_critic_is_no_part_of_the_module(make):
    model = make()
    inside = {id(p) for p in model.parameters()}
    assert not inside & {id(p) for p in model.critic.network.parameters()}
    assert all(p.dtype == torch.float64 for p in model.critic.network.parameters())  # moved along
    assert model.eval().critic.network.training
    rates = [(g["lr"], g["betas"], g["weight_decay"]) for g in model.critic.adam.param_groups]
    assert rates == [(3e-4, (0.5, 0.9), 0.0)]


# --- the real rows ---


def real_rows(model, users, u, i):
    torch.manual_seed(1)
    return model.real(users, Similarity(u[users], i, *model.history.bags(users)))


@pytest.mark.parametrize("kind", ["head", "release"])
def test_real_rows(make, kind):
    model = make(real_rows=kind, real_data_tau=0.005, ui_pre_scale=2.0, log_log_scale=1e-3)
    users, u, i = torch.tensor([0, 4, 2]), uniform(5, 8), uniform(7, 8, seed=1)
    got = real_rows(model, users, u, i)
    rows = torch.from_numpy(matrix(support.TRAIN).toarray())[users]
    torch.manual_seed(1)
    noise = -torch.log(-torch.log(torch.rand(3, 7, dtype=torch.float64) + 1e-8) + 1e-8)
    inner = rows + 1e-3 / 0.005 * noise if kind == "head" else (rows + 1e-3 * noise) / 0.005
    expected = F.normalize(inner.softmax(1) + 2.0 * literal_similarity(users, u, i))
    close(got, expected.tolist(), 1e-12)


def test_head_is_nearly_uniform_and_the_release_is_one_over_the_degree(make):
    zero = torch.zeros(7, 8).double()
    head, release = (
        real_rows(make(real_rows=kind), torch.tensor([0]), zero[:5], zero)[0]
        for kind in ("head", "release")
    )
    assert head.min() > 0.3 * head.max()  # e^1 between the user's items and others
    close(release, [3**-0.5] * 3 + [0.0] * 4, 1e-2)


# --- users ---


# --- the learned graphs ---


class Scores:
    """A Similarity as the collectors see it."""

    def __init__(self, rows):
        self.scores = torch.tensor(rows)


def test_tiled_edges():
    collector = TiledEdges(1, 9, 2, 5, "cpu")
    rows = torch.zeros(3, 8)
    for row, (first, second) in enumerate([(7, 1), (2, 5), (4, 0)]):  # (p, q), (r, s), (t, v)
        rows[row, first], rows[row, second] = 2, 1
    users = torch.tensor([3, 6, 8])
    assert collector.after_batch(0, users, [Scores(rows.tolist())]) is None
    expected = [(3, 7), (6, 1), (8, 2), (3, 5), (6, 4), (8, 0)]  # u0-p u1-q u2-r u0-s u1-t u2-v
    assert [tuple(pair) for pair in collector.collected[0].T.tolist()] == expected


def test_when_the_reference_builds():
    rows, users = [[3.0, 2.0, 1.0]] * 2, torch.tensor([0, 1])

    def built(period, batches):
        collector = TiledEdges(1, 2, 1, period, "cpu")
        edges = [collector.after_batch(index, users, [Scores(rows)]) for index in batches]
        return [None if e is None else e.shape[2] for e in edges]

    # two epochs: of the second only the first batch collects, and it carries over
    assert built(1, [0, 1, 2, 3, 0, 1, 2]) == [None, 2, 0, 0, None, 2, 0]
    assert built(2, [0, 1, 2, 3, 4]) == [None, None, 4, None, 2]
    assert built(3, [0, 1, 2, 3, 0, 1]) == [None, None, None, 6, None, None]


def test_latest_edges():
    collector = LatestEdges(2, 5, 2, 1, "cpu")
    rows = torch.tensor([[0.0, 3, 2, 1], [5, 6, 0, 1]])
    users = torch.tensor([4, 1])
    fakes = [Scores(rows.tolist()), Scores((-rows).tolist())]
    assert collector.after_batch(1, users, fakes) is None
    collector.after_batch(2, torch.tensor([1]), [Scores([[0.0, 0, 7, 8]])] * 2)
    edges = collector.after_epoch()
    assert edges.shape == (2, 2, 4)
    assert edges[0].T.tolist() == [[1, 3], [1, 2], [4, 1], [4, 2]]  # user 1: its last batch
    assert edges[1].T.tolist() == [[1, 3], [1, 2], [4, 0], [4, 3]]
    assert torch.equal(collector.after_epoch(), edges)  # users keep theirs over epochs


def epoch_of(model, batches):
    model.train()
    model.pre_epoch_processing()
    sizes = []
    for _ in range(batches):
        parts = model.calculate_loss(None)
        sizes.append([graph.edges.shape[1] for graph in model.modal_graphs])
    model.post_epoch_processing()
    return sizes, parts


@pytest.mark.parametrize(
    ("period", "sizes"),
    [(1, [11, 10, 0, 0, 0, 10, 0, 0]), (2, [11, 11, 20, 20, 20, 20, 30, 30])],
)
def test_faithful_graphs_over_two_epochs(make, period, sizes):
    model = make(graph_period=period)
    got = epoch_of(model, 4)[0] + epoch_of(model, 4)[0]
    assert got == [[size] * 2 for size in sizes]


def test_repaired_graphs_link_users_to_their_own_best_items(make):
    model = make(variant="repaired", dropout=0.0)
    got, _ = epoch_of(model, 3)
    assert got == [[11, 11]] * 3
    for graph, xu, xi in zip(model.modal_graphs, *contents(model), strict=True):
        r = torch.from_numpy(matrix(support.TRAIN).toarray())
        best = ((xu @ xi.T) * (1 - r)).topk(2).indices  # the parameters have not moved
        expected = {(u, i) for u, row in enumerate(best.tolist()) for i in row}
        assert {tuple(pair) for pair in graph.edges.T.tolist()} == expected


def contents(model):
    *without, _ = model.collaborative()
    return model.with_content(*without, model.projected())[2:]


def test_without_an_item_per_user_the_faithful_graphs_empty_and_the_repaired_stay(make):
    assert int(7050 * 1e-4) == 0  # baby with the reference's settings
    model = make(m_topk_rate=1e-4)
    sizes, parts = epoch_of(model, 3)
    assert sizes == [[11, 11], [0, 0], [0, 0]]
    assert all(graph.to_users_matrix._nnz() == 0 for graph in model.modal_graphs)
    assert parts[3].item() == pytest.approx(0.03 * 2 * math.log(2 * 5 - 1), abs=1e-6)
    sum(parts).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert (model.mix.grad == 0).all()
    model = make(m_topk_rate=1e-4, variant="repaired")
    assert epoch_of(model, 2)[0] == [[11, 11]] * 2


def test_a_new_graph_acts_from_the_next_batch(make, monkeypatch):
    model = make(m_topk_rate=0.0, dropout=0.0, adamw_decay=0.0)
    fix_batch(model, monkeypatch)
    first, second, third = (model.calculate_loss(None)[3].item() for _ in range(3))
    assert second == pytest.approx(first, abs=1e-9)  # no step was taken; this batch builds
    assert third == pytest.approx(0.06 * math.log(9), abs=1e-6)
    assert first != pytest.approx(third, abs=1e-3)


# --- steps, epochs, runs ---


def test_the_critic_sees_another_dropout_mask_of_the_same_parameters(make, monkeypatch):
    model = make(dropout=0.5)
    fix_batch(model, monkeypatch)
    seen = []
    monkeypatch.setattr(model.critic, "learn", lambda real, fakes: seen.append(fakes))
    monkeypatch.setattr(
        type(model.critic), "__call__", lambda self, fakes: seen.append(fakes) or torch.zeros(1)
    )
    model.calculate_loss(None)
    before, after = ([f.dense() for f in fakes] for fakes in seen)
    assert not torch.allclose(before[0], after[0])
    assert not any(x.requires_grad for x in before)
    model.dropout = 0.0
    model.calculate_loss(None)
    for one, other in zip(seen[2], seen[3], strict=True):
        assert torch.equal(one.dense(), other.dense())


def test_decay_is_adamws_up_to_the_square_of_the_rate(make):
    model, rate = make(learning_rate=0.01, adamw_decay=0.1), 0.01
    sum(model.calculate_loss(None)).backward()
    copies = [p.detach().clone() for p in model.parameters()]
    for copy, p in zip(copies, model.parameters(), strict=True):
        copy.grad = p.grad.clone()
    torch.optim.AdamW(copies, lr=rate, weight_decay=0.1).step()
    torch.optim.Adam(model.parameters(), lr=rate).step()
    model.post_epoch_processing()
    for copy, p in zip(copies, model.parameters(), strict=True):
        torch.testing.assert_close(p.detach(), copy, rtol=0, atol=1.001 * rate**2 * 0.1)


def test_decay_happens_once_after_each_step(make):
    model = make(learning_rate=0.1, adamw_decay=0.5)
    table = model.mix.detach().clone()
    model.calculate_loss(None)
    assert torch.equal(model.mix, table)
    model.calculate_loss(None)  # the host stepped in between
    table *= 0.95
    close(model.mix, table.tolist(), 1e-12)
    model.post_epoch_processing()
    model.post_epoch_processing()
    model.pre_epoch_processing()
    close(model.mix, (0.95 * table).tolist(), 1e-12)


def test_number_of_parameters(make):
    count = sum(p.numel() for p in make().parameters())
    assert count == (5 + 7) * 8 + (6 + 5) * 8 + 2 * 8 + 4 * 8 * 8


def test_a_state_dict_holds_what_lies_between_two_batches(make):
    model, other = make(), make()
    model.calculate_loss(None)
    other.load_state_dict(model.state_dict())
    assert (other.batch_index, other.decay_pending) == (1, True)
    assert other.collector.collected.shape == (2, 2, 10)
    assert torch.equal(other.collector.collected, model.collector.collected)


@pytest.fixture
def world(blocks, tmp_path):
    """A function that runs MMSSL on the blocks in a folder of a name."""

    def go(name, resume=False, **overrides):
        keys = {"data_path": f"{blocks.parent}/", "run_dir": str(tmp_path / name)}
        keys |= {"embedding_size": 8, "train_batch_size": 32, "threads": 1, "topk": [5]}
        keys |= {"valid_metric": "recall@5", "cache_dir": None, "checkpoint_seconds": 0}
        keys |= {"epochs": 3, "learning_rate": 0.01, "D_lr": 0.01, "G_rate": 0.1}
        return run("MMSSL", blocks.name, keys | overrides, resume=resume)[0]

    return go


@pytest.mark.parametrize("variant", ["faithful", "repaired"])
def test_going_on_equals_never_stopping(world, variant, monkeypatch):
    # 10 batches an epoch; 7: the accumulator is full between two epochs
    options = {"variant": variant, "m_topk_rate": 0.1, "graph_period": 7}
    straight = world("straight", **options)
    true, calls = Trainer.step, []

    def stop(self, batch, index):
        calls.append(index)
        if len(calls) == 14:  # in epoch 1
            raise KeyboardInterrupt
        return true(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stop)
        with pytest.raises(KeyboardInterrupt):
            world("stopped", **options)
    stopped = world("stopped", resume=True, **options)
    for file in ("best.pt", "per_user.npz", "topk.npz", "metrics.jsonl"):
        one, other = ((r.folder.path / file).read_bytes() for r in (straight, stopped))
        assert one == other, file
    one, other = (
        torch.load(r.folder.path / "last.pt", weights_only=True)["content"]["model"]["state_dict"]
        for r in (straight, stopped)
    )
    assert str(one) == str(other)  # the discriminator and its Adam, too


@pytest.mark.parametrize("variant", ["faithful", "repaired"])
def test_it_learns(world, variant):
    finished = world("learns", variant=variant, epochs=5, m_topk_rate=0.1, G_rate=1e-3)
    assert finished.result["test"]["recall@5"] > 4 * 5 / 35  # a random ranking has 5 / 35


def test_the_defaults_are_heads():
    (point,) = support.Config("MMSSL", "demo").points()
    expected = {"learning_rate": 5.5e-4, "D_lr": 3e-4, "G_rate": 1e-4, "real_data_tau": 0.005}
    expected |= {"tau": 0.5, "id_weight": 0.36, "graph_period": 1, "m_topk_rate": 1e-4}
    expected |= {"embedding_size": 64, "train_batch_size": 1024, "n_layers": 2, "dropout": 0.2}
    expected |= {"modal_weight": 0.55, "cl_rate": 0.03, "reg_weight": 1e-5, "gp_rate": 1.0}
    expected |= {"feat_reg_weight": 1e-5, "ui_pre_scale": 100.0, "log_log_scale": 1e-5}
    expected |= {"n_heads": 4, "stopping_step": 7, "D_weight_decay": 0.0, "adamw_decay": 0.01}
    expected |= {"real_rows": "head", "variant": "faithful", "learning_rate_scheduler": [1.0, 50]}
    assert {key: point[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding_size": 0}, "embedding_size must be an integer >= 1, got 0"),
        ({"n_heads": 0}, "n_heads must be an integer >= 1, got 0"),
        ({"n_layers": 0}, "n_layers must be an integer >= 1, got 0"),
        ({"graph_period": 0}, "graph_period must be an integer >= 1, got 0"),
        ({"train_batch_size": 1}, "train_batch_size must be an integer >= 2, got 1"),
        ({"dropout": 1.0}, r"dropout must be a number in \[0, 0.99\], got 1.0"),
        ({"m_topk_rate": 1.5}, r"m_topk_rate must be a number in \[0, 1\], got 1.5"),
        ({"G_rate": -1}, "G_rate must be a number in"),
        ({"D_lr": -1.0}, "D_lr must be a number in"),
        ({"adamw_decay": -0.1}, "adamw_decay must be a number in"),
        ({"tau": 0}, "tau must be a number above 0, got 0"),
        ({"real_data_tau": 0.0}, "real_data_tau must be a number above 0, got 0.0"),
        ({"variant": "paper"}, "variant must be one of faithful, repaired, got 'paper'"),
        ({"real_rows": "paper"}, "real_rows must be one of head, release, got 'paper'"),
        ({"use_neg_sampling": True}, r"use_neg_sampling must be False: the model learns from"),
    ],
)
def test_refuses_what_it_cannot_use(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
