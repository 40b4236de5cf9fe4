"""Scores from a history alone: exact where the model reads nothing else, close for LD4MRec."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from common import graph
from ld4mrec.errors import RunError
from ld4mrec.serving.offers import history_scores
from ld4mrec.serving.trained import open_run

USERS = np.arange(60)  # those with training rows


def own_scores(trained):
    return trained.model.full_sort_predict([torch.from_numpy(USERS), None]).clone()


def folded(trained, histories=None):
    histories = trained.train[USERS] if histories is None else histories
    rows = graph.HistoryRows(graph.binary_csr(histories))
    return history_scores(trained)(rows, torch.arange(histories.shape[0]))


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        ("EASE", {}),
        ("ItemKNN", {}),
        ("Pop", {}),
        ("DiffRec", {}),
        ("DiffRec", {"row_norm": True}),
        ("DiffRec", {"target": "eps"}),
    ],
)
def test_a_training_users_own_history_gives_that_users_scores(finished, model, keys):
    trained = open_run(finished(model, **keys))
    own = own_scores(trained)
    assert torch.equal(folded(trained), own)
    one = folded(trained, trained.train[7:8])  # one alone
    assert torch.allclose(one[0], own[7], rtol=1e-5, atol=1e-6)


LD4MREC = [
    {},
    {"svd_input": "raw", "item_block": "paper", "signal_scale": "column"},
    {"item_block": "scaled", "signal_scale": "none", "feature_norm": False},
    {"item_block": "none", "infer_step": "zero"},
    {"is_multimodal_model": False},
]


def distance(found, expected):
    return (torch.linalg.norm(found - expected) / torch.linalg.norm(expected)).item()


@pytest.mark.parametrize("keys", LD4MREC)
def test_a_training_users_own_history_gives_that_users_signals(finished, keys):
    trained = open_run(finished("LD4MRec", **keys))
    model = trained.model
    users = torch.from_numpy(USERS)
    rows = graph.HistoryRows(graph.binary_csr(trained.train[USERS]))
    c, preferences = model.history_signals(*rows.bags(users))
    own_c, own_preferences = model.conditions(users)
    assert torch.equal(c, own_c)
    assert len(preferences) == len(own_preferences) == len(model.modalities)
    assert all(map(torch.equal, preferences, own_preferences))
    assert torch.allclose(model.folding_in().step, model.step_embeddings()[users].mean(0))


@pytest.mark.parametrize("keys", LD4MREC)
def test_but_for_the_step_embedding_nothing_is_lost(finished, keys):
    """At any rank, as a training user's signals are those of the history too."""
    trained = open_run(finished("LD4MRec", **keys))
    close = folded(trained)
    with torch.no_grad():
        trained.model.user_step[:] = trained.model.user_step[USERS].mean(0)
    assert distance(close, own_scores(trained)) < 1e-5


def test_a_new_users_vector_is_never_longer_than_1(finished):
    signals = open_run(finished("LD4MRec", signal_scale="none")).model.history_signals
    everything = torch.arange(40)
    c, _ = signals(everything, torch.tensor([0]))
    assert torch.linalg.vector_norm(c[0, :6]) <= 1 + 1e-6
    odd = torch.tensor([0, 1, 2, 3])  # a history across the kinds, unlike any training user's
    c, _ = signals(odd, torch.tensor([0]))
    vectors, values = signals.vectors[odd], signals.values
    by_hand = (signals.item_scale[odd] @ vectors) / 2 / values
    by_hand = by_hand / max(1, by_hand.norm())
    assert torch.allclose(c[0, :6], by_hand.float(), atol=1e-6)
    assert torch.allclose(c[0, 6:], vectors.mean(0).float(), atol=1e-6)


def test_new_users_get_their_kind(finished):
    trained = open_run(finished("LD4MRec", epochs=40))
    history = sp.csr_matrix((np.ones(4), ([0, 0, 1, 1], [4, 8, 5, 13])), shape=(2, 40))
    scores = folded(trained, history)
    scores[history.toarray() > 0] = -np.inf
    top = scores.topk(5).indices
    assert (top % 4 == torch.tensor([[0], [1]])).float().mean() >= 0.8


def test_models_of_users_refuse(finished):
    trained = open_run(finished("BPR"))
    wanted = (
        "BPR has no scores for users who were not in the training data; "
        "--history works with DiffRec, EASE, ItemKNN, LD4MRec, Pop$"
    )
    with pytest.raises(RunError, match=wanted):
        folded(trained)
    noisy = open_run(finished("LD4MRec", inference_steps=2))
    with pytest.raises(RunError, match="the run has inference_steps = 2, which draws noise"):
        folded(noisy)
