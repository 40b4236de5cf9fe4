# neighbours of users from user_graph_dict.npy, drawn anew before each epoch, as forks of DualGNN do
import os
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.utils import degree, remove_self_loops
from common.abstract_recommender import GeneralRecommender


class Conv(MessagePassing):
    def __init__(self):
        super(Conv, self).__init__(aggr='add')

    def forward(self, x, edge_index):
        edge_index, _ = remove_self_loops(edge_index)
        return self.propagate(edge_index, size=(x.size(0), x.size(0)), x=x)

    def message(self, x_j, edge_index, size):
        row, col = edge_index
        deg = degree(row, size[0], dtype=x_j.dtype)
        norm = deg.clamp(min=1).pow(-0.5)
        return norm[row].view(-1, 1) * norm[col].view(-1, 1) * x_j


class UserGraph(GeneralRecommender):
    def __init__(self, config, dataset):
        super(UserGraph, self).__init__(config, dataset)
        d, self.k = config['embedding_size'], config['k']
        path = os.path.abspath(config['data_path'] + config['dataset'])
        self.user_graph_dict = np.load(os.path.join(path, config['user_graph_dict_file']), allow_pickle=True).item()
        self.x = nn.Embedding(self.n_users + self.n_items, d)
        nn.init.xavier_normal_(self.x.weight)
        coo = dataset.inter_matrix(form='coo')
        e = torch.tensor(np.stack([coo.row, coo.col + self.n_users]), dtype=torch.long)
        self.edge_index = torch.cat([e, e.flip(0)], dim=1).to(self.device)
        self.conv = Conv()
        self.w = nn.Parameter(torch.ones(self.n_users, self.k, 1))

    def pre_epoch_processing(self):
        self.index, self.weight = self.topk_sample(self.k)

    def topk_sample(self, k):
        index, weight = [], torch.zeros(len(self.user_graph_dict), k)
        for i in range(len(self.user_graph_dict)):
            ids, sims = self.user_graph_dict[i][0][:k], self.user_graph_dict[i][1][:k]
            if len(ids) == 0:
                index.append([0] * k)
                continue
            while len(ids) < k:
                r = np.random.randint(0, len(ids))
                ids, sims = ids + [ids[r]], sims + [sims[r]]
            index.append(ids)
            weight[i] = F.softmax(torch.tensor(sims).float(), dim=0)
        return torch.tensor(index).to(self.device), weight.unsqueeze(1).to(self.device)

    def forward(self):
        h = self.conv(self.x.weight, self.edge_index) + self.x.weight
        u, i = torch.split(h, [self.n_users, self.n_items])
        u = u + torch.matmul(self.weight, u[self.index] * self.w).squeeze(1)
        self.result = torch.cat([u, i])
        return u, i

    def calculate_loss(self, interaction):
        interaction[1] += self.n_users
        interaction[2] += self.n_users
        self.forward()
        u, p, n = [self.result[x] for x in interaction]
        return -torch.mean(torch.log2(torch.sigmoid((u * p).sum(1) - (u * n).sum(1))))

    def full_sort_predict(self, interaction):
        u, i = self.result[:self.n_users], self.result[self.n_users:]
        return torch.matmul(u[interaction[0]], i.t())
