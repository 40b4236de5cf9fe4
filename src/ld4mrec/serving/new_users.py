"""Scores for users who were not in the training data, from their histories.

EASE, ItemKNN and DiffRec read nothing of a user but the history, so theirs are exact. LD4MRec also
reads signals and a learned step embedding; `FoldIn` computes what stands in for them.
"""

import numpy as np
import torch
from torch import nn

from common import graph
from ld4mrec.errors import RunError

EXACT = ("EASE", "ItemKNN", "DiffRec")
ABLE = ("LD4MRec", *EXACT, "Pop")


def scores_of_histories(trained, histories):
    """score(users (B,), mask) -> (B, I) for the rows of histories, binary CSR (N, I).

    The run's own users cannot be scored with its model afterwards. Raises RunError for models that
    cannot.
    """
    model, device = trained.model, trained.run.config["device"]
    check_able(trained)
    if trained.name == "Pop":
        return lambda users, mask: model.full_sort_predict([users, mask])
    rows = graph.HistoryRows(histories).to(device)
    if trained.name in EXACT:
        model.history = rows
        return lambda users, mask: model.full_sort_predict([users, mask])
    fold_in = FoldIn(model).to(device)
    return lambda users, mask: fold_in(*rows.bags(users))


def check_able(trained):
    """RunError, with the reason, unless the model has scores for a user it was not trained on."""
    if trained.name not in ABLE:
        raise RunError(
            f"{trained.name} learns a vector for each user of the training data and has none for "
            f"others; --history works with {', '.join(ABLE)}"
        )
    if trained.name == "LD4MRec":
        check_noiseless(trained)


def check_noiseless(trained):
    """RunError where LD4MRec puts noise on the history that it scores from."""
    steps = trained.run.config["inference_steps"]
    if steps:
        raise RunError(
            f"the run has inference_steps = {steps}, which draws noise for each batch of users; "
            "new users and exports need a run with inference_steps = 0"
        )


def known_part(histories, train):
    """Histories without the items that no training user has, binary CSR: no model has learned
    anything of those.
    """
    trained_items = np.diff(train.tocsc().indptr) > 0
    kept = histories.copy()
    kept.data[:] = trained_items[histories.indices]
    return graph.binary_csr(kept)


class Network(nn.Module):
    """LD4MRec from what it reads of users to the scores of all items, without noise.

    items (N,), begin (B,): the users' items in a row, in ascending order for each, and where each
    user's begin. e (B, d_t), c (B, 2r), preferences: (B, F) for each modality. Returns (B, I).
    """

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, items, begin, e, c, *preferences):
        h = self.net.encode_sparse(items, begin)
        return self.net.out(self.net.hidden(h, e, c, list(preferences)))


def step_embeddings(model):
    """What LD4MRec's network reads as e for each user to recommend, (U, d_t)."""
    e = model.user_step.detach()
    return e + model.codes[0] if model.infer_step == "zero" else e


class FoldIn(nn.Module):
    """LD4MRec's scores of histories alone: items (N,) and begin (B,) as of `Network`, to (B, I).

    Signals as of `HistorySignals`; the mean of the training users' step embeddings stands in for
    the user's. How close it comes: docs/serving.md.
    """

    def __init__(self, model):
        super().__init__()
        self.network, self.history_signals = Network(model.net), model.history_signals
        trained = model.history.start.diff() > 0  # (U,)
        step = step_embeddings(model)[trained].mean(0)  # (d_t,)
        self.register_buffer("step", step, persistent=False)

    def signals(self, items, begin):
        """What stands in for a user's e (B, d_t), c (B, 2r) and preferences, (B, F) each."""
        c, preferences = self.history_signals(items, begin)
        return self.step.expand(len(c), -1), c, preferences

    @torch.no_grad()
    def forward(self, items, begin):
        e, c, preferences = self.signals(items, begin)
        return self.network(items, begin, e, c, *preferences)
