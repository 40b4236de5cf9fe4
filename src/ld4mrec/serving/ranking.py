"""The best items of many users, a batch at a time: scores, masked and ranked as in evaluation."""

import logging

import numpy as np
import pandas as pd
import torch

from common.largest import largest
from ld4mrec.data.batches import take_groups
from ld4mrec.errors import DivergedError, RunError
from ld4mrec.evaluation.evaluator import MASKED
from ld4mrec.progress import progress
from ld4mrec.serving.trained import changed_code, tested_lists

logger = logging.getLogger(__name__)

CELLS = 2**26  # scores in memory at once, unless eval_batch_size allows fewer
# models that score everybody alike: no training history is needed
FOR_ANYBODY = ("Pop",)


def model_scores(trained):
    """score(users (B,), mask (2, K)) -> (B, I) of the run's own users."""
    return lambda users, mask: trained.model.full_sort_predict([users, mask])


def batch_size(config, n_items):
    """Users whose scores are in memory at once."""
    return max(1, min(config["eval_batch_size"], CELLS // n_items))


def top_items(score, known, users, k, config):
    """Yield (users (B,), items (B, k), scores (B, k)) for batches of users (n,) int64.

    score: users and mask on the device to scores (B, I). known: binary CSR; what a user has there
    comes last in the ranking, as in evaluation. k is at most the number of items; of equal scores
    the lowest ids come first. Raises DivergedError for NaN and infinity.
    """
    n_items, device = known.shape[1], config["device"]
    size = batch_size(config, n_items)
    indptr, indices = known.indptr.astype(np.int64), known.indices.astype(np.int64)
    for first in range(0, len(users), size):
        batch = users[first : first + size]
        mask = torch.from_numpy(np.stack(take_groups(indptr, indices, batch))).to(device)
        with torch.no_grad():
            scores = score(torch.from_numpy(batch).to(device), mask)
            scores[mask[0], mask[1]] = MASKED
            top, items = largest(scores, k)
        if not torch.isfinite(top).all():  # NaN and infinity rank first
            raise DivergedError("the model's scores are NaN or infinite; the run cannot be used")
        yield batch, items.cpu().numpy(), top.cpu().numpy()


def recommendations(score, known, users, k, config, user_ids, items):
    """Yield DataFrames with the columns user, rank (from 1), item, score, a batch of users each.

    user_ids: (U,) what to call them. items: the items' Ids. A user whose items outside `known` are
    fewer than k gets those.
    """
    k = min(k, known.shape[1])
    left = known.shape[1] - np.diff(known.indptr)  # (U,) candidates
    size = batch_size(config, known.shape[1])
    batches = top_items(score, known, users, k, config)
    label, total = f"batches of {size} users", -(-len(users) // size)
    for batch, ranked, scores in progress(batches, label, total):
        row, place = np.nonzero(np.arange(k) < left[batch][:, None])  # the masked ones come last
        yield pd.DataFrame(
            {
                "user": user_ids[batch[row]],
                "rank": place.astype(np.int32) + 1,
                "item": items.of(ranked[row, place]),
                "score": scores[row, place],
            }
        )


def with_history(trained, users):
    """Of users (n,) those who can be served, and those who cannot: without training history, of
    which no model but FOR_ANYBODY has learned anything.
    """
    if trained.name in FOR_ANYBODY:
        return users, users[:0]
    served = np.diff(trained.train.indptr)[users] > 0
    return users[served], users[~served]


def demand_same_lists(trained):
    """Where the model's code is not the run's, warn, and say how many of up to COMPARED test users
    still get the list that the run kept; RunError if that is less than half of them.
    """
    changed = changed_code(trained)
    if not changed:
        return
    text = f"code has changed since the run was made ({', '.join(changed)})"
    tested = tested_lists(trained)
    if tested is None:
        logger.warning("%s; the run kept no lists to compare with", text)
        return
    users, then, mask = tested
    batches = top_items(
        model_scores(trained), trained.known(mask), users, then.shape[1], trained.run.config
    )
    now = np.concatenate([items for _, items, _ in batches])
    same = int((now == then).all(axis=1).sum())
    text = f"{text}: of {len(users)} test users, {same} get the run's list"
    if same < len(users) / 2:
        raise RunError(
            f"{text}; that is another model than was evaluated. Use the code of the run's "
            "git_commit (manifest.json), or train again"
        )
    logger.warning("%s", text)
