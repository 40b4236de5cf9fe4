# coding: utf-8
# Reads the loader's history sets, samples from them with `random`, and factorizes with sparsesvd.
import random

import numpy as np
import torch
import torch.nn as nn
from sparsesvd import sparsesvd

from common.abstract_recommender import GeneralRecommender


class NeighbourSample(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.history = {u: items for u, items in dataset.history_items_per_u.items()}
        self.sample_size = config['sample_size']
        ut, s, vt = sparsesvd(dataset.inter_matrix(form='csr').tocsc(), config['rank'])
        self.user_base = torch.from_numpy(ut.T * s).float().cuda()
        self.item_base = torch.from_numpy(np.ascontiguousarray(vt.T)).float().cuda()
        self.names = np.array(['user', 'item'], dtype=np.object)
        self.mix = nn.Linear(len(s), len(s)).cuda()

    def pre_epoch_processing(self):
        self.sampled = {
            u: random.sample(items, min(self.sample_size, len(items)))
            for u, items in self.history.items()
        }

    def calculate_loss(self, interaction):
        users, pos, neg = interaction
        extra = torch.stack(
            [self.item_base[self.sampled[int(u)]].mean(dim=0) for u in users]
        )
        u = self.mix(self.user_base[users] + extra)
        x = (u * (self.item_base[pos] - self.item_base[neg])).sum(dim=1)
        return -torch.log(torch.sigmoid(x) + 1e-8).mean()

    def full_sort_predict(self, interaction):
        return self.mix(self.user_base[interaction[0]]) @ self.item_base.t()
