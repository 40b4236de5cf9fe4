"""ItemKNN: an item's score is the sum of its similarities to the user's items.

Cosine of the items' user vectors, of the nearest neighbours alone: Sarwar et al., WWW 2001; (1) to
(3) below are ours. Options: shrinkage towards zero where vectors are short, as in Ferrari Dacrema
et al., RecSys 2019, arXiv:1907.06902; asymmetry between candidate and owned item, Aiolli, RecSys
2013; users who own much count less: rows of length 1, Deshpande and Karypis, TOIS 2004, or TF-IDF.
BM25 is left out: of a binary matrix it is TF-IDF times a factor for each item, which a cosine
divides out.
"""

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from common.graph import HistoryRows, binary_csr, owners, row_places
from common.history_recommender import HistoryRecommender
from common.options import check_choice, check_integers, check_not_negative, check_number
from common.servable import ExportParts

BLOCK = 1024  # items whose co-occurrences are in memory at once
SCORE_ROWS = 256  # users whose items' neighbours are in memory at once
# weights of users by how many of I items they own; those without any have no entry to weigh
USER_WEIGHTS = {
    "none": lambda owned, n_items: np.ones(len(owned)),
    "length": lambda owned, n_items: np.maximum(owned, 1) ** -0.5,
    "idf": lambda owned, n_items: np.log(n_items / np.maximum(owned, 1)),
}


class ItemKNN(HistoryRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        k, shrinkage, alpha = config["n_neighbours"], config["shrinkage"], config["alpha"]
        weight = config["user_weight"]
        check_integers(config, n_neighbours=1)
        check_not_negative(config, "shrinkage")
        check_number("alpha", alpha, 0, 1)
        check_choice("user_weight", weight, USER_WEIGHTS)
        matrix = binary_csr(dataloader.inter_matrix(form="coo"))  # (U, I)
        self.history = HistoryRows(matrix)
        similar = nearest_items(weighted(matrix, weight), k, shrinkage, alpha)
        gains = similar.T.tocsr()  # row j: whom item j recommends
        gains.sort_indices()
        self.register_buffer("start", torch.from_numpy(gains.indptr).long(), persistent=False)
        self.register_buffer("item", torch.from_numpy(gains.indices).long(), persistent=False)
        self.register_buffer("gain", torch.from_numpy(gains.data).float(), persistent=False)

    def history_scores(self, history, users):
        scores = self.gain.new_zeros(len(users), self.n_items)  # (B, I)
        for block, rows in zip(users.split(SCORE_ROWS), scores.split(SCORE_ROWS), strict=True):
            self.add_scores(*history.bags(block), rows.view(-1))
        return scores

    def add_scores(self, owned: Tensor, begin: Tensor, cells: Tensor) -> None:
        """Add the scores of B users to cells (B I,), which hold a row of items for each.

        owned (M,): the users' items in a row; begin (B,): where each user's begin.
        """
        edge, first = row_places(self.start, owned)  # of all owned items
        row = owners(begin, len(owned))[owners(first, len(edge))]  # whose they are
        cell = row * self.n_items + self.item[edge]
        cells.index_add_(0, cell, self.gain[edge])  # (3): the sum of s_ij over the user's items j

    def export_parts(self) -> ExportParts:
        """As `common.servable.Exports`: the similarities."""
        multiply = "scores = (rows @ sp.load_npz('item_weights.npz')).toarray()"
        gains = (self.gain.numpy(), self.item.numpy(), self.start.numpy())
        text = "CSR (items, items): row j is what item j gives to the others"
        return {
            "imports": "scipy.sparse as sp",
            "new_users": [multiply],
            "files": {"item_weights.npz": sp.csr_matrix(gains, shape=(self.n_items,) * 2)},
            "holds": {"item_weights.npz": text},
        }


def weighted(matrix: sp.csr_matrix, how: str) -> sp.csr_matrix:
    """Binary CSR (U, I) with each user's row times the user's weight."""
    owned = np.asarray(matrix.sum(1)).ravel()  # (U,)
    return (sp.diags(USER_WEIGHTS[how](owned, matrix.shape[1])) @ matrix).tocsr()  # (1)


def nearest_items(x: sp.csr_matrix, k: int, shrinkage: float, power: float = 0.5) -> sp.csr_matrix:
    """s_ij = x_i x_j / (|x_i|^(2 power) |x_j|^(2 - 2 power) + shrinkage) of the k largest of row i.

    x: CSR (U, I) without negative entries, x_i its columns. Returns CSR float64 (I, I) without
    diagonal and without zeros; of equals the lower ids stay.
    """
    by_item = x.T.tocsr()
    square = np.asarray(x.power(2).sum(0)).ravel()  # (I,)
    scales = square**power, square ** (1 - power)
    blocks = [
        _nearest(by_item[first : first + BLOCK] @ x, first, scales, k, shrinkage)
        for first in range(0, x.shape[1], BLOCK)
    ]
    return sp.vstack(blocks, format="csr")


def _nearest(products, first, scales, k, shrinkage):
    """Rows first, first + 1, ... of the result, of their items' products with all items."""
    products = products.tocoo()
    row, col, value = products.row, products.col, products.data
    other = (col != row + first) & (value > 0)
    row, col, value = row[other], col[other], value[other]
    value = value / (scales[0][row + first] * scales[1][col] + shrinkage)  # (2)
    order = np.lexsort((col, -value, row))  # by row, the most similar first
    row, col, value = row[order], col[order], value[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    kept = rank < k
    return sp.csr_matrix((value[kept], (row[kept], col[kept])), shape=products.shape)
