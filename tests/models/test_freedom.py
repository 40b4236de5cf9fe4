"""FREEDOM against a literal form with dense matrices, and the properties of its two graphs."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import golden
import support
from golden import BATCH, FEATURES, N_ITEMS, N_USERS, close
from models.freedom import drawn_edges, modality_shares

SETTING = golden.SMALL | {"knn_k": 3, "reg_weight": 0.1, "dropout": 0.5}
R = golden.matrix(support.TRAIN).tocsr()


@pytest.fixture
def make(toy):
    """A FREEDOM in the toy world with parameters of waves; tables: other features."""

    def make(tables=FEATURES, **options):
        model = golden.build("FREEDOM", toy, tables, **SETTING | options)
        golden.fill({parameter: phase for phase, parameter in enumerate(model.parameters(), 1)})
        return model

    return make


def dense_adjacency(interactions):
    """D^-1/2 [[0, R], [R^T, 0]] D^-1/2, nodes without edges 0."""
    block = torch.from_numpy(interactions.toarray())
    full = torch.zeros(N_USERS + N_ITEMS, N_USERS + N_ITEMS, dtype=torch.float64)
    full[:N_USERS, N_USERS:], full[N_USERS:, :N_USERS] = block, block.T
    degree = full.sum(1).rsqrt()
    degree[degree.isinf()] = 0
    return degree[:, None] * full * degree


def dense_knn(features, k):
    """Each row's k largest cosines as 1 / k."""
    unit = F.normalize(features.double())
    graph = torch.zeros(len(features), len(features), dtype=torch.float64)
    return graph.scatter_(1, (unit @ unit.T).topk(k).indices, 1 / k)


def literal(model, adjacency):
    """Final users and items by dense matrices."""
    layers = [torch.cat([model.user_emb.weight, model.item_emb.weight])]
    layers += [adjacency @ layers[0], adjacency @ (adjacency @ layers[0])]
    users, items = (sum(layers) / 3).split([N_USERS, N_ITEMS])
    graph = 0.1 * dense_knn(FEATURES["image"], 3) + 0.9 * dense_knn(FEATURES["text"], 3)
    return users, items + graph @ model.item_emb.weight


def pruned_block(model):
    """The epoch's user-item edges, (U, I), 1 where there is one."""
    return (model.pruned.to_dense()[:N_USERS, N_USERS:] > 0).double()


def test_the_item_graph_by_hand(make):
    expected = 0.1 * dense_knn(FEATURES["image"], 3) + 0.9 * dense_knn(FEATURES["text"], 3)
    graph = make().item_graph.to_dense()
    close(graph, expected.tolist(), 1e-7)
    close(graph.sum(1), [1.0] * N_ITEMS, 1e-6)
    close(make().item_graph_transposed.to_dense(), expected.T.tolist(), 1e-7)


def test_scores_are_those_of_the_whole_graph(make):
    model = make()
    users, items = literal(model, dense_adjacency(R))
    model.train()
    model.pre_epoch_processing()
    close(golden.scores(model), (users @ items.T).tolist(), 1e-7)
    model.train()  # also before an evaluation has kept anything
    close(torch.cat(model()), torch.cat([users, items]).tolist(), 1e-7)


def test_the_loss_by_hand(make):
    model = make()
    model.pre_epoch_processing()
    users, items = literal(model, dense_adjacency(pruned_block(model).numpy().view(Matrix)))
    u, p, n = users[BATCH[0]], items[BATCH[1]], items[BATCH[2]]
    expected = -F.logsigmoid((u * p).sum(1) - (u * n).sum(1)).mean()
    for y in model.modal():
        p, n = y[BATCH[1]], y[BATCH[2]]
        expected = expected - 0.1 * F.logsigmoid((u * p).sum(1) - (u * n).sum(1)).mean()
    close(model.calculate_loss(BATCH.clone()), expected.item(), 1e-7)


class Matrix(np.ndarray):
    """An array with scipy's name for its dense form."""

    def toarray(self):
        return np.asarray(self)


def test_before_the_first_epoch_the_graph_is_whole(make):
    model = make()
    assert model.pruned.to_dense().equal(model.adjacency.to_dense())


@pytest.mark.parametrize(("share", "kept"), [(0.0, 0), (0.1, 1), (0.2, 2), (0.5, 6), (1.0, 11)])
def test_pruning_keeps_the_share(share, kept):
    torch.manual_seed(0)
    drawn = drawn_edges(R, share)
    assert drawn.nnz == kept  # of 11: none is drawn twice, they would have added up
    assert drawn.sum() == kept
    assert (drawn > R).nnz == 0


def test_the_chance_of_an_edge_is_by_the_degrees_of_its_ends():
    torch.manual_seed(0)
    draws = 4000
    counts = sum(drawn_edges(R, 1 / 11).toarray() for _ in range(draws))
    users, items = R.sum(1).A1, R.sum(0).A1
    chances = np.where(R.toarray() > 0, 1 / np.sqrt(np.outer(users, np.maximum(items, 1))), 0)
    chances /= chances.sum()
    error = np.sqrt(draws * chances * (1 - chances))
    assert (np.abs(counts - draws * chances) <= 4 * error).all()


def test_two_edges_are_drawn_without_replacement():
    pairs = [(0, 0), (0, 1), (1, 1), (0, 2)]
    block = golden.matrix(pairs, 2, 3).tocsr()
    degrees = [(3, 1), (3, 2), (1, 2), (3, 1)]
    weights = [1 / np.sqrt(u * i) for u, i in degrees]
    weights = dict(zip(pairs, np.array(weights) / sum(weights), strict=True))
    torch.manual_seed(0)
    draws = 4000
    counts = dict.fromkeys(itertools.combinations(sorted(pairs), 2), 0)
    for _ in range(draws):
        counts[tuple(sorted(zip(*drawn_edges(block, 0.5).nonzero(), strict=True)))] += 1
    for (a, b), count in counts.items():
        one, other = weights[a], weights[b]
        chance = one * other / (1 - one) + other * one / (1 - other)
        assert abs(count - draws * chance) <= 4 * np.sqrt(draws * chance * (1 - chance))


def test_the_pruned_graph_is_normalised_anew(make):
    model = make()
    model.pre_epoch_processing()
    block = pruned_block(model)
    assert block.sum() == round(0.5 * 11)
    close(model.pruned.to_dense(), dense_adjacency(block.numpy().view(Matrix)).tolist(), 1e-7)


def test_each_epoch_draws_anew_by_the_seed(make):
    model = make()

    def epochs(seed):
        torch.manual_seed(seed)
        for _ in range(6):
            model.pre_epoch_processing()
            yield pruned_block(model)

    one, same, other = (torch.stack([*epochs(seed)]) for seed in (1, 1, 2))
    assert one.equal(same)
    assert not one.equal(other)
    assert len({tuple(epoch.flatten().tolist()) for epoch in one}) > 1


def test_a_step_moves_the_features_but_not_the_graphs(make):
    model = make()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    graphs = [model.item_graph.to_dense(), model.adjacency.to_dense()]
    assert not model.item_graph.requires_grad
    golden.trajectory(model, BATCH, steps=1)
    assert all((before[name] != p).any() for name, p in model.named_parameters())
    assert model.item_graph.to_dense().equal(graphs[0])
    assert model.adjacency.to_dense().equal(graphs[1])


def test_features_reach_the_ranking_through_the_frozen_graph_only(make):
    model = make(reg_weight=0.0)
    model.calculate_loss(BATCH.clone()).backward()
    for parameter in model.modal.parameters():
        assert (parameter.grad == 0).all()  # and not None: Adam goes on
    assert (model.item_emb.weight.grad != 0).any()


def test_without_pruning_training_sees_the_whole_graph(make):
    model = make(dropout=0.0)
    model.pre_epoch_processing()
    assert model.pruned.to_dense().equal(model.adjacency.to_dense())


def test_items_without_features_are_isolated_in_their_graph(make):
    tables = {"image": golden.feature(6, 1)}
    tables["image"][2] = 0
    graph = make(tables).item_graph.to_dense()
    assert not graph[2].any()
    assert not graph[:, 2].any()
    close(graph.sum(1), [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0], 1e-6)


@pytest.mark.parametrize(
    ("names", "shares"),
    [
        (["text", "image"], [0.9, 0.1]),
        (["image", "audio"], [0.1, 0.9]),
        (["text", "image", "audio"], [0.45, 0.1, 0.45]),
        (["image"], [1.0]),
        (["text"], [1.0]),
        (["text", "audio"], [0.5, 0.5]),
    ],
)
def test_shares_of_the_modalities(names, shares):
    assert modality_shares(names, 0.1) == pytest.approx(shares)


def test_number_of_parameters(make):
    expected = (N_USERS + N_ITEMS) * 8 + N_ITEMS * (6 + 5) + 8 * (6 + 5) + 2 * 8
    assert sum(p.numel() for p in make().parameters()) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, "dropout must be below 1, so that edges remain, got 1.0"),
        ({"dropout": -0.1}, r"dropout must be a number in \[0, 1\], got -0.1"),
        ({"image_weight": 1.5}, r"image_weight must be a number in \[0, 1\], got 1.5"),
        ({"knn_k": 8}, "knn_k must be at most the 7 items of the data set, got 8"),
        ({"n_layers": -1}, "n_layers must be an integer >= 0, got -1"),
        ({"n_ui_layers": -1}, "n_ui_layers must be an integer >= 0, got -1"),
        ({"reg_weight": -1}, "reg_weight must be a number in"),
        ({"embedding_size": 0}, "embedding_size must be an integer >= 1, got 0"),
    ],
)
def test_refuses_what_it_cannot_use(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
