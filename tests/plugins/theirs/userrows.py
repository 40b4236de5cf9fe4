# coding: utf-8
# An autoencoder on rows of users: batches are user ids.
import torch
import torch.nn as nn
import torch.nn.functional as F

from common.abstract_recommender import GeneralRecommender


class UserRows(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        # a scipy matrix is kept and read batch by batch
        self.rating_matrix = dataset.inter_matrix(form='csr')
        hidden = config['embedding_size']
        self.encoder = nn.Linear(self.n_items, hidden)
        self.decoder = nn.Linear(hidden, self.n_items)
        self.drop = nn.Dropout(config['drop_ratio'])
        self.trained = torch.from_numpy(dataset.all_uids).long()
        self.seen = torch.zeros(self.n_users, dtype=torch.long, device=self.device)

    def pre_epoch_processing(self):
        self.seen.zero_()

    def post_epoch_processing(self):
        # every user of the training split
        assert (self.seen[self.trained] > 0).all()

    def rows(self, users):
        return torch.from_numpy(self.rating_matrix[users.cpu().numpy()].toarray()).float().to(self.device)

    def calculate_loss(self, interaction):
        assert interaction.dim() == 1
        self.seen[interaction] += 1
        rows = self.rows(interaction)
        logits = self.decoder(torch.tanh(self.encoder(self.drop(F.normalize(rows)))))
        return -(F.log_softmax(logits, 1) * rows).sum(1).mean()

    def full_sort_predict(self, interaction):
        rows = self.rows(interaction[0])
        return self.decoder(torch.tanh(self.encoder(F.normalize(rows))))
