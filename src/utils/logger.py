"""MMRec's `utils.logger`, for plugins."""
# ruff: noqa: F401

from ld4mrec.terminal import init_logger
