# coding: utf-8
# Keeps the loader and the config and reads them while it trains; sets a batch_size of its own.
import numpy as np
import torch
import torch.nn as nn

from common.abstract_recommender import GeneralRecommender
from common.loss import BPRLoss


class KeepsLoader(GeneralRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        self.config = config
        self.dataset = dataloader
        num_user = self.n_users
        batch_size = config['train_batch_size']
        self.batch_size = batch_size
        self.dim_x = config['embedding_size']
        self.u = nn.Embedding(num_user, self.dim_x)
        self.i = nn.Embedding(self.n_items, self.dim_x)
        self.loss = BPRLoss()

    def calculate_loss(self, interaction):
        user, pos, neg = interaction[0], interaction[1], interaction[2]
        seen = [len(self.dataset.history_items_per_u[int(one)]) for one in user.cpu().numpy()]
        weight = torch.from_numpy(1 / np.sqrt(seen)).float().to(self.device).unsqueeze(1)
        u, p, n = self.u(user) * weight, self.i(pos), self.i(neg)
        # divided by the constant, also for the last, shorter batch
        norm = (u ** 2).sum() + (p ** 2).sum() + (n ** 2).sum()
        loss = self.loss((u * p).sum(1), (u * n).sum(1))
        return loss + self.config['reg_weight'] * norm / self.batch_size

    def full_sort_predict(self, interaction):
        assert self.dataset.dataset.config['model'] == 'KeepsLoader'
        return torch.matmul(self.u.weight[interaction[0]], self.i.weight.t())
