"""MMRec's `common.trainer`, for plugins."""
# ruff: noqa: F401

from ld4mrec.training.trainer import AbstractTrainer, Trainer
