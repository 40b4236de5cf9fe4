"""Ranking metrics of one user at a time, from a table of hits.

hits: (n, K) booleans, is the item at rank j+1 relevant for user i; n_relevant: (n,) relevant items
P of each. Each function returns (n, K) float64, column k-1 holding the metric at cut-off k. A
report is the mean over users.
"""

import numpy as np


def recall(hits, n_relevant):
    """sum_{i<=k} h_i / P."""
    return hits.cumsum(axis=1) / n_relevant[:, None]


def precision(hits, n_relevant):
    """sum_{i<=k} h_i / k."""
    return hits.cumsum(axis=1) / _ranks(hits)


def ndcg(hits, n_relevant):
    """sum_{i<=k} h_i / log2(i+1), divided by the same sum for min(k, P) hits at the top."""
    gains = 1 / np.log2(_ranks(hits) + 1)  # (K,)
    ideal = gains.cumsum()[_reachable(hits, n_relevant) - 1]
    return (hits * gains).cumsum(axis=1) / ideal


def average_precision(hits, n_relevant):
    """sum_{i<=k} h_i * precision@i, divided by min(k, P); its mean over users is MAP@k."""
    return (hits * precision(hits, n_relevant)).cumsum(axis=1) / _reachable(hits, n_relevant)


def _ranks(hits):
    return np.arange(1, hits.shape[1] + 1)


def _reachable(hits, n_relevant):
    return np.minimum(_ranks(hits), n_relevant[:, None])  # (n, K), min(k, P)


# Reported as means over users. Recall2, all hits over all relevant items, is the evaluator's.
PER_USER = {"recall": recall, "ndcg": ndcg, "precision": precision, "map": average_precision}
