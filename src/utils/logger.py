"""MMRec's `ld4mrec.terminal`, for plugins."""
# ruff: noqa: F401

from ld4mrec.terminal import init_logger
