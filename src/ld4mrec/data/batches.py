"""Batches: of training interactions with sampled negatives, and of users to evaluate.

Everything is an array operation; nothing loops over users, items or interactions in Python. The
dictionaries and sets that MMRec's loaders carry are built when a plugin first asks for them.
"""

import logging
import random
from functools import cached_property

import numpy as np
import scipy.sparse as sp
import torch

from ld4mrec.errors import DataError, counted

CELLS = 2**26  # scores in memory at once: 256 MiB


def users_at_once(wanted: int, n_items: int) -> int:
    """How many users to score for all items at a time: as many as wanted, but CELLS scores at most.

    What comes out does not depend on it.
    """
    return max(1, min(wanted, CELLS // max(1, n_items)))


def group_by(keys: np.ndarray, values: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(indptr (n+1,), values): those of key k, in their order, are at indptr[k]:indptr[k+1]."""
    indptr = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(np.bincount(keys, minlength=n), out=indptr[1:])
    return indptr, values[np.argsort(keys, kind="stable")]


def take_groups(
    indptr: np.ndarray, values: np.ndarray, keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(row, value) of the grouped values of several keys: row r holds those of keys[r]."""
    counts = indptr[keys + 1] - indptr[keys]
    rows = np.repeat(np.arange(len(keys)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, values[np.repeat(indptr[keys], counts) + within]


class PairSet:
    """A set of (row, column) pairs that answers membership for whole arrays.

    rows, columns: (N,) integers, duplicates allowed; columns < n_columns.
    """

    def __init__(self, rows: np.ndarray, columns: np.ndarray, n_columns: int):
        self.n_columns = n_columns
        self.keys = np.unique(rows * np.int64(n_columns) + columns)

    def discard(self, rows: np.ndarray, columns: np.ndarray) -> None:
        """Take these pairs (M,) out of the set, those that are in it."""
        if not len(self.keys):
            return
        unwanted = rows * np.int64(self.n_columns) + columns
        at = np.minimum(np.searchsorted(self.keys, unwanted), len(self.keys) - 1)
        self.keys = np.delete(self.keys, at[self.keys[at] == unwanted])

    def contains(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Boolean array of the shape that rows and columns broadcast to."""
        wanted = rows * np.int64(self.n_columns) + columns
        if not len(self.keys):
            return np.zeros(wanted.shape, dtype=bool)
        at = np.searchsorted(self.keys, wanted)
        return self.keys[np.minimum(at, len(self.keys) - 1)] == wanted


class _Loader:
    """What MMRec's loaders have in common: the configuration, a data set and its two id columns."""

    def __init__(self, config, dataset, additional_dataset=None, batch_size=1, shuffle=False):
        self.config = config
        self.logger = logging.getLogger(__name__)
        self.dataset = dataset
        self.dataset_bk = dataset.copy(dataset.df)
        self.additional_dataset = additional_dataset
        self.batch_size = self.step = batch_size
        self.shuffle = shuffle
        self.device = config["device"]
        self.users = dataset.df[dataset.uid_field].to_numpy(dtype=np.int64)  # (N,) in file order
        self.items = dataset.df[dataset.iid_field].to_numpy(dtype=np.int64)
        self.n_users, self.n_items = dataset.get_user_num(), dataset.get_item_num()
        self.pr = self.inter_pr = 0  # position in the epoch, in rows (or users)

    def _to_device(self, array):
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


class TrainDataLoader(_Loader):
    """Training batches: a fresh int64 tensor each, on the run's device; the last may be short.

    | use_neg_sampling | use_full_sampling | batch                                               |
    |------------------|-------------------|-----------------------------------------------------|
    | True             | False             | (3, B) user, positive, negative; (5, B) + neighbour |
    |                  |                   | and stranger with use_neighborhood_loss             |
    | False            | False             | (2, B) user, positive                               |
    | True             | True              | (B,) every distinct training user once              |
    | False            | True              | (2, B), only the first ceil(users / B) batches      |

    A negative is uniform over the items of the training split outside the user's training items.
    Neighbours of an item are the items that share a user with it, a stranger is a training item
    that shares none; both are 0 where an item has no neighbour or more than 80 % of the items are.
    The loader draws from a generator of its own, seeded by config['seed'], so what a model draws
    changes no batch. Raises DataError if a user owns every item of the training split and negatives
    are wanted.
    """

    def __init__(self, config, dataset, batch_size=1, shuffle=False):
        super().__init__(config, dataset, batch_size=batch_size, shuffle=shuffle)
        self.neg_sampling = bool(config["use_neg_sampling"])
        self.use_full_sampling = bool(config["use_full_sampling"])
        self.neighborhood_loss_required = bool(config["use_neighborhood_loss"])
        self.generator = np.random.default_rng(config["seed"])
        self.all_uids = np.flatnonzero(np.bincount(self.users))
        self._train_items = np.flatnonzero(np.bincount(self.items))  # candidates for negatives
        self.all_items = self._train_items.tolist()
        random.shuffle(self.all_items)
        self.all_item_len = len(self.all_items)
        self.sparsity = 1 - len(self.users) / (self.n_users * self.n_items)
        self.sample_func = self._rows
        if self.neg_sampling and self.use_full_sampling:
            self.sample_func = self._users
        elif self.neg_sampling:
            self._known = PairSet(self.users, self.items, self.n_items)
            self._refuse_insatiable_users()
            near = self.neighborhood_loss_required
            self.sample_func = self._neighbourhood if near else self._triples

    def inter_matrix(self, form: str = "coo", value_field: str | None = None) -> sp.spmatrix:
        """Training interactions as a sparse (U, I) matrix of float64 ones, entries in file order.

        form: 'coo' keeps duplicate pairs, 'csr' sums them. value_field: only None or the label,
        whose values are ones here, since ratings are not read. Raises NotImplementedError,
        ValueError for anything else.
        """
        if value_field is not None:
            raise ValueError(
                f"inter_matrix: there is no column '{value_field}'; the two id columns are all "
                "that is read"
            )
        shape = (self.n_users, self.n_items)
        matrix = sp.coo_matrix((np.ones(len(self.users)), (self.users, self.items)), shape=shape)
        if max(shape) <= np.iinfo(np.int32).max:
            matrix.row, matrix.col = matrix.row.astype(np.int32), matrix.col.astype(np.int32)
        if form == "coo":
            return matrix
        if form == "csr":
            return matrix.tocsr()
        raise NotImplementedError(f"inter_matrix: form '{form}'; wanted 'coo' or 'csr'")

    def __len__(self):
        return -(-self._epoch_size() // self.batch_size)

    def _epoch_size(self):
        """How many rows, or users, one epoch covers."""
        if not self.use_full_sampling:
            return len(self.users)
        if self.neg_sampling:
            return len(self.all_uids)
        batches = -(-len(self.all_uids) // self.batch_size)
        return min(len(self.users), batches * self.batch_size)

    def __iter__(self):
        by_user = self.use_full_sampling and self.neg_sampling
        rows = self.all_uids if by_user else np.arange(len(self.users))
        if self.shuffle:
            rows = self.generator.permutation(rows)
        rows = rows[: self._epoch_size()]
        for start in range(0, len(rows), self.batch_size):
            self.pr = start + self.batch_size
            yield self._to_device(self.sample_func(rows[start : start + self.batch_size]))
        self.pr = 0

    def _users(self, users):
        return users.astype(np.int64)

    def _rows(self, rows):
        return np.stack([self.users[rows], self.items[rows]])

    def _triples(self, rows):
        users = self.users[rows]
        return np.stack([users, self.items[rows], self._draw_outside(self._known, users)])

    def _draw_outside(self, known, rows):
        """For each row an item uniform over the training items, (row, item) not in `known`."""
        drawn, again = np.empty(len(rows), dtype=np.int64), np.arange(len(rows))
        while len(again):
            places = self.generator.integers(len(self._train_items), size=len(again))
            drawn[again] = self._train_items[places]
            again = again[known.contains(rows[again], drawn[again])]
        return drawn

    def _refuse_insatiable_users(self):
        distinct = np.bincount(self._known.keys // self.n_items, minlength=self.n_users)
        full = np.flatnonzero(distinct >= len(self._train_items))
        if len(full):
            raise DataError(
                f"user {full[0]} has all {counted(len(self._train_items), 'item')} of the training "
                f"split, so no negative item can be drawn ({counted(len(full), 'such user')}); "
                "remove them from the data or train without negatives"
            )

    @cached_property
    def _neighbours(self):
        """Co-occurring items: indptr, neighbours, a PairSet that has the item too, usable (I,)."""
        binary = self.inter_matrix("csr")
        binary.data[:] = 1
        together = (binary.T @ binary).tocoo()
        pairs = PairSet(together.row.astype(np.int64), together.col.astype(np.int64), self.n_items)
        others = together.row != together.col
        columns = together.col[others].astype(np.int64)
        indptr, neighbours = group_by(together.row[others], columns, self.n_items)
        counts = np.diff(indptr)
        usable = (counts > 0) & (counts <= 0.8 * len(self._train_items))
        return indptr, neighbours, pairs, usable

    def _neighbourhood(self, rows):
        indptr, neighbours, pairs, usable = self._neighbours
        triples = self._triples(rows)
        near, far = np.zeros((2, len(rows)), dtype=np.int64)
        with_near = usable[triples[1]]
        items = triples[1, with_near]
        count = indptr[items + 1] - indptr[items]
        near[with_near] = neighbours[indptr[items] + self.generator.integers(count)]
        # in a tiny catalogue an item may share a user with all others and be under 80 %
        n_neighbours = indptr[triples[1] + 1] - indptr[triples[1]]
        reachable = usable[triples[1]] & (n_neighbours + 1 < len(self._train_items))
        far[reachable] = self._draw_outside(pairs, triples[1, reachable])
        return np.concatenate([triples, [near, far]])

    def state(self) -> dict:
        """What the loader needs to go on at the next epoch, in plain values."""
        state = self.generator.bit_generator.state
        words = {key: str(word) for key, word in state["state"].items()}  # 128 bits each
        return state | {"state": words}

    def load_state(self, state: dict) -> None:
        words = {key: int(word) for key, word in state["state"].items()}
        self.generator.bit_generator.state = state | {"state": words}

    # Members of MMRec's loader that cost memory and are read by few plugins.

    @cached_property
    def all_items_set(self):
        return set(self.all_items)

    @cached_property
    def all_users_set(self):
        return set(self.all_uids.tolist())

    @cached_property
    def history_items_per_u(self):
        return _sets(self.users, self.items)

    @cached_property
    def history_users_per_i(self):
        return _sets(self.items, self.users)

    @cached_property
    def user_user_dict(self):
        return self._co_occurring(self.inter_matrix("csr"))

    @cached_property
    def item_item_dict(self):
        return self._co_occurring(self.inter_matrix("csr").T.tocsr())

    @staticmethod
    def _co_occurring(matrix):
        """{row: set of the other rows that share a column with it}."""
        together = (matrix @ matrix.T).tocoo()
        others = together.row != together.col
        empty = {int(row): set() for row in np.unique(matrix.nonzero()[0])}
        return empty | _sets(together.row[others], together.col[others])


def _sets(keys, values):
    indptr, grouped = group_by(keys, values, int(keys.max(initial=-1)) + 1)
    present = np.flatnonzero(np.diff(indptr))
    return {int(k): set(grouped[indptr[k] : indptr[k + 1]].tolist()) for k in present}


class EvalDataLoader(_Loader):
    """Batches of users to rank all items for: [users (B,), mask (2, K)], both int64 on the run's
    device.

    Users come in the order of their first appearance in the split. mask row 0 is the user's row in
    the batch, row 1 an item of additional_dataset (the training split) that is no candidate;
    duplicates are kept. mask_also: further data sets to mask (the validation split at test, with
    mask_valid_at_test). A batch has at most CELLS scores of all items, whatever batch_size says.
    eval_users (n,), n_relevant (n,): the users and how many items each has in
    this split; a repeated one counts once.
    """

    def __init__(
        self, config, dataset, additional_dataset=None, batch_size=1, shuffle=False, mask_also=()
    ):
        batch_size = users_at_once(batch_size, dataset.get_item_num())
        super().__init__(config, dataset, additional_dataset, batch_size, shuffle)
        _, first = np.unique(self.users, return_index=True)
        self.eval_users = self.users[np.sort(first)]
        self._relevant = PairSet(self.users, self.items, self.n_items)
        of_user = self._relevant.keys // self.n_items
        self.n_relevant = np.bincount(of_user, minlength=self.n_users)[self.eval_users]
        masked = [additional_dataset, *mask_also]
        users = np.concatenate([d.df[d.uid_field].to_numpy(dtype=np.int64) for d in masked])
        items = np.concatenate([d.df[d.iid_field].to_numpy(dtype=np.int64) for d in masked])
        self._masked = group_by(users, items, self.n_users)
        self._relevant.discard(users, items)  # no candidates, so never hits

    def __len__(self):
        return -(-len(self.eval_users) // self.batch_size)

    def __iter__(self):
        for start in range(0, len(self.eval_users), self.batch_size):
            users = self.eval_users[start : start + self.batch_size]
            self.pr = start + len(users)
            mask = np.stack(take_groups(*self._masked, users))
            yield [self._to_device(users), self._to_device(mask)]
        self.pr = 0

    def n_listed(self, users: np.ndarray, k: int) -> np.ndarray:
        """How many of the k best items of users (n,) are candidates, (n,): the masked come last."""
        indptr, _ = self._masked
        left = self.n_items - (indptr[users + 1] - indptr[users])
        few = np.flatnonzero(left < k)  # only for them repeated rows of the mask may matter
        if len(few):
            row, item = take_groups(*self._masked, users[few])
            masked = np.bincount(PairSet(row, item, self.n_items).keys // self.n_items)
            left[few] = self.n_items - np.pad(masked, (0, len(few) - len(masked)))
        return np.minimum(left, k)

    def hits(self, users: np.ndarray, ranked: np.ndarray) -> np.ndarray:
        """(n, K) booleans: is ranked[i, j] (n, K) a candidate of users[i] and in this split?"""
        return self._relevant.contains(users[:, None], ranked)
