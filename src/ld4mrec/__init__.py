"""LD4MRec and its host."""

from ld4mrec import imports

__version__ = "0.1.0"

imports.install()
