"""ItemKNN: an item's score is the sum of its similarities to the user's items.

Cosine of the items' user sets, shrunk towards zero where they are small, of the most similar items
alone: Sarwar et al., WWW 2001, with the shrinkage as in Ferrari Dacrema et al., RecSys 2019,
arXiv:1907.06902. Their tuned weightings (TF-IDF, BM25) and asymmetric variants are left out.
"""

import math

import numpy as np
import scipy.sparse as sp
import torch

from common.abstract_recommender import GeneralRecommender
from common.diffusion import check_integer, check_number
from common.graph import HistoryRows, binary_csr

BLOCK = 1024  # items whose co-occurrences are in memory at once


class ItemKNN(GeneralRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        k, shrinkage = config["n_neighbours"], config["shrinkage"]
        check_integer("n_neighbours", k, 1)
        check_number("shrinkage", shrinkage, 0, math.inf)
        matrix = binary_csr(dataloader.inter_matrix(form="coo"))  # (U, I)
        self.history = HistoryRows(matrix)
        gains = nearest_items(matrix, k, shrinkage).T.tocsr()  # row j: whom item j recommends
        gains.sort_indices()
        self.register_buffer("start", torch.from_numpy(gains.indptr).long(), persistent=False)
        self.register_buffer("item", torch.from_numpy(gains.indices).long(), persistent=False)
        self.register_buffer("gain", torch.from_numpy(gains.data).float(), persistent=False)

    @torch.no_grad()
    def full_sort_predict(self, interaction):
        users = interaction[0]
        owned, begin = self.history.bags(users)  # (M,) the users' items, (B,)
        place = torch.arange(len(owned), device=users.device)
        row = torch.searchsorted(begin, place, right=True) - 1  # (M,) whose they are
        first = self.start[owned]
        length = self.start[owned + 1] - first
        shift = torch.repeat_interleave(first - (length.cumsum(0) - length), length)
        edge = torch.arange(len(shift), device=users.device) + shift  # of all owned items
        cell = torch.repeat_interleave(row, length) * self.n_items + self.item[edge]
        scores = self.gain.new_zeros(len(users) * self.n_items)
        return scores.index_add_(0, cell, self.gain[edge]).view(len(users), self.n_items)


def nearest_items(matrix, k, shrinkage):
    """s_ij = |U_i and U_j| / (sqrt(|U_i| |U_j|) + shrinkage) of each item's k most similar others.

    matrix: binary CSR (U, I). Returns CSR float64 (I, I); of equals the lower ids stay.
    """
    by_item = matrix.T.tocsr()
    length = np.sqrt(np.asarray(matrix.sum(0)).ravel())  # (I,)
    blocks = [
        _nearest(by_item[first : first + BLOCK] @ matrix, first, length, k, shrinkage)
        for first in range(0, matrix.shape[1], BLOCK)
    ]
    return sp.vstack(blocks, format="csr")


def _nearest(together, first, length, k, shrinkage):
    """Rows first, first + 1, ... of the result, of how often their items occur with each other."""
    together = together.tocoo()
    row, col, count = together.row, together.col, together.data
    other = col != row + first
    row, col, count = row[other], col[other], count[other]
    value = count / (length[row + first] * length[col] + shrinkage)
    order = np.lexsort((col, -value, row))  # by row, the most similar first
    row, col, value = row[order], col[order], value[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    kept = rank < k
    return sp.csr_matrix((value[kept], (row[kept], col[kept])), shape=together.shape)
