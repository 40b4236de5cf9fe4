"""Original ids of users and items, and the integer ids that models know."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from ld4mrec.data.features import ID_MAPS, data_folder
from ld4mrec.errors import DataError, counted
from ld4mrec.tables import check_header

logger = logging.getLogger(__name__)

NAMED = 5  # ids that a message names


class UnknownIdError(DataError):
    """An id that the run's data does not have."""


@dataclass
class Ids:
    """Ids of the n users or items of a run. texts: original ids (n,), None where there are none."""

    kind: str  # user or item
    n: int
    texts: pd.Index | None = None

    @classmethod
    def read(cls, config: Mapping, kind: str, n: int) -> Self:
        """Of the data folder's map, if there is one; DataError if it lacks any of 0..n-1."""
        path, column = data_folder(config) / ID_MAPS[kind], config[f"{kind.upper()}_ID_FIELD"]
        if not path.is_file():
            return cls(kind, n)
        try:
            header = check_header(path, "\t")
            frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        except DataError:
            raise
        except (ValueError, UnicodeDecodeError) as error:  # pandas' errors are ValueErrors
            raise DataError(f"{path} cannot be read as TAB-separated text: {error}") from error
        names = [other for other in header if other != column]
        if len(names) > 1:
            names = [name for name in names if name == f"{kind}_id"]
        if column not in header or not names:
            raise DataError(
                f"{path} has the columns {header}; wanted the original id and {column}; where "
                f"there are more, the original id as {kind}_id"
            )
        original = frame[names[0]]
        if empty := int((original.str.strip() == "").sum()):
            first = frame[column][original.str.strip() == ""].iloc[0]
            raise DataError(
                f"{path} has {counted(empty, 'empty original id')}, the first for {column} "
                f"{first}; wanted a text for each"
            )
        numbers = pd.to_numeric(frame[column], errors="coerce")
        known = numbers.between(0, n - 1) & (numbers % 1 == 0)
        numbers, original = numbers[known].astype(np.int64), original[known]
        if len(numbers) != n or numbers.nunique() != n or original.nunique() != n:
            raise DataError(
                f"{path} gives {counted(original.nunique(), 'original id')} to "
                f"{numbers.nunique():,} of the {counted(n, kind)}, in "
                f"{counted(len(numbers), 'row')}; wanted one for each of 0 to {n - 1}"
            )
        texts = np.empty(n, dtype=object)
        texts[numbers.to_numpy()] = original.to_numpy(dtype=object)
        return cls(kind, n, pd.Index(texts, dtype=object))

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """Original ids, an array of texts, or integers where there is no map; numbers: (m,)."""
        return numbers if self.texts is None else self.texts.to_numpy()[numbers]

    def all(self) -> np.ndarray:
        """Original ids of all, (n,)."""
        return self.of(np.arange(self.n))

    def as_known(self, word: str) -> str:
        """A word as it is where it is an id, blanks around it included; else without these."""
        known = self.texts is not None and word in self.texts
        return word if known else word.strip()

    def numbers(self, ids: Sequence[str], where: str) -> np.ndarray:
        """Integer ids (m,) int64 of original ids, a sequence of texts.

        Raises UnknownIdError naming `where` and the first unknown ones.
        """
        ids = pd.Series(ids, dtype=object)
        found = self._found(ids)
        if self.texts is not None:
            like = f"ids such as {self.texts[0]!r} ({ID_MAPS[self.kind]} has them all)"
        else:
            like = f"integer ids from 0 to {self.n - 1}, as the data set has no map of original ids"
        unknown = ids[found < 0].unique()
        if len(unknown):
            named = ", ".join(map(repr, unknown[:NAMED])) + ", ..." * (len(unknown) > NAMED)
            raise UnknownIdError(
                f"{where} has {counted(len(unknown), f'unknown {self.kind} id')}: {named}; the run "
                f"knows {like}. --skip-unknown (in Python skip_unknown=True) leaves the others out"
            )
        return found

    def _found(self, ids):
        """Integer ids (m,) of a Series of texts, -1 for unknown ones."""
        if self.texts is not None:
            return self.texts.get_indexer(ids).astype(np.int64)
        whole = ids.str.fullmatch("[0-9]{1,18}")
        found = ids.where(whole, "-1").astype(np.int64).to_numpy()
        return np.where(found < self.n, found, -1)

    def known(self, ids: Sequence[str], where: str) -> np.ndarray:
        """Which of original ids, a sequence of texts, are known, (m,) bool; the others are counted
        in a warning. DataError if there are ids and none is known.
        """
        ids = pd.Series(ids, dtype=object)
        known = self._found(ids) >= 0
        if not known.all():
            text = (
                f"{int((~known).sum())} of {len(ids)} in {where} are {self.kind}s that the run "
                f"does not know (the first: {ids[~known].iloc[0]!r:.60})"
            )
            if not known.any():
                raise DataError(text)
            logger.warning("left out: %s", text)
        return known
