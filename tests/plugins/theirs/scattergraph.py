# coding: utf-8
# Graphs by torch_scatter and by the helpers of utils.utils, sparse and dense, all norms.
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch_scatter import scatter, scatter_add, scatter_mean, scatter_max, scatter_softmax

from common.abstract_recommender import GeneralRecommender
from utils.utils import build_sim, build_knn_normalized_graph, get_dense_laplacian, get_sparse_laplacian


class ScatterGraph(GeneralRecommender):
    def __init__(self, config, dataset):
        super(ScatterGraph, self).__init__(config, dataset)
        self.sparse = True
        self.norm_type = config['norm_type']
        sim = build_sim(self.v_feat)
        self.image_adj = build_knn_normalized_graph(
            sim, topk=config['knn_k'], is_sparse=self.sparse, norm_type=self.norm_type).cuda()
        self.text_adj = build_knn_normalized_graph(
            build_sim(self.t_feat), topk=config['knn_k'], is_sparse=False, norm_type=self.norm_type).cuda()
        dense = get_dense_laplacian(self.image_adj.to_dense(), normalization='none')
        assert dense.equal(self.image_adj.to_dense())

        coo = dataset.inter_matrix(form='coo')
        self.users = torch.from_numpy(coo.row).long().to(self.device)
        self.items = torch.from_numpy(coo.col).long().to(self.device)
        edges = torch.stack([self.users, self.items + self.n_users])
        both = torch.cat([edges, edges.flip(0)], dim=1)
        weight = torch.ones(both.shape[1], device=self.device)
        degree = scatter_add(weight, both[0], dim=0, dim_size=self.n_users + self.n_items)
        index, value = get_sparse_laplacian(both, weight, self.n_users + self.n_items, 'rw')
        assert torch.allclose(scatter(value, index[0], reduce='sum', dim_size=len(degree)), (degree > 0).float())
        self.adj = torch.sparse_coo_tensor(*get_sparse_laplacian(both, weight, len(degree), normalization='sym'),
                                           (len(degree), len(degree)))
        largest, where = scatter_max(self.v_feat[self.items, 0], self.users, dim_size=self.n_users)
        self.register_buffer('largest', largest)

        self.user_embedding = nn.Embedding(self.n_users, config['embedding_size'])
        self.item_embedding = nn.Embedding(self.n_items, config['embedding_size'])
        nn.init.xavier_uniform_(self.user_embedding.weight)
        nn.init.xavier_uniform_(self.item_embedding.weight)

    def forward(self):
        items = self.item_embedding.weight
        items = items + torch.sparse.mm(self.image_adj, items) + self.text_adj @ items
        attention = scatter_softmax((self.user_embedding.weight[self.users] * items[self.items]).sum(1), self.users)
        history = scatter_add(attention.unsqueeze(1) * items[self.items], self.users, dim=0, dim_size=self.n_users)
        history = history + scatter_mean(items[self.items], self.users, dim=0, dim_size=self.n_users)
        out = torch.sparse.mm(self.adj, torch.cat([self.user_embedding.weight + history, items]))
        return torch.split(out, [self.n_users, self.n_items])

    def calculate_loss(self, interaction):
        users, pos, neg = interaction
        u, i = self.forward()
        return -torch.mean(F.logsigmoid((u[users] * (i[pos] - i[neg])).sum(-1)))

    def full_sort_predict(self, interaction):
        u, i = self.forward()
        return torch.matmul(u[interaction[0]], i.transpose(0, 1))
