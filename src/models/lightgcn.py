"""LightGCN: mean of embeddings propagated over the user-item graph.

He et al., SIGIR 2020, arXiv:2002.02126; equation numbers are the paper's. As MMRec trains it, which
differs from the paper: the penalty is the norm and not its square, 1e-10 in the logarithm,
embeddings start Xavier-uniform. Differs from MMRec's lightgcn.py: no 1e-7 is added to the degrees
(below 1e-7 in the embeddings).
"""

import torch
from torch import Tensor

from common.dot_product import DotProductRecommender
from common.loss import MMREC_GAMMA, bpr_loss, embedding_norm
from common.options import check_integers, check_not_negative
from common.propagation import layer_mean
from common.rows import take


class LightGCN(DotProductRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        dim, self.reg_weight = config["embedding_size"], config["reg_weight"]
        self.n_layers = config["n_layers"]
        check_integers(config, embedding_size=1, n_layers=0)
        check_not_negative(config, "reg_weight")
        self.add_embeddings(dim)
        self.add_adjacency(dataloader.inter_matrix())

    def forward(self) -> tuple[Tensor, Tensor]:
        _, nodes = self.nodes()
        return nodes.split([self.n_users, self.n_items])

    def nodes(self) -> tuple[Tensor, Tensor]:
        """Layer 0 and the mean of all layers, of users, then items, (U+I, D) each."""
        table = torch.cat([self.user_emb.weight, self.item_emb.weight])  # E^(0)
        return table, layer_mean(self.adjacency, table, self.n_layers)  # Eq. 7-8

    def calculate_loss(self, interaction):
        table, nodes = self.nodes()
        rows = interaction.clone()  # (3, B) users, positive and negative items
        rows[1:] += self.n_users
        u, p, n = take(nodes, rows)  # (B, D) each
        ranking = bpr_loss((u * p).sum(1), (u * n).sum(1), MMREC_GAMMA)  # Eq. 15
        # the penalty is on E^(0), the only parameters, not on the propagated ones
        return ranking + self.reg_weight * embedding_norm(*take(table, rows))
