"""SimGCL: LightGCN without layer 0, with contrast between two runs disturbed by small noise.

Yu et al., SIGIR 2022, arXiv:2112.08679; (1)-(5) below are ours. As SELFRec trains it:
1e-5 in the logarithm, the penalty is the norm of the propagated vectors of users and positives, and
each table's contrast is a mean over the batch's distinct users and items. Differs from SELFRec:
- items that occur in no training pair exist; they have the zero vector and score exactly 0, which
  is above every negative score;
- repeated training pairs count once, there they add up;
- the temperature is an option, there 0.2 is fixed;
- ids are compared as integers, there as float32, which confuses those above 2^24;
- as every model here it stops early, on validation; there after 20 epochs, the best one on test.
"""

import torch
from torch import Tensor

from common.dot_product import DotProductRecommender
from common.loss import SELFREC_GAMMA, bpr_loss, embedding_norm, info_nce
from common.options import check_integers, check_not_negative, check_positive
from common.propagation import layer_mean
from common.rows import take
from common.sparse import product, sparse_product

NO_LENGTH = 1e-12  # of noise; shorter is not stretched to eps


class SimGCL(DotProductRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        dim, self.n_layers = config["embedding_size"], config["n_layers"]
        self.cl_weight, self.reg_weight = config["cl_weight"], config["reg_weight"]
        self.eps, self.temperature = config["eps"], config["temperature"]
        check_integers(config, embedding_size=1, n_layers=1)
        check_not_negative(config, "cl_weight", "reg_weight", "eps")
        check_positive("temperature", self.temperature)
        self.add_embeddings(dim)
        self.add_adjacency(dataloader.inter_matrix())

    def layers(self) -> tuple[Tensor, Tensor]:
        """Layer 1 and the mean of layers 1..L, without noise, (U+I, D) each."""
        table = torch.cat([self.user_emb.weight, self.item_emb.weight])  # E^(0)
        first = sparse_product(self.adjacency, table)
        return first, layer_mean(self.adjacency, first, self.n_layers - 1)

    def forward(self) -> tuple[Tensor, Tensor]:
        _, clean = self.layers()
        return clean.split([self.n_users, self.n_items])

    @torch.no_grad()
    def disturbed(self, first: Tensor, nodes: Tensor | None = None) -> Tensor:
        """Mean of layers 1..L with noise on each, of these nodes, (R, D); None: of all.

        first: layer 1 of all before its noise, (U+I, D).
        """
        layer, total = first, 0
        for k in range(1, self.n_layers + 1):
            layer = layer if k == 1 else product(self.adjacency, layer)
            noise = self.draw(layer)  # of all nodes: a seed's numbers do not depend on the batch
            if k == self.n_layers and nodes is not None:  # other rows are needed no longer
                layer, noise = take(layer, nodes), take(noise, nodes)
                total = take(total, nodes) if k > 1 else total
            layer = self.disturb(layer, noise)
            total = total + layer
        return total / self.n_layers  # (2)

    def disturb(self, layer: Tensor, noise: Tensor) -> Tensor:
        """Every row plus a random vector of length eps, within the row's orthant."""
        length = torch.linalg.vector_norm(noise, dim=1, keepdim=True).clamp(min=NO_LENGTH)
        return layer.addcmul(noise * (self.eps / length), layer.sign())  # (1)

    def draw(self, layer: Tensor) -> Tensor:
        return torch.rand_like(layer)  # uniform in [0, 1), of all nodes

    def calculate_loss(self, interaction):
        rows = interaction.clone()  # (3, B) users, positive and negative items
        rows[1:] += self.n_users
        first, clean = self.layers()
        u, p, n = take(clean, rows)  # (B, D) each
        ranking = bpr_loss((u * p).sum(1), (u * n).sum(1), SELFREC_GAMMA)  # (3)
        loss = ranking + self.reg_weight * (embedding_norm(u) + embedding_norm(p))
        if self.cl_weight == 0:
            return loss
        users, items = rows[0].unique(), rows[1].unique()
        nodes = torch.cat([users, items])
        once = take(clean, nodes)  # (R, D), distinct users, then items
        # noise carries no gradient, so a disturbed run is the clean one plus constants: the three
        # share one backward pass
        views = [once + (self.disturbed(first, nodes) - once).detach() for _ in range(2)]
        parts = zip(*(view.split([len(users), len(items)]) for view in views), strict=True)
        contrast = sum(info_nce(*pair, self.temperature) for pair in parts)  # (4), users and items
        return loss + self.cl_weight * contrast  # (5)
