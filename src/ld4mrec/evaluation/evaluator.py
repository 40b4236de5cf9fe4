"""All-ranking evaluation: every item is a candidate but those the loader masks."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from common.largest import largest
from ld4mrec.config.configuration import Config
from ld4mrec.data.batches import EvalDataLoader
from ld4mrec.errors import DivergedError, RunError
from ld4mrec.evaluation.metrics import PER_USER

MASKED = -1e10  # the score of an item that is no candidate, MMRec's value


@dataclass
class Evaluation:
    """metrics: {'recall@20': mean, ...}, unrounded; per_user: the same keys, (n,) each, without
    Recall2; users: (n,) in the loader's order; items: (n, max K) ranked item ids, -1 behind a
    user's last candidate.
    """

    metrics: dict
    per_user: dict
    users: np.ndarray
    items: np.ndarray


class TopKEvaluator:
    """Metrics config['metrics'] at the cut-offs config['topk'] for a model and a split.

    The largest cut-off must not exceed the number of items.
    """

    def __init__(self, config: Config):
        self.metrics = [metric.lower() for metric in config["metrics"]]
        self.topk = config["topk"]

    def evaluate(self, model: nn.Module, loader: EvalDataLoader) -> Evaluation:
        """Evaluation of the model (put into eval mode, without gradients) on the loader's users.

        Raises RunError if the scores have another shape than (B, I), DivergedError if they are NaN.
        """
        k = max(self.topk)
        model.eval()
        tables, ranked, hits_at = [], [], np.zeros(len(self.topk))
        columns = np.array(self.topk) - 1
        per_user_metrics = [metric for metric in self.metrics if metric in PER_USER]
        done = 0
        with torch.no_grad():
            for batch in loader:
                items = self.rank(model, batch, loader.n_items, k)
                rows = slice(done, done + len(items))
                hits = loader.hits(loader.eval_users[rows], items)
                n_relevant = loader.n_relevant[rows]
                metrics = (PER_USER[metric](hits, n_relevant) for metric in per_user_metrics)
                tables.append([table[:, columns] for table in metrics])
                hits_at += hits.cumsum(axis=1)[:, columns].sum(axis=0)
                listed = np.arange(k) < loader.n_listed(loader.eval_users[rows], k)[:, None]
                ranked.append(np.where(listed, items, np.int32(-1)))
                done = rows.stop
        per_user = {
            f"{metric}@{k}": values
            for metric, *parts in zip(per_user_metrics, *tables, strict=True)
            for k, values in zip(self.topk, np.concatenate(parts).T, strict=True)
        }
        means = {key: float(values.mean()) for key, values in per_user.items()}
        pooled = dict(zip(self.topk, (hits_at / loader.n_relevant.sum()).tolist(), strict=True))
        means |= {f"recall2@{k}": value for k, value in pooled.items() if "recall2" in self.metrics}
        metrics = {f"{m}@{k}": means[f"{m}@{k}"] for m in self.metrics for k in self.topk}
        return Evaluation(metrics, per_user, loader.eval_users, np.concatenate(ranked))

    def rank(self, model: nn.Module, batch: list, n_items: int, k: int) -> np.ndarray:
        """(B, k) item ids by score, of equal scores the lowest first; the masked ones are last."""
        users, mask = batch
        scores = model.full_sort_predict([users, mask])
        if tuple(scores.shape) != (len(users), n_items):
            raise RunError(
                f"{type(model).__name__}.full_sort_predict returned shape {tuple(scores.shape)}; "
                f"wanted (users, items) = {(len(users), n_items)}"
            )
        if 0 in scores.stride():  # expanded: a write for one user would be one for all
            scores = scores.clone(memory_format=torch.contiguous_format)
        scores[mask[0], mask[1]] = MASKED
        top, items = largest(scores, k)
        if torch.isnan(top).any():  # NaN ranks first, so it is enough to look here
            raise DivergedError(
                f"{type(model).__name__} scores are NaN; lower learning_rate or look at the "
                "features"
            )
        return items.cpu().numpy().astype(np.int32)  # half the memory and disk of int64
