import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

import common.item_links as module
from common import graph
from common.item_links import (
    ItemGraph,
    co_occurrences,
    content_graph,
    interaction_graph,
    item_graph,
    regressions,
)

USERS, ITEMS = 40, 15


def random_matrix(seed=0, density=0.25):
    dense = np.random.default_rng(seed).random((USERS, ITEMS)) < density
    dense[:, 5] = False  # an item without interactions
    return graph.binary_csr(sp.coo_matrix(dense.astype(float)))


def random_graph(seed=0, parts=1):
    generator = np.random.default_rng(seed)
    dense = generator.normal(size=(parts * ITEMS, ITEMS))
    dense[generator.random(dense.shape) < 0.7] = 0
    return sp.csr_matrix(dense)


def batch(matrix, users):
    return graph.HistoryRows(matrix).bags(torch.tensor(users))


def options(**changed):
    graphs = {"item_graph": 5, "graph_penalty": 1.0, "graph_strength": 2.0}
    return graphs | {"content_graph": 4, "content_strength": 0.5, "cache_dir": None} | changed


def by_hand(matrix, k, penalty):
    """The weights (I, I), column i those of item i's regression, item by item."""
    weights = np.asarray(matrix.sum(1)).ravel().clip(1) ** -0.25
    x = weights[:, None] * matrix.toarray()
    gram = x.T @ x
    # equal sums of another order differ in their last digits, and those decide here as there
    read = co_occurrences(graph.normalized(matrix, -0.25, 0).astype(np.float32), 500).toarray()
    found = np.zeros((ITEMS, ITEMS))
    for i in range(ITEMS):
        others = [j for j in range(ITEMS) if j != i and gram[i, j] > 0]
        chosen = sorted(others, key=lambda j: (-read[i, j], j))[:k]
        inner = gram[np.ix_(chosen, chosen)] + penalty * np.eye(len(chosen))
        found[chosen, i] = np.linalg.solve(inner, gram[chosen, i])
    return found


@pytest.mark.parametrize("k", [1, 4, 50])
@given(st.integers(0, 30))
def test_weights_are_those_of_each_items_ridge_regression(k, seed):
    matrix = random_matrix(seed)
    found = interaction_graph(matrix, k, 3.0, None)
    np.testing.assert_allclose(found.toarray(), by_hand(matrix, k, 3.0), atol=1e-5)


def test_blocks_of_items_change_nothing(monkeypatch):
    matrix = random_matrix()
    whole = regressions(matrix, 4, 2.0)
    monkeypatch.setattr(module, "SOLVED", 4)
    blocks = regressions(matrix, 4, 2.0)
    assert (blocks["item"] == whole["item"]).all()
    np.testing.assert_allclose(blocks["weight"], whole["weight"], atol=1e-6)


@given(st.integers(0, 30), st.integers(1, 20))
def test_co_occurrences_keep_the_largest_and_of_equals_the_lower(seed, kept):
    matrix = random_matrix(seed).astype(np.float32)
    dense = (matrix.T @ matrix).toarray()
    found = co_occurrences(matrix, kept, block=4).toarray()
    for i in range(ITEMS):
        order = np.lexsort((np.arange(ITEMS), -dense[i]))[:kept]
        expected = np.zeros(ITEMS)
        expected[order] = dense[i, order]
        assert found[i].tolist() == expected.tolist()


def test_a_part_has_the_graph_of_the_other_users():
    matrix, part = random_matrix(), np.arange(USERS) % 2
    found = item_graph(options(content_graph=0), matrix, {}, part)
    users = [0, 1, 6, 7]
    rows = found(*batch(matrix, users), torch.from_numpy(part[users])).dense().numpy()
    for p in (0, 1):
        others = matrix.multiply((part != p)[:, None]).tocsr()
        expected = 2 * matrix[[u for u in users if u % 2 == p]] @ by_hand(others, 5, 1.0)
        np.testing.assert_allclose(rows[p::2], expected, atol=1e-5)


@given(st.integers(0, 30))
def test_rows_are_the_product(seed):
    matrix, links = random_matrix(seed), random_graph(seed)
    found = ItemGraph(links)(*batch(matrix, range(USERS)))
    np.testing.assert_allclose(found.dense(), (matrix @ links).toarray(), atol=1e-5)
    assert (found.cells.diff() > 0).all()


def test_of_no_history_there_is_no_row():
    found = ItemGraph(random_graph())(torch.zeros(0, dtype=torch.int64), torch.zeros(3).long())
    assert found.dense().tolist() == torch.zeros(3, ITEMS).tolist()
    assert found.at(torch.tensor([0, 7])).tolist() == [0, 0]


@given(st.integers(0, 30))
def test_sums_of_sparse_rows_are_those_of_dense_ones(seed):
    matrix = random_matrix(seed)
    first, second = (
        ItemGraph(random_graph(seed + n))(*batch(matrix, range(USERS))) for n in (0, 1)
    )
    a, b = first.dense(), second.dense()
    torch.testing.assert_close(first.squares(), a.square().sum(1), atol=1e-4, rtol=1e-4)
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(USERS, 3, generator=generator)
    weights, bias = (
        torch.randn(ITEMS, 3, generator=generator),
        torch.randn(ITEMS, generator=generator),
    )
    expected = (a * (h @ weights.T + bias)).sum(1)
    found = first.times_scores(h, weights, bias)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    cells = torch.randperm(USERS * ITEMS, generator=generator)[:50]
    assert torch.equal(first.at(cells), a.flatten()[cells])
    torch.testing.assert_close(first.add_to(b.clone()), b + a)


def test_content_graph_by_hand():
    features = np.random.default_rng(0).normal(size=(ITEMS, 4)).astype(np.float32)
    features[3] = 0  # no features: no neighbours
    found = content_graph(features, 4, None, "text")
    unit = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-9)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    nearest = np.zeros((ITEMS, ITEMS))
    for i in range(ITEMS):
        chosen = np.lexsort((np.arange(ITEMS), -cosines[i].round(6)))[:4]
        nearest[i, chosen] = cosines[i, chosen].clip(min=0)
    sums = nearest.sum(1)
    scale = np.where(sums > 0, sums.clip(1e-12) ** -0.5, 0)
    expected = scale[:, None] * nearest * scale
    expected = expected + expected.T
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-5)


def test_equal_items_have_k_neighbours_each():
    graph = content_graph(np.ones((20, 2), np.float32), 3, None, "text")
    # each of the 20 has three neighbours, and their transpose is added
    assert graph.nnz <= 2 * 20 * 3
    features = torch.ones(20, 2)
    assert graph.shape == (len(features),) * 2
    np.testing.assert_allclose(graph.sum(), 2 * 20, rtol=1e-6)


def test_the_graphs_are_added_up_by_their_strengths():
    matrix, part = random_matrix(), np.arange(USERS) % 2
    generator = np.random.default_rng(0)
    features = {name: generator.random((ITEMS, 4)) for name in ("text", "image")}
    found = item_graph(options(), matrix, features, part).matrix().toarray()
    expected = 2 * interaction_graph(matrix, 5, 1.0, None)
    for name, x in features.items():
        expected = expected + 0.5 / 2 * content_graph(x, 4, None, name)  # of two modalities
    np.testing.assert_allclose(found, expected.toarray(), atol=1e-6)
    alone = item_graph(options(item_graph=0), matrix, features, part)
    users = torch.arange(USERS)
    bags = batch(matrix, range(USERS))
    assert torch.equal(alone(*bags, torch.from_numpy(part)).values, alone(*bags).values)
    assert len(users) == alone(*bags).n_rows
    assert item_graph(options(item_graph=0), matrix, {}, part) is None


def test_regressions_are_cached(tmp_path, monkeypatch):
    matrix, part = random_matrix(), np.arange(USERS) % 2
    kept = options(cache_dir=str(tmp_path), content_graph=0)
    first = item_graph(kept, matrix, {}, part)
    assert len(list(tmp_path.iterdir())) == 3  # of all users and of two parts
    monkeypatch.setattr(torch.linalg, "solve", None)
    again = item_graph(kept, matrix, {}, part)
    assert torch.equal(first.parts_weight, again.parts_weight)


def test_sums_are_added_to_scores_as_rows_are():
    matrix = random_matrix()
    features = {"text": np.random.default_rng(0).random((ITEMS, 4))}
    made = item_graph(options(), matrix, features, np.arange(USERS) % 2)
    bags = batch(matrix, range(USERS))
    scores = torch.rand(USERS, ITEMS, generator=torch.Generator().manual_seed(0))
    expected = scores + made(*bags).dense()
    found = made.add_to(scores.clone(), *bags)
    torch.testing.assert_close(found, expected)
    assert (found != scores).any()


@pytest.mark.parametrize("dense", [False, True], ids=["single items", "shared items"])
def test_scores_of_shared_sums_are_those_of_the_rows(dense):
    matrix = random_matrix()
    features = {"text": np.random.default_rng(0).random((ITEMS, 4))}
    part = np.arange(USERS) % 2
    made = item_graph(options(), matrix, features, part)
    users = range(USERS) if dense else range(1)
    items, begin = batch(matrix, users)
    rows = made(items, begin, torch.from_numpy(part[list(users)]))
    assert (rows.shared is not None) == dense  # many users hold the same items
    generator = torch.Generator().manual_seed(0)
    h, weights = (torch.randn(n, 3, generator=generator) for n in (len(users), ITEMS))
    bias = torch.randn(ITEMS, generator=generator)
    expected = ((h @ weights.T + bias) * rows.dense()).sum(1)
    torch.testing.assert_close(rows.times_scores(h, weights, bias), expected)
    plain = rows._replace(shared=None)
    torch.testing.assert_close(plain.times_scores(h, weights, bias), expected)
