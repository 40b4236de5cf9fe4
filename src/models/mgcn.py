"""MGCN: behaviour-gated modality features on fixed item graphs, fused and added to LightGCN's.

Yu et al., ACM MM 2023, arXiv:2308.03588. Equations are numbered here, (1) to (11). Computes what
MMRec's mgcn.py and the authors' file compute, with these departures:
- item graphs are built in blocks and break ties by the lowest item, zero feature rows give isolated
  items (common/item_graph.py);
- repeated training pairs count once, there they add up;
- any number M >= 1 of modalities: softmax over M, divisor M + 1; two give the published model. With
  one, the attention and the preference gates have no effect. Without any the model is refused.
The reference's tau and lambda_coeff are read nowhere there and do not exist here.
"""

from collections.abc import Iterator, Sequence

import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.dot_product import DotProductRecommender
from common.graph import binary_csr, normalized
from common.item_graph import knn_graph
from common.loss import bpr_loss, info_nce, l2_penalty
from common.modalities import FeatureTables, take_features
from common.options import check_integers, check_not_negative
from common.propagation import layer_mean
from common.rows import take
from common.sparse import csr_tensor, sparse_product

TEMPERATURE = 0.2  # of the contrastive term; fixed in the reference


class MGCN(DotProductRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        dim = config["embedding_size"]
        self.n_ui_layers, self.n_layers = config["n_ui_layers"], config["n_layers"]
        self.cl_loss, self.reg_weight = config["cl_loss"], config["reg_weight"]
        check_integers(config, embedding_size=1, n_ui_layers=0, n_layers=0)
        check_not_negative(config, "cl_loss", "reg_weight")
        self.add_embeddings(dim)
        features = take_features(self)
        self.modal = FeatureTables(features, dim)  # Y = V W^T + b for each modality
        self.purifiers = nn.ModuleList(nn.Linear(dim, dim) for _ in features)
        self.preferences = nn.ModuleList(nn.Linear(dim, dim) for _ in features)
        self.attention = nn.Linear(dim, dim)
        self.query = nn.Linear(dim, 1, bias=False)
        self.add_graphs(dataloader.inter_matrix(), features, config["knn_k"], config["cache_dir"])

    def add_graphs(
        self, interactions: sp.spmatrix, features: dict[str, Tensor], k: int, folder: str | None
    ) -> None:
        """Fixed matrices as buffers, those that are not symmetric with their transposes."""
        self.add_adjacency(interactions)
        block = normalized(binary_csr(interactions)).astype("float32")  # (U, I)
        graphs = {"user_item": csr_tensor(block), "item_user": csr_tensor(block.T.tocsr())}
        for m, (name, x) in enumerate(features.items()):
            # of the raw features, for the whole run, though the tables are trained
            graphs[f"knn_{m}"], graphs[f"knn_{m}_transposed"] = knn_graph(x, k, folder, name)
        for name, graph in graphs.items():
            self.register_buffer(name, graph, persistent=False)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users and all items: (U, D) and (I, D)."""
        content, side = self.views()
        return (content + side).split([self.n_users, self.n_items])  # Eq. 9

    def views(
        self, users: Tensor | None = None, items: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """C and S, the behaviour and the modality view of these users, then of these items, (R, D)
        each; None: of all.
        """
        ids = self.item_emb.weight
        nodes = torch.cat([self.user_emb.weight, ids])
        content = layer_mean(self.adjacency, nodes, self.n_ui_layers)  # (U+I, D), C, Eq. 1
        modal = []
        for m, (gate, table) in enumerate(zip(self.gates(), self.modal.tables, strict=True)):
            a = ids * torch.sigmoid(F.linear(table, *gate))  # (I, D), Eq. 2
            for _ in range(self.n_layers):
                knn = getattr(self, f"knn_{m}"), getattr(self, f"knn_{m}_transposed")
                a = sparse_product(knn[0], a, knn[1])  # Eq. 3
            modal.append(a)
        of_items = torch.cat(modal, 1)  # (I, M D)
        of_users = sparse_product(self.user_item, of_items, self.item_user)  # Eq. 4
        if users is not None:  # what follows needs no other rows
            content = take(content, torch.cat([users, self.n_users + items]))
            of_users, of_items = take(of_users, users), take(of_items, items)
        modal = torch.cat([of_users, of_items]).chunk(len(modal), 1)  # (R, D) each
        weights = self.fusion_weights(modal)
        common = sum(w * x for w, x in zip(weights.split(1, 1), modal, strict=True))  # Eq. 6
        side = common
        for gate, x in zip(self.preferences, modal, strict=True):
            side = side + torch.sigmoid(gate(content)) * (x - common)  # Eq. 7
        return content, side / (len(modal) + 1)  # Eq. 8: a mean

    def gates(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Weight and bias of each modality's purifier after its map: Y is needed nowhere else."""
        for linear, purifier in zip(self.modal.maps, self.purifiers, strict=True):
            yield purifier.weight @ linear.weight, purifier(linear.bias)

    def fusion_weights(self, modal: Sequence[Tensor]) -> Tensor:
        """Softmax over the modalities, (U+I, M), of their (U+I, D)."""
        logits = [self.query(torch.tanh(self.attention(x))) for x in modal]  # (U+I, 1) each
        return torch.cat(logits, 1).softmax(1)  # Eq. 5

    def calculate_loss(self, interaction):
        users, positives, negatives = interaction  # (B,) each
        # a view is a function of the node: (R,) distinct ones, how often each occurs, where (B,)
        users, user_row, n_users = users.unique(return_inverse=True, return_counts=True)
        positives, item_row, n_items = positives.unique(return_inverse=True, return_counts=True)
        sizes = [len(users), len(positives), len(negatives)]
        views = self.views(users, torch.cat([positives, negatives]))
        (u_content, p_content, _), (u_side, p_side, _) = (view.split(sizes) for view in views)
        u, p, n = sum(views).split(sizes)  # Eq. 9
        u, p = take(u, user_row), take(p, item_row)  # (B, D), as n
        ranking = bpr_loss((u * p).sum(1), (u * n).sum(1))
        # on the final vectors, over the configured batch size also where the batch is short
        penalty = l2_penalty(u, p, n) / self.batch_size
        # rows of one item or user that occur twice are negatives of each other, as there
        contrast = info_nce(p_side, p_content, TEMPERATURE, counts=n_items)  # Eq. 10
        contrast = contrast + info_nce(u_side, u_content, TEMPERATURE, counts=n_users)
        return ranking + self.reg_weight * penalty + self.cl_loss * contrast  # Eq. 11
