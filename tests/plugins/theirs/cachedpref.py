# coding: utf-8
# Writes into its batches, replaces a Parameter by a tensor, scores from what training cached.
import torch
import torch.nn as nn
import torch.nn.functional as F

from common.abstract_recommender import GeneralRecommender


class CachedPref(GeneralRecommender):
    def __init__(self, config, dataloader):
        super(CachedPref, self).__init__(config, dataloader)
        dim = config['embedding_size']
        self.epochs_seen = 0
        self.lr_note = config['never_declared_key']
        table = torch.randn(self.n_users + self.n_items, dim) * 0.1
        self.id_embedding = nn.Parameter(table)
        # on a GPU .to() makes a plain tensor of it; on the CPU it stays a Parameter
        self.preference = nn.Parameter(torch.rand(self.n_users, dim)).to(self.device)
        self.result = None

    def pre_epoch_processing(self):
        self.epochs_seen += 1

    def post_epoch_processing(self):
        return 'epochs seen: {}'.format(self.epochs_seen)

    def forward(self):
        self.preference = F.normalize(self.id_embedding[: self.n_users]).detach()
        self.result = torch.cat(
            [self.id_embedding[: self.n_users] + self.preference, self.id_embedding[self.n_users :]]
        )
        return self.result

    def calculate_loss(self, interaction):
        user, pos, neg = interaction[0], interaction[1], interaction[2]
        pos += self.n_users
        neg += self.n_users
        out = self.forward()
        pos_scores = torch.sum(out[user] * out[pos], dim=1)
        neg_scores = torch.sum(out[user] * out[neg], dim=1)
        return -torch.mean(torch.log2(torch.sigmoid(pos_scores - neg_scores)))

    def full_sort_predict(self, interaction):
        users = self.result[: self.n_users]
        return torch.matmul(users[interaction[0]], self.result[self.n_users :].t())
