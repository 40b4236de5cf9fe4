# coding: utf-8
# Uses the v_feat / t_feat features, caches its item graph in the data folder, returns a tuple loss.
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch_scatter import scatter_add

from models.common.abstract_recommender import GeneralRecommender
from models.common.loss import BPRLoss, EmbLoss
from utils.utils import build_knn_normalized_graph, build_sim


class ItemKNNGraph(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        dim = config['feat_embed_dim']
        self.knn_k = config['knn_k']
        self.reg_weight = config['reg_weight']
        self.user_embedding = nn.Embedding(self.n_users, dim)
        self.item_embedding = nn.Embedding(self.n_items, dim)
        nn.init.xavier_uniform_(self.user_embedding.weight)
        nn.init.xavier_uniform_(self.item_embedding.weight)

        path = os.path.abspath(config['data_path'] + config['dataset'])
        adj_file = os.path.join(path, 'item_adj_{}.pt'.format(self.knn_k))
        feats = [f for f in (self.v_feat, self.t_feat) if f is not None]
        if os.path.exists(adj_file):
            adj = torch.load(adj_file)
        else:
            sim = sum(build_sim(f) for f in feats) / len(feats)
            adj = build_knn_normalized_graph(sim, topk=self.knn_k, is_sparse=True, norm_type='sym')
            torch.save(adj, adj_file)
        self.item_adj = adj.cuda()
        self.projections = nn.ModuleList([nn.Linear(f.shape[1], dim) for f in feats])
        self.feats = feats

        rows = dataset.inter_matrix(form='csr').tocoo()
        self.users = torch.from_numpy(rows.row.astype(np.int)).to(self.device)
        self.items = torch.from_numpy(rows.col.astype(np.int)).to(self.device)
        self.mf_loss, self.emb_loss = BPRLoss(), EmbLoss()

    def forward(self):
        item = self.item_embedding.weight + sum(p(f) for p, f in zip(self.projections, self.feats))
        item = item + torch.sparse.mm(self.item_adj, item)
        history = scatter_add(item[self.items], self.users, dim=0, dim_size=self.n_users)
        return self.user_embedding.weight + F.normalize(history), item

    def calculate_loss(self, interaction):
        users, pos, neg = interaction
        u, i = self.forward()
        mf = self.mf_loss((u[users] * i[pos]).sum(-1), (u[users] * i[neg]).sum(-1))
        return mf, self.reg_weight * self.emb_loss(u[users], i[pos])

    def full_sort_predict(self, interaction):
        u, i = self.forward()
        return u[interaction[0]] @ i.t()
