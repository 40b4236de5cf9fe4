"""MMRec's `utils.metrics`, for plugins."""
# ruff: noqa: F401

from ld4mrec.evaluation.metrics import average_precision, ndcg, precision, recall
