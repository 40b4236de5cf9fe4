# coding: utf-8
# Draws the edges of its graph anew before each epoch; keys that no yaml has; a cached item graph.
import os

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn as nn
import torch.nn.functional as F

from common.abstract_recommender import GeneralRecommender
from common.loss import BPRLoss, EmbLoss, L2Loss
from utils.utils import build_sim, compute_normalized_laplacian


class PrunedGraph(GeneralRecommender):
    def __init__(self, config, dataset):
        super(PrunedGraph, self).__init__(config, dataset)
        self.knn_k = config['knn_k']
        self.cf_model = config['cf_model']
        self.dropout = config['dropout']
        self.degree_ratio = config['degree_ratio']
        self.mm_image_weight = config['mm_image_weight']
        self.n_nodes = self.n_users + self.n_items
        self.interaction_matrix = dataset.inter_matrix(form='coo').astype(np.float32)
        self.norm_adj = self.get_norm_adj_mat().to(self.device)
        self.masked_adj, self.mm_adj = None, None
        self.edge_indices, self.edge_values = self.get_edge_info()
        self.edge_indices, self.edge_values = self.edge_indices.to(self.device), self.edge_values.to(self.device)
        self.edge_full_indices = torch.arange(self.edge_values.size(0)).to(self.device)

        self.user_embedding = nn.Embedding(self.n_users, config['embedding_size'])
        self.item_id_embedding = nn.Embedding(self.n_items, config['embedding_size'])
        nn.init.xavier_uniform_(self.user_embedding.weight)
        nn.init.xavier_uniform_(self.item_id_embedding.weight)

        dataset_path = os.path.abspath(config['data_path'] + config['dataset'])
        mm_adj_file = os.path.join(dataset_path, 'mm_adj_freedomdsp_{}_{}.pt'.format(
            self.knn_k, int(10 * self.mm_image_weight)))
        if os.path.exists(mm_adj_file):
            self.mm_adj = torch.load(mm_adj_file)
        else:
            image, text = self.get_knn_adj_mat(self.v_feat), self.get_knn_adj_mat(self.t_feat)
            self.mm_adj = self.mm_image_weight * image + (1.0 - self.mm_image_weight) * text
            del text
            del image
            torch.save(self.mm_adj, mm_adj_file)

    def get_knn_adj_mat(self, mm_embeddings):
        sim = build_sim(mm_embeddings)
        _, knn_ind = torch.topk(sim, self.knn_k, dim=-1)
        indices0 = torch.arange(knn_ind.shape[0]).to(self.device)
        indices0 = torch.unsqueeze(indices0, 1).expand(-1, self.knn_k)
        indices = torch.stack((torch.flatten(indices0), torch.flatten(knn_ind)), 0)
        adj = torch.sparse.FloatTensor(indices, torch.ones_like(indices[0]), sim.size())
        row_sum = 1e-7 + torch.sparse.sum(adj, -1).to_dense()
        r_inv_sqrt = torch.pow(row_sum, -0.5)
        values = r_inv_sqrt[indices[0]] * r_inv_sqrt[indices[1]]
        return torch.sparse.FloatTensor(indices, values, sim.size())

    def get_norm_adj_mat(self):
        A = sp.dok_matrix((self.n_nodes, self.n_nodes), dtype=np.float32)
        inter_M = self.interaction_matrix
        inter_M_t = self.interaction_matrix.transpose()
        data_dict = dict(zip(zip(inter_M.row, inter_M.col + self.n_users), [1] * inter_M.nnz))
        data_dict.update(dict(zip(zip(inter_M_t.row + self.n_users, inter_M_t.col), [1] * inter_M_t.nnz)))
        A._update(data_dict)
        diag = np.array((A > 0).sum(axis=1)).flatten() + 1e-7
        D = sp.diags(np.power(diag, -0.5))
        L = sp.coo_matrix(D * A * D)
        i = torch.LongTensor(np.array([L.row, L.col]))
        return torch.sparse.FloatTensor(i, torch.FloatTensor(L.data), torch.Size((self.n_nodes, self.n_nodes)))

    def get_edge_info(self):
        rows = torch.from_numpy(self.interaction_matrix.row)
        cols = torch.from_numpy(self.interaction_matrix.col)
        edges = torch.stack([rows, cols]).type(torch.LongTensor)
        return edges, self.normalize(edges, torch.Size((self.n_users, self.n_items)))

    def normalize(self, indices, adj_size):
        adj = torch.sparse.FloatTensor(indices, torch.ones_like(indices[0]), adj_size)
        row_sum = 1e-7 + torch.sparse.sum(adj, -1).to_dense()
        col_sum = 1e-7 + torch.sparse.sum(adj.t(), -1).to_dense()
        return torch.pow(row_sum, -0.5)[indices[0]] * torch.pow(col_sum, -0.5)[indices[1]]

    def pre_epoch_processing(self):
        if self.dropout <= .0:
            self.masked_adj = self.norm_adj
            return
        degree_len = int(self.edge_values.size(0) * (1. - self.dropout))
        degree_idx = torch.multinomial(self.edge_values, degree_len)
        keep_indices = self.edge_indices[:, degree_idx]
        keep_values = self.normalize(keep_indices, torch.Size((self.n_users, self.n_items)))
        all_values = torch.cat((keep_values, keep_values))
        keep_indices[1] += self.n_users
        all_indices = torch.cat((keep_indices, torch.flip(keep_indices, [0])), 1)
        self.masked_adj = torch.sparse.FloatTensor(all_indices, all_values, self.norm_adj.shape).to(self.device)

    def forward(self, adj):
        h = torch.sparse.mm(self.mm_adj, self.item_id_embedding.weight)
        ego = torch.cat((self.user_embedding.weight, self.item_id_embedding.weight), dim=0)
        out = torch.sparse.mm(adj, ego)
        u, i = torch.split((ego + out) / 2, [self.n_users, self.n_items], dim=0)
        return u, i + h

    def calculate_loss(self, interaction):
        users, pos_items, neg_items = interaction[0], interaction[1], interaction[2]
        ua, ia = self.forward(self.masked_adj)
        self.build_item_graph = False
        gap = (ua[users] * (ia[pos_items] - ia[neg_items])).sum(1)
        return -torch.mean(F.logsigmoid(gap))

    def full_sort_predict(self, interaction):
        ua, ia = self.forward(self.norm_adj)
        return torch.matmul(ua[interaction[0]], ia.transpose(0, 1))
