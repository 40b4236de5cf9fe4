"""Popularity: the same ranking for everybody, by the number of training interactions."""

import numpy as np
import torch

from common.abstract_recommender import GeneralRecommender


class Pop(GeneralRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        items = dataloader.inter_matrix(form="coo").col
        counts = torch.from_numpy(np.bincount(items, minlength=self.n_items)).float()
        self.register_buffer("counts", counts)  # (I,)

    def full_sort_predict(self, interaction):
        return self.counts.repeat(len(interaction[0]), 1)  # (B, I)
