"""MMRec's `utils.misc`, importable for third-party models; everything is in `utils.utils`."""

from utils.utils import *  # noqa: F403
