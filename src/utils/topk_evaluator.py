"""MMRec's `utils.topk_evaluator`, for plugins."""
# ruff: noqa: F401

from ld4mrec.evaluation.evaluator import TopKEvaluator
