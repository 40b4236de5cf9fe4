# coding: utf-8
# A yaml that sets the trainer's keys in MMRec's ways; losses of every allowed form.
import torch
import torch.nn as nn

from common.abstract_recommender import GeneralRecommender


class Tuned(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.user = nn.Embedding(self.n_users, 4)
        self.item = nn.Embedding(self.n_items, 4)
        # frozen, but a parameter for the optimizer all the same
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)
        self.form = 0

    def calculate_loss(self, interaction):
        u, p, n = self.user(interaction[0]), self.item(interaction[1]), self.item(interaction[2])
        loss = nn.functional.softplus((u * (n - p)).sum(1)).mean() * self.frozen.squeeze()
        self.form = (self.form + 1) % 3
        if self.form == 0:
            return loss
        if self.form == 1:
            return loss.reshape(1)
        return loss, 0.01 * (u ** 2).sum(1).mean().view(1, 1)

    def full_sort_predict(self, interaction):
        return self.user(interaction[0]) @ self.item.weight.t()
