import math

import numpy as np
import pytest
import torch

import golden
import support
from common.loss import embedding_norm, info_nce
from golden import BATCH, N_USERS, near

SMALL = golden.SMALL | {"reg_weight": 0.1}
PHASES = {"user_emb.weight": 1, "item_emb.weight": 2}
N_ITEMS = 6  # without the item that is never trained


def build(folder, interactions=None, **options):
    if interactions is None:
        interactions = golden.matrix(support.TRAIN, n_items=N_ITEMS)
    options = SMALL | {"n_layers": 2, "cl_weight": 0.5, "eps": 0.1} | options
    return golden.set_waves(
        golden.build("SimGCL", folder, interactions=interactions, **options), PHASES
    )


def known_noise(model, order):
    """Replace the draws: 0.5 + 0.5 sin(1.3 m + c), c taken from `order` draw by draw."""
    order = iter(order)

    def draw(layer):
        m = torch.arange(layer.numel(), dtype=torch.float64)
        return (0.5 + 0.5 * torch.sin(1.3 * m + next(order))).reshape(layer.shape)

    model.draw = draw
    return model


def slow_contrast(model, noise):
    """Sum of both contrasts from the definition, rows by rows; noise: pass -> layer -> (N, D)."""
    adjacency = model.adjacency.to_dense()
    views = []
    for draws in noise:
        layer, kept = torch.cat(list(model.parameters())).detach(), []
        for draw in draws:
            layer = adjacency @ layer
            layer = layer + model.eps * layer.sign() * draw / draw.norm(dim=1, keepdim=True)
            kept.append(layer)
        views.append(sum(kept) / len(kept))
    total = 0.0
    for rows in ([0, 1, 2, 3], [N_USERS + i for i in (1, 3, 4, 5)]):  # each id once
        terms = []
        for a in rows:
            cosine = [torch.cosine_similarity(views[0][a], views[1][b], dim=0).item() for b in rows]
            weight = [math.exp(x / 0.2) for x in cosine]
            terms.append(-math.log(weight[rows.index(a)] / sum(weight)))
        total += sum(terms) / len(terms)
    return total


def test_loss_and_gradients_without_noise_are_the_references(toy):
    loss, norms = golden.loss_and_norms(build(toy, eps=0))
    assert loss == near(1.181569)
    assert norms == near({"user_emb.weight": 0.820360, "item_emb.weight": 0.784119})


def test_the_parts_are_the_references(toy):
    ranking = build(toy, cl_weight=0, reg_weight=0).calculate_loss(BATCH).item()
    with_penalty = build(toy, cl_weight=0).calculate_loss(BATCH).item()
    with_contrast = build(toy, eps=0, cl_weight=1, reg_weight=0).calculate_loss(BATCH).item()
    assert ranking == near(0.675539)
    assert with_penalty - ranking == near(0.017053)
    assert with_contrast - ranking == near(0.977955)


def test_trajectory_and_scores_are_the_references(toy):
    model = build(toy, eps=0)
    first = [0.054161, -0.020182, 0.017187, -0.022701, 0.036516, -0.025216]
    last = [-0.061574, 0.022034, -0.010231, 0.022376, -0.043298, 0.027028]
    assert golden.scores(model, [0, 4]).tolist() == [near(first), near(last)]
    losses = [1.181569, 1.078719, 0.979584, 0.899683, 0.835441]
    assert golden.trajectory(model.train(), BATCH) == near(losses)


def test_with_known_noise_it_is_the_references(toy):
    loss, norms = golden.loss_and_norms(known_noise(build(toy), range(1, 5)))
    assert loss == near(1.217348)
    assert norms == near({"user_emb.weight": 0.905102, "item_emb.weight": 0.846444})
    losses = [1.217348, 1.094346, 1.034881, 0.939643, 0.870375]
    assert golden.trajectory(known_noise(build(toy), range(1, 21)), BATCH) == near(losses)


def test_the_contrast_with_noise_is_the_slow_one(toy):
    model = known_noise(build(toy, reg_weight=0, cl_weight=1), range(1, 5))
    plain = build(toy, reg_weight=0, cl_weight=0).calculate_loss(BATCH).item()
    contrast = model.calculate_loss(BATCH).item() - plain
    draw, like = known_noise(build(toy), range(1, 5)).draw, torch.empty(N_USERS + N_ITEMS, 8)
    noise = [[draw(like) for _ in range(2)] for _ in range(2)]
    assert contrast == near(1.049513)
    assert contrast == pytest.approx(slow_contrast(model, noise), abs=1e-7)


def test_noise_has_length_eps_and_keeps_signs(toy):
    model = build(toy, n_layers=1)
    first = model.layers()[0].detach()
    shift = model.disturbed(first) - first
    assert shift.norm(dim=1).tolist() == pytest.approx([0.1] * (N_USERS + N_ITEMS), abs=1e-6)
    assert (first + shift).sign().equal(first.sign())
    assert not model.disturbed(first).equal(first + shift)  # drawn anew


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_without_noise_the_runs_agree(toy, n_layers):
    model = build(toy, n_layers=n_layers, eps=0)
    clean = torch.cat(model())
    torch.testing.assert_close(model.disturbed(model.layers()[0].detach()), clean.detach())


def test_one_layer_knows_no_vector_of_its_own(toy):
    model = build(toy, n_layers=1)
    users, items = (x.clone() for x in model())
    with torch.no_grad():
        model.user_emb.weight.normal_()
    assert model()[0].equal(users)
    assert not model()[1].equal(items)


def test_relabelling_permutes_the_scores(toy):
    model = build(toy)
    generator = np.random.default_rng(0)
    users, items = generator.permutation(N_USERS), generator.permutation(N_ITEMS)  # new -> old
    pairs = [(np.argsort(users)[u], np.argsort(items)[i]) for u, i in support.TRAIN]
    other = build(toy, golden.matrix(pairs, n_items=N_ITEMS))
    with torch.no_grad():
        other.user_emb.weight.copy_(model.user_emb.weight[users])
        other.item_emb.weight.copy_(model.item_emb.weight[items])
    expected = golden.scores(model)[users][:, items]
    torch.testing.assert_close(golden.scores(other), expected, rtol=0, atol=1e-7)
    # and with noise, if that is relabelled as well
    nodes = np.concatenate([users, N_USERS + items])
    draw = known_noise(build(toy), [1]).draw(torch.empty(N_USERS + N_ITEMS, 8))
    for one, noise in ((model, draw), (other, draw[nodes])):
        one.n_layers, one.draw = 1, lambda layer, noise=noise: noise
    one, two = (x.disturbed(x.layers()[0].detach()) for x in (model, other))
    torch.testing.assert_close(two, one[nodes], rtol=0, atol=1e-7)


def test_a_repeated_row_leaves_the_contrast(toy):
    def contrast(batch):
        with_it, without = build(toy, eps=0, cl_weight=1), build(toy, cl_weight=0)
        return (with_it.calculate_loss(batch) - without.calculate_loss(batch)).item()

    repeated = torch.cat([BATCH, BATCH[:, 2:3]], 1)
    assert contrast(repeated) == pytest.approx(contrast(BATCH), rel=1e-9)


def test_without_contrast_nothing_is_drawn(toy):
    model = build(toy, cl_weight=0, eps=0.3)
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        losses.append(model.calculate_loss(BATCH).item())
        assert torch.get_rng_state().equal(state)
    assert losses[0] == losses[1]


def test_the_noise_depends_on_the_seed_alone(toy):
    model, losses = build(toy), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(model.calculate_loss(BATCH).item())
    assert losses[0] == losses[1] != losses[2]


def test_the_penalty_is_on_propagated_users_and_positives(toy):
    model = build(toy)
    users, items = model()
    expected = embedding_norm(users[BATCH[0]]) + embedding_norm(items[BATCH[1]])
    assert expected.item() * 0.1 == near(0.017053)


def test_an_item_without_training_scores_zero_and_harms_nothing(toy):
    model = build(toy, golden.matrix(support.TRAIN))  # item 6
    assert golden.scores(model)[:, 6].equal(torch.zeros(N_USERS, dtype=torch.float64))
    batch = BATCH.clone()
    batch[2, 0] = batch[1, 1] = 6
    _, norms = golden.loss_and_norms(model.train(), batch)
    assert all(math.isfinite(norm) for norm in norms.values())


def test_repeated_pairs_count_once(toy):
    twice = build(toy, golden.matrix(support.TRAIN * 2, n_items=N_ITEMS))
    assert golden.scores(twice).equal(golden.scores(build(toy)))


def test_the_temperature_divides_the_cosines(toy):
    model, other = (build(toy, eps=0, cl_weight=1, temperature=t) for t in (0.2, 0.4))
    users, items = model()
    rows = users[[0, 1, 2, 3]], items[[1, 3, 4, 5]]
    expected = sum(info_nce(x, x, 0.4) - info_nce(x, x, 0.2) for x in rows).item()
    change = (other.calculate_loss(BATCH) - model.calculate_loss(BATCH)).item()
    assert change == pytest.approx(expected, rel=1e-9)


def test_contrast_of_orthogonal_and_of_equal_rows():
    rows = torch.eye(6, dtype=torch.float64)
    expected = math.log(1 + 5 * math.exp(-5))
    assert expected == near(0.0331347)
    assert info_nce(rows, rows, 0.2).item() == pytest.approx(expected)
    assert info_nce(rows[:1].repeat(6, 1), rows[:1].repeat(6, 1), 0.2).item() == pytest.approx(
        math.log(6)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_layers": 0}, "n_layers must be an integer >= 1, got 0"),
        ({"temperature": 0}, "temperature must be a number above 0, got 0"),
        ({"eps": -0.1}, r"eps must be a number in \[0, inf\], got -0.1"),
        ({"cl_weight": -1}, r"cl_weight must be a number in \[0, inf\], got -1"),
    ],
)
def test_refused_options(toy, options, message):
    with pytest.raises(ValueError, match=message):
        golden.build("SimGCL", toy, **options)
