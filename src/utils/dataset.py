"""MMRec's `utils.dataset`, for plugins."""
# ruff: noqa: F401

from ld4mrec.data.interactions import RecDataset
