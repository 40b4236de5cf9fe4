from ld4mrec.files import *  # noqa: F403
