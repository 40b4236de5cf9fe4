"""Lists equal those of the model's scores by hand, and those of the run's own evaluation."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from common.graph import binary_csr
from ld4mrec.errors import DivergedError
from ld4mrec.serving.ranking import (
    Audience,
    known_part,
    model_scores,
    recommendations,
    top_items,
    with_history,
)
from ld4mrec.serving.trained import open_run


def lists(trained, users, k, mask, **config):
    audience = Audience(users, model_scores(trained), trained.known(mask))
    batches = list(top_items(audience, k, trained.run.config.replace(config)))
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


@pytest.mark.parametrize("model", ["LD4MRec", "BPR", "EASE", "Pop"])
@pytest.mark.parametrize("mask", ["none", "train", "all"])
def test_lists_are_those_of_the_scores_by_hand(finished, model, mask):
    trained = open_run(finished(model))
    users = np.array([5, 0, 59, 7])
    known = trained.known(mask)[users].toarray() > 0
    for row, user in enumerate(users):
        scores = trained.model.full_sort_predict([torch.tensor([user]), None])[0].clone()
        scores[known[row]] = -np.inf
        order = sorted(range(40), key=lambda item: (-scores[item], item))[:10]
        _, items, found = lists(trained, np.array([user]), 10, mask)
        assert items[0].tolist() == order
        assert found[0] == pytest.approx(scores[order].numpy(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("model", ["LD4MRec", "EASE"])
def test_lists_are_those_of_the_runs_evaluation(finished, model, masked):
    folder = finished(model, mask_valid_at_test=masked)
    with np.load(folder / "topk.npz") as file:
        users, expected = file["users"].astype(np.int64), file["items"]
    mask = "train+valid" if masked else "train"
    _, items, _ = lists(open_run(folder), users, 20, mask)
    assert np.array_equal(items, expected)


def test_the_size_of_batches_changes_nothing(finished):
    trained = open_run(finished("EASE"))
    users = np.arange(60)
    whole = lists(trained, users, 7, "all")
    for size in (1, 7, 59):
        parts = lists(trained, users, 7, "all", eval_batch_size=size)
        assert all(map(np.array_equal, whole, parts))


def test_masked_items_are_never_recommended_however_few_are_left(finished):
    trained = open_run(finished("BPR"))
    users, known = np.arange(60), trained.known("all")
    audience = Audience(users, model_scores(trained), known, trained.users.all())
    (frame,) = recommendations(audience, 100, trained.run.config, trained.items)
    numbers = trained.users.numbers(frame["user"], ""), trained.items.numbers(frame["item"], "")
    assert not known[numbers].any()
    assert len(frame) == 60 * 40 - known[users].nnz  # everything else is there
    first = frame[frame["user"] == trained.users.of(0)]
    assert first["rank"].tolist() == list(range(1, 41 - known[0].nnz))
    assert (np.diff(first["score"]) <= 0).all()


def test_users_without_history_are_told_apart(finished):
    users = np.array([60, 3])
    for model, expected in (("BPR", ([3], [60])), ("Pop", ([60, 3], []))):
        trained = open_run(finished(model))
        served, others = with_history(trained.model, users, trained.train)
        assert (served.tolist(), others.tolist()) == expected


def test_items_that_nobody_trained_are_left_out():
    train = sp.csr_matrix(np.array([[1, 0, 1, 0], [0, 0, 1, 0]], dtype=float))
    histories = binary_csr(np.array([[1, 1, 0, 0], [0, 1, 0, 1], [1, 0, 1, 1]]))
    expected = [[1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0]]
    assert known_part(histories, train).toarray().tolist() == expected


def test_scores_that_are_no_numbers_are_refused(finished):
    trained = open_run(finished("BPR"))
    with torch.no_grad():
        trained.model.item_emb.weight[3] = torch.nan
    with pytest.raises(DivergedError, match="scores are NaN or infinite"):
        lists(trained, np.arange(3), 5, "none")
