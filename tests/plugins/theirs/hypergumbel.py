# coding: utf-8
# Draws noise whenever it is asked, in evaluation too.
import torch
import torch.nn as nn
import torch.nn.functional as F

from common.abstract_recommender import GeneralRecommender


class HyperGumbel(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.tau = 0.2
        self.hyper_num = config['hyper_num']
        self.drop = nn.Dropout(p=1 - config['keep_rate'])
        self.user = nn.Embedding(self.n_users, config['embedding_size'])
        self.item = nn.Embedding(self.n_items, config['embedding_size'])
        # tensors in lists and dictionaries: no parameters
        self.fixed = {'v': F.normalize(self.v_feat), 't': [F.normalize(self.t_feat)]}
        self.v_hyper = nn.Parameter(nn.init.xavier_uniform_(torch.zeros(self.v_feat.shape[1], self.hyper_num)))

    def forward(self):
        edges = torch.mm(self.fixed['v'], self.v_hyper)
        edges = F.gumbel_softmax(edges, self.tau, dim=1, hard=False)
        items = self.item.weight + edges @ (self.drop(edges).t() @ self.item.weight)
        return self.user.weight, items

    def calculate_loss(self, interaction):
        users, pos, neg = interaction
        u, i = self.forward()
        return -F.logsigmoid((u[users] * (i[pos] - i[neg])).sum(1)).mean()

    def full_sort_predict(self, interaction):
        u, i = self.forward()
        return u[interaction[0]] @ i.t()
