"""LD4MRec and its host. The names of __all__ are what programs and notebooks use: docs/api.md.

They are loaded when they are asked for, so that `import ld4mrec` and the command stay light.
"""

import importlib
from typing import TYPE_CHECKING

from ld4mrec import imports

if TYPE_CHECKING:
    from ld4mrec.api.comparison import Comparison, compare
    from ld4mrec.api.data import Data, open_data, prepare
    from ld4mrec.api.run import Curve, Run, open_run, train
    from ld4mrec.errors import UserError
    from ld4mrec.training.trainer import Epoch

__version__ = "0.1.0"
__all__ = [
    "Comparison",
    "Curve",
    "Data",
    "Epoch",
    "Run",
    "UserError",
    "compare",
    "open_data",
    "open_run",
    "prepare",
    "train",
]
_HOMES = {
    "ld4mrec.api.comparison": ("Comparison", "compare"),
    "ld4mrec.api.data": ("Data", "open_data", "prepare"),
    "ld4mrec.api.run": ("Curve", "Run", "open_run", "train"),
    "ld4mrec.errors": ("UserError",),
    "ld4mrec.training.trainer": ("Epoch",),
}

imports.check_installed()
imports.install()


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'ld4mrec' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
