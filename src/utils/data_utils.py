"""MMRec's `utils.data_utils`, for plugins."""

from utils.utils import *  # noqa: F403
