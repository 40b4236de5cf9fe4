# state in numpy, in dictionaries with integer keys, and an own generator
import random
from collections import defaultdict, deque
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from common.abstract_recommender import GeneralRecommender


class Memory:
    def __init__(self, n, d, m=0.9):
        self.bank = np.zeros((n, d), dtype=np.float)
        self.cnt = {}
        self.m = m

    def push(self, ids, rows):
        for k, r in zip(ids, rows):
            self.bank[k] = self.m * self.bank[k] + (1 - self.m) * r
            self.cnt[k] = self.cnt.get(k, 0) + 1


class NumpyMemory(GeneralRecommender):
    def __init__(self, config, dataset):
        super(NumpyMemory, self).__init__(config, dataset)
        d = config['embedding_size']
        self.user, self.item = nn.Embedding(self.n_users, d), nn.Embedding(self.n_items, d)
        nn.init.normal_(self.user.weight, std=0.1)
        nn.init.normal_(self.item.weight, std=0.1)
        self.memory = Memory(self.n_items, d)
        self.rng = np.random.RandomState(config['seed'] if isinstance(config['seed'], int) else 0)
        self.history = dataset.history_items_per_u
        self.pop = np.zeros(self.n_items, dtype=np.int)
        for u, its in self.history.items():
            for i in its:
                self.pop[i] += 1
        self.seen = defaultdict(int)
        self.last = deque(maxlen=5)

    def calculate_loss(self, interaction):
        u, p, n = interaction
        pe = self.item(p)
        self.memory.push(p.tolist(), pe.detach().cpu().numpy())
        for i in p.tolist():
            self.seen[i] += 1
        mem = torch.from_numpy(self.memory.bank[p.cpu().numpy()]).float().to(self.device)
        noise = torch.from_numpy(self.rng.normal(0, .01, size=tuple(pe.shape))).float().to(self.device)
        w = torch.tensor([1. / (1 + self.seen[i]) ** .5 for i in p.tolist()], device=self.device)
        x = (self.user(u) * (pe + noise)).sum(1) - (self.user(u) * self.item(n)).sum(1)
        loss = (w * F.softplus(-x)).mean()
        self.last.append(loss.item())
        return loss, 0.1 * F.mse_loss(pe, mem) * float(np.mean(self.last))

    def full_sort_predict(self, interaction):
        bonus = torch.from_numpy(np.log1p(self.pop)).float().to(self.device)
        return self.user(interaction[0]) @ self.item.weight.t() + 1e-3 * bonus
