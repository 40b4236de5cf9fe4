# keys that this fork's main.py takes from argparse; a third argument
import torch
import torch.nn as nn
import argparse
from common.abstract_recommender import GeneralRecommender

parser = argparse.ArgumentParser()
parser.add_argument('--tau', type=float, default=0.5)
args, _ = parser.parse_known_args()


class OwnKeys(GeneralRecommender):
    def __init__(self, config, dataset, local_time):
        super(OwnKeys, self).__init__(config, dataset)
        self.local_time = local_time
        self.tau = args.tau
        self.ssl_weight = config['ssl_weight'] or 0.1
        self.use_id = True if config['use_id'] is None else config['use_id']
        d = config['embedding_size'] if 'embedding_size' in config else 64
        self.u = nn.Embedding(self.n_users, d)
        self.i = nn.Embedding(self.n_items, d)
        self.v = nn.Linear(self.v_feat.size(1), d, bias=False)

    def items(self):
        v = self.v(self.v_feat)
        return v + self.i.weight if self.use_id else v

    def calculate_loss(self, interaction):
        it = self.items()
        u = self.u(interaction[0])
        x = (u * it[interaction[1]]).sum(1) - (u * it[interaction[2]]).sum(1)
        return -nn.functional.logsigmoid(x / self.tau).mean() + self.ssl_weight * it.pow(2).mean()

    def full_sort_predict(self, interaction):
        return self.u(interaction[0]) @ self.items().T
