"""MMRec's `utils.misc`, for plugins."""

from utils.utils import *  # noqa: F403
