"""LATTICE against its sheet's golden numbers, and the properties that its traps would break."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
import torch.nn.functional as F

import golden
from common import dense_graph
from common.sparse import csr_tensor
from golden import BATCH, close, numbers
from models.lattice import averaging_adjacency

SETTING = golden.SMALL | {
    "feat_embed_dim": 8,
    "n_ui_layers": 2,
    "n_layers": 1,
    "knn_k": 3,
    "lambda_coeff": 0.9,
    "reg_weight": 0.1,
}
PHASES = {6: 3, 5: 5}


@pytest.fixture
def make(toy):
    """A LATTICE in the toy world with the sheet's parameters; tables: other features."""

    def make(tables=golden.FEATURES, **options):
        model = golden.build("LATTICE", toy, tables, **SETTING | options)
        phases = {model.user_emb.weight: 1, model.item_emb.weight: 2}
        for linear in model.modal.maps:
            phase = PHASES[linear.in_features]
            phases |= {linear.weight: phase, linear.bias: phase + 1}
        golden.fill(phases)
        if len(model.modal.maps) > 1:
            wave = golden.wave((2,), 7)  # image, text
            model.modal_logits.data = wave[[(6, 5).index(w) for w in widths(model)]]
        return model

    return make


def widths(model):
    return [linear.in_features for linear in model.modal.maps]


def modal_part(model):
    """Table, weight and bias of image, then of text."""
    order = [widths(model).index(width) for width in (6, 5) if width in widths(model)]
    parts = [(model.modal.tables[m], *model.modal.maps[m].parameters()) for m in order]
    return [p for part in parts for p in part]


def test_golden_loss_and_gradients(make):
    model = make()
    loss = model.calculate_loss(BATCH.clone())
    close(loss, 0.818468)
    parameters = [model.modal_logits, model.user_emb.weight, model.item_emb.weight]
    norms = golden.gradient_norms(loss, parameters + modal_part(model))
    expected = "0.032118 0.208992 0.255117 0.000103 0.000290 0.000023 0.000104 0.000127 0.000019"
    close(norms, numbers(expected))


def test_golden_scores(make):
    user_0 = numbers("0.470705 -0.354233 0.418599 -0.405180 0.533853 0.124585 0.556850")
    user_4 = numbers("-0.076498 0.169379 -0.108324 0.118946 0.066674 -0.181235 0.142749")
    close(golden.scores(make(), [0, 4]), [user_0, user_4])


@pytest.mark.parametrize(
    ("variant", "last", "logits"),
    [
        ("faithful", 0.725128, (0.227116, 0.235524)),
        ("repaired", 0.725445, (0.214727, 0.247914)),
    ],
)
def test_golden_trajectory(make, variant, last, logits):
    model = make(variant=variant)
    start = numbers("0.818468 0.793921 0.769360 0.746207")

    def rebuild(step):  # at the first and the fifth step
        if step in (0, 4):
            model.pre_epoch_processing()

    losses = golden.trajectory(model, BATCH, before_step=rebuild)
    close(losses, [*start, last])
    order = [(6, 5).index(width) for width in widths(model)]
    close(model.modal_logits, [logits[k] for k in order])


def test_golden_text_only(make):
    model = make({"text": golden.feature(5, 2)})
    loss = model.calculate_loss(BATCH.clone())
    close(loss, 0.785597)
    parameters = [model.user_emb.weight, model.item_emb.weight, *modal_part(model)]
    norms = golden.gradient_norms(loss, parameters)
    close(norms, numbers("0.121084 0.191806 0.000229 0.000131 0.000009"))
    user_0 = numbers("0.464766 -0.296243 0.415790 -0.387669 -0.090483 0.235397 0.546547")
    close(golden.scores(model, [0])[0], user_0)


@pytest.mark.parametrize("variant", ["faithful", "repaired"])
def test_the_graph_is_frozen_after_the_first_batch(make, variant):
    model = make(variant=variant)
    first = model.calculate_loss(BATCH.clone())
    model.zero_grad()
    second = model.calculate_loss(BATCH.clone())
    close(second, first.item(), 1e-12)
    second.backward()
    for parameter in model.graph_parameters():
        if variant == "faithful":
            assert (parameter.grad == 0).all()
        else:
            assert parameter.grad is None
    model.pre_epoch_processing()
    model.zero_grad()
    model.calculate_loss(BATCH.clone()).backward()
    assert all((parameter.grad != 0).any() for parameter in model.graph_parameters())


def test_evaluation_leaves_the_epochs_graph_alone(make):
    model = make()
    model.calculate_loss(BATCH.clone())
    graph = model.graph.to_dense()
    with torch.no_grad():
        model.modal_logits[0] += 1
    before = golden.scores(model)
    assert torch.equal(model.graph.to_dense(), graph)
    assert not model.rebuild
    close(before, golden.scores(make()).tolist(), 1.0)
    assert not torch.allclose(before, golden.scores(make()))  # it scores with a new graph


def test_only_the_original_graph(make):
    model = make(lambda_coeff=1.0)
    model.calculate_loss(BATCH.clone()).backward()
    assert all((parameter.grad == 0).all() for parameter in model.modal.parameters())
    assert (model.modal_logits.grad != 0).all()


def test_gradients_of_the_logits_sum_to_zero(make):
    model = make()
    model.calculate_loss(BATCH.clone()).backward()
    close(model.modal_logits.grad.sum(), 0.0, 1e-15)


def test_twin_modalities_need_no_weights(make):
    model = make({"image": golden.feature(6, 1), "text": golden.feature(6, 1)})
    model.modal.maps[1].load_state_dict(model.modal.maps[0].state_dict())
    model.calculate_loss(BATCH.clone()).backward()
    close(model.modal_logits.grad, [0.0, 0.0], 1e-12)


def dense_graph_of(model, tables):
    """The sheet's formulas with dense matrices."""
    shares, learned, original = model.modal_logits.softmax(0), 0, 0
    for m, (share, x) in enumerate(zip(shares, tables, strict=True)):
        similarity = dense_graph.build_sim(x)
        graph = dense_graph.build_knn_normalized_graph(similarity, model.knn_k, False, "sym")
        original = original + share * graph
        similarity = dense_graph.build_sim(model.modal()[m])
        learned = learned + share * dense_graph.build_knn_neighbourhood(similarity, model.knn_k)
    learned = dense_graph.compute_normalized_laplacian(learned)
    return (1 - model.original_share) * learned + model.original_share * original


def test_edges_equal_the_dense_formula(make, monkeypatch):
    model = make(knn_k=3)
    generator = torch.Generator().manual_seed(0)
    tables = [torch.rand(200, w, generator=generator, dtype=torch.float64) for w in widths(model)]
    model.item_emb = torch.nn.Embedding(200, 8).double()
    model.knn_k = 10
    for m, x in enumerate(tables):
        model.modal.tables[m] = torch.nn.Parameter(x.clone())
        items, cosines = dense_graph.build_sim(x).topk(10)[::-1]
        weights = cosines.sum(1).rsqrt().unsqueeze(1) * cosines * cosines.sum(1).rsqrt()[items]
        setattr(model, f"original_items_{m}", items)
        setattr(model, f"original_weights_{m}", weights)
    probe = torch.rand(200, 8, generator=generator, dtype=torch.float64)
    parameters = [model.item_emb.weight, *model.graph_parameters()]
    h = model.along_edges(*model.edges())
    expected = dense_graph_of(model, tables) @ model.item_emb.weight
    torch.testing.assert_close(h, expected, rtol=0, atol=1e-10)
    got = torch.autograd.grad((probe * h).sum(), parameters)
    wanted = torch.autograd.grad((probe * expected).sum(), parameters)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_rows_of_the_adjacency_sum_to_one(make):
    matrix = averaging_adjacency(sp.coo_matrix(([1.0, 1.0, 1.0], ([0, 0, 2], [1, 1, 0])), (4, 3)))
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(matrix.toarray()[0], [0.5, 0, 0, 0, 0, 0.5, 0])  # user 0, item 1
    np.testing.assert_allclose(matrix.toarray()[1], [0, 1, 0, 0, 0, 0, 0])  # isolated


def test_isolated_nodes_keep_their_embeddings(make):
    model = make()
    rows = ([0, 1, 2, 3], [0, 1, 2, 3])  # neither user 4 nor items 4 to 6
    adjacency = averaging_adjacency(sp.coo_matrix((np.ones(4), rows), (5, 7)))
    model.adjacency = csr_tensor(adjacency).double()
    h = torch.zeros(7, 8, dtype=torch.float64)  # an item graph without edges
    users, items = model.combine(h)
    close(users[4], model.user_emb.weight[4].tolist(), 1e-15)
    close(items[4:], model.item_emb.weight[4:].tolist(), 1e-15)
    assert (users[:4] != model.user_emb.weight[:4]).all(1).all()


def test_mf_takes_embeddings_as_they_are(make):
    model = make(cf_model="mf")
    users, items = model()
    close(users, model.user_emb.weight.tolist(), 0)
    h = model.along_edges(*model.edges())
    close(items, (model.item_emb.weight + F.normalize(h)).tolist(), 0)


def test_several_item_layers(make):
    model = make(n_layers=2)
    model.calculate_loss(BATCH.clone())
    edges = model.along_edges(*model.edges())
    close(edges, model.along_frozen_graph().tolist(), 1e-12)
    graph = model.graph.to_dense()
    close(edges, (graph @ graph @ model.item_emb.weight).tolist(), 1e-12)


def test_number_of_parameters(make):
    def count(users, items, d, d_f, v, t):
        return (users + items) * d + items * (v + t) + d_f * (v + t) + 2 * d_f + 2

    assert sum(p.numel() for p in make().parameters()) == count(5, 7, 8, 8, 6, 5)
    assert count(19445, 7050, 64, 64, 4096, 384) == 33_566_530  # MMRec's baby, as upstream prints


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cf_model": "ngcf"}, "cf_model must be one of lightgcn, mf, got 'ngcf'"),
        ({"variant": "torch2"}, "variant must be one of faithful, repaired, got 'torch2'"),
        ({"lambda_coeff": 1.5}, r"lambda_coeff must be a number in \[0, 1\], got 1.5"),
        ({"knn_k": 8}, "knn_k must be at most the 7 items of the data set, got 8"),
        ({"n_layers": -1}, "n_layers must be an integer >= 0, got -1"),
        ({"n_ui_layers": -1}, "n_ui_layers must be an integer >= 0, got -1"),
        ({"feat_embed_dim": 0}, "feat_embed_dim must be an integer >= 1, got 0"),
        ({"embedding_size": 0}, "embedding_size must be an integer >= 1, got 0"),
        ({"reg_weight": -1}, "reg_weight must be a number in"),
    ],
)
def test_refuses_what_it_cannot_use(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
