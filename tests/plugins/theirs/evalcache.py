# coding: utf-8
# Computes its embeddings once per evaluation and forgets them when it is put in training mode.
import torch
import torch.nn as nn

from common.abstract_recommender import GeneralRecommender


class EvalCache(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.user = nn.Embedding(self.n_users, 8)
        self.item = nn.Embedding(self.n_items, 8)
        self.restore_user_e, self.restore_item_e = None, None

    def forward(self):
        return torch.tanh(self.user.weight), torch.tanh(self.item.weight)

    def train(self, mode=True):
        self.restore_user_e, self.restore_item_e = None, None
        return super().train(mode)

    def calculate_loss(self, interaction):
        assert self.training
        u, i = self.forward()
        return nn.functional.softplus((u[interaction[0]] * (i[interaction[2]] - i[interaction[1]])).sum(1)).mean()

    def full_sort_predict(self, interaction):
        assert not self.training and not torch.is_grad_enabled()
        if self.restore_user_e is None:
            self.restore_user_e, self.restore_item_e = self.forward()
        users, mask = interaction
        assert mask.shape[0] == 2 and mask[0].max() < len(users) and mask[1].max() < self.n_items
        return torch.matmul(self.restore_user_e[users], self.restore_item_e.t())
