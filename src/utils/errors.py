from ld4mrec.errors import *  # noqa: F403
