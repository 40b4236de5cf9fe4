"""What a model can offer to a serving system. It is asked for by method, so any model file may.

A model that cannot do a thing lacks the method; one whose options rule it out raises ValueError
with the reason. Nothing of this file has to be imported to offer a method.
"""

from collections.abc import Callable
from typing import Any, NotRequired, Protocol, TypedDict, runtime_checkable

from torch import Tensor

from common.graph import HistoryRows

# score(history, users (B,)) -> (B, I), of rows of any histories; not a view of model state
HistoryScores = Callable[[HistoryRows, Tensor], Tensor]


@runtime_checkable
class FoldsIn(Protocol):
    """A model that can score users by their histories alone."""

    def fold_in(self) -> HistoryScores: ...


class ExportParts(TypedDict):
    """What to write down of a model, and the lines of Python that make `scores` of it elsewhere.

    imports: what follows `import` in the line before them; the export's folder is the current one.
    score: lines for `users`, an array of the run's own integer ids. Left out where the lines of
    new_users do, on the users' histories.
    new_users: lines for `rows`, anybody's histories as CSR; only where there are such scores.
    files: {name: content}; .npy: array, or tensor without gradient; .npz: CSR matrix; .pt2: a
    module of items (N,) and begin (B,), as of `HistoryRows.bags`, and of rows of its tables. Where
    there is one, all lines find `bags`, the items and begin of the users or of `rows`.
    tables: {.pt2: names of the .npy files whose rows of the users it takes}, where it takes any.
    holds: {name: what is in the file}; of a module, what it returns.
    """

    imports: str
    score: NotRequired[list[str]]
    new_users: NotRequired[list[str]]
    files: dict[str, Any]
    tables: NotRequired[dict[str, list[str]]]
    holds: dict[str, str]


@runtime_checkable
class Exports(Protocol):
    """A model that can be written down in files; it lies on the CPU then."""

    def export_parts(self) -> ExportParts: ...


def needs_history(model: Any) -> bool:
    """Whether a model, or its class, can only serve users with training items: unless its attribute
    needs_history is False.
    """
    return getattr(model, "needs_history", True)
