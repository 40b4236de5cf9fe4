"""SimGCL: LightGCN without layer 0, with contrast between two runs disturbed by small noise.

Yu et al., SIGIR 2022, arXiv:2112.08679; (1)-(5) below are ours. As SELFRec trains it:
1e-5 in the logarithm, the penalty is the norm of the propagated vectors of users and positives, and
each table's contrast is a mean over the batch's distinct users and items. Differs from SELFRec:
items that occur in no training pair exist; they have the zero vector and score exactly 0.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from common.diffusion import check_integer, check_number, check_option, is_number
from common.dot_product import DotProductRecommender
from common.loss import SELFREC_GAMMA, bpr_loss, embedding_norm, info_nce
from common.propagation import bipartite_adjacency, sparse_product


class SimGCL(DotProductRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        dim, self.n_layers = config["embedding_size"], config["n_layers"]
        self.cl_weight, self.reg_weight = config["cl_weight"], config["reg_weight"]
        self.eps, self.temperature = config["eps"], config["temperature"]
        check_integer("embedding_size", dim, 1)
        check_integer("n_layers", self.n_layers, 1)
        for key in ("cl_weight", "reg_weight", "eps"):
            check_number(key, config[key], 0, math.inf)
        ok = is_number(self.temperature) and self.temperature > 0
        check_option("temperature", self.temperature, "a number above 0", ok)
        self.user_emb = nn.Embedding(self.n_users, dim)
        self.item_emb = nn.Embedding(self.n_items, dim)
        nn.init.xavier_uniform_(self.user_emb.weight)
        nn.init.xavier_uniform_(self.item_emb.weight)
        adjacency = bipartite_adjacency(dataloader.inter_matrix(form="coo"), torch.sparse_csr)
        self.register_buffer("adjacency", adjacency, persistent=False)

    def layers(self):
        """Layers 1..L without noise, (U+I, D) each."""
        layers = [torch.cat([self.user_emb.weight, self.item_emb.weight])]  # E^(0)
        for _ in range(self.n_layers):
            layers.append(sparse_product(self.adjacency, layers[-1]))
        return layers[1:]

    def forward(self):
        return self.split(sum(self.layers()) / self.n_layers)

    def split(self, nodes):
        return nodes.split([self.n_users, self.n_items])

    @torch.no_grad()
    def disturbed(self, first):
        """Mean of layers 1..L with noise on each, (U+I, D); first: layer 1 before its noise."""
        layer = total = self.disturb(first)
        for _ in range(self.n_layers - 1):
            layer = self.disturb(self.adjacency @ layer)
            total = total + layer
        return total / self.n_layers  # (2)

    def disturb(self, layer):
        """Every row plus a random vector of length eps, within the row's orthant."""
        noise = F.normalize(self.draw(layer))  # (U+I, D), rows of length 1
        return layer + self.eps * noise * layer.sign()  # (1)

    def draw(self, layer):
        return torch.rand_like(layer)  # uniform in [0, 1), of all nodes

    def calculate_loss(self, interaction):
        users, pos_items = interaction[:2]  # (B,) each; row 2 holds the negatives
        layers = self.layers()
        clean = sum(layers) / self.n_layers  # (U+I, D)
        user_out, item_out = self.split(clean)
        u = F.embedding(users, user_out)  # (B, D)
        p, n = F.embedding(interaction[1:], item_out)  # (B, D) each
        ranking = bpr_loss((u * p).sum(1), (u * n).sum(1), SELFREC_GAMMA)  # (3)
        loss = ranking + self.reg_weight * (embedding_norm(u) + embedding_norm(p))
        if self.cl_weight == 0:
            return loss
        nodes = users.unique(), self.n_users + pos_items.unique()
        # noise carries no gradient, so a disturbed run is the clean one plus constants: the three
        # share one backward pass
        shift = [self.disturbed(layers[0].detach()) - clean.detach() for _ in range(2)]
        contrast = sum(
            info_nce(*(F.embedding(k, clean) + x[k] for x in shift), self.temperature)
            for k in nodes
        )  # (4), users and items
        return loss + self.cl_weight * contrast  # (5)
