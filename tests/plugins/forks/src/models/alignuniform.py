# extra losses of the fork's common/loss.py, a tuple of losses
import torch
import torch.nn as nn
from common.abstract_recommender import GeneralRecommender
from common.loss import *
from common.init import xavier_normal_initialization


class AlignUniform(GeneralRecommender):
    def __init__(self, config, dataset):
        super(AlignUniform, self).__init__(config, dataset)
        self.gamma = config['gamma']
        self.user_embedding = nn.Embedding(self.n_users, config['embedding_size'])
        self.item_embedding = nn.Embedding(self.n_items, config['embedding_size'])
        self.t_trans = nn.Linear(self.t_feat.shape[1], config['embedding_size'])
        self.dice = DiceLoss()
        self.apply(xavier_normal_initialization)

    def calculate_loss(self, interaction):
        user, pos = interaction[0], interaction[1]
        u, i, t = self.user_embedding(user), self.item_embedding(pos), self.t_trans(self.t_feat[pos])
        align = alignment(u, i) + alignment(i, t)
        uni = self.gamma * (uniformity(u) + uniformity(i)) / 2
        dice = 0.01 * self.dice(torch.sigmoid((u * i).sum(1)), torch.ones(len(user), device=self.device))
        return align, uni, dice

    def full_sort_predict(self, interaction):
        return torch.matmul(self.user_embedding(interaction[0]), self.item_embedding.weight.t())
