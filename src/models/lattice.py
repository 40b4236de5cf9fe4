"""LATTICE: item graphs learned from modality features, beside collaborative filtering.

Zhang et al., ACM MM 2021, arXiv:2104.09036. Equations are numbered here, (1) to (12). Computes what
MMRec's lattice.py computes, with these departures:
- no (I, I) matrix: neighbours are found in blocks, their cosines computed again with gradients, and
  the graph is a list of edges; equal values, the same gradients;
- ties go to the lowest item, zero rows give isolated items (common/item_graph.py);
- repeated training pairs count once, there they add up;
- one graph per evaluation, there one per batch of users;
- any modalities; one alone has no logits to weigh it (there they exist, without gradient); none is
  refused;
- the backbone "ngcf" is left out.
The graph is built in an epoch's first batch and frozen for the others. The reference fills absent
gradients with zeros, as torch did up to 1.13, so that Adam's momentum keeps moving the feature
tables, maps and logits through all these batches: variant "faithful". "repaired" leaves them where
the one step of the epoch has put them, as the same code does under torch 2.
"""

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.dot_product import DotProductRecommender
from common.graph import normalized
from common.item_graph import edge_matrix, nearest, neighbours, symmetric_weights
from common.loss import bpr_loss, l2_penalty
from common.modalities import FeatureTables, take_features
from common.options import check_choices, check_integers, check_not_negative, check_number
from common.propagation import layer_mean, looped
from common.rows import take, unit_rows
from common.sparse import csr_tensor, sparse_product

CHOICES = {"cf_model": ("lightgcn", "mf"), "variant": ("faithful", "repaired")}


class LATTICE(DotProductRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        dim, feature_dim = config["embedding_size"], config["feat_embed_dim"]
        self.n_layers, self.n_ui_layers = config["n_layers"], config["n_ui_layers"]
        self.knn_k, self.original_share = config["knn_k"], config["lambda_coeff"]
        self.reg_weight = config["reg_weight"]
        check_integers(config, embedding_size=1, feat_embed_dim=1, n_layers=0, n_ui_layers=0)
        check_number("lambda_coeff", self.original_share, 0, 1)
        check_not_negative(config, "reg_weight")
        check_choices(config, CHOICES)
        self.propagates = config["cf_model"] == "lightgcn"
        self.zero_fill = config["variant"] == "faithful"
        self.add_embeddings(dim)
        features = take_features(self)
        self.modal = FeatureTables(features, feature_dim)  # Y = V W^T + b for each modality
        if len(features) > 1:
            self.modal_logits = nn.Parameter(torch.full((len(features),), 0.5))
        adjacency = averaging_adjacency(dataloader.inter_matrix())
        self.register_buffer("adjacency", csr_tensor(adjacency), persistent=False)
        transposed = csr_tensor(adjacency.T.tocsr())
        self.register_buffer("adjacency_transposed", transposed, persistent=False)
        for m, (name, x) in enumerate(features.items()):
            # of the raw features, for the whole run, though the tables are trained
            items, cosines = neighbours(x, self.knn_k, config["cache_dir"], name)
            weights = symmetric_weights(items, cosines)
            self.register_buffer(f"original_items_{m}", items, persistent=False)
            self.register_buffer(f"original_weights_{m}", weights, persistent=False)
        self.rebuild = True
        self.register_buffer("graph", None, persistent=False)  # the epoch's, (I, I)
        self.register_buffer("graph_transposed", None, persistent=False)

    def pre_epoch_processing(self):
        self.rebuild = True

    def edges(self) -> tuple[Tensor, Tensor]:
        """The item graph G from the parameters as they are: items and weights of edges, (I, 2Mk).

        Row i holds edges (i, items[i, e]); the same edge may occur more than once, then it adds up.
        """
        learned_items, learned, original_items, original = [], [], [], []
        for m, (share, y) in enumerate(zip(self.shares(), self.modal(), strict=True)):
            items, _ = nearest(y.detach(), self.knn_k)  # the choice has no gradient, (I, k)
            unit = unit_rows(y)  # (I, F)
            cosines = (unit.unsqueeze(1) * take(unit, items)).sum(-1)  # (I, k), Eq. 1
            learned_items.append(items)
            learned.append(share * cosines)  # Eq. 2: K is the sum of these
            original_items.append(getattr(self, f"original_items_{m}"))
            original.append(share * getattr(self, f"original_weights_{m}"))  # Eq. 3: O likewise
        learned_items = torch.cat(learned_items, 1)
        normalized = symmetric_weights(learned_items, torch.cat(learned, 1))  # Eq. 4, after mixing
        lam = self.original_share
        weights = [(1 - lam) * normalized, lam * torch.cat(original, 1)]  # Eq. 5
        return torch.cat([learned_items, *original_items], 1), torch.cat(weights, 1)

    def shares(self) -> Tensor:
        """The modalities' weights, (M,), which sum to 1."""
        if len(self.modal.tables) == 1:
            return torch.ones_like(self.item_emb.weight[0, :1])
        return self.modal_logits.softmax(0)  # Eq. 6

    def along_edges(self, items: Tensor, weights: Tensor) -> Tensor:
        """h = G^n_layers E_i (I, D) with gradients to the edges' weights."""
        h = self.item_emb.weight
        for _ in range(self.n_layers):
            h = F.embedding_bag(items, h, per_sample_weights=weights, mode="sum")  # Eq. 7
        return h

    def along_frozen_graph(self) -> Tensor:
        """The same with the epoch's graph, as a constant."""
        h = self.item_emb.weight
        for _ in range(self.n_layers):
            h = sparse_product(self.graph, h, self.graph_transposed)  # Eq. 7
        return h

    def combine(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users and all items, (U, D) and (I, D), from h (I, D)."""
        users, items = self.user_emb.weight, self.item_emb.weight
        if self.propagates:
            nodes, depth = torch.cat([users, items]), self.n_ui_layers  # (U+I, D)
            mean = layer_mean(self.adjacency, nodes, depth, self.adjacency_transposed)  # Eq. 8-9
            users, items = mean.split([self.n_users, self.n_items])
        return users, items + F.normalize(h)  # Eq. 10

    def forward(self) -> tuple[Tensor, Tensor]:
        """Final embeddings with a graph of the parameters as they are: (U, D) and (I, D)."""
        return self.combine(self.along_edges(*self.edges()))

    def calculate_loss(self, interaction):
        users, items = interaction[0], interaction[1:]  # (B,), (2, B) positive and negative
        idle = 0
        if self.rebuild or self.graph is None:
            edges = self.edges()
            self.graph, self.graph_transposed = edge_matrix(*edges)
            self.rebuild = False
            h = self.along_edges(*edges)
        else:
            h = self.along_frozen_graph()
            if self.zero_fill:
                idle = ZeroGradients.apply(*self.graph_parameters())
        user_out, item_out = self.combine(h)
        u = take(user_out, users)  # (B, D)
        p, n = take(item_out, items)  # (B, D) each
        ranking = bpr_loss((u * p).sum(1), (u * n).sum(1))  # Eq. 11
        # on the final vectors, over the configured batch size also where the batch is short
        penalty = l2_penalty(u, p, n) / self.batch_size
        return ranking + self.reg_weight * penalty + idle  # Eq. 12

    def graph_parameters(self) -> list[nn.Parameter]:
        """What only the item graph depends on: tables, maps, logits."""
        logits = [self.modal_logits] if len(self.modal.tables) > 1 else []
        return [*self.modal.parameters(), *logits]


class ZeroGradients(torch.autograd.Function):
    """The number 0, whose gradient for each of these parameters is zeros instead of none."""

    @staticmethod
    def forward(ctx, *parameters):
        ctx.save_for_backward(*parameters)
        return parameters[0].new_zeros(())

    @staticmethod
    def backward(ctx, gradient):
        return tuple(map(torch.zeros_like, ctx.saved_tensors))


def averaging_adjacency(interactions: sp.spmatrix) -> sp.csr_matrix:
    """D^-1 (A + I) of the user-item graph A as float32 CSR, (U+I, U+I); rows sum to 1."""
    return normalized(looped(interactions), -1, 0).astype(np.float32)
