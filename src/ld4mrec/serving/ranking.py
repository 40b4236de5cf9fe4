"""The best items of many users, a batch at a time: scores, masked and ranked as in evaluation."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

from common.graph import binary_csr
from common.largest import largest
from common.servable import needs_history
from ld4mrec.data.batches import take_groups, users_at_once
from ld4mrec.errors import DivergedError, RunError, counted
from ld4mrec.evaluation.evaluator import MASKED
from ld4mrec.progress import progress
from ld4mrec.runs.results import top_lists
from ld4mrec.serving.ids import Ids
from ld4mrec.serving.trained import Trained, changed_code

logger = logging.getLogger(__name__)

COMPARED = 200  # test users whose lists are compared with the run's where code has changed since


@dataclass
class Audience:
    """Users to recommend to.

    users: (n,) int64 of the U that are known. score: users (B,) and mask (2, K), on the device, to
    scores (B, I). known: binary CSR (U, I) of what is not recommended. names: (U,), their ids.
    """

    users: np.ndarray
    score: Callable[[Tensor, Tensor], Tensor]
    known: sp.csr_matrix
    names: np.ndarray | None = None


def model_scores(trained: Trained) -> Callable[[Tensor, Tensor], Tensor]:
    """score(users (B,), mask (2, K)) -> (B, I) of the run's own users."""
    return lambda users, mask: trained.model.full_sort_predict([users, mask])


def top_items(audience: Audience, k: int, config: Mapping) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield users (B,), their best items (B, k) and the scores of those (B, k), by the batch.

    What is known of a user comes last in the ranking, as in evaluation. k is at most the number of
    items; of equal scores the lowest ids come first. Raises DivergedError for NaN and infinity.
    """
    users, known, device = audience.users, audience.known, config["device"]
    n_items = known.shape[1]
    size = users_at_once(config["eval_batch_size"], n_items)
    indptr, indices = known.indptr.astype(np.int64), known.indices.astype(np.int64)
    for first in range(0, len(users), size):
        batch = users[first : first + size]
        mask = torch.from_numpy(np.stack(take_groups(indptr, indices, batch))).to(device)
        with torch.no_grad():
            scores = audience.score(torch.from_numpy(batch).to(device), mask)
            scores[mask[0], mask[1]] = MASKED
            top, items = largest(scores, k)
        if not torch.isfinite(top).all():  # NaN and infinity rank first
            raise DivergedError("the model's scores are NaN or infinite; the run cannot be used")
        yield batch, items.cpu().numpy(), top.cpu().numpy()


def recommendations(
    audience: Audience, k: int, config: Mapping, items: Ids
) -> Iterator[pd.DataFrame]:
    """Yield DataFrames with the columns user, rank (from 1), item, score, a batch of users each.

    A user of whom all but fewer than k items are known gets those.
    """
    known = audience.known
    k = min(k, known.shape[1])
    left = known.shape[1] - np.diff(known.indptr)  # (U,) candidates
    size = users_at_once(config["eval_batch_size"], known.shape[1])
    batches = top_items(audience, k, config)
    label, total = f"batches of {size} users", -(-len(audience.users) // size)
    for batch, ranked, scores in progress(batches, label, total):
        row, place = np.nonzero(np.arange(k) < left[batch][:, None])  # the masked ones come last
        yield pd.DataFrame(
            {
                "user": audience.names[batch[row]],
                "rank": place.astype(np.int32) + 1,
                "item": items.of(ranked[row, place]),
                "score": scores[row, place],
            }
        )


def with_history(
    model: torch.nn.Module, users: np.ndarray, histories: sp.csr_matrix
) -> tuple[np.ndarray, np.ndarray]:
    """Users (n,) whom the model can serve, and those without a history, where it needs one."""
    served = (np.diff(histories.indptr)[users] > 0) | (not needs_history(model))
    return users[served], users[~served]


def known_part(histories: sp.csr_matrix, train: sp.csr_matrix) -> sp.csr_matrix:
    """Histories, binary CSR, without the items that no training user has: nobody learned those."""
    trained_items = np.diff(train.tocsc().indptr) > 0
    kept = histories.copy()
    kept.data[:] = trained_items[histories.indices]
    return binary_csr(kept)


def check_same_lists(trained: Trained) -> None:
    """Where the model's code is not the run's, warn, and say how many of COMPARED test users still
    get the run's list; RunError if less than half of them do.
    """
    changed = changed_code(trained)
    if not changed:
        return
    text = f"code has changed since the run was made ({', '.join(changed)})"
    path, config = trained.run.folder.path / "topk.npz", trained.run.config
    if not path.is_file():
        logger.warning("%s; the run kept no lists to compare with", text)
        return
    users, then = top_lists(trained.run.folder)
    users, then = users[:COMPARED].astype(np.int64), then[:COMPARED]
    n_users, n_items = trained.train.shape
    if users.max(initial=0) >= n_users or max(then.shape[1], int(then.max()) + 1) > n_items:
        raise RunError(
            f"{path} has users or items beyond the {n_users} and {n_items} of the data; delete "
            f"{path.parent} to train the run again"
        )
    known = trained.known("train+valid" if config["mask_valid_at_test"] else "train")
    batches = top_items(Audience(users, model_scores(trained), known), then.shape[1], config)
    now = np.concatenate([items for _, items, _ in batches])
    same = int(((now == then) | (then < 0)).all(axis=1).sum())  # -1: behind the last candidate
    text = f"{text}: of {counted(len(now), 'test user')}, {same:,} get the run's list"
    if same < len(now) / 2:
        raise RunError(
            f"{text}; that is another model than was evaluated. Use the code of the run's "
            "git_commit (manifest.json), or train again"
        )
    logger.warning("%s", text)
