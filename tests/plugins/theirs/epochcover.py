# coding: utf-8
# Keeps account of the batches it is given: what an epoch covers, its order, its negatives, masks.
import torch
import torch.nn as nn

from common.abstract_recommender import GeneralRecommender


class EpochCover(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        coo = dataset.inter_matrix(form='coo')
        self.rows = set(zip(coo.row.tolist(), coo.col.tolist()))
        self.history = dataset.history_items_per_u
        self.items = dataset.all_items_set
        self.full = dataset.batch_size
        self.now, self.before, self.sizes = [], [], []
        self.user_embedding = nn.Embedding(self.n_users, 8)
        self.item_embedding = nn.Embedding(self.n_items, 8)

    def pre_epoch_processing(self):
        self.before, self.now, self.sizes = self.now, [], []

    def post_epoch_processing(self):
        if len(self.now) < len(self.rows):  # not a whole epoch
            return
        assert set(self.now) == self.rows
        assert self.now != self.before and self.now != sorted(self.now)
        assert set(self.sizes[:-1]) == {self.full} and self.sizes[-1] == len(self.rows) % self.full
        return 'all {} rows'.format(len(self.rows))

    def calculate_loss(self, interaction):
        assert interaction.dtype == torch.int64 and interaction.device.type == self.device.type
        users, pos, neg = interaction
        self.sizes.append(len(users))
        self.now += list(zip(users.tolist(), pos.tolist()))
        for user, item in zip(users.tolist(), neg.tolist()):
            assert item in self.items and item not in self.history[user]
        u, p, n = self.user_embedding(users), self.item_embedding(pos), self.item_embedding(neg)
        return nn.functional.softplus((u * (n - p)).sum(1)).mean()

    def full_sort_predict(self, interaction):
        users, mask = interaction
        for row, user in enumerate(users.tolist()):
            assert set(mask[1][mask[0] == row].tolist()) == self.history[user]
        return self.user_embedding(users) @ self.item_embedding.weight.t()
