# coding: utf-8
# The first forward gives a submodule's parameter a second name in the model, and makes a buffer.
import torch
import torch.nn as nn

from common.abstract_recommender import GeneralRecommender


class Branch(nn.Module):
    def __init__(self, n, dim):
        super().__init__()
        self.preference = nn.Parameter(torch.randn(n, dim) * 0.1)

    def forward(self):
        return torch.tanh(self.preference), self.preference


class LateNames(GeneralRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        self.users = Branch(self.n_users, 8)
        self.items = nn.ModuleList([Branch(self.n_items, 8)])

    def forward(self):
        u, self.v_preference = self.users()
        i, self.t_preference = self.items[0]()
        return u, i

    def calculate_loss(self, interaction):
        u, i = self.forward()
        if not hasattr(self, 'mean_norm'):
            self.register_buffer('mean_norm', torch.zeros(1, device=self.device))
        self.mean_norm += u.detach().norm()
        gap = (u[interaction[0]] * (i[interaction[1]] - i[interaction[2]])).sum(1)
        return -torch.log(torch.sigmoid(gap)).mean() + 1e-3 * (self.v_preference ** 2).mean()

    def full_sort_predict(self, interaction):
        u, i = self.forward()
        return u[interaction[0]] @ i.t()
