# coding: utf-8
# GraphMF: matrix factorization on smoothed embeddings, in the manner of a 2022 MMRec model.
import numpy as np
import scipy.sparse as sp
import torch
import torch.nn as nn

from common.abstract_recommender import GeneralRecommender
from common.init import xavier_normal_initialization
from common.loss import BPRLoss, EmbLoss


class GraphMF(GeneralRecommender):
    def __init__(self, config, dataset):
        super(GraphMF, self).__init__(config, dataset)
        self.latent_dim = config['embedding_size']
        self.n_layers = config['n_layers']
        self.reg_weight = config['reg_weight']
        # never declared anywhere
        self.degree_ratio = config['degree_ratio']
        assert self.degree_ratio is None

        self.interaction_matrix = dataset.inter_matrix(form='coo').astype(np.float32)
        self.user_embedding = nn.Embedding(self.n_users, self.latent_dim)
        self.item_embedding = nn.Embedding(self.n_items, self.latent_dim)
        self.mf_loss = BPRLoss()
        self.reg_loss = EmbLoss()
        self.norm_adj = self.get_adj_mat().cuda()
        self.apply(xavier_normal_initialization)

    def get_adj_mat(self):
        n = self.n_users + self.n_items
        A = sp.dok_matrix((n, n), dtype=np.float32)
        R = self.interaction_matrix
        Rt = R.transpose()
        data = dict(zip(zip(R.row, R.col + self.n_users), [1] * R.nnz))
        data.update(dict(zip(zip(Rt.row + self.n_users, Rt.col), [1] * Rt.nnz)))
        A._update(data)
        degree = np.array((A > 0).sum(axis=1)).flatten().astype(np.float) + 1e-7
        D = sp.diags(np.power(degree, -0.5))
        L = sp.coo_matrix(D * A * D)
        index = torch.LongTensor(np.array([L.row, L.col]))
        return torch.sparse.FloatTensor(index, torch.FloatTensor(L.data), torch.Size((n, n)))

    def forward(self):
        ego = torch.cat([self.user_embedding.weight, self.item_embedding.weight], dim=0)
        layers = [ego]
        for _ in range(self.n_layers):
            ego = torch.sparse.mm(self.norm_adj, ego)
            layers += [ego]
        out = torch.stack(layers, dim=1).mean(dim=1)
        return torch.split(out, [self.n_users, self.n_items])

    def calculate_loss(self, interaction):
        user, pos, neg = interaction[0], interaction[1], interaction[2]
        u_all, i_all = self.forward()
        u, p, n = u_all[user], i_all[pos], i_all[neg]
        mf_loss = self.mf_loss((u * p).sum(1), (u * n).sum(1))
        reg = self.reg_loss(self.user_embedding(user), self.item_embedding(pos), self.item_embedding(neg))
        return mf_loss + self.reg_weight * reg

    def full_sort_predict(self, interaction):
        u_all, i_all = self.forward()
        return torch.matmul(u_all[interaction[0]], i_all.transpose(0, 1))
