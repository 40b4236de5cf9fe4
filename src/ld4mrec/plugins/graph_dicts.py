"""user_graph_dict.npy and item_graph_dict*.npy for plugins that ask for them where there are none.

They are {row: [neighbours, counts]}: of a user the users who share training items with her, most
first, and how many they share; of an item likewise. MMRec leaves it to a script that its download
lacks. They are made from the training rows when a plugin loads them, and no file is written, for
it would be a pickle.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import scipy.sparse as sp

logger = logging.getLogger(__name__)

MOST = 200  # neighbours of a row, as in MMRec's script
NAMES = re.compile(r"(user|item)_graph_dict.*\.npy")
Graph = dict[int, list[list]]
_offered: dict[Path, sp.csr_matrix] = {}  # {data view: training interactions (U, I)}
_watchers: list[dict[str, Graph]] = []


@contextmanager
def offered(view: Path, train: sp.csr_matrix) -> Iterator[None]:
    """While the block runs, the graphs of a plugin's view of the data can be had; train: (U, I)."""
    _offered[Path(view).resolve()] = train
    try:
        yield
    finally:
        _offered.pop(Path(view).resolve(), None)  # a view may be offered twice


@contextmanager
def loaded_by() -> Iterator[dict[str, Graph]]:
    """{file name: graph} of the files that a plugin loads while the block runs."""
    _watchers.append({})
    try:
        yield _watchers[-1]
    finally:
        _watchers.pop()


def was_loaded(path: object, value: object) -> None:
    """Tell the watcher what a plugin loaded, if it is such a graph."""
    named = isinstance(path, str | Path) and NAMES.fullmatch(Path(path).name)
    if _watchers and named and getattr(value, "shape", None) == () and value.dtype == object:
        _watchers[-1][Path(path).name] = value.item()


def graph_at(path: object) -> np.ndarray | None:
    """The array that loading such a file gives, (), of one dictionary; None where it is no such
    file, is there already, or lies in no view.
    """
    try:
        place = Path(path)
    except TypeError:
        return None
    named = NAMES.fullmatch(place.name)
    train = _offered.get(place.parent.resolve())
    if not named or train is None or place.exists():
        return None
    logger.info("%s is not there: made from the training rows", place.name)
    graph = np.empty((), dtype=object)
    graph[()] = neighbours(train if named[1] == "user" else train.T.tocsr())
    return graph


def neighbours(rows: sp.csr_matrix, most: int = MOST) -> Graph:
    """{row: [rows that share columns with it, counts]}, most first, of equal counts the first.

    rows: binary CSR (n, columns). A row that shares nothing has two empty lists.
    """
    shared = (rows @ rows.T).tocsr()
    shared.setdiag(0)
    shared.eliminate_zeros()
    shared.sort_indices()
    graph = {}
    for row in range(shared.shape[0]):
        part = slice(shared.indptr[row], shared.indptr[row + 1])
        counts, others = shared.data[part], shared.indices[part]
        order = np.argsort(-counts, kind="stable")[:most]
        graph[row] = [others[order].tolist(), counts[order].tolist()]
    return graph
