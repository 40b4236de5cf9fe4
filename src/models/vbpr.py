"""VBPR: BPR whose item vector is half learned, half projected from the item's content.

He and McAuley, AAAI 2016, arXiv:1510.01784, as MMRec trains it ("recommended version"). Differs
from the paper: all modalities instead of the image alone, Adam, a bias of the projection but no
item, visual or global bias, the norm of the gathered vectors as only penalty. Differs from MMRec's
vbpr.py: a batch projects its own items only (equal loss and gradients).
"""

import torch
from torch import Tensor, nn

from common.dot_product import DotProductRecommender
from common.loss import MMREC_GAMMA, bpr_loss, embedding_norm
from common.modalities import take_features
from common.options import check_integers, check_not_negative
from common.rows import take


class VBPR(DotProductRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        dim, self.reg_weight = config["embedding_size"], config["reg_weight"]
        check_integers(config, embedding_size=1)
        check_not_negative(config, "reg_weight")
        # (I, F), text first, the rows as they are
        content = torch.cat(list(take_features(self).values()), 1)
        self.register_buffer("content", content, persistent=False)
        self.user_emb = nn.Embedding(self.n_users, 2 * dim)
        self.item_emb = nn.Embedding(self.n_items, dim)
        self.projection = nn.Linear(content.shape[1], dim)
        nn.init.xavier_uniform_(self.user_emb.weight)
        nn.init.xavier_uniform_(self.item_emb.weight)
        nn.init.xavier_normal_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)

    def forward(self) -> tuple[Tensor, Tensor]:
        """(U, 2D) and (I, 2D), the learned half first."""
        projected = self.projection(self.content)
        return self.user_emb.weight, torch.cat([self.item_emb.weight, projected], 1)

    def calculate_loss(self, interaction):
        users, items = interaction[0], interaction[1:]  # (B,), (2, B) positive and negative
        items, row = items.unique(return_inverse=True)  # (R,), (2, B)
        projected = self.projection(take(self.content, items))  # (R, D)
        vectors = torch.cat([take(self.item_emb.weight, items), projected], 1)  # (R, 2D)
        u, (p, n) = take(self.user_emb.weight, users), take(vectors, row)  # (B, 2D) each
        ranking = bpr_loss((u * p).sum(1), (u * n).sum(1), MMREC_GAMMA)
        return ranking + self.reg_weight * embedding_norm(u, p, n)
