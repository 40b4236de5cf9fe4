# coding: utf-8
# torch_geometric message passing, a parameter replaced in forward, parameters that get a second
# name in the first forward, writes into the batch, scores from the last training batch.
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.utils import remove_self_loops, add_self_loops, degree

from common.abstract_recommender import GeneralRecommender


class PygRouting(GeneralRecommender):
    def __init__(self, config, dataset):
        super(PygRouting, self).__init__(config, dataset)
        self.aggr_mode = config['aggr_mode']
        dim_x = config['embedding_size']
        train_interactions = dataset.inter_matrix(form='coo').astype(np.float32)
        edge_index = self.pack_edge_index(train_interactions)
        self.edge_index = torch.tensor(edge_index, dtype=torch.long).t().contiguous().to(self.device)
        self.edge_index = torch.cat((self.edge_index, self.edge_index[[1, 0]]), dim=1)
        self.v_gcn = GCN(self.n_users, self.n_items, dim_x, self.aggr_mode, self.v_feat, self.device)
        self.t_gcn = GCN(self.n_users, self.n_items, dim_x, self.aggr_mode, self.t_feat, self.device)
        self.weight_u = nn.Parameter(nn.init.xavier_normal_(torch.randn(self.n_users, 2, 1)))
        self.weight_u.data = F.softmax(self.weight_u, dim=1)
        self.result_embed = nn.Parameter(
            nn.init.xavier_normal_(torch.tensor(np.random.randn(self.n_users + self.n_items, dim_x)))
        ).to(self.device)

    def pack_edge_index(self, inter_mat):
        rows = inter_mat.row
        cols = inter_mat.col + self.n_users
        return np.column_stack((rows, cols))

    def forward(self, interaction):
        user_nodes, pos_item_nodes, neg_item_nodes = interaction[0], interaction[1], interaction[2]
        pos_item_nodes += self.n_users
        neg_item_nodes += self.n_users
        self.v_rep, self.v_preference = self.v_gcn(self.edge_index, self.v_feat)
        self.t_rep, self.t_preference = self.t_gcn(self.edge_index, self.t_feat)
        both = torch.stack((self.v_rep, self.t_rep), dim=2)
        user_rep = torch.squeeze(torch.matmul(both[:self.n_users], self.weight_u))
        item_rep = both[self.n_users:].mean(dim=2)
        self.result_embed = torch.cat((user_rep, item_rep), dim=0)
        user, pos, neg = (self.result_embed[n] for n in (user_nodes, pos_item_nodes, neg_item_nodes))
        return (user * pos).sum(1), (user * neg).sum(1)

    def calculate_loss(self, interaction):
        user = interaction[0]
        pos_scores, neg_scores = self.forward(interaction)
        loss_value = -torch.mean(torch.log2(torch.sigmoid(pos_scores - neg_scores)))
        reg_loss = (self.v_preference[user] ** 2).mean() + (self.t_preference[user] ** 2).mean()
        return loss_value + 0.01 * (reg_loss + (self.weight_u ** 2).mean())

    def full_sort_predict(self, interaction):
        user_tensor = self.result_embed[:self.n_users]
        item_tensor = self.result_embed[self.n_users:]
        return torch.matmul(user_tensor[interaction[0], :], item_tensor.t())


class GCN(nn.Module):
    def __init__(self, num_user, num_item, dim_id, aggr_mode, features, device):
        super(GCN, self).__init__()
        self.device = device
        self.preference = nn.Parameter(nn.init.xavier_normal_(torch.tensor(
            np.random.randn(num_user, dim_id), dtype=torch.float32, requires_grad=True), gain=1).to(self.device))
        self.MLP = nn.Linear(features.size(1), dim_id)
        self.conv_embed_1 = BaseGCN(dim_id, dim_id, aggr=aggr_mode)

    def forward(self, edge_index, features):
        temp_features = F.leaky_relu(self.MLP(features))
        x = torch.cat((self.preference, temp_features), dim=0).to(self.device)
        x = F.normalize(x).to(self.device)
        h = self.conv_embed_1(x, edge_index)
        h_1 = self.conv_embed_1(h, edge_index)
        return h + x + h_1, self.preference


class BaseGCN(MessagePassing):
    def __init__(self, in_channels, out_channels, normalize=True, bias=True, aggr='add', **kwargs):
        super(BaseGCN, self).__init__(aggr=aggr, **kwargs)
        self.aggr = aggr
        self.in_channels = in_channels
        self.out_channels = out_channels

    def forward(self, x, edge_index, size=None):
        if size is None:
            edge_index, _ = remove_self_loops(edge_index)
            edge_index, _ = add_self_loops(edge_index, num_nodes=x.size(0))
        x = x.unsqueeze(-1) if x.dim() == 1 else x
        return self.propagate(edge_index, size=(x.size(0), x.size(0)), x=x)

    def message(self, x_j, edge_index, size):
        if self.aggr == 'add':
            row, col = edge_index
            deg = degree(row, size[0], dtype=x_j.dtype)
            deg_inv_sqrt = deg.pow(-0.5)
            norm = deg_inv_sqrt[row] * deg_inv_sqrt[col]
            return norm.view(-1, 1) * x_j
        return x_j

    def update(self, aggr_out):
        return aggr_out

    def __repr(self):
        return '{}({},{})'.format(self.__class__.__name__, self.in_channels, self.out_channels)
