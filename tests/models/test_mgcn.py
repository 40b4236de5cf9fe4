"""MGCN against its sheet's golden numbers, and the properties that its traps would break."""

import math

import pytest
import torch
from torch import nn

import golden
from common.loss import info_nce
from golden import BATCH, close, numbers
from models.mgcn import TEMPERATURE

SETTING = {"n_ui_layers": 2, "n_layers": 1, "knn_k": 3, "cl_loss": 0.1, "reg_weight": 0.1}
SETTING |= golden.SMALL
PHASES = {6: (3, 10, 14), 5: (5, 12, 16)}  # map, purifier, preference gate; biases one more


@pytest.fixture
def make(toy):
    """An MGCN in the toy world with the sheet's parameters; tables: other features."""

    def make(tables=golden.FEATURES, **options):
        model = golden.build("MGCN", toy, tables, **SETTING | options)
        phases = {model.user_emb.weight: 1, model.item_emb.weight: 2, model.query.weight: 9}
        phases |= {model.attention.weight: 7, model.attention.bias: 8}
        for m, linear in enumerate(model.modal.maps):
            linears = (linear, model.purifiers[m], model.preferences[m])
            for part, phase in zip(linears, PHASES[linear.in_features], strict=True):
                phases |= {part.weight: phase, part.bias: phase + 1}
        golden.fill(phases)
        return model

    return make


def modal_linears(model, kind):
    """Image's, then text's; kind: which of map, purifier, preference gate."""
    by_width = {linear.in_features: m for m, linear in enumerate(model.modal.maps)}
    return [
        (model.modal.maps, model.purifiers, model.preferences)[kind][by_width[w]] for w in (6, 5)
    ]


def test_golden_loss_and_its_parts(make):
    close(make().calculate_loss(BATCH.clone()), 1.047040)
    close(make(reg_weight=0, cl_loss=0).calculate_loss(BATCH.clone()), 0.655161)
    close(make(cl_loss=0).calculate_loss(BATCH.clone()), 0.655161 + 0.018880)
    model = make()
    content, side = model.views()
    users, items = BATCH[0], 5 + BATCH[1]
    close(info_nce(side[items], content[items], TEMPERATURE), 1.914175)
    close(info_nce(side[users], content[users], TEMPERATURE), 1.815823)


def test_golden_gradients(make):
    model = make()
    tables = {table.shape[1]: table for table in model.modal.tables}
    maps, purifiers, preferences = (modal_linears(model, kind) for kind in range(3))
    parameters = [model.user_emb.weight, model.item_emb.weight, tables[6], tables[5]]
    parameters += [p for linear in maps for p in linear.parameters()]
    parameters += [*model.attention.parameters(), model.query.weight]
    parameters += [p for linear in purifiers + preferences for p in linear.parameters()]
    norms = golden.gradient_norms(model.calculate_loss(BATCH.clone()), parameters)
    expected = "0.259587 1.176896 0.000280 0.000109 0.006590 0.003669 0.002213 0.001620"
    expected += " 0.001234 0.000148 0.002719 0.064429 0.037359 0.059994 0.044434"
    expected += " 0.009615 0.040387 0.009488 0.039836"
    close(norms, numbers(expected))
    assert len(parameters) == len(list(model.parameters()))


def test_golden_scores_and_trajectory(make):
    model = make()
    user_0 = numbers("0.152640 -0.092644 0.083145 -0.105084 0.133927 -0.096722 0.077502")
    user_4 = numbers("-0.022715 0.021998 -0.030986 0.015078 0.005778 -0.006628 0.011882")
    close(golden.scores(model, [0, 4]), [user_0, user_4])
    expected = numbers("1.047040 0.956259 0.873693 0.825503 0.810110")
    close(golden.trajectory(model, BATCH), expected)
    after = numbers("0.103443 -0.090358 0.044683 -0.110354 0.095981 -0.101131 0.054280")
    close(golden.scores(model, [0])[0], after)


def test_a_step_moves_the_feature_tables_but_not_the_graphs(make):
    model = make()
    tables = [table.detach().clone() for table in model.modal.tables]
    graphs = [model.knn_0.to_dense(), model.knn_1.to_dense()]
    golden.trajectory(model, BATCH, steps=1)
    for before, table in zip(tables, model.modal.tables, strict=True):
        assert (before != table).any()
    assert torch.equal(model.knn_0.to_dense(), graphs[0])
    assert torch.equal(model.knn_1.to_dense(), graphs[1])


def test_fusion_weights_are_shares(make):
    model = make()
    generator = torch.Generator().manual_seed(0)
    modal = [torch.randn(12, 8, generator=generator, dtype=torch.float64) for _ in range(2)]
    weights = model.fusion_weights(modal)
    close(weights.sum(1), [1.0] * 12, 1e-12)
    # a constant added to both logits: both inputs' logits move together
    close(model.fusion_weights([modal[0], modal[0]]), [[0.5, 0.5]] * 12, 1e-12)
    model.query = Shifted(model.query)
    close(model.fusion_weights(modal), weights.tolist(), 1e-12)


class Shifted(nn.Module):
    """Another module's output and 3."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) + 3.0


def test_twin_modalities(make):
    model = make({"image": golden.feature(6, 1), "text": golden.feature(6, 1)})
    twins = [model.modal.maps, model.purifiers, model.preferences]
    for pair in twins:
        pair[1].load_state_dict(pair[0].state_dict())
    _, side = model.views()
    modal = modality_view(model, 0)
    close(side, (modal / 3).tolist(), 1e-12)  # Com = M, so that only Com / 3 is left


def modality_view(model, m):
    """M of one modality with dense matrices: (U+I, D)."""
    y = model.modal()[m]
    a = model.item_emb.weight * torch.sigmoid(model.purifiers[m](y))
    a = getattr(model, f"knn_{m}").to_dense() @ a
    return torch.cat([model.user_item.to_dense() @ a, a])


def test_without_item_embeddings_the_side_view_is_nothing(make):
    model = make(cl_loss=0.0)
    nn.init.zeros_(model.item_emb.weight)
    content, side = model.views()
    assert (side == 0).all()
    assert torch.equal(torch.cat(model()), content)


def test_closed_preference_gates_leave_a_third_of_the_common_view(make):
    model = make()
    for gate in model.preferences:
        nn.init.zeros_(gate.weight)
        nn.init.constant_(gate.bias, -1e4)
    _, side = model.views()
    modal = [modality_view(model, m) for m in range(2)]
    weights = model.fusion_weights(modal)
    common = weights[:, :1] * modal[0] + weights[:, 1:] * modal[1]
    close(side, (common / 3).tolist(), 1e-12)


def test_contrast_by_hand():
    for rows in (2, 5):
        orthonormal = torch.eye(rows, dtype=torch.float64)
        expected = math.log(1 + (rows - 1) * math.exp(-5))
        close(info_nce(orthonormal, orthonormal, TEMPERATURE), expected, 1e-12)
        equal = torch.ones(rows, 3, dtype=torch.float64)
        close(info_nce(equal, equal, TEMPERATURE), math.log(rows), 1e-12)


def test_the_penalty_divides_by_the_configured_batch_size(make):
    model = make(cl_loss=0.0)
    batch = BATCH[:, :2]
    with_ = model.calculate_loss(batch.clone()).item()
    model.reg_weight = 0.0
    users, items = model()
    rows = users[batch[0]], items[batch[1]], items[batch[2]]
    expected = 0.1 * 0.5 * sum(x.square().sum() for x in rows).item() / 5
    close(with_ - model.calculate_loss(batch.clone()).item(), expected, 1e-12)


def test_a_cold_item_gets_content(make):
    model = make()
    content, side = model.views()
    close(content[5 + 6], (model.item_emb.weight[6] / 3).tolist(), 1e-12)  # no edge
    assert (side[5 + 6] != 0).any()


@pytest.mark.parametrize(("name", "width", "phase"), [("image", 6, 1), ("text", 5, 2)])
def test_one_modality_is_half_of_its_view(make, name, width, phase):
    model = make({name: golden.feature(width, phase)})
    _, side = model.views()
    close(side, (modality_view(model, 0) / 2).tolist(), 1e-12)  # ours: M + 1 = 2
    model.calculate_loss(BATCH.clone()).backward()
    assert all(p.grad is not None for p in model.parameters())
    for inert in (*model.attention.parameters(), *model.preferences.parameters()):
        assert (inert.grad == 0).all()


def test_three_modalities_share(make):
    tables = {name: golden.feature(6, phase) for name, phase in (("a", 1), ("b", 2), ("c", 3))}
    model = make(tables, modalities={name: f"{name}_feat.npy" for name in tables})
    assert len(model.modal.tables) == 3
    for gate in model.preferences:
        nn.init.zeros_(gate.weight)
        nn.init.constant_(gate.bias, 1e4)  # open: Sd = (sum M - 2 Com) / 4
    modal = [modality_view(model, m) for m in range(3)]
    weights = model.fusion_weights(modal)
    common = sum(weights[:, m : m + 1] * modal[m] for m in range(3))
    _, side = model.views()
    close(side, ((sum(modal) - 2 * common) / 4).tolist(), 1e-12)


def test_number_of_parameters(make):
    def count(users, items, d, v, t):
        tables = (users + items) * d + items * (v + t)
        return tables + d * (v + t) + 2 * d + 5 * (d * d + d) + d

    assert sum(p.numel() for p in make().parameters()) == count(5, 7, 8, 6, 5)
    assert count(19445, 7050, 64, 4096, 384) == 33_587_392  # MMRec's baby, as upstream prints it


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"knn_k": 8}, "knn_k must be at most the 7 items of the data set, got 8"),
        ({"knn_k": 0}, "knn_k must be an integer >= 1, got 0"),
        ({"n_layers": -1}, "n_layers must be an integer >= 0, got -1"),
        ({"n_ui_layers": -1}, "n_ui_layers must be an integer >= 0, got -1"),
        ({"cl_loss": -0.1}, "cl_loss must be a number in"),
        ({"reg_weight": -1}, "reg_weight must be a number in"),
        ({"embedding_size": 0}, "embedding_size must be an integer >= 1, got 0"),
    ],
)
def test_refuses_what_it_cannot_use(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
