"""Scores for users who were not in the training data, from their histories.

EASE, ItemKNN and DiffRec read nothing of a user but the history, so theirs are exact. LD4MRec also
reads signals and a learned step embedding; `FoldIn` computes what stands in for them. Letters as in
common/graph.py: R the interaction matrix, V the items' singular vectors, S the singular values.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from common import graph
from utils.errors import RunError
from utils.features import load_features

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
    fold_in = FoldIn(model, trained.run.config, trained.train).to(device)
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


def item_vectors(matrix, svd_rank, svd_input):
    """S in the first row and V below, float64 (1 + I, r), of the SVD that makes the signals."""
    decomposed = matrix if svd_input == "raw" else graph.normalized(matrix)
    _, values, items = graph.randomized_svd(decomposed, svd_rank)
    return np.concatenate([values[None], items])


def scaling(signal, how):
    """(centre, spread) with (signal - centre) / spread = graph.scaled(signal, how)."""
    if how == "none":
        return np.float32(0), np.float32(1)
    axis = 0 if how == "column" else None
    spread = signal.std(axis=axis, dtype=np.float64)
    centre = signal.mean(axis=0, dtype=np.float64) if how == "column" else 0.0
    return np.float32(centre), np.where(spread > 0, spread, 1).astype(np.float32)


class FoldIn(nn.Module):
    """LD4MRec's scores of histories alone: items (N,) and begin (B,) as of `Network`, to (B, I).

    With a = n^-1/2 D_i^-1/2 the normalised row of a history of n items (svd_input raw: the row
    itself), degrees D_i of the training data:
    - first block of the collaborative signal: u = a V S^-1, divided by its length where that is
      above 1. Training users' vectors are rows of an orthonormal matrix, so never longer; a new
      row leaves the space of the others, and small S would make it many times as long.
    - second block and preference signals: eq. 15 and 16 of the history, with those degrees.
    - all signals centred and scaled as the training users' were.
    - step embedding: the mean of the training users'.
    How close it comes: docs/serving.md.
    """

    longest = 1.0  # length of u at most

    def __init__(self, model, config, train):
        super().__init__()
        self.network = Network(model.net)
        self.svd_input, self.item_block = config["svd_input"], config["item_block"]
        folder, how = config["cache_dir"], config["signal_scale"]
        options = {key: config[key] for key in ("svd_rank", "svd_input")}
        vectors = graph.cached(folder, item_vectors, train, **options)
        degree = np.asarray(train.sum(0)).ravel()
        item_scale = np.where(degree > 0, np.maximum(degree, 1) ** -0.5, 0)
        trained = torch.from_numpy(np.diff(train.indptr) > 0).to(model.user_step.device)

        def keep(name, array):
            self.register_buffer(name, torch.as_tensor(array), persistent=False)

        keep("values", vectors[0])  # S, (r,) float64
        keep("vectors", vectors[1:])  # V, (I, r) float64
        keep("item_scale", item_scale)  # D_i^-1/2, (I,) float64
        keep("one", np.ones((len(degree), 1)))
        keep("step", step_embeddings(model)[trained].mean(0))  # (d_t,)
        options["item_block"] = self.item_block
        self._keep_scaling(
            "c", graph.cached(folder, graph.collaborative_signal, train, **options), how
        )
        features = load_features(config, train.shape[1]) if model.modalities else None
        for m, name in enumerate(model.modalities):
            x = features.files[features.modalities[name]]
            norm = config["feature_norm"]
            signal = graph.cached(folder, graph.preference_signal, train, x, feature_norm=norm)
            self._keep_scaling(f"m{m}", signal, how)
            keep(f"features{m}", unit_rows(x) if norm else x)  # (I, F)
        self.n_modalities = len(model.modalities)

    def _keep_scaling(self, name, signal, how):
        centre, spread = scaling(signal, how)
        self.register_buffer(f"{name}_centre", torch.as_tensor(centre), persistent=False)
        self.register_buffer(f"{name}_spread", torch.as_tensor(spread), persistent=False)

    def signals(self, items, begin):
        """What stands in for a user's e (B, d_t), c (B, 2r) and preferences, (B, F) each."""

        def total(table, weights=None):
            return F.embedding_bag(
                items, table, begin, mode="sum", per_sample_weights=weights
            )  # (B, ...) the sum over each history

        n = total(self.one).clamp(min=1)  # (B, 1); a kernel's, as export wants no slices of begin
        weights = self.item_scale[items]
        near = total(self.vectors, weights) * n**-0.5  # n^-1/2 R D_i^-1/2 V
        u = total(self.vectors) if self.svd_input == "raw" else near
        u = u / self.values
        length = torch.linalg.vector_norm(u, dim=1, keepdim=True)
        u = u / (length / self.longest).clamp(min=1)  # Eq. 14
        if self.item_block == "mean":
            u = torch.cat([u, total(self.vectors) / n], 1)
        elif self.item_block != "none":
            scale = self.values if self.item_block == "scaled" else 1
            u = torch.cat([u, near * scale], 1)  # Eq. 15
        c = (u.float() - self.c_centre) / self.c_spread
        preferences = []
        for m in range(self.n_modalities):
            features = getattr(self, f"features{m}")
            signal = total(features, weights.to(features.dtype)) * n.to(features.dtype) ** -0.5
            centre, spread = getattr(self, f"m{m}_centre"), getattr(self, f"m{m}_spread")
            preferences.append((signal - centre) / spread)  # Eq. 16
        return self.step.expand(n.shape[0], -1), c, preferences

    @torch.no_grad()
    def forward(self, items, begin):
        e, c, preferences = self.signals(items, begin)
        return self.network(items, begin, e, c, *preferences)


def unit_rows(features):
    """Rows (I, F) float32 at length 1; zero rows stay zero."""
    length = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    return (features / np.where(length > 0, length, 1)).astype(np.float32)
