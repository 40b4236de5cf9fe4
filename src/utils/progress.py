from ld4mrec.progress import *  # noqa: F403
