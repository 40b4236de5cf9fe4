# attention over edges by torch_scatter, products by torch_sparse
import numpy as np
import torch
import torch.nn as nn
from torch_scatter import scatter_add, scatter_mean
from torch_scatter.composite import scatter_softmax
from torch_sparse import SparseTensor, matmul
from common.abstract_recommender import GeneralRecommender
from common.loss import BPRLoss


class ScatterAttn(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        d = config['embedding_size']
        self.emb = nn.Parameter(nn.init.xavier_uniform_(torch.empty(self.n_users + self.n_items, d)))
        self.W = nn.Linear(2 * d, 1)
        self.proj = nn.Linear(self.v_feat.shape[1], d)
        coo = dataset.inter_matrix(form='coo')
        r, c = torch.LongTensor(coo.row), torch.LongTensor(coo.col) + self.n_users
        self.src, self.dst = torch.cat([r, c]).to(self.device), torch.cat([c, r]).to(self.device)
        self.adj = SparseTensor(row=self.dst, col=self.src, sparse_sizes=(len(self.emb), len(self.emb)))
        self.loss = BPRLoss()

    def forward(self):
        x = self.emb
        score = self.W(torch.cat([x[self.src], x[self.dst]], 1)).squeeze()
        a = scatter_softmax(score, self.dst, dim=0)
        out = scatter_add(a.unsqueeze(1) * x[self.src], self.dst, dim=0, dim_size=x.shape[0])
        out = out + 0.1 * matmul(self.adj, x) + x
        mean = scatter_mean(x[self.src], self.dst, dim=0, dim_size=x.shape[0])
        u, i = torch.split(out + mean, [self.n_users, self.n_items])
        return u, i + self.proj(self.v_feat)

    def calculate_loss(self, interaction):
        u, i = self.forward()
        us, p, n = interaction
        return self.loss((u[us] * i[p]).sum(-1), (u[us] * i[n]).sum(-1))

    def full_sort_predict(self, interaction):
        u, i = self.forward()
        return u[interaction[0]] @ i.T
