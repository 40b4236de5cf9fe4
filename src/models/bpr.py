"""BPR: matrix factorisation that learns to rank an observed item above a sampled one.

Rendle et al., UAI 2009, arXiv:1205.2618, as MMRec trains it. Differs from the paper: Adam over
shuffled interactions instead of SGD over drawn ones, the penalty is the norm and not its square,
1e-10 in the logarithm. Nothing differs from MMRec's bpr.py but its dropout, whose rate is 0.
"""

from torch import Tensor, nn

from common.dot_product import DotProductRecommender
from common.loss import MMREC_GAMMA, bpr_loss, embedding_norm
from common.options import check_integers, check_not_negative
from common.rows import take


class BPR(DotProductRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        dim, self.reg_weight = config["embedding_size"], config["reg_weight"]
        check_integers(config, embedding_size=1)
        check_not_negative(config, "reg_weight")
        self.add_embeddings(dim, nn.init.xavier_normal_)

    def forward(self) -> tuple[Tensor, Tensor]:
        return self.user_emb.weight, self.item_emb.weight

    def calculate_loss(self, interaction):
        user_out, item_out = self()
        u = take(user_out, interaction[0])  # (B, D)
        p, n = take(item_out, interaction[1:])  # (B, D) each
        ranking = bpr_loss((u * p).sum(1), (u * n).sum(1), MMREC_GAMMA)  # BPR-Opt
        return ranking + self.reg_weight * embedding_norm(u, p, n)
