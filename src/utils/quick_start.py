"""MMRec's `utils.quick_start`, for plugins."""
# ruff: noqa: F401

from ld4mrec.search.train import quick_start
