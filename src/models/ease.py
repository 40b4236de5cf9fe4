"""EASE: the best linear map from a user's items to all items, in closed form.

Steck, WWW 2019, arXiv:1905.03375. Nothing differs. Items without
a training interaction get weights of zero.
"""

import torch
import torch.nn.functional as F

from common.abstract_recommender import GeneralRecommender
from common.graph import HistoryRows, binary_csr
from common.item_regression import item_weights
from common.options import check_integer, check_positive

MATRICES = 2  # of items x items float64 that are in memory at once


class EASE(GeneralRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        penalty, limit = config["reg_weight"], config["max_dense_items"]
        check_positive("reg_weight", penalty)
        check_integer("max_dense_items", limit, 1)
        if self.n_items > limit:
            need = MATRICES * 8 * self.n_items**2 / 1e9
            raise ValueError(
                f"works with dense items x items matrices and wants at most max_dense_items = "
                f"{limit} items, got {self.n_items}, which take about {need:.1f} GB; raise "
                "max_dense_items if there is that much memory, or use ItemKNN"
            )
        matrix = binary_csr(dataloader.inter_matrix(form="coo"))  # X, (U, I)
        self.history = HistoryRows(matrix)
        gram = torch.from_numpy((matrix.T @ matrix).toarray()).to(self.device)  # G, (I, I)
        self.register_buffer("weights", item_weights(gram, penalty), persistent=False)

    @torch.no_grad()
    def full_sort_predict(self, interaction):
        items, begin = self.history.bags(interaction[0])
        return F.embedding_bag(items, self.weights, begin, mode="sum")  # (B, I), X B
