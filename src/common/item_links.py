"""Item-to-item knowledge at full rank: sparse graphs K (I, I), whose row j is what item j gives.

A history's sums x K are sparse rows. A graph of interactions is fitted to its users, so to those it
promises too much. For the rows of training users it is therefore made again without them, part by
part of the users (cross-fitting); for scores it is made of all users.
A batch of histories is items (N,), the users' items in a row, and begin (B,), where each begins.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from common.catalogue import sums_of_scores, sums_of_shared, total
from common.graph import cached, degree_powers, normalized, owners, row_places, syntax
from common.item_graph import neighbours
from common.rows import unit_rows

KEPT = 500  # co-occurrences of an item that are known to the regressions
PASSED = 10  # neighbours that pass content on
SOLVED = 64  # regressions at a time
# of a user's number of items: the weight of the user's row, whose square counts in a co-occurrence
USER_POWER = -0.25
EDGE = np.dtype([("item", np.int32), ("weight", np.float32)])
CODE = hashlib.blake2b(syntax(__file__), digest_size=8).hexdigest()


class SharedSums(NamedTuple):
    """Rows (B, I) as sums of rows of a graph, each of which is kept once, in a bag.

    bags: items (E,), where each bag begins (Q,) and weights (E,); owner, bag (N,): whose row a bag
    is added to; begin (B,): where each row's begin among these.
    """

    bags: tuple[Tensor, Tensor, Tensor]
    owner: Tensor
    bag: Tensor
    begin: Tensor

    def times_scores(self, h: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
        """As SparseRows'."""
        return total(sums_of_shared(h, weights, bias, self.bags, self.owner, self.bag), self.begin)


class SparseRows(NamedTuple):
    """Rows (B, I) with few entries: places in the dense rows, (M,) ascending, and values (M,).

    shared: the same where that has fewer entries, as where many histories hold the same items.
    """

    cells: Tensor
    values: Tensor
    n_rows: int
    n_items: int
    shared: SharedSums | None = None

    def begin(self) -> Tensor:
        """Where each row's entries begin, (B,)."""
        row = torch.arange(self.n_rows, device=self.cells.device)
        return torch.searchsorted(self.cells, row * self.n_items)

    def dense(self) -> Tensor:
        """(B, I)."""
        return self.add_to(self.values.new_zeros(self.n_rows, self.n_items))

    def add_to(self, scores: Tensor) -> Tensor:
        """Add the rows to contiguous scores (B, I), in place."""
        flat = scores.view(-1)
        flat[self.cells] += self.values  # each place once
        return scores

    def at(self, cells: Tensor) -> Tensor:
        """Values (N,) at places (N,) of the dense rows; 0 where there is no entry."""
        if not len(self.cells):
            return self.values.new_zeros(len(cells))
        place = torch.searchsorted(self.cells, cells).clamp(max=len(self.cells) - 1)
        return torch.where(self.cells[place] == cells, self.values[place], 0.0)

    def squares(self) -> Tensor:
        """(B,): the sums of the rows' squares."""
        return total(self.values.square(), self.begin())

    def times_scores(self, h: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
        """(B,): sums over the entries of value times score, h (B, d) W_i + b_i."""
        if self.shared is not None:
            return self.shared.times_scores(h, weights, bias)
        items = self.cells % self.n_items
        return sums_of_scores(h, weights, bias, items, self.begin(), self.values)


class ItemGraph(nn.Module):
    """A fixed graph of all users, and if it is of interactions, those for training rows.

    whole: CSR (I, I). parts: CSR (P I, I), block p made without the users of part p; None: training
    rows take the whole. No checkpoint holds them: they are made of the training data.
    """

    def __init__(self, whole: sp.csr_matrix, parts: sp.csr_matrix | None = None):
        super().__init__()
        self.n_items, self.has_parts = whole.shape[0], parts is not None
        self._keep("whole", whole)
        if parts is not None:
            self._keep("parts", parts)

    def _keep(self, name, matrix):
        for part, array in (
            ("start", matrix.indptr.astype(np.int64)),
            ("item", matrix.indices.astype(np.int32)),
            ("weight", matrix.data.astype(np.float32)),
        ):
            self.register_buffer(f"{name}_{part}", torch.from_numpy(array), persistent=False)

    def matrix(self) -> sp.csr_matrix:
        """The whole graph, CSR (I, I) float32."""
        parts = (self.whole_weight, self.whole_item, self.whole_start)
        return sp.csr_matrix(tuple(part.numpy() for part in parts), (self.n_items,) * 2)

    def forward(self, items: Tensor, begin: Tensor, part: Tensor | None = None) -> SparseRows:
        """x K of a batch of histories. part (B,): of each training user; None: of the whole."""
        cells, weights = self._edges(items, begin, part)
        cells, order = cells.sort(stable=True)
        cells, count = torch.unique_consecutive(cells, return_counts=True)
        values = torch.segment_reduce(weights[order], "sum", lengths=count, unsafe=True)
        shared = self._shared(items, begin, part)
        shared = shared if len(shared.bags[0]) < len(cells) else None
        return SparseRows(cells, values, len(begin), self.n_items, shared)

    def _shared(self, items, begin, part):
        start, item, weight, owner, rows = self._rows(items, begin, part)
        rows, bag = torch.unique(rows, return_inverse=True)
        edges, first = row_places(start, rows)
        return SharedSums((item[edges], first, weight[edges]), owner, bag, begin)

    def add_to(self, scores: Tensor, items: Tensor, begin: Tensor) -> Tensor:
        """Add x K of a batch of histories to contiguous scores (B, I), in place.

        In fixed order on any device; on the CPU that needs no sorting.
        """
        if scores.device.type != "cpu":
            return self(items, begin).add_to(scores)
        cells, weights = self._edges(items, begin)
        scores.view(-1).index_add_(0, cells, weights.to(scores.dtype))
        return scores

    def _edges(self, items, begin, part=None):
        """Places in the rows (B, I) and weights of all edges from the histories' items, (E,)."""
        start, item, weight, owner, rows = self._rows(items, begin, part)
        edges, first = row_places(start, rows)
        return owner[owners(first, len(edges))] * self.n_items + item[edges], weight[edges]

    def _rows(self, items, begin, part):
        """The graph's row pointers, items and weights, and whose (N,) and which (N,) of its rows
        the histories ask for.
        """
        name, owner = "whole", owners(begin, len(items))
        if part is not None and self.has_parts:
            name, items = "parts", items + part[owner] * self.n_items
        graph = (getattr(self, f"{name}_{array}") for array in ("start", "item", "weight"))
        return *graph, owner, items


def item_graph(
    config: Mapping, matrix: sp.csr_matrix, features: Mapping[str, np.ndarray], part: np.ndarray
) -> ItemGraph | None:
    """The graphs that the options name, as one, each times its strength; None where there is none.

    matrix: binary CSR (U, I); features: (I, F) for each modality; part (U,): each user's, 0..P-1.
    config: item_graph, graph_penalty, graph_strength, content_graph, content_strength, cache_dir.
    """
    shape, folder = (matrix.shape[1],) * 2, config["cache_dir"]
    content = sp.csr_matrix(shape, dtype=np.float32)
    if k := config["content_graph"]:
        strength = config["content_strength"] / max(len(features), 1)
        for name, x in features.items():
            content = content + strength * content_graph(x, k, folder, name)
    if not (k := config["item_graph"]):
        return ItemGraph(content) if content.nnz else None

    def graph(rows):
        weights = interaction_graph(rows, k, config["graph_penalty"], folder)
        return (config["graph_strength"] * weights + content).tocsr()

    numbers = range(part.max(initial=0) + 1)
    parts = [graph(sp.diags((part != p).astype(float)) @ matrix) for p in numbers]
    return ItemGraph(graph(matrix), sp.vstack(parts, format="csr"))


def interaction_graph(
    matrix: sp.csr_matrix, k: int, penalty: float, folder: str | Path | None
) -> sp.csr_matrix:
    """The weights of `regressions`, CSR (I, I): column i are those of item i's."""
    table = cached(folder, regressions, matrix, k=k, penalty=penalty, code=CODE)
    start = np.arange(0, table.size + 1, table.shape[1])
    shape = (matrix.shape[1],) * 2
    found = sp.csr_matrix((table["weight"].ravel(), table["item"].ravel(), start), shape)
    found.eliminate_zeros()
    return found.T.tocsr()


def content_graph(
    features: np.ndarray, k: int, folder: str | Path | None, name: str
) -> sp.csr_matrix:
    """D^-1/2 A D^-1/2 and its transpose added, CSR (I, I) float32.

    A: cosines of each item's k nearest others by features (I, F), those below 0 as 0; D: its row
    sums. name: the modality, for the log.
    """
    n_items = len(features)
    nearest = neighbours(torch.from_numpy(features), min(k + 1, n_items), folder, name)
    items, cosines = (x.numpy() for x in nearest)
    others = items != np.arange(n_items)[:, None]
    others &= others.cumsum(1) <= k  # among equal items the item itself may be none of its nearest
    values = np.where(others, cosines.clip(min=0), 0)
    start = np.arange(0, items.size + 1, items.shape[1])
    graph = sp.csr_matrix((values.ravel(), items.ravel(), start), shape=(n_items,) * 2)
    graph.eliminate_zeros()
    scale = sp.diags(degree_powers(graph, -0.5, 0)[0])
    graph = scale @ graph @ scale
    return (graph + graph.T).tocsr().astype(np.float32)


def passed_on(features: np.ndarray, folder: str | Path | None, name: str) -> np.ndarray:
    """Features (I, F) at length 1 and half the sum of what each item's PASSED nearest pass on."""
    unit = unit_rows(torch.from_numpy(features).double()).numpy()
    return unit + content_graph(features, PASSED, folder, name) @ unit / 2


def regressions(matrix: sp.csr_matrix, k: int, penalty: float, code: str = CODE) -> np.ndarray:
    """Each item's ridge regression on its k neighbours, as (I, k) records of item and weight.

    The neighbours are the items it is most often found with; of equals the lower ids. A user of n
    items counts n^-1/2 in these co-occurrences G, the Gram matrix of the users' rows: else a few
    who own much decide. Weights solve (G_SS + penalty 1) w = G_Si; of SLIM with chosen features
    (Ning and Karypis, ICDM 2011) with the ridge of EASE (Steck, WWW 2019). Records without a
    neighbour have weight 0. Cost and memory grow as items and co-occurrences; of an item's row of G
    the KEPT largest are known, the others count as 0. code: what `graph.cached` keys by.
    """
    gram = co_occurrences(normalized(matrix, USER_POWER, 0).astype(np.float32), KEPT)
    n_items = matrix.shape[1]
    k = min(k, n_items)
    table = np.zeros((n_items, k), dtype=EDGE)
    number = np.full(n_items, -1)  # of an item among the neighbours at hand
    for first in range(0, n_items, SOLVED):
        items = range(first, min(first + SOLVED, n_items))
        inner, target = np.zeros((len(items), k, k), np.float32), np.zeros((len(items), k))
        for item, square, row in zip(items, inner, target, strict=True):
            chosen, values = _most_often(gram, item, k)
            table["item"][item, : len(chosen)], row[: len(chosen)] = chosen, values
            number[chosen] = np.arange(len(chosen))
            known = gram[chosen]
            column = number[known.indices]
            owner = np.repeat(np.arange(len(chosen)), np.diff(known.indptr))
            square[owner[column >= 0], column[column >= 0]] = known.data[column >= 0]
            number[chosen] = -1
        inner = np.maximum(inner, inner.swapaxes(1, 2))  # KEPT may know an edge from one end only
        inner[:, np.arange(k), np.arange(k)] += penalty
        weights = torch.linalg.solve(torch.from_numpy(inner), torch.from_numpy(target).float())
        table["weight"][items.start : items.stop] = weights.numpy()
    return table


def co_occurrences(x: sp.csr_matrix, kept: int, block: int = 1024) -> sp.csr_matrix:
    """The `kept` largest entries of each row of x^T x, CSR (I, I); of equals the lower ids."""
    by_item, found = x.T.tocsr(), []
    for first in range(0, x.shape[1], block):
        rows = (by_item[first : first + block] @ x).tocsr()
        rows.sort_indices()
        for row in np.flatnonzero(np.diff(rows.indptr) > kept):
            data = rows.data[rows.indptr[row] : rows.indptr[row + 1]]
            least = np.partition(data, -kept)[-kept]
            equal = np.flatnonzero(data == least)[kept - np.count_nonzero(data > least) :]
            data[data < least] = 0
            data[equal] = 0
        rows.eliminate_zeros()
        found.append(rows)
    return sp.vstack(found, format="csr")


def _most_often(gram, item, k):
    """Items with the k largest entries of a row of G, the item itself apart, and the entries."""
    mine = slice(gram.indptr[item], gram.indptr[item + 1])
    other = gram.indices[mine] != item
    items, values = gram.indices[mine][other], gram.data[mine][other]
    largest = np.argsort(-values, kind="stable")[:k]
    return items[largest], values[largest]
