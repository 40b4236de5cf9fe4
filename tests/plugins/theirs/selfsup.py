# coding: utf-8
# Reads the config while it trains and while it is evaluated, keys with dots too; scores from what
# the last training batch left; imports that it never uses.
import logging

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch_scatter import scatter

from common.abstract_recommender import GeneralRecommender


class SelfSup(GeneralRecommender):
    def __init__(self, config, dataset):
        super(SelfSup, self).__init__(config, dataset)
        self.config = config
        self.logger = logging.getLogger()
        self.a_feat = None
        if config['data.input.dataset'] == 'tiktok':
            self.a_feat = torch.zeros(1)
        self.temp = config['temp']
        self.graph = self.build(dataset.inter_matrix(form='csr'))
        self.embedding_user = nn.Embedding(self.n_users, config['recdim'])
        self.embedding_item = nn.Embedding(self.n_items, config['recdim'])
        for table in (self.embedding_user, self.embedding_item):
            if self.config['init'] == 'xavier':
                nn.init.xavier_uniform_(table.weight, gain=1)
            else:
                nn.init.normal_(table.weight, std=0.1)
        self.v_dense = nn.Linear(self.v_feat.shape[1], config['recdim'])
        self.t_dense = nn.Linear(self.t_feat.shape[1], config['recdim'])
        self.f = nn.Sigmoid()

    def build(self, net):
        degree_u, degree_i = np.asarray(net.sum(1)) + 1e-7, np.asarray(net.sum(0)) + 1e-7
        net = net.multiply(degree_u ** -0.5).multiply(degree_i ** -0.5).tocoo()
        place = torch.LongTensor(np.array([net.row, net.col]))
        value = torch.FloatTensor(net.data.astype(np.float32))
        return torch.sparse_coo_tensor(place, value, net.shape).coalesce().to(self.device)

    def compute(self):
        items = self.embedding_item.weight
        self.v_emb, self.t_emb = self.v_dense(self.v_feat), self.t_dense(self.t_feat)
        items = items + self.v_emb + self.t_emb
        users = self.embedding_user.weight
        for layer in range(self.config['layer_num']):
            users, items = (users + torch.sparse.mm(self.graph, items),
                            items + torch.sparse.mm(self.graph.t(), users))
        return users, items

    def calculate_loss(self, interaction):
        users, pos = interaction[0], interaction[1]
        self.all_users, self.all_items = self.compute()
        u, p = F.normalize(self.all_users[users]), F.normalize(self.all_items[pos])
        logits = torch.mm(u, p.T) / self.temp
        main = F.cross_entropy(logits, torch.arange(logits.size(0)).to(self.device))
        if self.config['ssl_task'] == 'FAC':
            one, other = F.normalize(self.v_emb[pos]), F.normalize(self.t_emb[pos])
            logits = torch.mm(one, other.T) / self.config['ssl_temp']
            ssl = F.cross_entropy(logits, torch.arange(logits.size(0)).to(self.device))
            return main + self.config['ssl_alpha'] * ssl
        return main

    def full_sort_predict(self, interaction):
        if self.config['mm_fusion_mode'] == 'concat':
            return self.f(torch.matmul(self.all_users[interaction[0]], self.all_items.t()))
        raise ValueError(self.config['mm_fusion_mode'])
