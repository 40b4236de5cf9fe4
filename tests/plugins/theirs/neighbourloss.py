# coding: utf-8
# Batches of five rows: a neighbour item and a stranger beside the positive and the negative.
import torch
import torch.nn as nn
import torch.nn.functional as F

from common.abstract_recommender import GeneralRecommender


class NeighbourLoss(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        assert dataset.neighborhood_loss_required
        together = dataset.item_item_dict
        for item, users in dataset.history_users_per_i.items():
            assert item not in together[item] and len(users) > 0
        assert set(dataset.user_user_dict) == dataset.all_users_set
        self.friends = max(len(others) for others in dataset.user_user_dict.values())
        self.user_embedding = nn.Embedding(self.n_users, config['embedding_size'])
        self.item_embedding = nn.Embedding(self.n_items, config['embedding_size'])

    def calculate_loss(self, interaction):
        assert interaction.dtype == torch.int64 and interaction.shape[0] == 5
        users, pos, neg, near, far = interaction
        u, p, n = self.user_embedding(users), self.item_embedding(pos), self.item_embedding(neg)
        bpr = F.softplus((u * (n - p)).sum(1)).mean()
        close = F.softplus((p * (self.item_embedding(far) - self.item_embedding(near))).sum(1)).mean()
        return bpr, 0.1 * close

    def full_sort_predict(self, interaction):
        return self.user_embedding(interaction[0]) @ self.item_embedding.weight.t()
