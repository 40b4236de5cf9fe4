"""BM3 against its sheet's golden numbers, and the properties that its traps would break."""

import pytest
import torch
from torch import nn

import golden
from golden import BATCH, close, numbers
from models.bm3 import distance

PAIRS = BATCH[:2]
SETTING = golden.SMALL | {"n_layers": 1, "dropout": 0.0, "reg_weight": 0.1, "cl_weight": 2.0}


@pytest.fixture
def make(toy):
    """A BM3 in the toy world with the sheet's parameters; tables: other features."""

    def make(tables=golden.FEATURES, **options):
        model = golden.build("BM3", toy, tables, **SETTING | options)
        phases = {
            model.user_emb.weight: 1,
            model.item_emb.weight: 2,
            model.predictor.weight: 7,
            model.predictor.bias: 8,
        }
        for linear in model.modal.maps:
            phase = {6: 3, 5: 5}[linear.in_features]
            phases |= {linear.weight: phase, linear.bias: phase + 1}
        golden.fill(phases)
        return model

    return make


def online_part(model):
    return [
        model.user_emb.weight,
        model.item_emb.weight,
        model.predictor.weight,
        model.predictor.bias,
    ]


def modal_part(model):
    """Table, weight and bias of image, then of text."""
    by_width = {linear.in_features: k for k, linear in enumerate(model.modal.maps)}
    order = [by_width[width] for width in (6, 5) if width in by_width]
    parts = [(model.modal.tables[k], *model.modal.maps[k].parameters()) for k in order]
    return [p for part in parts for p in part]


USER_0 = numbers("0.445034 0.290395 0.481578 0.105646 0.803662 -0.010090 0.840045")
USER_4 = numbers("0.251363 0.462448 0.301820 0.277449 0.636677 0.130439 0.725684")


def test_golden_loss_and_gradients(make):
    model = make()
    loss = model.calculate_loss(PAIRS.clone())
    close(loss, 12.697249)
    norms = golden.gradient_norms(loss, online_part(model) + modal_part(model))
    close(norms[:4], numbers("0.243886 0.369055 5.403690 3.848352"))
    close(norms[4:], numbers("0.058657 2.754513 1.953779 0.024117 0.576862 0.523230"))


def test_golden_penalty(make):
    with_, without = (make(reg_weight=w).calculate_loss(PAIRS.clone()) for w in (1.0, 0.0))
    close(with_ - without, 0.479325)


def test_golden_scores_and_trajectory(make):
    model = make()
    close(golden.scores(model, [0, 4]), [USER_0, USER_4])
    expected = numbers("12.697249 12.007130 11.406590 10.894217 10.451793")
    close(golden.trajectory(model, PAIRS), expected)
    after = numbers("0.648047 0.210563 0.645984 -0.324328 0.785095 -0.499509 0.892418")
    close(golden.scores(model, [0])[0], after)


def test_golden_image_only(make):
    model = make({"image": golden.feature(6, 1)})
    loss = model.calculate_loss(PAIRS.clone())
    close(loss, 7.505982)
    norms = golden.gradient_norms(loss, online_part(model) + modal_part(model))
    close(norms, numbers("0.243886 0.369055 4.464721 2.765548 0.058657 2.754513 1.953779"))
    close(golden.scores(model, [0, 4]), [USER_0, USER_4])
    expected = numbers("7.505982 6.915602 6.408153 6.001263 5.676948")
    close(golden.trajectory(model, PAIRS), expected)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_targets_carry_no_gradient(make, dropout):
    model = make(reg_weight=0.0, dropout=dropout)
    nn.init.zeros_(model.predictor.weight)  # all that is left of the other parts is in the targets
    model.calculate_loss(PAIRS.clone()).backward()
    embeddings = [model.user_emb.weight, model.item_emb.weight]
    for parameter in embeddings + modal_part(model):
        assert (parameter.grad == 0).all()
    assert (model.predictor.weight.grad != 0).any()


def test_an_identity_predictor_leaves_half_of_the_terms(make):
    model = make(reg_weight=0.0)
    nn.init.eye_(model.predictor.weight)
    nn.init.zeros_(model.predictor.bias)
    users, items = PAIRS
    h_users, h_items = model.online()
    both = distance(h_users[users], h_items[items])  # L_ui = L_iu
    aligned = sum(distance(y[items], h_items[items]) for y in model.modal())  # L_t + L_v, no more
    close(model.calculate_loss(PAIRS.clone()), (2 * both + 2.0 * aligned).item(), 1e-12)


def test_the_batch_is_a_set_of_rows(make):
    model = make()
    loss = model.calculate_loss(PAIRS.clone()).item()
    close(model.calculate_loss(PAIRS[:, [3, 0, 4, 2, 1]]), loss, 1e-12)
    twice = model.calculate_loss(torch.cat([PAIRS, PAIRS], 1))  # means do not move, nor the penalty
    close(twice, loss, 1e-12)


def test_the_penalty_is_of_whole_tables(make):
    model = make(n_layers=0, reg_weight=3.0)
    expected = (model.user_emb.weight.norm() + 2 * model.item_emb.weight.norm()) / 7  # H_i = 2 E_i
    for columns in (slice(None), slice(1, 3)):
        batch = PAIRS[:, columns]
        with_ = model.calculate_loss(batch.clone()).item()
        model.reg_weight = 0.0
        penalty = with_ - model.calculate_loss(batch.clone()).item()
        close(penalty, 3.0 * expected.item(), 1e-12)
        model.reg_weight = 3.0


def test_the_penalty_doubles_with_the_embeddings(make):
    model = make()

    def loss(weight):
        model.reg_weight = weight
        return model.calculate_loss(PAIRS.clone()).item()

    def penalty():
        return loss(1.0) - loss(0.0)

    before = penalty()
    with torch.no_grad():
        model.user_emb.weight.mul_(2)
        model.item_emb.weight.mul_(2)
    close(penalty(), 2 * before, 1e-12)  # norms, not squared


def test_scores_know_neither_dropout_nor_features(make):
    model, other = make(), make(dropout=0.5)
    with torch.no_grad():
        for parameter in modal_part(other):
            parameter.normal_()
    assert torch.equal(golden.scores(model), golden.scores(other))
    other.train()
    batch = [torch.arange(5), None]
    assert torch.equal(other.full_sort_predict(batch), other.full_sort_predict(batch))


def test_scores_follow_the_parameters_after_eval(make):
    model = make()
    before = golden.scores(model)
    nn.init.zeros_(model.predictor.weight)
    assert not torch.equal(golden.scores(model), before)


def test_loading_ends_the_life_of_the_kept_vectors(make):
    model, other = make(), make()
    nn.init.zeros_(other.predictor.weight)
    before = golden.scores(model)
    model.load_state_dict(other.state_dict())
    batch = [torch.arange(5), None]
    assert torch.equal(model.full_sort_predict(batch), golden.scores(other))
    assert not torch.equal(before, golden.scores(other))


def test_scores_are_no_view_and_computed_once(make, monkeypatch):
    model = make().eval()
    batch = [torch.arange(5), None]
    first = model.full_sort_predict(batch).clone()
    monkeypatch.setattr(type(model), "forward", lambda self: pytest.fail("computed again"))
    model.full_sort_predict(batch).fill_(0)
    assert torch.equal(model.full_sort_predict(batch), first)


def test_repeated_rows_share_a_mask(make):
    model = make(dropout=0.5, reg_weight=0.0, cl_weight=0.0)
    one = torch.tensor([[0], [1]])
    torch.manual_seed(3)
    alone = model.calculate_loss(one.clone())
    torch.manual_seed(3)
    close(model.calculate_loss(one.expand(2, 6).clone()), alone.item(), 1e-12)


def test_dropout_is_on_the_targets(make):
    torch.manual_seed(0)
    model = make(dropout=0.5)
    losses = {model.calculate_loss(PAIRS.clone()).item() for _ in range(3)}
    assert len(losses) == 3


def test_distances_are_bounded():
    x = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    assert distance(x, x.detach()).item() == 0.5  # a zero row has cosine 0
    assert distance(x[:1], -x[:1].detach()).item() == 2
    distance(x, torch.zeros_like(x)).backward()
    assert x.grad.isfinite().all()


def test_the_loss_is_bounded(make):
    model = make(reg_weight=0.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    assert 0 <= model.calculate_loss(PAIRS.clone()).item() <= 4 + 8 * 2.0


def test_every_row_of_the_tables_gets_a_gradient(make):
    model = make()
    model.calculate_loss(PAIRS.clone()).backward()
    absent = [0, 2, 6]  # items outside the batch: a gradient of zeros, not none
    for table in model.modal.tables:
        assert table.grad.layout == torch.strided
        assert (table.grad[absent] == 0).all()
        assert (table.grad[[1, 3, 4, 5]] != 0).any(1).all()


def test_number_of_parameters(make):
    def count(users, items, d, v, t):
        tables = (users + items) * d + items * (v + t)
        return tables + d * (v + t) + 2 * d + d * d + d

    assert sum(p.numel() for p in make().parameters()) == count(5, 7, 8, 6, 5)
    assert count(19445, 7050, 64, 4096, 384) == 33_570_688  # MMRec's baby, as upstream prints it


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, r"dropout must be a number in \[0, 0.99\], got 1.0"),
        ({"n_layers": -1}, "n_layers must be an integer >= 0, got -1"),
        ({"reg_weight": -0.1}, "reg_weight must be a number in"),
        ({"cl_weight": -2}, "cl_weight must be a number in"),
        ({"embedding_size": 0}, "embedding_size must be an integer >= 1, got 0"),
        ({"use_neg_sampling": True}, "use_neg_sampling must be False: the model learns from"),
        ({"use_full_sampling": True}, "use_full_sampling must be False: the model learns from"),
    ],
)
def test_refuses_what_it_cannot_use(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
