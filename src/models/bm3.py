"""BM3: embeddings bootstrapped from dropped-out copies of themselves, without negatives.

Zhou et al., WWW 2023, arXiv:2207.05969. Equations are numbered here, (1) to (8). Computes what
MMRec's bm3.py and the authors' file compute, with these departures in form:
- degrees have no 1e-7 added (a difference below 1e-7);
- only the batch's items are projected and only its rows are dropped out, with one mask per user
  and per item, as if the masks were drawn for the whole tables;
- any modalities, not only image and text. Without one its two terms are absent, cl_weight stays;
  without any the model is refused, as in MMRec.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.dot_product import DotProductRecommender
from common.loss import embedding_norm
from common.modalities import FeatureTables, take_features
from common.options import check_integers, check_not_negative, check_number
from common.propagation import mean_of_layers
from common.rows import take

MIN_NORM = 1e-8  # of the product of two norms in a cosine


class BM3(DotProductRecommender):
    negatives = False

    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        dim, self.n_layers = config["embedding_size"], config["n_layers"]
        self.dropout, self.reg_weight = config["dropout"], config["reg_weight"]
        self.cl_weight = config["cl_weight"]
        check_integers(config, embedding_size=1, n_layers=0)
        check_number("dropout", self.dropout, 0, 0.99)
        check_not_negative(config, "reg_weight", "cl_weight")
        self.add_embeddings(dim)
        self.modal = FeatureTables(take_features(self), dim)  # V W^T + b for each modality
        self.predictor = nn.Linear(dim, dim)  # q, one for all
        for layer in (*self.modal.maps, self.predictor):
            nn.init.xavier_normal_(layer.weight)
        self.add_adjacency(dataloader.inter_matrix())

    def forward(self) -> tuple[Tensor, Tensor]:
        """What scores are products of, (U, D) and (I, D)."""
        users, items = self.online()
        return self.predictor(users), self.predictor(items)

    def online(self) -> tuple[Tensor, Tensor]:
        """Online embeddings of all users and all items before the predictor: (U, D) and (I, D)."""
        tables = self.user_emb.weight, self.item_emb.weight
        users, items = mean_of_layers(self.adjacency, *tables, self.n_layers)  # Eq. 1
        return users, items + self.item_emb.weight  # Eq. 2

    def calculate_loss(self, interaction):
        users, items = interaction  # (B,) each
        h_users, h_items = self.online()
        # a batch's repeated users and items share a mask, as rows of a dropped-out table do
        users, user_row = users.unique(return_inverse=True)
        items, item_row, n_items = items.unique(return_inverse=True, return_counts=True)
        modal = self.modal.rows(items)  # (R, D) each, Eq. 3
        parts = take(h_users, users), take(h_items, items), *modal  # distinct rows
        sizes = [len(part) for part in parts]
        rows = torch.cat(parts)
        u, i, *modal = self.predictor(rows).split(sizes)
        u_target, i_target, *modal_targets = self.target(rows).split(sizes)  # Eq. 4
        loss = distance(take(u, user_row), take(i_target, item_row))  # Eq. 5
        loss = loss + distance(take(i, item_row), take(u_target, user_row))
        alignment = 0
        for predicted, target in zip(modal, modal_targets, strict=True):
            alignment = alignment + distance(predicted, i_target, n_items)  # Eq. 6, to the item
            alignment = alignment + distance(predicted, target, n_items)  # Eq. 7, to itself
        # the norms of whole tables, over the number of items: of MMRec's code, not of the paper
        penalty = embedding_norm(h_users, h_items)
        return loss + self.reg_weight * penalty + self.cl_weight * alignment  # Eq. 8

    def target(self, rows: Tensor) -> Tensor:
        """A dropped-out copy without gradient."""
        return F.dropout(rows.detach(), self.dropout)


def distance(online: Tensor, target: Tensor, counts: Tensor | None = None) -> Tensor:
    """1 - the mean cosine of the rows of two (B, D), in [0, 2]; a zero row has cosine 0.

    counts: (B,), row b stands for so many equal pairs of rows.
    """
    norms = torch.linalg.vector_norm(online, dim=1) * torch.linalg.vector_norm(target, dim=1)
    cosines = (online * target).sum(1) / norms.clamp(min=MIN_NORM)  # (B,)
    return 1 - (cosines.mean() if counts is None else counts.to(cosines) @ cosines / counts.sum())
