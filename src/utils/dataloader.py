"""MMRec's `utils.dataloader`, for plugins."""
# ruff: noqa: F401

from ld4mrec.data.batches import EvalDataLoader, TrainDataLoader
