"""`file:PATH`: vectors that the user made elsewhere, keyed by original item id.

`.npz`: an array `ids` of n texts (or integers) and an array `vectors` (n, D) of numbers. `.csv`
(comma), `.tsv` or `.txt` (TAB): a line per item, the id and then D numbers; a first line without a
number in its second field is a header, in which another column may be the `item`, `item_id` or
`id`. Ids are compared as text: H&M's keep their leading zero. Items without a vector count as
missing; vectors of other items are ignored.
"""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from ld4mrec.errors import DataError
from ld4mrec.files import sha256
from ld4mrec.preprocessing.steps.encoders.base import EncoderError
from ld4mrec.tables import check_header, is_number, refuse_nul

ID_NAMES = ("item", "item_id", "itemid", "id")
SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}


class OwnVectors:
    """The vectors of a file. ids: list of n str; vectors: (n, D) float32.

    row_ids: the ids of the rows of a .npy file, in their order, where the caller knows them.
    """

    def __init__(self, path: str | Path, row_ids: list[str] | None = None):
        self.path = Path(path)
        self.name = f"file:{self.path}"
        try:
            if row_ids is not None:
                self.ids, vectors = row_ids, read_array(self.path)
            else:
                read = _read_npz if self.path.suffix.lower() == ".npz" else _read_table
                self.ids, vectors = read(self.path)
        except OSError as error:
            raise EncoderError(f"{self.path} cannot be read ({error})") from error
        if vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or 0 in vectors.shape:
            raise EncoderError(
                f"{self.path} has vectors of type {vectors.dtype} and shape {vectors.shape}; "
                "wanted numbers, one row per item"
            )
        if len(self.ids) != len(vectors):
            raise EncoderError(f"{self.path} has {len(self.ids)} ids and {len(vectors)} vectors")
        with np.errstate(over="ignore"):
            self.vectors = vectors.astype(np.float32)
        self.dimension = self.vectors.shape[1]
        self.revision = "sha256:" + sha256(self.path)[:16]
        repeated = pd.Index(self.ids).duplicated()
        if repeated.any():
            raise EncoderError(
                f"{self.path} has {int(repeated.sum())} repeated ids, first "
                f"{self.ids[int(repeated.argmax())]!r}; each item may have one vector"
            )
        finite = np.isfinite(self.vectors).all(axis=1)
        if not finite.all():
            raise EncoderError(
                f"{self.path} has NaN or values beyond float32 in {int((~finite).sum())} vectors, "
                f"first that of item {self.ids[int(finite.argmin())]!r}; leave such items out"
            )

    def rows_of(self, items: list[str]) -> np.ndarray:
        """(I,) index into `vectors` of each item id, -1 where the file has none."""
        return pd.Index(self.ids).get_indexer(pd.Index(items))


def read_array(path: Path) -> np.ndarray:
    """The array of a .npy file, as it is; EncoderError where it is none."""
    try:
        with open(path, "rb") as file:
            array = np.load(file, allow_pickle=False)
            if isinstance(array, np.ndarray) and file.read(1):
                raise ValueError("it goes on after the array that its header tells of")
    except OSError:
        raise
    except Exception as error:  # numpy's, of all kinds
        raise EncoderError(
            f"{path} is not a .npy file of numbers ({error}); write it with numpy.save"
        ) from error
    if not isinstance(array, np.ndarray):
        raise EncoderError(f"{path} is an archive of arrays; wanted a .npy file of one")
    return array


def _read_npz(path):
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not {"ids", "vectors"} <= set(archive.files):
                raise EncoderError(
                    f"{path} has the arrays {', '.join(archive.files) or 'none'}; "
                    "wanted `ids` and `vectors`"
                )
            ids, vectors = archive["ids"], archive["vectors"]
            if not (isinstance(ids, np.ndarray) and isinstance(vectors, np.ndarray)):
                raise ValueError("a member is no array")
    except EncoderError:
        raise
    except Exception as error:  # numpy's and zipfile's, of all kinds
        raise EncoderError(
            f"{path} is not a .npz archive of plain arrays ({error}); write it with "
            "numpy.savez(path, ids=ids, vectors=vectors), ids as a list of texts"
        ) from error
    if ids.ndim != 1 or ids.dtype.kind not in "Uiu":
        raise EncoderError(
            f"{path} has ids of type {ids.dtype} and shape {ids.shape}; wanted a list of texts"
        )
    return ids.astype(str).tolist(), vectors


def _read_table(path):
    separator = SEPARATORS.get(path.suffix.lower())
    if separator is None:
        raise EncoderError(f"{path} should end in .npz, {', '.join(SEPARATORS)}")
    try:
        refuse_nul(path)
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = next(csv.reader(file, delimiter=separator), [])
        column, has_header = 0, not (len(first) > 1 and is_number(first[1]))
        if has_header and len(first) > 1:
            names = check_header(path, separator)
            named = [n for n, name in enumerate(names) if name.strip().lower() in ID_NAMES]
            column = named[0] if len(named) == 1 else 0
        frame = pd.read_csv(
            path,
            sep=separator,
            header=None,
            skiprows=int(has_header),
            dtype={column: str},
            keep_default_na=False,
            encoding="utf-8-sig",
        )
        vectors = frame.drop(columns=column).to_numpy()
    except DataError as error:
        raise EncoderError(str(error)) from error
    except (ValueError, csv.Error) as error:  # pandas' own are ValueErrors; so are wrong encodings
        raise EncoderError(
            f"{path} is not a table in UTF-8 of an id and numbers, by {separator!r} ({error})"
        ) from error
    if vectors.dtype.kind not in "fiu":
        raise EncoderError(f"{path} {_first_bad_line(path, separator, column)}")
    return frame[column].tolist(), vectors


def _first_bad_line(path, separator, column):
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.reader(file, delimiter=separator)
        n_fields = len(next(reader))
        for row in reader:
            if len(row) != n_fields:
                what = f"{len(row)} fields"
            elif bad := [f for n, f in enumerate(row) if n != column and not is_number(f)]:
                what = repr(bad[0])
            else:
                continue
            return (
                f"has {what} in line {reader.line_num}; wanted an id and then {n_fields - 1} "
                "numbers in each line"
            )
    return "has something else than finite numbers after the id"
