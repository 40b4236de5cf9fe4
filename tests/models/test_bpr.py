import math

import numpy as np
import pytest
import torch

import golden
from common.loss import embedding_norm
from golden import BATCH, near

SMALL = golden.SMALL | {"reg_weight": 0.1}
PHASES = {"user_emb.weight": 1, "item_emb.weight": 2}


@pytest.fixture
def model(toy):
    return golden.set_waves(golden.build("BPR", toy, **SMALL), PHASES)


def test_loss_and_gradients_are_the_references(model):
    loss, norms = golden.loss_and_norms(model)
    assert loss == near(0.712630)
    assert norms == near({"user_emb.weight": 0.211328, "item_emb.weight": 0.221893})


def test_scores_are_the_references_before_and_after_training(model):
    first = [0.177222, -0.231609, 0.278380, -0.315996, 0.343221, -0.359158, 0.363285]
    last = [-0.059167, -0.010048, 0.078932, -0.145220, 0.206733, -0.261448, 0.307564]
    assert golden.scores(model, [0, 4]).tolist() == [near(first), near(last)]
    losses = [0.712630, 0.690958, 0.670504, 0.651154, 0.632837]
    assert golden.trajectory(model.train(), BATCH) == near(losses)
    trained = [0.168391, -0.096601, 0.206408, -0.311946, 0.223501, -0.358005, 0.310876]
    assert golden.scores(model, [0])[0].tolist() == near(trained)


@pytest.mark.parametrize("reg_weight", [0, 0.1, 2.0])
def test_the_loss_of_zero_vectors_is_log_2(toy, reg_weight):
    model = golden.build("BPR", toy, **SMALL | {"reg_weight": reg_weight})
    with torch.no_grad():
        for table in model.parameters():
            table.zero_()
    assert model.calculate_loss(BATCH).item() == pytest.approx(math.log(2), abs=1e-9)


def test_the_penalty_is_the_norm_and_not_its_square(model):
    rows = [model.user_emb(BATCH[0]), *model.item_emb(BATCH[1:])]
    once, twice = embedding_norm(*rows), embedding_norm(*(2 * x for x in rows))
    assert twice.item() == pytest.approx(2 * once.item(), rel=1e-12)


def test_the_penalty_divides_by_the_rows_of_a_short_batch(model):
    short = BATCH[:, :2]
    model.reg_weight = 0.0
    ranking = model.calculate_loss(short).item()
    model.reg_weight = 0.1
    norms = sum(x.norm() for x in (model.user_emb(short[0]), *model.item_emb(short[1:])))
    assert model.calculate_loss(short).item() - ranking == near(0.1 * norms.item() / 2)


def test_swapping_positive_and_negative(model):
    u, p, n = model.user_emb(BATCH[0]), *model.item_emb(BATCH[1:])
    mean = ((u * p).sum(1) - (u * n).sum(1)).mean().item()
    swapped = model.calculate_loss(BATCH[[0, 2, 1]])
    assert (model.calculate_loss(BATCH) - swapped).item() == pytest.approx(-mean, abs=1e-8)


def test_relabelling_permutes_the_scores_and_keeps_the_loss(model):
    expected, loss = golden.scores(model), model.train().calculate_loss(BATCH).item()
    generator = np.random.default_rng(0)
    users, items = (torch.from_numpy(generator.permutation(n)) for n in (5, 7))  # new -> old
    with torch.no_grad():
        model.user_emb.weight.copy_(model.user_emb.weight[users])
        model.item_emb.weight.copy_(model.item_emb.weight[items])
    torch.testing.assert_close(golden.scores(model), expected[users][:, items])
    batch = torch.stack([users.argsort()[BATCH[0]], *items.argsort()[BATCH[1:]]])
    assert model.calculate_loss(batch).item() == pytest.approx(loss, rel=1e-12)


def test_tables_start_xavier_normal(blocks):
    interactions = golden.matrix([(0, 0)], 3000, 2000)
    model = golden.build("BPR", blocks, interactions=interactions)
    for table in model.parameters():
        assert table.std().item() == pytest.approx(math.sqrt(2 / sum(table.shape)), rel=0.02)
        assert table.abs().max().item() > math.sqrt(6 / sum(table.shape))  # not uniform


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding_size": 0}, "embedding_size must be an integer >= 1, got 0"),
        ({"reg_weight": -1.0}, r"reg_weight must be a number in \[0, inf\], got -1.0"),
        ({"use_neg_sampling": False}, "use_neg_sampling must be True: .*negative.* got False"),
        ({"use_full_sampling": True}, "use_full_sampling must be False: .* got True"),
        ({"use_neighborhood_loss": True}, "use_neighborhood_loss must be False: .* got True"),
    ],
)
def test_refused_options(toy, options, message):
    with pytest.raises(ValueError, match=message):
        golden.build("BPR", toy, **options)
