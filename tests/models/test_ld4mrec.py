import copy
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
import torch.nn.functional as F
import yaml
from torch.utils._python_dispatch import TorchDispatchMode

import golden
import models.ld4mrec as module
import support
from common import catalogue, graph
from common.abstract_recommender import GeneralRecommender
from common.item_links import PASSED, content_graph, interaction_graph, passed_on
from common.signals import GivenRows, HistorySignals, unit_rows
from ld4mrec.data.batches import TrainDataLoader
from ld4mrec.data.interactions import RecDataset
from models.ld4mrec import (
    AFFINES,
    ContentRows,
    LD4MRec,
    PGBlock,
    RowErrors,
    leading_components,
    successes,
)

YAML = Path(module.__file__).parents[1] / "configs" / "model" / "LD4MRec.yaml"
U, I = 24, 18  # noqa: E741 - the project's letters
SIZES = {"text": 5, "image": 6}


class StrictConfig(dict):
    """Indexed only, and an undeclared key raises: the yaml must declare all that is read."""

    def __getattribute__(self, name):
        if name == "get":
            raise AssertionError("plugins index the configuration")
        return super().__getattribute__(name)


@pytest.fixture
def host(monkeypatch):
    """A host in a few lines; its `features` are what the next model sees."""

    class Host:
        pass

    Host.features = {name: np.random.default_rng(0).random((I, f)) for name, f in SIZES.items()}

    def init(self, config, dataloader):
        torch.nn.Module.__init__(self)
        self.n_users = dataloader.dataset.get_user_num()
        self.n_items = dataloader.dataset.get_item_num()
        self.batch_size, self.device = config["train_batch_size"], "cpu"
        self.v_feat = self.t_feat = None
        self.features = {
            name: torch.tensor(x, dtype=torch.float32) for name, x in Host.features.items()
        }

    monkeypatch.setattr(GeneralRecommender, "__init__", init)
    return Host


def tastes(users=U, items=I, seed=0):
    """Training pairs: a user likes items of one of three kinds; user 3 has no training items."""
    generator = np.random.default_rng(seed)
    same = np.arange(users)[:, None] % 3 == np.arange(items) % 3
    chosen = generator.random((users, items)) < np.where(same, 0.7, 0.05)
    chosen[3] = False
    return sp.coo_matrix(chosen.astype(float))


SMALL = {"embedding_size": 12, "hidden_size": 8, "svd_rank": 4, "pg_hidden": 5, "cache_dir": None}
# the network alone, unless a test says otherwise
OFF = {"item_graph": 0, "content_graph": 0, "content_out": False, "average": 0} | {
    "history_path": "text"
}
GRAPHS = {"item_graph": 5, "content_graph": 3, "graph_penalty": 2.0, "graph_strength": 2.0}


def config(**options):
    declared = yaml.safe_load(YAML.read_text(encoding="utf-8"))
    declared |= declared["defaults"]
    assert options.keys() <= declared.keys() | {"cache_dir"}
    return StrictConfig(declared | SMALL | OFF | options)


def build(seed=0, matrix=None, **options):
    torch.manual_seed(seed)
    return LD4MRec(config(**options), golden.loader(tastes() if matrix is None else matrix))


def stir(model, size=0.3, seed=1):
    """Parameters off their start values, so that every part of the network matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return model


def scores(model, users=range(U)):
    return model.eval().full_sort_predict([torch.tensor(list(users)), None])


def by(way, model):
    """The model, made to work with rows of all items ("rows") or without ("gram")."""
    model.by_rows = lambda n: way == "rows"
    return model


both_ways = pytest.mark.parametrize("way", ["rows", "gram"])


def total(loss):
    return sum(loss) if isinstance(loss, tuple) else loss


OPTIONS = [
    {},
    {"l2_weight": 0},
    {"item_dropout": 0, "negative_weight": 1},
    {"pg_transform": "matrix"},
    {"pg_transform": "lowrank"},
    {"ablation": "no_pg"},
    {"ablation": "no_cg"},
    {"ablation": "no_sr"},
    {"ablation": "no_net", "item_graph": 5},
    {"loss_reduction": "mean", "loss_weight": "snr"},
    {"svd_input": "raw", "item_block": "paper", "signal_scale": "column", "feature_norm": False},
    {"item_block": "none", "signal_scale": "none", "activation": "leaky_relu", "dropout": 0.5},
    {"item_block": "scaled", "activation": "gelu", "infer_step": "zero", "beta_fixed": 1e-5},
    {"activation": "relu", "inference_steps": 3, "noise_max": 0.5},
    {"svd_rank": 10_000, "train_batch_size": 3},
    {"variant": "paper"},
    dict.fromkeys(OFF),
    {"variant": "paper"} | dict.fromkeys([*OFF, "negative_weight", "item_dropout"]),
    GRAPHS,
    {"content_out": True, "average": 0.5},
    {"history_path": "vectors", "step_hidden": 0.5, "content_passed": True},
]


@pytest.mark.parametrize("users", [[0, 3, 5, 7], range(U)], ids=["few", "many"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "default")
def test_every_option_trains_and_scores(host, options, users):
    model = build(**options)
    assert model.by_rows(len(users)) == (len(users) == 4 or "dropout" in options)
    loss = model.calculate_loss(torch.tensor(list(users)))
    assert isinstance(loss, tuple) == (model.l2_weight > 0)
    loss = total(loss)
    assert loss.ndim == 0
    assert loss.isfinite()
    loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    result = scores(model)
    assert result.shape == (U, I)
    assert result.isfinite().all()
    assert torch.equal(result, scores(model))


@pytest.mark.parametrize("names", [(), ("image",), ("text", "image"), ("text", "image", "audio")])
def test_any_number_of_modalities(host, names):
    generator = np.random.default_rng(0)
    host.features = {name: generator.random((I, 4)) for name in names}
    model = build()
    assert model.modalities == list(names)
    assert [len(block.affines) for block in model.net.pg_blocks] == [len(names)] * 2 * bool(names)
    total(model.calculate_loss(torch.arange(U))).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_no_modality_equals_the_ablation_of_pg_blocks(host):
    plain = build(ablation="no_pg")
    host.features = {}
    assert torch.equal(scores(build()), scores(plain))


def test_mmrec_names_of_features(host, monkeypatch):
    """MMRec's base class sets v_feat and t_feat only."""
    ours = GeneralRecommender.__init__

    def theirs(self, config, dataloader):
        ours(self, config, dataloader)
        self.t_feat, self.v_feat = self.features["text"], self.features.get("image")
        del self.features

    expected = scores(build())
    monkeypatch.setattr(GeneralRecommender, "__init__", theirs)
    model = build()
    assert model.modalities == ["text", "image"]
    assert torch.equal(scores(model), expected)
    del host.features["image"]
    assert build().modalities == ["text"]


def naive_scores(model, users):
    """Algorithm 2 written out user by user, for two modalities and diagonal transforms."""
    net, rows = model.net, model.history.dense(torch.arange(model.n_users))
    for u in users:
        c, (of_text, of_image) = model.conditions(torch.tensor([u]))
        e, c, of_text, of_image = model.user_step[u], c[0], of_text[0], of_image[0]
        h = torch.tanh(rows[u] @ net.item_in + net.bias_in)
        for k in range(2):
            cg, pg = net.cg_blocks[k], net.pg_blocks[k]
            if k == 1:
                h = torch.tanh(h)
            h_b = torch.tanh(cg.behavior.weight @ torch.cat([h, e]) + cg.behavior.bias)
            h_c = torch.tanh(cg.collaborative.weight @ c + cg.collaborative.bias)
            g = torch.sigmoid(cg.gate.weight @ e + cg.gate.bias)
            h = torch.tanh(g * h_b + (1 - g) * h_c)
            text, image = pg.affines
            h = text.scale(of_text) * h + text.shift(of_text)
            h = F.leaky_relu(h)
            h = image.scale(of_image) * h + image.shift(of_image)
        yield net.out(h)


def test_scores_equal_the_equations_user_by_user(host):
    model = stir(build())
    with torch.no_grad():
        expected = torch.stack(list(naive_scores(model, range(U))))
    torch.testing.assert_close(scores(model), expected, atol=1e-5, rtol=1e-5)


def test_sparse_and_dense_first_layer_agree(host):
    model = stir(build())
    users = torch.tensor([3, 0, 5])  # user 3 has no training items
    sparse = model.net.enter(*model.history.bags(users))
    torch.testing.assert_close(sparse, model.history.dense(users) @ model.net.item_in)


def test_signals_are_those_of_the_users_histories(host):
    model, matrix = build(signal_scale="none"), graph.binary_csr(tastes())
    c, (text, image) = model.conditions(torch.arange(U))
    for signal, name in ((text, "text"), (image, "image")):
        expected = graph.normalized(matrix) @ unit_rows(host.features[name])
        np.testing.assert_allclose(signal, expected, atol=1e-6)
    vectors = np.abs(np.linalg.svd(graph.normalized(matrix).toarray())[0][:, :4])
    np.testing.assert_allclose(c[:, :4].abs(), vectors, atol=1e-3)
    features = [x.astype(np.float32) for x in host.features.values()]
    alone = HistorySignals(matrix, features, config(signal_scale="none"))
    assert torch.equal(c, alone(*model.history.bags(torch.arange(U)))[0])
    assert model.net.cg_blocks[0].collaborative.in_features == c.shape[1]


def test_repeated_training_rows_count_once(host):
    once, twice = tastes(), tastes()
    twice = sp.coo_matrix(
        (np.tile(twice.data, 2), (np.tile(twice.row, 2), np.tile(twice.col, 2))), twice.shape
    )
    assert torch.equal(scores(build(matrix=twice)), scores(build(matrix=once)))


def fed_to_the_network(model, monkeypatch):
    """A dictionary of what the last call of the network was given, and of h, which it gave."""
    fed, kept = {}, model.net.hidden

    def spy(entered, e, c, preferences):
        h = kept(entered, e, c, preferences)
        fed.update(entered=entered, e=e, c=c, preferences=preferences, h=h)
        return h

    monkeypatch.setattr(model.net, "hidden", spy)
    return fed


def noised_by_hand(model, way, users, k, generator=None):
    """FC in of eq. 2 for whole histories, with the noise that the generator draws next."""
    kept = model.diffusion.alpha_bar[k].float()[:, None]
    x, weights = model.history.dense(users), model.net.item_in
    if way == "rows":
        eps = torch.randn(len(users), I, generator=generator)
        return (kept.sqrt() * x + (1 - kept).sqrt() * eps) @ weights
    z = torch.randn(len(users), weights.shape[1], generator=generator)
    factor = torch.linalg.cholesky((weights.T @ weights).double()).float()
    return kept.sqrt() * (x @ weights) + (1 - kept).sqrt() * (z @ factor.T)


# --- the step embedding (foundations, test d) ---


def test_inference_reads_the_initial_step_only(host):
    model = stir(build())
    before = scores(model)
    model.codes.normal_()
    assert torch.equal(scores(model), before)
    with torch.no_grad():
        model.user_step[2] += 1
    changed = (scores(model) != before).any(1)
    assert changed.nonzero().flatten().tolist() == [2]


def test_zero_step_adds_the_code_of_step_0(host):
    plain, zero = stir(build()), stir(build(infer_step="zero"))
    with torch.no_grad():
        plain.user_step += zero.codes[0]
    torch.testing.assert_close(scores(zero), scores(plain))
    assert zero.codes[0].tolist() == [0, 1] * 5


@both_ways
def test_training_feeds_the_code_of_steps_1_to_t_plus_the_initial_step(host, monkeypatch, way):
    model = by(way, stir(build(item_dropout=0, noise_scale=0.5)))
    fed = fed_to_the_network(model, monkeypatch)
    users, k = torch.tensor([1, 4, 3, 9]), torch.tensor([0, 4, 2, 2])
    monkeypatch.setattr(model.diffusion, "draw", lambda n: (k, 1.0))
    torch.manual_seed(5)
    model.calculate_loss(users)
    assert torch.equal(fed["e"], model.codes[[1, 5, 3, 3]] + model.user_step[users])
    torch.manual_seed(5)
    expected = noised_by_hand(model, way, users, torch.tensor([0, 4, 2, 2]))
    torch.testing.assert_close(fed["entered"], expected, atol=1e-4, rtol=1e-4)


# --- PG blocks (foundations, test e) ---


@pytest.mark.parametrize("transform", AFFINES)
def test_affine_maps_start_as_the_identity_and_all_of_them_learns(transform):
    torch.manual_seed(0)
    affine = AFFINES[transform](5, 7, 6, rank=2)
    z, m = torch.randn(3, 6), torch.randn(3, 5)
    torch.testing.assert_close(affine(z, m), z)
    optimizer = torch.optim.Adam(affine.parameters(), lr=0.01)
    before = [p.clone() for p in affine.parameters()]
    for _ in range(3):
        optimizer.zero_grad()
        (affine(z, m) - torch.randn(3, 6)).square().sum().backward()
        optimizer.step()
    assert all((p != b).any() for p, b in zip(affine.parameters(), before, strict=True))


@pytest.mark.parametrize("transform", AFFINES)
@pytest.mark.parametrize("modalities", [1, 2, 3])
def test_pg_block_starts_as_leaky_relu_between_modalities(transform, modalities):
    options = {"pg_transform": transform, "pg_hidden": 7, "pg_rank": 2}
    block = PGBlock(options, 6, [5] * modalities)
    h = torch.randn(3, 6)
    expected = h
    for _ in range(modalities - 1):
        expected = F.leaky_relu(expected)
    torch.testing.assert_close(block(h, [torch.randn(3, 5)] * modalities), expected)


def test_matrix_and_low_rank_transforms_by_hand():
    z, m = torch.randn(3, 4), torch.randn(3, 5)
    for transform, rank in (("matrix", 1), ("lowrank", 2)):
        affine = stir(AFFINES[transform](5, 7, 4, rank))
        out, shift, scale = affine(z, m), affine.shift(m), affine.scale(m)
        for b in range(3):
            if transform == "matrix":
                gamma = scale[b].view(4, 4)
            else:
                gamma = torch.eye(4) + scale[b, :8].view(4, 2) @ scale[b, 8:].view(4, 2).T
            torch.testing.assert_close(out[b], z[b] @ gamma + shift[b], atol=1e-5, rtol=1e-5)


# --- soft labels (foundations, test b) ---


def test_soft_labels_of_certain_probability(host):
    x = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    model = build(soft_prob=1, soft_gamma=0.3)
    expected = torch.tensor([[0.7, 0.3, 0.7], [0.3, 0.3, 0.7]])
    torch.testing.assert_close(model.soft_labels(x), expected)


@pytest.mark.parametrize("plain", [{"soft_prob": 0}, {"soft_gamma": 0}, {"ablation": "no_sr"}])
def test_soft_labels_off(host, plain):
    x = torch.ones(2, 3)
    assert build(**plain).soft_labels(x) is x


def test_soft_labels_move_clicked_and_other_items_with_probability_p(host):
    x = (torch.rand(200, 500, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    model = build(soft_prob=0.1, soft_gamma=0.2)
    first, second = model.soft_labels(x), model.soft_labels(x)
    for label, moved in ((1, 0.8), (0, 0.2)):
        mine = first[x == label]
        hit = mine != label
        torch.testing.assert_close(mine[hit], torch.full((int(hit.sum()),), moved))
        error = 5 * math.sqrt(0.1 * 0.9 / len(mine))
        assert hit.float().mean().item() == pytest.approx(0.1, abs=error)
    assert (first != second).any()  # drawn anew for every batch


def rows_of(labels, moved, items, begin):
    """What `moved_labels` says, as rows (B, I)."""
    rows = GivenRows(items, begin, I).dense(begin)
    rows[rows > 0] = labels  # row by row, items ascending: in the batch's order
    if moved is not None:
        there = GivenRows(*moved, I).dense(begin) > 0
        assert (rows[there] == 0).all()  # only unclicked items are named
        assert there.sum() == len(moved[0])  # each once
        rows[there] = GAMMA
    return rows


GAMMA = 0.2


@pytest.mark.parametrize("chance", [1e-9, 0.01, 0.3, 1])
def test_moved_labels_are_the_soft_labels(host, chance):
    """Of the same draw, so also of the same distribution."""
    model = build(soft_prob=chance, soft_gamma=GAMMA)
    for users in (range(U), [3], [3, 3, 5], [5, 3]):  # user 3 has no training items
        items, begin = model.history.bags(torch.tensor(list(users)))
        owner = graph.owners(begin, len(items))
        for seed in range(10):
            torch.manual_seed(seed)
            rows = model.soft_labels(GivenRows(items, begin, I).dense(begin))
            torch.manual_seed(seed)
            labels, moved = model.moved_labels(items, begin, owner)
            assert torch.equal(rows_of(labels, moved, items, begin), rows)


@pytest.mark.parametrize("plain", [{"soft_prob": 0}, {"soft_gamma": 0}, {"ablation": "no_sr"}])
def test_no_label_moves_where_they_are_off(host, plain):
    model = build(**plain)
    items, begin = model.history.bags(torch.arange(U))
    labels, moved = model.moved_labels(items, begin, graph.owners(begin, len(items)))
    assert (labels == 1).all()
    assert len(moved[0]) == 0


def test_moved_labels_have_the_chance_p_for_clicked_and_other_items(host):
    model, chance = build(soft_prob=0.1, soft_gamma=GAMMA), 0.1
    items, begin = model.history.bags(torch.arange(U))
    owner, times = graph.owners(begin, len(items)), 400
    torch.manual_seed(0)
    clicked, others = torch.zeros(len(items)), torch.zeros(U, I)
    for _ in range(times):
        labels, moved = model.moved_labels(items, begin, owner)
        assert ((labels == 1) | ((labels - 0.8).abs() < 1e-6)).all()
        clicked += labels < 1
        others += GivenRows(*moved, I).dense(begin)
    unclicked = others[GivenRows(items, begin, I).dense(begin) == 0]
    for count in (clicked, unclicked):
        deviation = math.sqrt(chance * (1 - chance) / times)
        assert (count / times - chance).abs().max() < 5 * deviation
        assert abs(count.mean() / times - chance) < 5 * deviation / math.sqrt(len(count))


@both_ways
def test_expected_soft_labels_are_the_mean_of_drawn_ones(host, way):
    def model(how):
        options = {"soft_labels": how, "soft_prob": 0.3, "soft_gamma": 0.8, "negative_weight": 0.2}
        return by(way, stir(build(item_dropout=0, **options)))

    h = torch.randn(U, 8, generator=torch.Generator().manual_seed(2))
    expected, drawn = model("expected"), model("sampled")
    bags = drawn.history.bags(torch.arange(U))
    torch.manual_seed(3)
    found = torch.stack([drawn.errors(h, *bags) for _ in range(2000)])
    error = found.std(0) / math.sqrt(len(found))
    assert ((found.mean(0) - expected.errors(h, *bags)).abs() < 4.5 * error).all()
    # eq. 7 moves labels by a mean of p gamma, which is far beyond these errors
    plain = by(way, stir(build(item_dropout=0, ablation="no_sr", negative_weight=0.2)))
    assert ((plain.errors(h, *bags) - found.mean(0)).abs() > 20 * error).any()


@pytest.mark.parametrize("chance", [0.003, 0.1, 0.8])
def test_successes_are_those_of_independent_trials(chance):
    torch.manual_seed(0)
    n, times = 300, 3_000
    found = torch.zeros(times, n)
    for row in found:
        places = successes(n, chance, "cpu")
        assert (places.diff() > 0).all()
        row[places] = 1
    found -= chance
    variance = chance * (1 - chance)
    noise = math.sqrt(variance / times)
    assert found.mean().abs() < 5 * noise / math.sqrt(n)
    assert found.mean(0).abs().max() < 5 * noise  # the last place as the first
    together = (found[:, 1:] * found[:, :-1]).mean().item()  # neighbours tell nothing of each other
    assert abs(together) < 5 * variance / math.sqrt(times * n)


def test_with_chance_1_all_succeed_and_with_next_to_none_nothing():
    assert successes(5, 1, "cpu").tolist() == [0, 1, 2, 3, 4]
    for chance in (1e-17, 1e-19, 1e-25, 1e-300, 5e-324):
        assert successes(2_000_000, chance, "cpu").tolist() == []


# --- the loss ---


@pytest.mark.parametrize("weight", [1, 0.25])
def test_row_errors_and_their_gradient(weight):
    generator = torch.Generator().manual_seed(0)
    scores, labels = torch.randn(2, 4, 7, generator=generator, dtype=torch.float64)
    x = (labels > 0.5).double()
    scores.requires_grad_()
    errors = RowErrors.apply(scores, labels, x, weight)
    by_hand = ((scores - labels).square() * torch.where(x > 0, 1.0, weight)).sum(1)
    torch.testing.assert_close(errors, by_hand)
    assert torch.autograd.gradcheck(lambda s: RowErrors.apply(s, labels, x, weight), scores)
    (first,) = torch.autograd.grad(errors.square().sum(), scores, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_row_errors_stay_float32_under_autocast():
    scores = torch.randn(4, 700, generator=torch.Generator().manual_seed(0))
    labels, x = torch.zeros(2, 4, 700)
    by_hand = scores.double().square().sum(1) * 0.25
    with torch.autocast("cpu", dtype=torch.bfloat16):
        errors = RowErrors.apply(scores, labels, x, 0.25)
    assert errors.dtype == torch.float32
    torch.testing.assert_close(errors.double(), by_hand, rtol=1e-5, atol=0)


@both_ways
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("weight", ["none", "snr"])
@pytest.mark.parametrize("remembered", ["row", "mean"])
@pytest.mark.parametrize("negative", [1, 0.25])
def test_loss_equals_a_loop_and_feeds_the_sampler(
    host, monkeypatch, way, reduction, weight, remembered, negative
):
    options = {"loss_reduction": reduction, "loss_weight": weight, "step_losses": remembered}
    options |= {"item_dropout": 0, "negative_weight": negative}
    model = by(way, stir(build(ablation="no_sr", **options)))
    users, k = torch.tensor([2, 3, 8, 5]), torch.tensor([1, 4, 0, 1])
    divisor = torch.tensor([0.5, 2.0, 1.0, 0.5]).double()
    monkeypatch.setattr(model.diffusion, "draw", lambda n: (k, divisor))
    torch.manual_seed(3)
    reconstruction, penalty = model.calculate_loss(users)
    torch.manual_seed(3)
    x = model.history.dense(users)
    with torch.no_grad():
        e = model.codes[k + 1] + model.user_step[users]
        entered = noised_by_hand(model, way, users, k)
        out = model.net.out(model.net.hidden(entered, e, *model.conditions(users)))
    losses = []
    for b in range(4):
        loss = 0
        for i in range(I):
            counts = 1 if x[b, i] else negative
            loss += counts * (float(x[b, i]) - float(out[b, i])) ** 2
        loss *= float(model.diffusion.snr_weights()[k[b]]) if weight == "snr" else 1
        losses.append(loss / I if reduction == "mean" else loss)
    expected = np.mean(np.array(losses) / divisor.numpy())
    assert reconstruction.item() == pytest.approx(expected, rel=1e-5)
    for step, mine in {0: [2], 1: [0, 3], 4: [1], 2: [], 3: []}.items():
        wanted = [losses[b] for b in mine]
        if remembered == "mean" and mine:
            wanted = [np.mean(wanted)]
        kept = model.diffusion.sampler.history[step, : len(wanted)].tolist()
        assert kept == pytest.approx(wanted, rel=1e-5)
    assert model.diffusion.sampler.count.tolist() == [1, 2 if remembered == "row" else 1, 0, 0, 1]
    held = model.net.memorizing_weights()
    square = sum(p.detach().double().square().sum().item() for p in held)
    assert penalty.item() == pytest.approx(model.l2_weight / 2 * square, rel=1e-5)


def test_l2_weight_leaves_step_embedding_gates_and_biases_free(host):
    model = build()
    _, penalty = model.calculate_loss(torch.arange(U))
    penalty.backward()
    held = {name for name, p in model.named_parameters() if p.grad is not None}
    free = {name for name, p in model.named_parameters() if p.grad is None}
    assert {"net.item_in", "net.out.weight", "net.cg_blocks.1.collaborative.weight"} < held
    assert {"net.cg_blocks.0.behavior.weight", "net.pg_blocks.1.affines.0.scale.0.weight"} < held
    assert {"user_step", "net.cg_blocks.0.gate.weight"} < free
    assert all("bias" in name or "gate" in name for name in free - {"user_step"})
    torch.testing.assert_close(model.net.item_in.grad, model.l2_weight * model.net.item_in.detach())


def test_two_calls_for_one_batch(host):
    model, users = build(step_losses="row"), torch.tensor([0, 1, 2])
    first, second = (total(model.calculate_loss(users)) for _ in range(2))
    (first - second).backward()
    assert users.tolist() == [0, 1, 2]
    assert model.diffusion.sampler.count.sum() == 6


@both_ways
def test_hidden_items_are_hidden_everywhere_but_in_the_target(host, monkeypatch, way):
    options = {"item_dropout": 0.7, "noise_scale": 0, "dropout": 0, "ablation": "no_sr"}
    model = by(way, stir(build(embedding_size=I, **options)))
    model.net.item_in.data = torch.eye(I)  # so that what enters is the row
    fed = fed_to_the_network(model, monkeypatch)
    targets, errors = [], model.errors
    monkeypatch.setattr(model, "errors", lambda h, *of: targets.append(of[:2]) or errors(h, *of))
    users = torch.arange(U)
    torch.manual_seed(0)
    model.train().calculate_loss(users)
    whole, seen = model.history.dense(users), fed["entered"]
    (of,) = targets
    assert torch.equal(GivenRows(*of, I).dense(users), whole)
    assert ((seen == 0) | (seen == whole)).all()
    assert seen.sum() < 0.6 * whole.sum()
    assert ((seen.sum(1) > 0) == (whole.sum(1) > 0)).all()
    parts = graph.HistoryRows(graph.binary_csr(seen.detach().numpy()))
    c, preferences = model.history_signals(*parts.bags(users))
    assert torch.equal(fed["c"], c)
    for got, expected in zip(fed["preferences"], preferences, strict=True):
        assert torch.equal(got, expected)
    model.eval().calculate_loss(users)
    assert torch.equal(fed["entered"], whole)
    assert torch.equal(fed["c"], model.conditions(users)[0])


@both_ways
def test_hidden_clicked_items_weigh_as_clicked_ones(host, monkeypatch, way):
    """Weights are those of the whole history, not of what is shown or of the soft labels."""
    options = {"item_dropout": 0.7, "negative_weight": 0.25, "soft_prob": 0.5, "soft_gamma": GAMMA}
    model = by(way, stir(build(**options)))
    users, kept = torch.arange(U), {}
    fed, soften, move = (
        fed_to_the_network(model, monkeypatch),
        model.soft_labels,
        model.moved_labels,
    )
    monkeypatch.setattr(model, "soft_labels", lambda x: kept.setdefault("target", soften(x)))
    monkeypatch.setattr(model, "moved_labels", lambda *a: kept.setdefault("moved", move(*a)))
    monkeypatch.setattr(model.diffusion, "draw", lambda n: (torch.zeros_like(users), 1.0))
    reconstruction, _ = model.train().calculate_loss(users)
    if way == "gram":
        kept["target"] = rows_of(*kept["moved"], *model.history.bags(users))
    clicked = model.history.dense(users) == 1
    square = (kept["target"] - model.net.out(fed["h"])).detach().square()
    expected = (square[clicked].sum() + 0.25 * square[~clicked].sum()) / U
    assert reconstruction.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("option", ["dropout", "item_dropout"])
def test_dropout_in_training_only(host, option):
    model = stir(build(**({"item_dropout": 0} | {option: 0.9}), ablation="no_sr"))
    users = torch.arange(U)

    def loss(mode):
        torch.manual_seed(0)
        return model.train(mode).calculate_loss(users)[0].item()

    assert loss(True) != loss(False)
    assert torch.equal(model.train().full_sort_predict([users, None]), scores(model))


# --- without rows of all items (foundations, E) ---


class Largest(TorchDispatchMode):
    """The number of entries of the largest tensor that any operation makes."""

    entries = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        made = function(*arguments, **(named or {}))
        for tensor in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(tensor, torch.Tensor):
                self.entries = max(self.entries, tensor.numel())
        return made


def test_rows_are_made_where_they_are_cheaper_or_dropout_asks(host):
    model = build(embedding_size=12, hidden_size=8).train()
    assert [model.by_rows(n) for n in (1, 8, 11, 12, 400)] == [True, True, True, False, False]
    assert build(embedding_size=8, hidden_size=12).by_rows(11)
    model = build(dropout=0.1)
    assert model.train().by_rows(400)
    assert not model.eval().by_rows(400)


@both_ways
def test_nothing_of_the_size_of_users_times_items_is_made_in_training(host, way):
    users, items = 200, 600
    host.features = {"text": np.random.default_rng(0).random((items, 5))}
    generator = np.random.default_rng(0)
    matrix = sp.coo_matrix((generator.random((users, items)) < 0.01).astype(float))
    model = by(way, build(matrix=matrix, train_batch_size=users, noise_scale=0.5))
    with Largest() as seen:
        total(model.train().calculate_loss(torch.arange(users))).backward()
    if way == "rows":
        assert seen.entries >= users * items
    else:  # W (600, 12); about 1,200 interactions and as many moved labels, times a width
        assert seen.entries < users * items / 4


@both_ways
def test_nothing_but_the_scores_is_of_their_size_in_scoring(host, way):
    users, items = 200, 600
    generator = np.random.default_rng(0)
    host.features = {}
    matrix = sp.coo_matrix((generator.random((users, items)) < 0.01).astype(float))
    model = by(way, build(matrix=matrix, inference_steps=2, noise_scale=0.5)).eval()
    made = []

    class Large(Largest):
        def __torch_dispatch__(self, function, types, arguments=(), named=None):
            found = super().__torch_dispatch__(function, types, arguments, named)
            if isinstance(found, torch.Tensor) and found.numel() >= users * items / 4:
                made.append(found.untyped_storage().data_ptr())
            return found

    with Large():
        result = model.full_sort_predict([torch.arange(users), None])
    others = set(made) - {result.untyped_storage().data_ptr()}
    assert bool(others) == (way == "rows")


def both(model, monkeypatch, users, table):
    """{way: (loss, {parameter: gradient})} of one training step whose noise on the row, eps, is
    for both the same where it enters the network: eps W_in = z L^T.
    """
    weights = model.net.item_in.detach()
    z = torch.randn(len(users), weights.shape[1], generator=torch.Generator().manual_seed(9))
    noise = z @ catalogue.noise_factor(weights).T
    eps = noise @ torch.linalg.pinv(weights)
    torch.testing.assert_close(eps @ weights, noise, atol=1e-4, rtol=1e-4)
    if table is not None:
        model.diffusion.alpha_bar = table
    k = torch.arange(len(users)) % model.diffusion.steps
    cells = successes(len(users) * I, model.soft_prob, "cpu")
    monkeypatch.setattr(model.diffusion, "draw", lambda n: (k, 1.0 + torch.arange(n)))
    monkeypatch.setattr(module, "successes", lambda *_: cells)
    drawn = {"rows": eps, "gram": z}
    found = {}
    for way in ("rows", "gram"):
        by(way, model).zero_grad()
        torch.manual_seed(4)  # of the items that are hidden
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randn", lambda *_, way=way, **__: drawn[way].clone())
            loss, _ = model.train().calculate_loss(users)
        loss.backward()
        found[way] = loss, {name: p.grad for name, p in model.named_parameters()}
    return found


EQUAL = [
    {},
    {"soft_prob": 0.3, "soft_gamma": 0.4, "negative_weight": 1},
    {"soft_prob": 1, "soft_gamma": 0.3},
    {"ablation": "no_sr", "loss_reduction": "mean", "negative_weight": 0.2},
    {"step_losses": "row", "activation": "leaky_relu", "pg_transform": "lowrank"},
    {"ablation": "no_cg", "item_dropout": 0.9},
    GRAPHS,
    GRAPHS | {"content_out": True, "soft_prob": 0.3, "soft_gamma": 0.4},
    GRAPHS | {"soft_labels": "expected", "soft_prob": 0.2, "soft_gamma": 0.3},
    {"history_path": "vectors"},
]


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def assert_equal_ways(found, tolerance):
    (dense, dense_gradients), (ours, gradients) = found["rows"], found["gram"]
    assert ours.item() == pytest.approx(dense.item(), rel=tolerance)
    assert len(gradients) > 10
    for name in gradients.keys() - {"net.item_in"}:
        expected = dense_gradients[name]
        torch.testing.assert_close(
            gradients[name],
            expected,
            rtol=0,
            atol=tolerance * float(expected.abs().max()) + 1e-30,
            msg=lambda text, name=name: f"{name}: {text}",
        )
    assert gradients["net.item_in"].abs().max() > 0


@pytest.mark.parametrize("options", EQUAL, ids=lambda options: "-".join(options) or "default")
def test_loss_and_gradients_equal_the_dense_ones(host, monkeypatch, options):
    model = stir(build(noise_scale=0.5, **options))
    found = both(model, monkeypatch, torch.arange(U), None)
    assert_equal_ways(found, 1e-5)


@pytest.mark.parametrize("options", EQUAL, ids=lambda options: "-".join(options) or "default")
def test_loss_and_gradients_equal_the_dense_ones_in_float64(host, monkeypatch, float64, options):
    """With steps of the history alone and of noise alone, whose factors float32 has exactly."""
    model = stir(build(**options)).double()
    table = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0])
    found = both(model, monkeypatch, torch.arange(U), table)
    assert found["gram"][0].dtype == torch.float64
    assert_equal_ways(found, 1e-10)


def test_the_gradient_of_fc_in_equals_the_dense_one_in_the_mean_over_draws(host, monkeypatch):
    options = {"noise_scale": 0.9, "negative_weight": 1, "activation": "leaky_relu"}
    model = stir(build(item_dropout=0, ablation="no_sr", **options))
    users, times = torch.arange(U), 150
    monkeypatch.setattr(model.diffusion, "draw", lambda n: (torch.arange(n) % 5, 1.0))
    torch.manual_seed(0)

    def gradients(way):
        """Mean over draws and its standard error."""
        drawn = []
        for _ in range(times):
            loss, _ = by(way, model).calculate_loss(users)
            drawn.append(torch.autograd.grad(loss, model.net.item_in)[0])
        drawn = torch.stack(drawn)
        return drawn.mean(0), drawn.std(0) / math.sqrt(times)

    def apart(found, expected):
        return (found[0] - expected[0]) / (found[1].square() + expected[1].square()).sqrt()

    rows = gradients("rows")
    difference = apart(gradients("gram"), rows)
    assert difference.abs().max() < 5
    assert difference.square().mean() < 2  # of numbers whose mean square is about 1
    # the noise's own share of the gradient counts: without it the two are far apart
    factor = catalogue.noise_factor
    monkeypatch.setattr(catalogue, "noise_factor", lambda weights: factor(weights.detach()))
    assert apart(gradients("gram"), rows).square().mean() > 3


def test_batches_without_any_item_have_a_loss(host):
    for way in ("rows", "gram"):
        model = by(way, stir(build(soft_prob=1e-9)))
        losses = model.calculate_loss(torch.tensor([3, 3]))
        assert total(losses).isfinite()
        total(losses).backward()


# --- item graphs, content in FC out, the average of the weights ---


def test_the_variant_gives_the_values_of_null(host):
    nulls = dict.fromkeys([*OFF, "negative_weight", "item_dropout"])
    full, paper = build(**nulls), build(variant="paper", **nulls)
    assert (full.negative_weight, full.item_dropout) == (0.03, 0.5)
    assert (paper.negative_weight, paper.item_dropout) == (1, 0)
    assert full.item_graph is not None
    assert len(full.net.contents) == 2
    assert full.averaged is not None
    assert (paper.item_graph, len(paper.net.contents), paper.averaged) == (None, 0, None)
    given = build(variant="paper", **(nulls | {"item_dropout": 0.25}))
    assert (given.negative_weight, given.item_dropout) == (1, 0.25)


def test_scores_have_the_sums_over_the_graph(host):
    plain, model = stir(build()), stir(build(**GRAPHS))
    rows = model.history.dense(torch.arange(U))
    expected = scores(plain) + rows @ torch.from_numpy(model.item_graph.matrix().toarray())
    torch.testing.assert_close(scores(model), expected)
    own, step = scores(model), model.folding_in().step
    with torch.no_grad():
        model.user_step[:] = step
    new = model.fold_in()(model.history, torch.arange(U))
    torch.testing.assert_close(new, scores(model))
    assert (new != own).any()


def test_without_the_network_the_graphs_are_left(host):
    model = stir(build(ablation="no_net", item_graph=5, graph_strength=2))
    rows = model.history.dense(torch.arange(U))
    expected = rows @ torch.from_numpy(model.item_graph.matrix().toarray())
    torch.testing.assert_close(scores(model), expected)


def test_training_rows_take_the_graph_of_the_other_users(host, monkeypatch):
    model, kept = build(item_dropout=0, item_graph=5, graph_strength=3, noise_scale=0), {}
    errors = model.errors
    monkeypatch.setattr(model, "errors", lambda *a: kept.update(sums=a[3]) or errors(*a))
    users = torch.arange(U)
    model.calculate_loss(users)
    matrix = graph.binary_csr(tastes())
    for p in (0, 1):
        mine = (model.part == p).numpy()
        assert 0 < mine.sum() < U
        others = graph.binary_csr(sp.diags((~mine).astype(float)) @ matrix)
        whole = 3 * interaction_graph(others, 5, 40.0, None)  # times its strength
        expected = torch.from_numpy((matrix[mine] @ whole).toarray()).float()
        torch.testing.assert_close(kept["sums"].dense()[mine], expected)


def test_content_gives_scores_to_items_without_training_rows(host):
    matrix = tastes().tocsc()
    matrix[:, [4]] = 0
    matrix = sp.coo_matrix(graph.binary_csr(matrix))
    model = build(matrix=matrix, content_out=True, item_dropout=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(5):
        optimizer.zero_grad()
        total(model.calculate_loss(torch.arange(U))).backward()
        optimizer.step()
    assert model.net.out.weight[4].tolist() == [0] * 8  # nothing pulls at its free row
    assert model.net.out.bias[4] == 0
    weights, _ = model.net.item_out()
    x = [(f - f.mean(0)) / f.std(0) / math.sqrt(f.shape[1]) for f in host.features.values()]
    maps = [content.map.detach().numpy() for content in model.net.contents]
    by_hand = sum(a[4] @ b for a, b in zip(x, maps, strict=True))
    np.testing.assert_allclose(weights[4].detach(), by_hand, atol=1e-5)
    assert np.abs(by_hand).max() > 1e-3
    kept, _ = model.net.item_out(model.trained)
    assert kept[4].tolist() == [0] * 8
    assert torch.equal(kept[5], weights[5])


@pytest.mark.parametrize("constant", [0.0, 0.1, 1000.1, 1e30])
def test_a_constant_feature_column_is_nothing(constant):
    x = np.random.default_rng(0).random((200, 4)).astype(np.float32)
    x[:, 1] = constant
    found = ContentRows(x, 3, rank=4).x
    assert (found[:, 1] == 0).all()
    torch.testing.assert_close(found[:, [0, 2, 3]].std(0, correction=0), torch.full((3,), 0.5))
    assert np.abs(leading_components(x, 3)).max() < 3


def test_content_enters_by_its_leading_components():
    x = np.random.default_rng(1).standard_normal((60, 5)) @ np.diag([5, 4, 3, 2, 1])
    x[:, 4] = x[:, 0] + 0.1 * x[:, 4]  # five columns of nearly four directions
    whole = leading_components(x, 5)
    squares = np.linalg.svd(whole, compute_uv=False) ** 2
    found = leading_components(x, 3)
    assert found.shape == (60, 3)
    np.testing.assert_allclose(np.square(found).sum(0), squares[:3])
    np.testing.assert_allclose(found.T @ found, np.diag(squares[:3]), atol=1e-10)
    left = whole - found @ np.linalg.pinv(found) @ whole
    assert np.square(left).sum() == pytest.approx(squares[3:].sum())


def test_a_model_with_averages_can_be_copied(host):
    model = stir(build(average=0.5))
    assert torch.equal(scores(copy.deepcopy(model)), scores(model))


def test_the_average_of_the_weights_recommends(host):
    model = build(average=0.6)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    mean = None
    for n in range(6):
        optimizer.zero_grad()
        total(model.train().calculate_loss(torch.arange(U))).backward()
        optimizer.step()
        now = model.net.item_in.detach().clone()
        decay = min(0.6, (1 + n) / (10 + n))
        mean = now if mean is None else decay * mean + (1 - decay) * now
    for _ in range(2):  # the last step too, once
        model.post_epoch_processing()
    torch.testing.assert_close(model.averaged.module.item_in, mean)
    found, plain = scores(model), build(average=0)
    names = plain.state_dict().keys() & model.state_dict().keys()
    state = {name: model.state_dict()[name] for name in names}
    averages = model.averaged.module.state_dict()
    plain.load_state_dict(state | {f"net.{name}": value for name, value in averages.items()})
    assert torch.equal(scores(plain), found)
    model.eval().calculate_loss(torch.arange(U))  # nothing is averaged outside training
    model.train().calculate_loss(torch.arange(U))  # nor twice
    torch.testing.assert_close(model.averaged.module.item_in, mean)


@both_ways
def test_rows_enter_at_length_1_by_the_singular_vectors(host, way):
    model = by(way, build(history_path="vectors", noise_scale=0, embedding_size=6))
    vectors, start = model.history_signals.vectors, model.net.item_in.detach()
    assert vectors.shape == (I, 4)
    torch.testing.assert_close(start[:, :4], vectors * I**0.5)
    assert start[:, :4].square().mean().sqrt().item() == pytest.approx(1)
    plain = build(embedding_size=6).net.item_in.detach()  # Xavier's, as far as there are no vectors
    torch.testing.assert_close(start[:, 4:], plain[:, 4:])
    users = torch.arange(U)
    owned = model.history.bags(users)
    rows = model.history.dense(users)
    unit = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp(min=1)
    torch.testing.assert_close(model.net.enter(*owned), unit @ model.net.item_in)
    torch.testing.assert_close(model.enter(model.net, *owned, users * 0), unit @ model.net.item_in)
    held = {id(w) for w in model.net.memorizing_weights()}
    assert id(model.net.item_in) not in held
    behavior = {id(block.behavior.weight) for block in model.net.cg_blocks}
    assert behavior <= held
    living = build(history_path="living", embedding_size=6)
    assert torch.equal(living.net.item_in, model.net.item_in)
    assert len(living.net.memorizing_weights()) == len(held) - len(behavior)


def test_hidden_step_codes_leave_the_initial_step(host, monkeypatch):
    model = stir(build(step_hidden=1))
    users = torch.arange(U)
    monkeypatch.setattr(model.diffusion, "draw", lambda n: (torch.zeros(n).long(), 1.0))
    seen, hidden = [], model.net.hidden
    model.net.hidden = lambda x, e, *others: seen.append(e) or hidden(x, e, *others)
    model.train().calculate_loss(users)
    model.eval().calculate_loss(users)
    assert torch.equal(seen[0], model.user_step[users])
    assert torch.equal(seen[1], model.codes[1] + model.user_step[users])


def test_passed_on_features_have_half_the_nearest_items_sum():
    x = np.random.default_rng(0).standard_normal((30, 4))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    near = content_graph(x, PASSED, None, "text").toarray()
    found = passed_on(x, None, "text")
    np.testing.assert_allclose(found, unit + near @ unit / 2, atol=1e-6)
    assert np.abs(found - unit).max() > 0.1


@both_ways
def test_a_float64_model_trains_and_scores(host, way, float64):
    model = by(way, stir(build(**GRAPHS)).double())
    loss = total(model.train().calculate_loss(torch.arange(U)))
    loss.backward()
    assert loss.dtype == torch.float64
    assert scores(model.eval()).dtype == torch.float64


@both_ways
def test_autocast_trains_and_scores(host, way):
    model = by(way, stir(build(**GRAPHS)))
    expected = scores(model.eval())
    with torch.autocast("cpu", torch.bfloat16):
        found = scores(model)
        total(model.train().calculate_loss(torch.arange(U))).backward()
    torch.testing.assert_close(found.float(), expected, atol=0.1 * expected.std(), rtol=0.1)
    assert model.net.item_in.grad.isfinite().all()


# --- inference (foundations, test f) ---


def test_inference_is_one_pass_without_randomness(host, monkeypatch):
    model, calls = stir(build()), []
    kept = model.net.hidden
    monkeypatch.setattr(model.net, "hidden", lambda *a: calls.append(1) or kept(*a))
    state = torch.get_rng_state()
    scores(model)
    assert calls == [1]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("steps", [0, 5])
def test_blocks_of_users_change_nothing(host, monkeypatch, steps):
    model = stir(build(inference_steps=steps, noise_scale=0))
    whole = scores(model)
    monkeypatch.setattr(module, "SCORE_ROWS", 7)
    torch.testing.assert_close(scores(model), whole)
    torch.testing.assert_close(scores(model, [5]), whole[5:6])
    assert scores(model, []).shape == (0, I)


def test_scores_are_fresh_and_may_be_overwritten(host):
    model = build()
    first = scores(model)
    copy = first.clone()
    first.fill_(-1e10)
    assert torch.equal(scores(model), copy)


@both_ways
def test_noised_inference_leaves_the_global_generator_and_repeats(host, way):
    model = by(way, stir(build(inference_steps=2, noise_scale=0.5)))
    state = torch.get_rng_state()
    first = scores(model)
    assert torch.equal(scores(model), first)
    assert torch.equal(torch.get_rng_state(), state)
    users = torch.arange(U)
    with torch.no_grad():
        noise = torch.Generator().manual_seed(module.NOISE_SEED)
        entered = noised_by_hand(model, way, users, torch.full_like(users, 1), noise)
        e = model.codes[2] + model.user_step
        expected = model.net.out(model.net.hidden(entered, e, *model.conditions(users)))
    torch.testing.assert_close(first, expected, atol=1e-4, rtol=1e-4)


def test_the_network_alone_scores_clean_histories(host):
    model, users = stir(build()), torch.tensor([3, 0, 5])
    with torch.no_grad():
        own = model.net(
            *model.history.bags(users), model.user_step[users], *model.conditions(users)
        )
    torch.testing.assert_close(own, scores(model, [3, 0, 5]))


# --- state, cache, refusals ---


def test_checkpoint_holds_parameters_and_the_sampler(host):
    model = stir(build())
    names = set(model.state_dict()) - {name for name, _ in model.named_parameters()}
    assert names == {"diffusion.sampler.history", "diffusion.sampler.count"}
    model.calculate_loss(torch.arange(U))
    other = build(seed=7)
    other.load_state_dict(model.state_dict())
    assert torch.equal(scores(other), scores(model))
    assert torch.equal(other.diffusion.sampler.history, model.diffusion.sampler.history)


def test_cache_changes_no_number(host, tmp_path):
    plain, states = scores(build()), []
    for _ in range(2):  # a miss, then a hit
        model = build(cache_dir=str(tmp_path))
        states.append(torch.get_rng_state().tolist())
        assert torch.equal(scores(model), plain)
    assert states[0] == states[1]
    assert len(list(tmp_path.iterdir())) == 1  # the singular vectors of items


REFUSED = [
    *(({key: "other"}, f"{key} must be one of .*, got 'other'") for key in module.CHOICES),
    ({"loss_weight": True}, "loss_weight must be one of none, snr, got True"),
    ({"item_dropout": 1}, r"item_dropout must be a number in \[0, 0.99\], got 1"),
    ({"negative_weight": 0}, r"negative_weight must be a number in \[1e-06, 1\], got 0"),
    ({"svd_rank": 0}, "svd_rank must be an integer >= 1, got 0"),
    ({"embedding_size": 9.5}, "embedding_size must be an integer >= 1, got 9.5"),
    ({"hidden_size": "8"}, "hidden_size must be an integer >= 1, got '8'"),
    ({"step_size": 1}, "step_size must be an integer >= 2, got 1"),
    ({"pg_rank": -1}, "pg_rank must be an integer >= 1, got -1"),
    ({"pg_hidden": 0}, "pg_hidden must be an integer >= 1, got 0"),
    ({"soft_prob": [0.1]}, r"soft_prob must be a number in \[0, 1\], got \[0.1\]"),
    ({"soft_gamma": 1.5}, r"soft_gamma must be a number in \[0, 1\], got 1.5"),
    ({"dropout": 1}, r"dropout must be a number in \[0, 0.99\], got 1"),
    ({"graph_strength": math.nan}, r"graph_strength must be a number in \[0, 1000.0\], got nan"),
    ({"content_strength": "3"}, r"content_strength must be a number in \[0, 1000.0\], got '3'"),
    ({"ablation": "no_net"}, "no_net recommends by the item graphs alone, and there are none"),
    ({"step_hidden": 1.1}, r"step_hidden must be a number in \[0, 1\], got 1.1"),
    ({"content_rank": 0}, "content_rank must be an integer >= 1, got 0"),
    ({"soft_labels": "drawn"}, "soft_labels must be .*sampled.*, got 'drawn'"),
    ({"history_path": "unit"}, "history_path must be .*vectors.*, got 'unit'"),
    ({"item_graph": 500}, "item_graph must be an integer below 500, got 500"),
    ({"item_graph": -1}, "item_graph must be an integer >= 0, got -1"),
    ({"graph_parts": 1}, "graph_parts must be an integer >= 2, got 1"),
    ({"graph_penalty": 0}, "graph_penalty must be .*, got 0"),
    ({"average": 1}, r"average must be a number in \[0, 0.9999\], got 1"),
    ({"variant": "other"}, "variant must be one of full, paper, got 'other'"),
    ({"l2_weight": -1}, "l2_weight must be .*, got -1"),
    ({"l2_weight": float("inf")}, "l2_weight must be a number >= 0, not infinite, got inf"),
    ({"l2_weight": "1e-3"}, r"l2_weight must be .*, got '1e-3' \(text: in yaml write 1.0e-4"),
    ({"inference_steps": 6}, r"inference_steps must be an integer in \[0, 5\], got 6"),
    ({"diffusion_steps": 1}, "diffusion_steps must be an integer >= 2, got 1"),
    ({"noise_scale": 2}, r"noise_scale must be a number in \[0, 1\], got 2"),
    (
        {"noise_scale": 0, "loss_weight": "snr"},
        "noise_scale must be above 0 for loss weights, got 0",
    ),
    (
        {"pg_transform": "matrix", "hidden_size": 257},
        "pg_transform matrix .* hidden_size <= 256, got 257; use diag or lowrank",
    ),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=lambda x: "-".join(x)[:30])
def test_option_values_are_refused(host, options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_features_that_do_not_fit_are_refused(host):
    good = host.features["image"]
    host.features = {"image": good[:-1]}
    with pytest.raises(ValueError, match=r"image features .* of 18 items; got shape \(17, 6\)"):
        build()
    host.features = {"image": np.where(good == good.max(), np.nan, good)}
    with pytest.raises(ValueError, match=r"got shape \(18, 6\), 1 not finite"):
        build()


def test_yaml_is_what_the_hosts_read():
    declared = yaml.safe_load(YAML.read_text(encoding="utf-8"))
    assert declared["hyper_parameters"] == ["soft_prob", "soft_gamma", "learning_rate"]
    assert declared["defaults"] == {"soft_prob": 0.01, "soft_gamma": 0.01, "learning_rate": 6e-4}
    assert declared["soft_prob"] == declared["soft_gamma"] == [0.005, 0.01, 0.05, 0.1, 0.2]
    paper = {"step_size": 10}
    paper |= {"stopping_step": 20, "epochs": 1000}
    assert {key: declared[key] for key in paper} == paper
    assert not [key for key, value in declared.items() if isinstance(value, str) and "e-" in value]


def test_learns_tastes(host):
    """Items of the user's kind that he has not clicked end above the other kinds' items."""
    matrix = tastes(60, 30, seed=2)
    host.features = {}
    torch.manual_seed(0)
    options = {"embedding_size": 32, "hidden_size": 32, "svd_rank": 8, "l2_weight": 0.3}
    model = LD4MRec(config(**options), golden.loader(matrix))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        total(model.calculate_loss(torch.randperm(60)[:30])).backward()
        optimizer.step()
    result = scores(model, range(60)).numpy()
    same = np.arange(60)[:, None] % 3 == np.arange(30) % 3
    clicked = matrix.toarray() > 0
    ordered = [
        (result[u, same[u] & ~clicked[u], None] > result[u, ~same[u] & ~clicked[u]]).mean()
        for u in range(60)
        if u != 3 and (same[u] & ~clicked[u]).any()
    ]
    assert np.mean(ordered) > 0.95


def test_on_our_host(toy):
    """The real base class, configuration and loader: every key is declared, the batches fit."""
    files = {"text": "text_feat.npy", "image": "image_feat.npy"}
    small = {key: SMALL[key] for key in ("embedding_size", "hidden_size", "svd_rank")}
    run = support.config_for(toy, "LD4MRec", modalities=files, train_batch_size=2, **small)
    train, _, _ = RecDataset(run).split()
    loader = TrainDataLoader(run, train, batch_size=2, shuffle=True)
    model = LD4MRec(run, loader)
    assert model.modalities == ["text", "image"]
    batches = list(loader)
    assert sorted(torch.cat(batches).tolist()) == [0, 1, 2, 3, 4]
    for users in batches:
        assert total(model.calculate_loss(users)).isfinite()
    assert scores(model, range(5)).shape == (5, 7)


def test_same_seed_same_training(host):
    def train():
        model = build(seed=4)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(3):
            optimizer.zero_grad()
            total(model.calculate_loss(torch.arange(U))).backward()
            optimizer.step()
        return scores(model)

    assert torch.equal(train(), train())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu(host):
    model = stir(build())
    expected = scores(model)
    model = model.cuda()
    users = torch.arange(U, device="cuda")
    total(model.calculate_loss(users)).backward()
    assert all(p.grad is not None for p in model.parameters())
    result = model.eval().full_sort_predict([users, None]).cpu()
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-4)
