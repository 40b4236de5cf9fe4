"""The base of models that learn from triples and score by the product of two vectors."""

from collections.abc import Callable, Mapping

import scipy.sparse as sp
import torch
from torch import Tensor, nn

from common.abstract_recommender import GeneralRecommender
from common.options import check_option
from common.propagation import bipartite_adjacency
from common.servable import ExportParts


class DotProductRecommender(GeneralRecommender):
    """A model whose `forward()` gives the vectors of all users (U, D) and all items (I, D).

    Scores are their products. In evaluation mode they are computed once and kept until `train()`,
    `eval()` or `load_state_dict()` is called. calculate_loss gets batches of (user, positive,
    negative), or, where a class says `negatives = False`, of (user, positive); ValueError if the
    configuration asks for other ones.
    """

    negatives = True

    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        check_batches(config, self.negatives)
        # no part of the model's state: not persistent, so no checkpoint of ours holds them
        self.register_buffer("kept_users", None, persistent=False)
        self.register_buffer("kept_items", None, persistent=False)
        self.register_load_state_dict_post_hook(_forget)

    def add_embeddings(self, dim: int, fill: Callable = nn.init.xavier_uniform_) -> None:
        """user_emb (U, dim) and item_emb (I, dim), both filled in place by `fill`."""
        self.user_emb = nn.Embedding(self.n_users, dim)
        self.item_emb = nn.Embedding(self.n_items, dim)
        fill(self.user_emb.weight)
        fill(self.item_emb.weight)

    def add_adjacency(self, interactions: sp.spmatrix) -> None:
        """adjacency (U+I, U+I), CSR: `bipartite_adjacency` of R (U, I), no part of a checkpoint."""
        adjacency = bipartite_adjacency(interactions, torch.sparse_csr)
        self.register_buffer("adjacency", adjacency, persistent=False)

    def train(self, mode=True):
        _forget(self)
        return super().train(mode)

    @torch.no_grad()
    def vectors(self) -> tuple[Tensor, Tensor]:
        """`forward()` without gradients: (U, D) and (I, D)."""
        if self.training:
            return self()
        if self.kept_users is None:
            self.kept_users, self.kept_items = (x.detach() for x in self())
        return self.kept_users, self.kept_items

    @torch.no_grad()
    def full_sort_predict(self, interaction):
        users, items = self.vectors()
        return users[interaction[0]] @ items.T  # (B, I)

    def export_parts(self) -> ExportParts:
        """As `common.servable.Exports`: the vectors."""
        users, items = self.vectors()
        return {
            "imports": "numpy as np",
            "score": [
                "u, v = np.load('user_vectors.npy', mmap_mode='r'), np.load('item_vectors.npy')",
                "scores = u[users] @ v.T",
            ],
            "files": {"user_vectors.npy": users, "item_vectors.npy": items},
            "holds": {"user_vectors.npy": "(users, D)", "item_vectors.npy": "(items, D)"},
        }


def _forget(model, *_):
    model.kept_users = model.kept_items = None


def check_batches(config: Mapping, negatives: bool) -> None:
    """Raise ValueError unless batches are rows of (user, positive), with a negative or without."""
    row = "(user, positive, negative)" if negatives else "(user, positive)"
    wanted = {"use_neg_sampling": negatives, "use_full_sampling": False}
    wanted |= {"use_neighborhood_loss": False} if negatives else {}
    for key, value in wanted.items():
        wish = f"{value}: the model learns from {row}"
        check_option(key, config[key], wish, bool(config[key]) == value)
