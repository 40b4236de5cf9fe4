"""MMRec's `utils.configurator`, for plugins."""
# ruff: noqa: F401

from ld4mrec.config.configuration import Config
