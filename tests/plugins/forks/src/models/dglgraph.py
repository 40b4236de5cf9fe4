# needs dgl, and uses it
import dgl
import dgl.function as fn
import torch
import torch.nn as nn
from common.abstract_recommender import GeneralRecommender


class DglGraph(GeneralRecommender):
    def __init__(self, config, dataset):
        super(DglGraph, self).__init__(config, dataset)
        coo = dataset.inter_matrix(form='coo')
        self.g = dgl.heterograph({('user', 'buys', 'item'): (coo.row, coo.col)})
        self.x = nn.Embedding(self.n_users + self.n_items, 16)

    def calculate_loss(self, interaction):
        return self.x.weight.sum()

    def full_sort_predict(self, interaction):
        return self.x.weight[interaction[0]] @ self.x.weight[self.n_users:].T
