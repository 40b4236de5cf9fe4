# trained by an AlternatingTrainer of its own
import torch
import torch.nn as nn
from common.abstract_recommender import GeneralRecommender
from common.trainer import Trainer


class AlternatingTrainer(Trainer):
    def _train_epoch(self, train_data, epoch_idx, loss_func=None):
        for idx, batch in enumerate(train_data):
            self.optimizer.zero_grad()
            loss = self.model.loss_a(batch) if idx % 2 else self.model.loss_b(batch)
            loss.backward()
            self.optimizer.step()
        return loss.item(), []


class Alternating(GeneralRecommender):
    def __init__(self, config, dataset):
        super(Alternating, self).__init__(config, dataset)
        self.u, self.i = nn.Embedding(self.n_users, 16), nn.Embedding(self.n_items, 16)

    def loss_a(self, b):
        return -torch.sigmoid((self.u(b[0]) * self.i(b[1])).sum(1)).mean()

    def loss_b(self, b):
        return torch.sigmoid((self.u(b[0]) * self.i(b[2])).sum(1)).mean()

    def calculate_loss(self, b):
        return self.loss_a(b) + self.loss_b(b)

    def full_sort_predict(self, interaction):
        return self.u(interaction[0]) @ self.i.weight.T
