"""LightGCN as a part of other models: MMRec's `LightGCN_Encoder` (its SELFCFED_LGN is built on two
of them).

Written from the API's description. The adjacency comes from the shared graph functions: it has no
1e-7 added to the degrees (a difference below 1e-7), and users or items without training rows have
zero rows.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from common.abstract_recommender import GeneralRecommender
from common.propagation import bipartite_adjacency

DEFAULT_LAYERS = 3  # MMRec's, where the model's yaml has no n_layers


class LightGCN_Encoder(GeneralRecommender):
    """Embeddings of users and items: mean over layers 0..L of propagation on the user-item graph.

    config: embedding_size (D) and n_layers (L). Every call drops edges, in evaluation mode too; use
    `get_embedding` for the embeddings of the whole graph.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        n_layers = config["n_layers"]
        self.n_layers = DEFAULT_LAYERS if n_layers is None else n_layers
        dim = config["embedding_size"]
        self.user_emb = nn.Parameter(nn.init.xavier_uniform_(torch.empty(self.n_users, dim)))
        self.item_emb = nn.Parameter(nn.init.xavier_uniform_(torch.empty(self.n_items, dim)))
        adjacency = bipartite_adjacency(dataset.inter_matrix(form="csr"))
        self.register_buffer("adjacency", adjacency.to(self.device), persistent=False)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Embeddings (B, D) of users inputs[0] and items inputs[1], edges dropped at random."""
        rate = np.random.random()  # noqa: NPY002 - a new rate each call, from the seeded generator
        user_out, item_out = self._propagate(drop_edges(self.adjacency, rate))
        return user_out[inputs[0]], item_out[inputs[1]]

    def get_embedding(self) -> tuple[Tensor, Tensor]:
        """Embeddings of all users (U, D) and all items (I, D), no edge dropped."""
        return self._propagate(self.adjacency)

    def _propagate(self, adjacency):
        layer = torch.cat([self.user_emb, self.item_emb])  # (U+I, D)
        total = layer
        for _ in range(self.n_layers):
            layer = torch.sparse.mm(adjacency, layer)
            total = total + layer
        return (total / (self.n_layers + 1)).split([self.n_users, self.n_items])


def drop_edges(adjacency: Tensor, rate: float) -> Tensor:
    """A coalesced sparse tensor without a share `rate` of its entries, the others / (1 - rate).

    Raises ValueError unless 0 <= rate < 1.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"drop_edges wants a rate of at least 0 and below 1, got {rate}")
    place, value = adjacency.indices(), adjacency.values()
    keep = torch.rand(len(value), device=value.device) >= rate
    return torch.sparse_coo_tensor(
        place[:, keep],
        value[keep] / (1 - rate),
        adjacency.shape,
        is_coalesced=True,
        check_invariants=False,
    )
