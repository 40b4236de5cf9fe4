# hypergraphs drawn with Gumbel noise; a third modality where there is one; caches in the data folder
import os
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from common.abstract_recommender import GeneralRecommender
from common.loss import EmbLoss
from utils.utils import build_knn_normalized_graph


class HyperAudio(GeneralRecommender):
    def __init__(self, config, dataloader):
        super(HyperAudio, self).__init__(config, dataloader)
        d, self.tau = config['embedding_size'], 0.2
        self.user_embedding, self.item_embedding = nn.Embedding(self.n_users, d), nn.Embedding(self.n_items, d)
        for e in (self.user_embedding, self.item_embedding):
            nn.init.xavier_uniform_(e.weight)
        self.modal = {'v': self.v_feat, 't': self.t_feat}
        if hasattr(self, 'a_feat') and self.a_feat is not None:
            self.modal['a'] = self.a_feat
        self.hyper = nn.ParameterDict({m: nn.init.xavier_uniform_(nn.Parameter(torch.zeros(f.shape[1], 4)))
                                       for m, f in self.modal.items()})
        folder = os.path.abspath(config['data_path'] + config['dataset'])
        self.graphs = {}
        for m, f in self.modal.items():
            file = os.path.join(folder, '{}_adj_{}.pt'.format(m, config['knn_k']))
            if os.path.exists(file):
                adj = torch.load(file)
            else:
                norm = F.normalize(f)
                adj = build_knn_normalized_graph(norm @ norm.t(), topk=config['knn_k'], is_sparse=True, norm_type='sym')
                torch.save(adj, file)
            self.graphs[m] = adj.to(self.device)
        self.R = torch.from_numpy(dataloader.inter_matrix('csr').toarray()).float().to(self.device)
        self.emb = EmbLoss()

    def forward(self):
        i = self.item_embedding.weight
        for m, f in self.modal.items():
            h = f @ self.hyper[m]
            h = F.gumbel_softmax(h, self.tau, dim=1, hard=False) if self.training else F.softmax(h / self.tau, dim=1)
            i = i + 0.1 * h @ (h.t() @ self.item_embedding.weight) / h.sum() + torch.sparse.mm(self.graphs[m], self.item_embedding.weight)
        u = self.user_embedding.weight + self.R @ i / self.R.sum(1, keepdim=True).clamp(min=1)
        return u, i

    def calculate_loss(self, interaction):
        u, i = self.forward()
        u, p, n = u[interaction[0]], i[interaction[1]], i[interaction[2]]
        return -F.logsigmoid((u * p).sum(1) - (u * n).sum(1)).mean() + 1e-3 * self.emb(u, p, n)

    def full_sort_predict(self, interaction):
        u, i = self.forward()
        return u[interaction[0]] @ i.t()
