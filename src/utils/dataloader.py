"""MMRec's `ld4mrec.data.batches`, for plugins."""
# ruff: noqa: F401

from ld4mrec.data.batches import EvalDataLoader, TrainDataLoader
