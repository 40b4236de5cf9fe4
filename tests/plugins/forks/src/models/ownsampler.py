# negatives of its own from histories; numpy, sets and python's random
import random
import numpy as np
import pandas as pd
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.sparse.linalg import svds
from common.abstract_recommender import GeneralRecommender


class OwnSampler(GeneralRecommender):
    def __init__(self, config, dataset):
        super(OwnSampler, self).__init__(config, dataset)
        self.dataset = dataset
        self.n_neg = config['n_neg']
        self.his = dataset.history_items_per_u
        df = dataset.dataset.df
        self.pop = df.groupby(df.columns[1]).size().reindex(range(self.n_items), fill_value=0).values
        self.p = (self.pop + 1.) ** 0.75 / ((self.pop + 1.) ** 0.75).sum()
        u, s, v = svds(dataset.inter_matrix(form='csr').astype(np.float64), k=8, v0=np.ones(min(self.n_users, self.n_items)))
        self.u = nn.Parameter(torch.from_numpy((u * np.sqrt(s)).copy()).float())
        self.i = nn.Parameter(torch.from_numpy((v.T * np.sqrt(s)).copy()).float())
        self.hard = {u: [] for u in range(self.n_users)}
        self.alpha = 0.0

    def pre_epoch_processing(self):
        self.alpha = min(1.0, self.alpha + 0.25)
        with torch.no_grad():
            s = self.u @ self.i.t()
            top = s.topk(10, dim=1).indices.cpu().numpy()
        for u in range(self.n_users):
            self.hard[u] = [int(i) for i in top[u] if i not in self.his.get(u, set())]

    def sample(self, u):
        out = []
        while len(out) < self.n_neg:
            if self.hard[u] and random.random() < self.alpha:
                out.append(random.choice(self.hard[u]))
                continue
            i = np.random.choice(self.n_items, p=self.p)
            if i not in self.his[u]:
                out.append(int(i))
        return out

    def calculate_loss(self, interaction):
        users, pos = interaction[0], interaction[1]
        neg = torch.tensor([self.sample(u) for u in users.tolist()], device=self.device)
        u = self.u[users]
        ps, ns = (u * self.i[pos]).sum(1, keepdim=True), (u.unsqueeze(1) * self.i[neg]).sum(2)
        return F.cross_entropy(torch.cat([ps, ns], 1), torch.zeros(len(users), dtype=torch.long, device=self.device))

    def full_sort_predict(self, interaction):
        return self.u[interaction[0]] @ self.i.t()
