"""The user-item graph as sparse matrices, and the fixed signals computed from it once per run.

Nothing here knows the host or touches the global random states. Equation numbers are LD4MRec's.
"""

import ast
import hashlib
import json
import logging
import os
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn


def syntax(file: str) -> bytes:
    """A Python file's syntax tree: what it says, without comments, layout and docstrings."""
    tree = ast.parse(Path(file).read_bytes())
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            texts = [
                s for s in body if isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)
            ]
            node.body = [statement for statement in body if statement not in texts]
    return ast.dump(tree).encode()


CODE = syntax(__file__)  # part of a cached array's key: other code, other array


def binary_csr(interactions: sp.spmatrix) -> sp.csr_matrix:
    """Interaction matrix R as CSR of float64 ones, (U, I); repeated pairs count once."""
    matrix = sp.csr_matrix(interactions, dtype=np.float64)  # sums duplicates
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.data[:] = 1.0
    return matrix


def degree_powers(
    matrix: sp.csr_matrix, user_power: float, item_power: float
) -> tuple[np.ndarray, np.ndarray]:
    """D_u^user_power (U,) and D_i^item_power (I,), D the sums of rows and of columns; 0 where a sum
    is 0.
    """
    sums = (np.asarray(matrix.sum(axis)).ravel() for axis in (1, 0))
    powers = zip(sums, (user_power, item_power), strict=True)
    users, items = (np.power(d, p, where=d > 0, out=np.zeros_like(d)) for d, p in powers)
    return users, items


def normalized(
    matrix: sp.csr_matrix, user_power: float = -0.5, item_power: float = -0.5
) -> sp.csr_matrix:
    """D_u^user_power R D_i^item_power as CSR; who has no interaction keeps a zero row."""
    users, items = degree_powers(matrix, user_power, item_power)
    return (sp.diags(users) @ matrix @ sp.diags(items)).tocsr()


def cached(folder, function, matrix, *arrays, **options):
    """function(matrix, *arrays, **options), an array kept in folder under a digest of all of these
    and of the number of threads.

    folder None keeps nothing. What is there but is not what was written is made anew, and a folder
    that cannot be used is done without; both with a warning.
    """
    if folder is None:
        return function(matrix, *arrays, **options)
    digest = hashlib.blake2b(digest_size=16)
    threads = torch.get_num_threads()  # they decide the last digits of sums
    key = json.dumps([threads, matrix.shape, options], sort_keys=True)
    digest.update(CODE + key.encode())
    for array in (matrix.indptr, matrix.indices, matrix.data, *arrays):
        digest.update(f"{array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array))
    path = Path(folder) / f"{function.__name__}-{digest.hexdigest()}.npy"
    logger = logging.getLogger(__name__)
    try:
        return kept(path)
    except FileNotFoundError:
        pass
    except Exception as error:  # what a damaged header raises is not bounded
        logger.warning("%s cannot be read (%s); it is computed again", path, error)
    array = function(matrix, *arrays, **options)
    try:
        keep(path, array)
    except (OSError, ImportError) as error:  # ImportError: Windows has no fcntl
        logger.warning("%s cannot be kept (%s); the run goes on without", path, error)
    return array


def kept(path: Path) -> np.ndarray:
    """The array of a file of `keep`; ValueError if it is not what was written there."""
    with open(path, "rb") as file:
        array = np.load(file, allow_pickle=False)
        if file.read() != seal(path, array):
            raise ValueError("its content is not what was written")
    return array


def keep(path: Path, array: np.ndarray) -> None:
    """Write an array and its checksum, whole or not at all; nothing where another process does it.

    All write to one temporary name, so what a killed process left is written over.
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "ab") as file:  # opened by two, it keeps the content of the first
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.stat(temporary)
        except (BlockingIOError, FileNotFoundError):  # another process writes it, or just has
            return
        except OSError:  # a file system without locks: the checksum tells what was mixed up
            pass
        try:
            file.truncate(0)
            np.save(file, array, allow_pickle=False)
            file.write(seal(path, array))
            file.flush()
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def seal(path: Path, array: np.ndarray) -> bytes:
    """Checksum of an array and of the file's name, which says what it is."""
    digest = hashlib.blake2b(f"{path.name} {array.dtype} {array.shape} ".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array))
    return digest.digest()


def row_places(start: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Where the entries of rows (B,) of a CSR matrix stand, row by row, and where among them each
    row's begin, (B,). start: the matrix's row pointers.
    """
    first = start[rows]
    length = start[rows + 1] - first
    begin = length.cumsum(0) - length  # (B,)
    shift = torch.repeat_interleave(first - begin, length)
    return torch.arange(len(shift), device=shift.device) + shift, begin


def owners(begin: Tensor, n: int) -> Tensor:
    """Whose each of n entries in a row is, (n,) numbers in 0..B-1; begin (B,): as `row_places`."""
    place = torch.arange(n, device=begin.device)
    return torch.searchsorted(begin, place, right=True) - 1


class HistoryRows(nn.Module):
    """The users' training items on the model's device, handed out by the batch.

    matrix: binary CSR (U, I).
    """

    def __init__(self, matrix: sp.csr_matrix):
        super().__init__()
        self.n_items = matrix.shape[1]
        self.register_buffer("start", torch.from_numpy(matrix.indptr).long(), persistent=False)
        self.register_buffer("item", torch.from_numpy(matrix.indices).long(), persistent=False)

    def bags(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """All items of users (B,) in a row and where each user's begin, for `embedding_bag`."""
        place, begin = row_places(self.start, users)
        return self.item[place], begin

    def dense(self, users: Tensor) -> Tensor:
        """Rows of the interaction matrix, (B, I) float32."""
        items, begin = self.bags(users)
        rows = torch.zeros(len(users), self.n_items, device=items.device)
        rows[owners(begin, len(items)), items] = 1.0
        return rows
