# coding: utf-8
# A dense item graph, learned: built once an epoch and again for every batch of an evaluation; the
# graphs of the raw features are kept in the data folder.
import os

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn as nn
import torch.nn.functional as F

from common.abstract_recommender import GeneralRecommender
from utils.utils import build_sim, compute_normalized_laplacian, build_knn_neighbourhood


class LatentGraph(GeneralRecommender):
    def __init__(self, config, dataset):
        super(LatentGraph, self).__init__(config, dataset)
        self.embedding_dim = config['embedding_size']
        self.feat_embed_dim = config['feat_embed_dim']
        self.weight_size = config['weight_size']
        self.knn_k = config['knn_k']
        self.lambda_coeff = config['lambda_coeff']
        self.cf_model = config['cf_model']
        self.n_layers = config['n_layers']
        self.build_item_graph = True
        self.n_ui_layers = len(self.weight_size)
        self.weight_size = [self.embedding_dim] + self.weight_size
        self.interaction_matrix = dataset.inter_matrix(form='coo').astype(np.float32)
        self.norm_adj = self.get_adj_mat()
        self.norm_adj = self.sparse_mx_to_torch_sparse_tensor(self.norm_adj).float().to(self.device)
        self.item_adj = None

        self.user_embedding = nn.Embedding(self.n_users, self.embedding_dim)
        self.item_id_embedding = nn.Embedding(self.n_items, self.embedding_dim)
        nn.init.xavier_uniform_(self.user_embedding.weight)
        nn.init.xavier_uniform_(self.item_id_embedding.weight)

        dataset_path = os.path.abspath(config['data_path'] + config['dataset'])
        image_adj_file = os.path.join(dataset_path, 'image_adj_{}.pt'.format(self.knn_k))
        text_adj_file = os.path.join(dataset_path, 'text_adj_{}.pt'.format(self.knn_k))
        self.image_embedding = nn.Embedding.from_pretrained(self.v_feat, freeze=False)
        self.image_original_adj = self.original(image_adj_file, self.image_embedding).cuda()
        self.text_embedding = nn.Embedding.from_pretrained(self.t_feat, freeze=False)
        self.text_original_adj = self.original(text_adj_file, self.text_embedding).cuda()
        self.image_trs = nn.Linear(self.v_feat.shape[1], self.feat_embed_dim)
        self.text_trs = nn.Linear(self.t_feat.shape[1], self.feat_embed_dim)
        self.modal_weight = nn.Parameter(torch.Tensor([0.5, 0.5]))
        self.softmax = nn.Softmax(dim=0)

    def original(self, file, embedding):
        if os.path.exists(file):
            return torch.load(file)
        adj = build_sim(embedding.weight.detach())
        adj = build_knn_neighbourhood(adj, topk=self.knn_k)
        adj = compute_normalized_laplacian(adj)
        torch.save(adj, file)
        return adj

    def pre_epoch_processing(self):
        self.build_item_graph = True

    def get_adj_mat(self):
        adj_mat = sp.dok_matrix((self.n_users + self.n_items, self.n_users + self.n_items), dtype=np.float32)
        adj_mat = adj_mat.tolil()
        R = self.interaction_matrix.tolil()
        adj_mat[:self.n_users, self.n_users:] = R
        adj_mat[self.n_users:, :self.n_users] = R.T
        adj_mat = adj_mat.todok()

        rowsum = np.array(adj_mat.sum(1))
        d_inv = np.power(rowsum, -1, where=rowsum > 0, out=np.zeros_like(rowsum)).flatten()
        return sp.diags(d_inv).dot(adj_mat).tocoo()

    def sparse_mx_to_torch_sparse_tensor(self, sparse_mx):
        sparse_mx = sparse_mx.tocoo().astype(np.float32)
        indices = torch.from_numpy(np.vstack((sparse_mx.row, sparse_mx.col)).astype(np.int64))
        return torch.sparse.FloatTensor(indices, torch.from_numpy(sparse_mx.data), torch.Size(sparse_mx.shape))

    def forward(self, adj, build_item_graph=False):
        if build_item_graph:
            weight = self.softmax(self.modal_weight)
            learned = weight[0] * self.learned(self.image_trs(self.image_embedding.weight))
            learned = learned + weight[1] * self.learned(self.text_trs(self.text_embedding.weight))
            original = weight[0] * self.image_original_adj + weight[1] * self.text_original_adj
            self.item_adj = (1 - self.lambda_coeff) * learned + self.lambda_coeff * original
        else:
            self.item_adj = self.item_adj.detach()

        h = self.item_id_embedding.weight
        for i in range(self.n_layers):
            h = torch.mm(self.item_adj, h)
        ego = torch.cat((self.user_embedding.weight, self.item_id_embedding.weight), dim=0)
        every = [ego]
        for i in range(self.n_ui_layers):
            ego = torch.sparse.mm(adj, ego)
            every += [ego]
        u, i = torch.split(torch.stack(every, dim=1).mean(dim=1), [self.n_users, self.n_items], dim=0)
        return u, i + F.normalize(h, p=2, dim=1)

    def learned(self, features):
        return compute_normalized_laplacian(build_knn_neighbourhood(build_sim(features), topk=self.knn_k))

    def calculate_loss(self, interaction):
        users, pos_items, neg_items = interaction[0], interaction[1], interaction[2]
        ua, ia = self.forward(self.norm_adj, build_item_graph=self.build_item_graph)
        self.build_item_graph = False
        u, p, n = ua[users], ia[pos_items], ia[neg_items]
        maxi = F.logsigmoid(torch.sum(torch.mul(u, p), dim=1) - torch.sum(torch.mul(u, n), dim=1))
        regularizer = 1. / 2 * (u ** 2).sum() + 1. / 2 * (p ** 2).sum() + 1. / 2 * (n ** 2).sum()
        return -torch.mean(maxi) + 1e-5 * regularizer / self.batch_size

    def full_sort_predict(self, interaction):
        ua, ia = self.forward(self.norm_adj, build_item_graph=True)
        return torch.matmul(ua[interaction[0]], ia.transpose(0, 1))
