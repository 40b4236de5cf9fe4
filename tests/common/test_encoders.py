import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import support
from common.encoders import LightGCN_Encoder, bipartite_adjacency, drop_edges
from ld4mrec.training.randomness import init_seed

N_USERS, N_ITEMS = 5, 7


class LenientConfig(dict):
    def __missing__(self, key):
        return None


def interactions(form="coo"):
    users, items = np.array(support.TRAIN).T
    matrix = sp.coo_matrix((np.ones(len(users)), (users, items)), shape=(N_USERS, N_ITEMS))
    return matrix.asformat(form)


def encoder(**keys):
    config = LenientConfig(embedding_size=8, NEG_PREFIX="neg__", ITEM_ID_FIELD="itemID", **keys)
    config["device"] = torch.device("cpu")
    data = SimpleNamespace(get_user_num=lambda: N_USERS, get_item_num=lambda: N_ITEMS)
    loader = SimpleNamespace(dataset=data, inter_matrix=interactions)
    torch.manual_seed(0)
    return LightGCN_Encoder(config, loader)


def slow_adjacency():
    degree_u, degree_i = [0] * N_USERS, [0] * N_ITEMS
    for u, i in support.TRAIN:
        degree_u[u] += 1
        degree_i[i] += 1
    full = np.zeros((N_USERS + N_ITEMS, N_USERS + N_ITEMS))
    for u, i in support.TRAIN:
        full[u, N_USERS + i] = full[N_USERS + i, u] = 1 / math.sqrt(degree_u[u] * degree_i[i])
    return full


def test_adjacency_is_the_slow_one():
    adjacency = bipartite_adjacency(interactions())
    np.testing.assert_allclose(adjacency.to_dense().numpy(), slow_adjacency(), atol=1e-7)
    assert adjacency.is_coalesced()
    order = adjacency.indices()[0] * (N_USERS + N_ITEMS) + adjacency.indices()[1]
    assert order.diff().gt(0).all()  # it only said so itself


def test_repeated_pairs_count_once():
    once = interactions()
    place = (np.tile(once.row, 2), np.tile(once.col, 2))
    twice = sp.coo_matrix((np.tile(once.data, 2), place), once.shape)
    expected = bipartite_adjacency(once).to_dense()
    assert bipartite_adjacency(twice).to_dense().equal(expected)


@pytest.mark.parametrize("n_layers", [None, 0, 2])
def test_embeddings_are_the_mean_of_the_layers(n_layers):
    model = encoder(n_layers=n_layers)
    layer = torch.cat([model.user_emb, model.item_emb]).detach().double().numpy()
    total = layer
    for _ in range(3 if n_layers is None else n_layers):
        layer = slow_adjacency() @ layer
        total = total + layer
    mean = total / (4 if n_layers is None else n_layers + 1)
    users, items = model.get_embedding()
    np.testing.assert_allclose(users.detach(), mean[:N_USERS], atol=1e-6)
    np.testing.assert_allclose(items.detach(), mean[N_USERS:], atol=1e-6)


def test_tables_are_xavier_uniform():
    model = encoder()
    assert model.user_emb.abs().max().item() <= math.sqrt(6 / (N_USERS + 8))
    assert model.item_emb.abs().max().item() <= math.sqrt(6 / (N_ITEMS + 8))
    assert dict(model.named_parameters()).keys() == {"user_emb", "item_emb"}


def test_forward_gathers_rows_and_drops_edges_in_evaluation_too(monkeypatch):
    model = encoder(n_layers=2).eval()
    batch = torch.tensor([[0, 3, 3], [6, 5, 0]])
    monkeypatch.setattr(np.random, "random", lambda: 0.0)
    users, items = model(batch)
    all_users, all_items = model.get_embedding()
    assert users.equal(all_users[batch[0]])
    assert items.equal(all_items[batch[1]])
    monkeypatch.setattr(np.random, "random", lambda: 0.6)
    assert not model(batch)[0].equal(users)


def test_each_call_draws_a_rate_of_its_own():
    model = encoder(n_layers=1)
    batch = torch.tensor([[0, 1, 2], [0, 1, 2]])
    init_seed(3)
    first, second = model(batch)[0], model(batch)[0]
    assert not first.equal(second)
    init_seed(3)
    assert model(batch)[0].equal(first)


def test_drop_edges_keeps_the_mean():
    torch.manual_seed(0)
    full = bipartite_adjacency(interactions())
    mean = sum(drop_edges(full, 0.4).to_dense() for _ in range(3000)) / 3000
    np.testing.assert_allclose(mean, full.to_dense(), atol=0.05)
    assert drop_edges(full, 0.999999)._nnz() == 0


def test_drop_edges_refuses_a_rate_of_one():
    with pytest.raises(ValueError, match=r"at least 0 and below 1, got 1"):
        drop_edges(bipartite_adjacency(interactions()), 1)


def test_encoder_can_be_copied_and_trained():
    model = encoder()
    target = copy.deepcopy(model)
    users, items = model(torch.tensor([[0, 1], [0, 1]]))
    (users * items).sum().backward()
    assert model.user_emb.grad.isfinite().all()
    assert target.user_emb.equal(model.user_emb)
    assert "adjacency" not in model.state_dict()
