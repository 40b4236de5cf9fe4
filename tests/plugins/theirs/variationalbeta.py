# coding: utf-8
# Its key beta is also one of the mirror gradient's; a trained tensor that no optimizer sees;
# modules in a plain list; scores from the last training batch.
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from common.abstract_recommender import GeneralRecommender


class VariationalBeta(GeneralRecommender):
    def __init__(self, config, dataset):
        super(VariationalBeta, self).__init__(config, dataset)
        self.beta = config['beta']
        num_user, num_item = self.n_users, self.n_items
        self.collaborative = nn.init.xavier_normal_(
            torch.rand((num_item, 8), requires_grad=True)).to(self.device)
        self.layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.image = nn.Linear(self.v_feat.shape[1], 8)
        self.user = nn.Embedding(num_user, 8)
        self.result_embed = None
        self.ui = dataset.inter_matrix(form='coo').astype(np.float32)

    def reparameterize(self, mu, logvar):
        if self.training:
            return mu + torch.randn_like(mu) * torch.exp(0.1 + F.softplus(logvar))
        return mu

    def calculate_loss(self, interaction):
        users, pos, neg = interaction
        items = torch.tanh(self.image(self.v_feat)) + self.collaborative
        mu, logvar = self.layers[0](items), self.layers[1](items)
        z = self.reparameterize(mu, logvar)
        self.result_embed = torch.cat((self.user.weight, mu))
        gap = (self.user(users) * (z[pos] - z[neg])).sum(1)
        kl = -0.5 * torch.mean(1 + logvar - mu ** 2 - logvar.exp())
        return -F.logsigmoid(gap).mean(), self.beta * kl

    def full_sort_predict(self, interaction):
        users = self.result_embed[interaction[0]]
        return torch.matmul(users, self.result_embed[self.n_users:].t())
