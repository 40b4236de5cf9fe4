# a target network by deepcopy, and clusters of scikit-learn every second epoch
import copy
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.cluster import KMeans
from common.abstract_recommender import GeneralRecommender


class Momentum(GeneralRecommender):
    def __init__(self, config, dataset):
        super(Momentum, self).__init__(config, dataset)
        d, self.momentum, self.n_clusters = config['embedding_size'], config['momentum'], config['n_clusters']
        self.online = nn.ModuleDict({'u': nn.Embedding(self.n_users, d), 'i': nn.Embedding(self.n_items, d)})
        for e in self.online.values():
            nn.init.xavier_uniform_(e.weight)
        self.target = copy.deepcopy(self.online)
        for p in self.target.parameters():
            p.requires_grad = False
        self.predictor = nn.Linear(d, d)
        self.step, self.centers, self.labels = 0, None, {}

    def pre_epoch_processing(self):
        if self.step % 2 == 0:
            km = KMeans(self.n_clusters, n_init=1, random_state=self.step).fit(self.online['i'].weight.detach().cpu().numpy())
            self.centers = torch.from_numpy(km.cluster_centers_).float().to(self.device)
            self.labels = {i: int(c) for i, c in enumerate(km.labels_)}
        self.step += 1

    def calculate_loss(self, interaction):
        u, p = interaction[0], interaction[1]
        on_u, on_i = self.predictor(self.online['u'](u)), self.predictor(self.online['i'](p))
        with torch.no_grad():
            t_u, t_i = self.target['u'](u), self.target['i'](p)
            for a, b in zip(self.online.parameters(), self.target.parameters()):
                b.data = b.data * self.momentum + a.data * (1. - self.momentum)
        c = self.centers[torch.tensor([self.labels[i] for i in p.tolist()], device=self.device)]
        return (1 - F.cosine_similarity(on_u, t_i).mean(), 1 - F.cosine_similarity(on_i, t_u).mean(),
                0.1 * F.mse_loss(self.online['i'](p), c))

    def full_sort_predict(self, interaction):
        u, i = self.predictor(self.online['u'](interaction[0])), self.predictor(self.online['i'].weight)
        return u @ i.t()
