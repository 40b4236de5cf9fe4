# coding: utf-8
# names that this fork has in utils/utils.py
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import scipy.sparse as sp
from common.abstract_recommender import GeneralRecommender
from common.loss import BPRLoss, EmbLoss, InfoNCE
from common.layers import MLP
from utils.utils import build_sim, get_item_item_graph, build_mixed_graph, normalize_sp, sp_to_torch, AverageMeter


class MixGraph(GeneralRecommender):
    def __init__(self, config, dataset):
        super(MixGraph, self).__init__(config, dataset)
        self.dim = config['embedding_size']
        self.n_layers = config['n_layers']
        self.cl = config['cl_weight']
        self.user_embedding = nn.Embedding(self.n_users, self.dim)
        self.item_embedding = nn.Embedding(self.n_items, self.dim)
        nn.init.xavier_normal_(self.user_embedding.weight)
        nn.init.xavier_normal_(self.item_embedding.weight)
        R = dataset.inter_matrix(form='coo').astype(np.float32)
        adj = sp.bmat([[None, R], [R.T, None]]).tocsr()
        self.norm_adj = sp_to_torch(normalize_sp(adj)).to(self.device)
        feats = [f for f in (self.v_feat, self.t_feat) if f is not None]
        self.mm_adj = build_mixed_graph([get_item_item_graph(f, config['knn_k'], self.device) for f in feats],
                                        [1. / len(feats)] * len(feats)).to(self.device)
        self.mlps = nn.ModuleList([MLP([f.shape[1], 32, self.dim]) for f in feats])
        self.feats = feats
        self.info, self.bpr, self.emb = InfoNCE(0.2), BPRLoss(), EmbLoss()
        self.meter = AverageMeter()

    def forward(self):
        h = self.item_embedding.weight
        for _ in range(self.n_layers):
            h = torch.sparse.mm(self.mm_adj, h)
        ego = torch.cat([self.user_embedding.weight, self.item_embedding.weight], dim=0)
        all_e = [ego]
        for _ in range(self.n_layers):
            ego = torch.sparse.mm(self.norm_adj, ego)
            all_e.append(ego)
        u, i = torch.split(torch.stack(all_e, 1).mean(1), [self.n_users, self.n_items])
        return u, i + F.normalize(h), sum(m(f) for m, f in zip(self.mlps, self.feats))

    def calculate_loss(self, interaction):
        users, pos, neg = interaction[0], interaction[1], interaction[2]
        u, i, m = self.forward()
        bpr = self.bpr((u[users] * i[pos]).sum(1), (u[users] * i[neg]).sum(1))
        cl = self.info(i[pos], m[pos])
        reg = self.emb(u[users], i[pos], i[neg])
        self.meter.update(bpr.item(), users.shape[0])
        return bpr, self.cl * cl, 1e-4 * reg

    def post_epoch_processing(self):
        msg = 'mean bpr %.4f' % self.meter.avg
        self.meter.reset()
        return msg

    @torch.no_grad()
    def full_sort_predict(self, interaction):
        u, i, _ = self.forward()
        return torch.matmul(u[interaction[0]], i.transpose(0, 1))
