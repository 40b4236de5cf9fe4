# forward returns a dictionary; what the fork's base class has beside MMRec's
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from common.abstract_recommender import GeneralRecommender


class DictForward(GeneralRecommender):
    def __init__(self, config, dataset):
        super(DictForward, self).__init__(config, dataset)
        d = config['embedding_size']
        self.embs = nn.ModuleDict({'user': nn.Embedding(self.n_users, d), 'item': nn.Embedding(self.n_items, d)})
        self.mm = nn.Linear(self.mm_feat.shape[1], d)
        self.mask = torch.from_numpy(self.image_available.astype(np.float32)).to(self.device)
        self.out = None

    def forward(self):
        mm = self.mm(self.mm_feat) * self.mask.unsqueeze(1)
        return {'user': self.embs['user'].weight, 'item': self.embs['item'].weight + F.dropout(mm, 0.1, self.training),
                'aux': {'mm': mm}}

    def calculate_loss(self, interaction):
        out = self.forward()
        self.out = {k: v.detach() for k, v in out.items() if k != 'aux'}
        u, p, n = [out[k][x] for k, x in zip(('user', 'item', 'item'), interaction)]
        return F.softplus((u * n).sum(1) - (u * p).sum(1)).mean() + 1e-4 * self.l2_reg(u, p, n) + 1e-5 * out['aux']['mm'].abs().sum()

    def full_sort_predict(self, interaction):
        out = self.out if self.out is not None else self.forward()
        return out['user'][interaction[0]] @ out['item'].t()
