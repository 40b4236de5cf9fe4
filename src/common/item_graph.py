"""Item graphs: each item's k most similar items by the cosine of their features, found in blocks.

An item is among its own neighbours (a self-loop), edges keep their cosine and are directed: row i
holds the k largest cosines of item i. No (I, I) matrix is ever stored. Where we differ from the
reference implementations (MMRec's LATTICE and MGCN): a zero feature row gives an isolated item and
a row sum that is not above 0 gives weight 0, where they give NaN, which top-k then spreads over the
whole graph; of equal cosines the lowest item is taken, where they leave it to the backend.
"""

import hashlib
import logging
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from common.graph import cached, syntax
from common.largest import largest
from common.options import check_integer, check_option
from common.rows import unit_rows, where_positive
from common.sparse import csr_tensor

BLOCK_ENTRIES = 2**21  # cosines held at a time: 16 MiB in float64
CODE = hashlib.blake2b(syntax(__file__), digest_size=8).hexdigest()
EDGE = np.dtype([("item", np.int32), ("cosine", np.float32)])


@torch.no_grad()
def nearest(features: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Each row's k most similar rows of (I, F): (items, cosines), (I, k) int64 and float32.

    Largest cosine first, of equal ones the lowest item first. Cosines are compared in float32, so
    with float64 features identical rows tie exactly whatever the order of the sums.
    Raises ValueError unless 1 <= k <= I.
    """
    n_items = len(features)
    check_neighbours(k, n_items)
    unit = unit_rows(features)
    items = torch.empty(n_items, k, dtype=torch.int64, device=features.device)
    cosines = torch.empty(n_items, k, device=features.device)
    block = max(1, BLOCK_ENTRIES // n_items)
    for first in range(0, n_items, block):
        similarity = (unit[first : first + block] @ unit.T).float()  # (R, I)
        cosines[first : first + block], items[first : first + block] = largest(similarity, k)
    return items, cosines


def check_neighbours(k: int, n_items: int) -> None:
    """Raise ValueError unless the option knn_k is an integer in [1, I]."""
    check_integer("knn_k", k, 1)
    check_option("knn_k", k, f"at most the {n_items} items of the data set", k <= n_items)


def neighbour_table(matrix: sp.csr_matrix, features: np.ndarray, k: int, code: str) -> np.ndarray:
    """`nearest` of an (I, F) array, in float64, as (I, k) records of item and cosine.

    matrix and code are what `common.graph.cached` keys by beside the features: the table is no
    function of the interactions, and a change of this file makes it anew.
    """
    items, cosines = nearest(torch.from_numpy(features).double(), k)
    table = np.empty(items.shape, dtype=EDGE)
    table["item"], table["cosine"] = items.numpy(), cosines.numpy()
    return table


def neighbours(
    features: Tensor, k: int, folder: str | Path | None, name: str = "item"
) -> tuple[Tensor, Tensor]:
    """`nearest` of fixed features (I, F), kept in `folder` (None: not kept) by what it is made of.

    name: the modality, for the log, where items without features are reported.
    """
    features = features.detach().cpu().numpy()
    check_neighbours(k, len(features))
    empty = int((~features.any(axis=1)).sum())
    if empty:
        message = "%d items have no %s features (zero rows): they are isolated in its item graph"
        logging.getLogger(__name__).warning(message, empty, name)
    nothing = sp.csr_matrix((0, 0))
    table = cached(folder, neighbour_table, nothing, features, k=k, code=CODE)
    items = torch.from_numpy(table["item"].astype(np.int64))
    return items, torch.from_numpy(table["cosine"].copy())


def symmetric_weights(items: Tensor, weights: Tensor) -> Tensor:
    """w_ij r_i^-1/2 r_j^-1/2 of edges (i, items[i, e]) with weights (I, K); r: row sums, twice.

    The sums of rows also scale columns, so the result is not symmetric and its columns do not sum
    to anything. A sum that is not above 0 counts as factor 0. Differentiable in the weights.
    """
    factor = where_positive(weights.sum(1), torch.rsqrt)  # (I,), r^-1/2
    return factor.unsqueeze(1) * weights * factor[items]


def edge_matrix(items: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Edges (i, items[i, e]), (I, K), as a sparse CSR tensor (I, I) and its transpose, also CSR.

    Repeated edges add up.
    """
    n_items, width = items.shape
    start = np.arange(0, n_items * width + 1, width)
    # flatten copies: the sorting below is in place
    data, place = weights.detach().cpu().numpy().flatten(), items.cpu().numpy().flatten()
    matrix = sp.csr_matrix((data, place, start), shape=(n_items, n_items))
    matrix.sum_duplicates()  # also sorts
    device = weights.device
    return csr_tensor(matrix).to(device), csr_tensor(matrix.T.tocsr()).to(device)


def knn_graph(
    features: Tensor, k: int, folder: str | Path | None, name: str = "item"
) -> tuple[Tensor, Tensor]:
    """The normalized neighbour graph of fixed features: a CSR tensor (I, I) and its transpose."""
    items, cosines = neighbours(features, k, folder, name)
    return edge_matrix(items, symmetric_weights(items, cosines))
