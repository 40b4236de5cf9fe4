# coding: utf-8
# Names that numpy, scipy and Python had in 2022.
import random

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn as nn

from common.abstract_recommender import GeneralRecommender


class OldNumbers(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        count = np.zeros(self.n_items, dtype=np.float)
        for items in dataset.history_items_per_u.values():
            for item in random.sample(items, 2):
                count[item] += 1
        random.sample(dataset.history_items_per_u.keys(), 3)
        random.sample(dataset.all_items, 3)
        mask = np.array(count > 0, dtype=np.bool)
        ids = np.arange(self.n_items).astype(np.int)[np.in1d(np.arange(self.n_items), np.where(mask)[0])]
        names = np.array(['item'] * 2, dtype=np.object)
        assert np.float_(1) == 1.0 and np.str('x') == 'x' and np.complex(0) == 0 and names[0] == 'item'
        assert np.infty == np.Inf and np.NaN != np.NaN and np.product([2, 3]) == 6

        A = sp.dok_matrix((self.n_items, self.n_items), dtype=np.float32)
        A._update({(int(i), int(i)): 1.0 for i in ids})
        B = sp.dok_array((2, 2), dtype=np.float32)
        B._update({(0, 1): 2.0})
        assert B.toarray()[0, 1] == 2
        diagonal = np.asarray(np.mat(A.tocsr().diagonal())).ravel()
        self.known = torch.from_numpy(diagonal).float().cuda()
        self.bias = nn.Parameter(torch.zeros(self.n_items).to('cuda'))

    def calculate_loss(self, interaction):
        gap = (self.bias + self.known)[interaction[1]] - (self.bias + self.known)[interaction[2]]
        return -torch.log(torch.sigmoid(gap)).mean()

    def full_sort_predict(self, interaction):
        return (self.bias + self.known).unsqueeze(0).repeat(len(interaction[0]), 1)
