# coding: utf-8
# Self-supervised on (user, item) pairs without negatives: two encoders, one a slow copy.
import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

from common.abstract_recommender import GeneralRecommender
from common.encoders import LightGCN_Encoder
from common.loss import L2Loss
from models.boot_parts import Predictor


class SelfBoot(GeneralRecommender):
    def __init__(self, config, dataset):
        super(SelfBoot, self).__init__(config, dataset)
        self.momentum = config['momentum'] or 0.9
        self.reg_weight = config['reg_weight']
        self.online = LightGCN_Encoder(config, dataset)
        self.target = copy.deepcopy(self.online)
        for p in self.target.parameters():
            p.requires_grad = False
        self.predictor = Predictor(config['embedding_size'])
        self.reg_loss = L2Loss()

    def calculate_loss(self, interaction):
        u, i = self.online(interaction)
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), self.online.parameters()):
                slow.data = self.momentum * slow.data + (1 - self.momentum) * fast.data
            u_target, i_target = self.target(interaction)
        loss = 2 - F.cosine_similarity(self.predictor(u), i_target).mean()
        loss = loss - F.cosine_similarity(self.predictor(i), u_target).mean()
        return loss + self.reg_weight * self.reg_loss(u, i)

    def full_sort_predict(self, interaction):
        u, i = self.online.get_embedding()
        return self.predictor(u[interaction[0]]) @ i.t()
