# a curriculum in pre_epoch_processing, graph in scipy, an own optimiser and scheduler
import math
import numpy as np
import scipy.sparse as sp
import torch
import torch.nn as nn
import torch.optim as optim
from common.abstract_recommender import GeneralRecommender
from utils.utils import normalize_sp, sp_to_torch


class Curriculum(GeneralRecommender):
    def __init__(self, config, dataset):
        super(Curriculum, self).__init__(config, dataset)
        self.epoch = 0
        self.warm = config['warm_up']
        d = config['embedding_size']
        self.embedding = nn.Parameter(torch.randn(self.n_users + self.n_items, d) * 0.1)
        self.R = dataset.inter_matrix(form='csr').astype(np.float32)
        self.cur = self.R.copy()
        self.gate = torch.ones(d, requires_grad=True, device=self.device)
        self.gate_opt = optim.Adam([self.gate], lr=1e-2)
        self.sch = optim.lr_scheduler.LambdaLR(self.gate_opt, lambda e: 0.95 ** e)
        self.adj = None

    def pre_epoch_processing(self):
        if self.epoch % 2 == 0:  # every second epoch other edges
            keep = min(1., 0.5 + self.epoch / (2. * self.warm))
            coo = self.R.tocoo()
            idx = np.random.choice(coo.nnz, max(1, int(coo.nnz * keep)), replace=False)
            self.cur = sp.csr_matrix((coo.data[idx], (coo.row[idx], coo.col[idx])), shape=self.R.shape)
        a = sp.vstack([sp.hstack([sp.csr_matrix((self.n_users, self.n_users)), self.cur]),
                       sp.hstack([self.cur.T, sp.csr_matrix((self.n_items, self.n_items))])])
        self.adj = sp_to_torch(normalize_sp(a)).to(self.device)
        self.epoch += 1

    def post_epoch_processing(self):
        self.sch.step()
        return 'lr of the gate %.5f' % self.sch.get_last_lr()[0]

    def forward(self):
        adj = self.adj if self.adj is not None else torch.eye(len(self.embedding)).to_sparse()
        x = torch.sparse.mm(adj, self.embedding * self.gate.detach()) + self.embedding
        return torch.split(x, [self.n_users, self.n_items])

    def calculate_loss(self, interaction):
        self.gate_opt.zero_grad()
        g = (self.embedding.detach()[interaction[0]] * self.gate).sum(1).pow(2).mean()
        (g + (self.gate - 1).pow(2).sum()).backward()
        self.gate_opt.step()
        u, i = self.forward()
        x = (u[interaction[0]] * i[interaction[1]]).sum(1) - (u[interaction[0]] * i[interaction[2]]).sum(1)
        return -torch.log(torch.sigmoid(x) + 1e-8).mean()

    def full_sort_predict(self, interaction):
        u, i = self.forward()
        return torch.matmul(u[interaction[0]], i.t())
