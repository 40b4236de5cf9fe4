# coding: utf-8
# The forms of inter_matrix, and what it refuses.
import numpy as np
import scipy.sparse as sp
import torch
import torch.nn as nn

from common.abstract_recommender import GeneralRecommender


class MatrixForms(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        coo = dataset.inter_matrix(form='coo')
        assert sp.isspmatrix_coo(coo) and coo.shape == (self.n_users, self.n_items)
        assert coo.dtype == np.float64 and (coo.data == 1).all()
        df = dataset.dataset.df
        assert coo.nnz == len(df) and coo.row.dtype == coo.col.dtype == np.int32
        # in the order of the file, however the epochs shuffle
        assert (coo.row == df[dataset.dataset.uid_field].values).all()
        assert (coo.col == df[dataset.dataset.iid_field].values).all()
        assert (dataset.inter_matrix() != coo).nnz == 0
        assert dataset.inter_matrix(form='coo', value_field=None).astype(np.float32).dtype == np.float32
        csr = dataset.inter_matrix(form='csr')
        assert sp.isspmatrix_csr(csr) and csr.sum() == coo.nnz

        for arguments, wanted in (({'form': 'dok'}, NotImplementedError),
                                  ({'value_field': 'rating'}, ValueError)):
            try:
                dataset.inter_matrix(**arguments)
            except wanted:
                pass
            else:
                raise AssertionError(arguments)

        users, items = csr.nonzero()
        self.rated = torch.sparse.FloatTensor(
            torch.LongTensor(np.vstack((coo.row, coo.col))), torch.FloatTensor(coo.data),
            torch.Size(coo.shape)).to(self.device)
        self.item_embedding = nn.Embedding(self.n_items, config['embedding_size'])
        nn.init.xavier_normal_(self.item_embedding.weight)

    def calculate_loss(self, interaction):
        user, pos, neg = interaction
        users = torch.sparse.mm(self.rated, self.item_embedding.weight)[user]
        gap = self.item_embedding(pos) - self.item_embedding(neg)
        return torch.nn.functional.softplus(-(users * gap).sum(1)).mean()

    def full_sort_predict(self, interaction):
        users = torch.sparse.mm(self.rated, self.item_embedding.weight)[interaction[0]]
        return users @ self.item_embedding.weight.t()
