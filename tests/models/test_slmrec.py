"""SLMRec against its sheet's golden numbers, and the properties that its traps would break."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import golden
from common.propagation import mean_of_layers
from golden import BATCH, close, numbers
from ld4mrec.errors import ConfigError
from ld4mrec.training import checkpoint

PAIRS = BATCH[:2]
SETTING = golden.SMALL | {"n_layers": 3, "temp": 0.2, "ssl_temp": 0.5, "ssl_alpha": 0.1}
PHASES = {6: 3, 5: 5}  # of the map of image and of text; biases one more


@pytest.fixture
def make(toy):
    """An SLMRec in the toy world with the sheet's parameters; tables: other features."""

    def make(tables=golden.FEATURES, **options):
        model = golden.build("SLMRec", toy, tables, **SETTING | options)
        phases = {model.user_emb.weight: 1, model.item_emb.weight: 2}
        linears = {linear: PHASES[linear.in_features] for linear in model.maps}
        linears |= {model.item_fusion: 7, model.user_fusion: 9}
        linears |= dict(zip(heads(model), (11, 13, 15, 17, 19), strict=False))
        for linear, phase in linears.items():
            phases |= {linear.weight: phase, linear.bias: phase + 1}
        golden.fill(phases)
        return model

    return make


def heads(model):
    """g1 to g5 of two modalities, g1 and g2 of one."""
    first, *middle_and_last = [m for m in model.id_heads.modules() if isinstance(m, nn.Linear)]
    of_first, *of_last = model.modal_heads
    return [first, of_first, *middle_and_last, *of_last]


def linears(model):
    """In the sheet's order."""
    return [*model.maps, model.item_fusion, model.user_fusion, *heads(model)]


def train(model, steps=5, decay=1e-4):
    """The loss at successive Adam steps on one batch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=decay)
    losses = []
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model.calculate_loss(PAIRS.clone())
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    return losses


def fac(model):
    return model.fine_and_coarse(model.channels()[1][PAIRS[1]])


def test_golden_loss_and_its_parts(make):
    close(make().calculate_loss(PAIRS.clone()), 2.010813)
    close(make(ssl_alpha=0.0).calculate_loss(PAIRS.clone()), 1.685101)
    close(fac(make()), 3.257126)


def test_golden_gradients(make):
    model = make()
    parameters = [model.user_emb.weight, model.item_emb.weight]
    parameters += [p for linear in linears(model) for p in linear.parameters()]
    norms = golden.gradient_norms(model.calculate_loss(PAIRS.clone()), parameters)
    expected = "0.141196 0.210935 0.152142 0.126763 0.166547 0.127756"
    expected += " 0.280280 0.195900 0.126451 0.059254 0.002908 0.000171 0.004537 0"
    expected += " 0.002031 0.000555 0.000354 0.000475 0.000245 0"
    close(norms, numbers(expected))
    assert len(parameters) == len(list(model.parameters()))


@pytest.mark.parametrize("variant", ["faithful", "repaired"])
def test_golden_scores_before_training(make, variant):
    user_0 = numbers("0.340774 0.444625 0.350915 0.440729 0.369307 0.434992 0.412146")
    user_4 = numbers("0.356823 0.420323 0.372297 0.417868 0.368669 0.422085 0.410862")
    close(golden.scores(make(variant=variant), [0, 4]).sigmoid(), [user_0, user_4])


@pytest.mark.parametrize(
    ("variant", "after"),
    [
        ("faithful", "0.249117 0.326803 0.256347 0.305707 0.292691 0.320789 0.350879"),
        ("repaired", "0.242518 0.322082 0.251246 0.298270 0.285353 0.308675 0.345213"),
    ],
)
def test_golden_trajectory_and_scores_after_it(make, variant, after):
    model = make(variant=variant)
    close(train(model), numbers("2.010813 1.948693 1.924359 1.911072 1.896185"))
    close(golden.scores(model, [0]).sigmoid(), [numbers(after)])


def test_faithful_scores_are_one_step_old_and_survive_a_checkpoint(make, tmp_path):
    model, young = make(variant="faithful"), make()
    train(model, 3)
    train(young, 2)
    close(golden.scores(model), golden.scores(young).tolist(), 1e-12)
    saved, unsaved = checkpoint.snapshot(model, fixed_buffers=False)
    assert not unsaved
    checkpoint.save(tmp_path / "model.pt", saved)
    other = make(variant="faithful")
    checkpoint.restore(other, checkpoint.load(tmp_path / "model.pt"))
    assert torch.equal(golden.scores(other), golden.scores(model))
    for one in (model, other):  # and training goes on from the present parameters
        close(one.train().calculate_loss(PAIRS.clone()), train(make(), 4)[3], 1e-12)


def test_repaired_keeps_nothing_of_the_batch(make):
    model = make()
    train(model, 1)
    assert model.last_batch is None


def test_heads_of_zero(make):
    model = make()
    for head in heads(model):
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    close(fac(model), 2 * math.log(5), 1e-12)


def test_biases_of_the_columns_get_no_gradient_but_decay_to_zero(make):
    model = make()
    columns = [head.bias for head in model.modal_heads]
    for gradient in torch.autograd.grad(model.calculate_loss(PAIRS.clone()), columns):
        assert gradient.abs().max() < 1e-16
    before = [bias.abs().max().item() for bias in columns]
    train(model, 5, decay=0.1)  # so much that rounding is no gradient beside it
    for bias, largest in zip(columns, before, strict=True):
        close(bias.abs().max(), largest - 5 * 0.01, 1e-3)  # lr a step


def test_the_first_task_knows_no_length_and_the_second_does(make):
    model = make(ssl_alpha=0.0)
    loss = model.calculate_loss(PAIRS.clone()).item()
    with torch.no_grad():
        for parameter, factor in zip(model.fusion_parameters(), (3, 3, 0.2, 0.2), strict=True):
            parameter.mul_(factor)
    close(model.calculate_loss(PAIRS.clone()), loss, 1e-12)
    before = fac(model).item()
    with torch.no_grad():
        model.modal_heads[0].weight.mul_(2)
    assert abs(fac(model).item() - before) > 1e-4


def test_the_first_task_asks_users_for_items_only(make):
    model = make(ssl_alpha=0.0)
    users, items = model()
    u, p = F.normalize(users[PAIRS[0]]), F.normalize(items[PAIRS[1]])
    shares = (u @ p.T / 0.2).exp()
    expected = -(shares.diagonal() / shares.sum(1)).log().mean()  # item 1 twice, unmasked
    close(model.calculate_loss(PAIRS.clone()), expected.item(), 1e-12)


def test_channels_propagate_side_by_side_as_alone(make):
    model = make()
    users, items = (x.split(8, 1) for x in model.channels())
    inputs = [model.item_emb.weight]
    inputs += [layer(getattr(model, f"content_{m}")) for m, layer in enumerate(model.maps)]
    for c, x in enumerate(inputs):
        alone = mean_of_layers(model.adjacency, model.user_emb.weight, x, 3)
        close(users[c], alone[0].tolist())
        close(items[c], alone[1].tolist())
    close(items[1][6], (inputs[1][6] / 4).tolist())  # item 6 is in no training pair


def test_ranking_by_sigmoid_is_ranking_by_score(make):
    scores = golden.scores(make())
    assert scores.abs().max() < 5
    assert torch.equal(scores.argsort(1), scores.sigmoid().argsort(1))


def test_large_scores_do_not_tie(make):
    model = make().float()
    with torch.no_grad():
        model.user_fusion.weight.mul_(1000)
    scores = golden.scores(model)
    assert len(scores[0].unique()) == 7
    assert len(scores[0].sigmoid().unique()) < 7


def test_without_the_second_task_its_heads_never_move(make):
    model = make(ssl_alpha=0.0)
    before = [p.detach().clone() for head in heads(model) for p in head.parameters()]
    train(model, 5, decay=0.0)
    after = [p for head in heads(model) for p in head.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_features_are_constants_of_length_one(make):
    model = make({"image": torch.cat([10 * golden.feature(6, 1)[:6], torch.zeros(1, 6)])})
    close(model.content_0.norm(dim=1), [1.0] * 6 + [0.0])
    before = model.content_0.clone()
    train(model, 2)
    assert torch.equal(model.content_0, before)
    assert not any(name.startswith("content") for name in model.state_dict())


@pytest.mark.parametrize(("name", "width", "phase"), [("image", 6, 1), ("text", 5, 2)])
def test_one_modality_is_one_term(make, name, width, phase):
    model = make({name: golden.feature(width, phase)})
    assert model.item_fusion.weight.shape == (8, 16)
    p_id, p_modal = model.channels()[1][PAIRS[1]].split(8, 1)
    logits = model.id_heads[0](p_id) @ model.modal_heads[0](p_modal).T / 0.5
    expected = -logits.softmax(1).diagonal().log().mean()
    close(fac(model), expected.item(), 1e-12)
    model.calculate_loss(PAIRS.clone()).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_text_is_last_and_the_others_keep_their_order(make):
    widths = {"text": 5, "audio": 6, "image": 6}
    tables = {name: golden.feature(width, 1) for name, width in widths.items()}
    tables["audio"] *= torch.arange(6)
    model = make(tables, modalities={name: f"{name}_feat.npy" for name in tables})
    # the host hands out text, image, audio
    close(model.content_0, F.normalize(tables["image"]).tolist())
    close(model.content_1, F.normalize(tables["audio"]).tolist())
    close(model.content_2, F.normalize(tables["text"]).tolist())


def test_three_modalities_are_the_authors_three_terms(make):
    tables = {name: golden.feature(6, phase) for name, phase in (("a", 1), ("b", 2), ("c", 3))}
    model = make(tables, modalities={name: f"{name}_feat.npy" for name in tables})
    (g1, g3, g4), (g2, ga, g5) = model.id_heads, model.modal_heads
    assert [head.out_features for head in (g1, g2, g3, ga, g4, g5)] == [8, 8, 8, 8, 4, 4]
    x, a, b, c = model.channels()[1][PAIRS[1]].split(8, 1)
    x1, x3 = g1(x), g3(g1(x))
    logits = [x1 @ g2(a).T, x3 @ ga(b).T, g4(x3) @ g5(c).T]
    expected = -sum((z / 0.5).softmax(1).diagonal().log().mean() for z in logits)
    close(fac(model), expected.item(), 1e-12)
    model.calculate_loss(PAIRS.clone()).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_number_of_parameters(make):
    def count(users, items, d, v, t):
        linear = d * (v + t) + 2 * d + 2 * (3 * d * d + d)
        return (users + items) * d + linear + 3 * (d * d + d) + 2 * (d // 2 * d + d // 2)

    assert sum(p.numel() for p in make().parameters()) == count(5, 7, 8, 6, 5)
    # MMRec's baby, as upstream prints it, less its idle head
    assert count(19445, 7050, 64, 4096, 384) == 2_028_032 - 4_160


def test_initial_values(toy):
    model = golden.build("SLMRec", toy, golden.FEATURES, embedding_size=200)
    for weight in (p for p in model.parameters() if p.ndim == 2):
        bound = math.sqrt(6 / sum(weight.shape))  # Xavier-uniform
        assert 0.97 * bound < weight.abs().max().item() <= bound
    for linear in linears(model):
        bound = linear.in_features**-0.5  # torch's default
        assert 0.9 * bound < linear.bias.abs().max().item() <= bound


def test_offers_no_key_that_nothing_reads(make):
    with pytest.raises(ConfigError, match="reg"):
        make(reg=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding_size": 1}, "embedding_size must be an integer >= 2, got 1"),
        ({"n_layers": -1}, "n_layers must be an integer >= 0, got -1"),
        ({"temp": 0}, "temp must be a number above 0, got 0"),
        ({"ssl_temp": float("inf")}, "ssl_temp must be a number above 0, got inf"),
        ({"ssl_alpha": -0.1}, "ssl_alpha must be a number in"),
        ({"variant": "stale"}, "variant must be one of faithful, repaired, got 'stale'"),
        ({"use_neg_sampling": True}, "use_neg_sampling must be False: the model learns from"),
    ],
)
def test_refuses_what_it_cannot_use(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
