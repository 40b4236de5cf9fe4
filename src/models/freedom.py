"""FREEDOM: a frozen item graph from features, and a user-item graph that is pruned in training.

Zhou and Shen, ACM MM 2023, arXiv:2211.06924. Equations are numbered here, (1) to (8). Written from
the paper and MMRec's description of its settings. Where these leave a choice:
- an item is among its own k neighbours, as in LATTICE and MGCN;
- an edge of cosine 0 counts 0: items without features are isolated (common/item_graph.py);
- any modalities: the image has its fixed weight in the item graph, the others share the rest in
  equal parts; without an image, or with nothing else, all have equal parts. None is refused;
- repeated training pairs count once;
- edges are kept by the largest of w / e, e exponential: a draw without replacement of any number of
  edges, where torch's multinomial ends at 2^24.
"""

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from common.dot_product import DotProductRecommender
from common.graph import binary_csr, normalized
from common.item_graph import edge_matrix, neighbours, symmetric_weights
from common.loss import bpr_loss
from common.modalities import FeatureTables, take_features
from common.options import check_integers, check_not_negative, check_number, check_option
from common.propagation import bipartite_adjacency, layer_mean
from common.rows import take
from common.sparse import sparse_product


class FREEDOM(DotProductRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        dim, self.dropout = config["embedding_size"], config["dropout"]
        self.n_ui_layers, self.n_layers = config["n_ui_layers"], config["n_layers"]
        self.reg_weight = config["reg_weight"]
        check_integers(config, embedding_size=1, n_ui_layers=0, n_layers=0)
        check_number("dropout", self.dropout, 0, 1)
        check_option("dropout", self.dropout, "below 1, so that edges remain", self.dropout < 1)
        check_number("image_weight", config["image_weight"], 0, 1)
        check_not_negative(config, "reg_weight")
        self.add_embeddings(dim)
        features = take_features(self)
        self.modal = FeatureTables(features, dim)  # Y = V W^T + b for each modality
        self.interactions = binary_csr(dataloader.inter_matrix())  # (U, I)
        self.add_adjacency(self.interactions)
        self.register_buffer("pruned", self.adjacency, persistent=False)  # the epoch's
        shares = modality_shares(list(features), config["image_weight"])
        items, weights = [], []
        for (name, x), share in zip(features.items(), shares, strict=True):
            # of the raw features, for the whole run, though the tables are trained
            nearest, cosines = neighbours(x, config["knn_k"], config["cache_dir"], name)
            items.append(nearest)  # (I, k)
            weights.append(share * symmetric_weights(nearest, (cosines != 0).float()))  # Eq. 1
        graph, transposed = edge_matrix(torch.cat(items, 1), torch.cat(weights, 1))  # Eq. 2
        self.register_buffer("item_graph", graph, persistent=False)  # (I, I)
        self.register_buffer("item_graph_transposed", transposed, persistent=False)

    def pre_epoch_processing(self):
        kept = drawn_edges(self.interactions, 1 - self.dropout)
        adjacency = bipartite_adjacency(kept, torch.sparse_csr)  # Eq. 4
        self.pruned = adjacency.to(self.adjacency.device, self.adjacency.dtype)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users and all items, on the whole graph: (U, D) and (I, D)."""
        return self.propagate(self.adjacency)

    def propagate(self, adjacency: Tensor) -> tuple[Tensor, Tensor]:
        """The same on a user-item graph (U+I, U+I)."""
        nodes = torch.cat([self.user_emb.weight, self.item_emb.weight])
        nodes = layer_mean(adjacency, nodes, self.n_ui_layers)  # Eq. 5
        users, items = nodes.split([self.n_users, self.n_items])
        h = self.item_emb.weight
        for _ in range(self.n_layers):
            h = sparse_product(self.item_graph, h, self.item_graph_transposed)  # Eq. 6
        return users, items + h  # Eq. 7

    def calculate_loss(self, interaction):
        users, items = interaction[0], interaction[1:]  # (B,), (2, B) positive and negative
        user_out, item_out = self.propagate(self.pruned)
        u = take(user_out, users)  # (B, D)
        ranking, *modal = (
            bpr_loss((u * p).sum(1), (u * n).sum(1))
            for p, n in (take(item_out, items), *self.modal.rows(items))  # (B, D) each
        )
        return ranking + self.reg_weight * sum(modal)  # Eq. 8


def modality_shares(names: list[str], image: float) -> list[float]:
    """Each modality's share of the item graph; they sum to 1. image: that of the modality of this
    name, where there are others.
    """
    others = len(names) - 1
    if "image" not in names or not others:
        return [1 / len(names)] * len(names)
    return [image if name == "image" else (1 - image) / others for name in names]


def drawn_edges(interactions: sp.csr_matrix, share: float) -> sp.csr_matrix:
    """A share in [0, 1] of the ones of a binary matrix R (U, I), drawn without replacement by
    torch's generator; the chance of (u, i) is proportional to 1 / sqrt(d_u d_i).
    """
    chances = torch.from_numpy(normalized(interactions).data)  # (E,), Eq. 3
    race = chances / torch.empty_like(chances).exponential_()
    kept = race.topk(round(share * len(race)), sorted=False).indices.numpy()
    users, items = interactions.nonzero()
    pairs = users[kept], items[kept]
    return sp.csr_matrix((np.ones(len(kept)), pairs), shape=interactions.shape)
