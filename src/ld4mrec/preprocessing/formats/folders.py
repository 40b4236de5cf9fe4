"""Folders of known form: which of their files is which part of the split, items, features."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ld4mrec.data.splits import NAMES, TEST, TRAIN, VALIDATION
from ld4mrec.preprocessing.formats.layout import FORMATS
from ld4mrec.preprocessing.steps.raw import RawError
from ld4mrec.preprocessing.steps.sources import contents_of

FEATURES = "_feat.npy"


@dataclass
class Found:
    """What a folder holds. parts: {label, None for one that is not split: file}.

    items: file of the items' texts. features: {modality: file}, row r for item number r.
    """

    format: str
    parts: dict[int | None, Path]
    items: Path | None = None
    features: dict[str, Path] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return FORMATS[self.format]


def look_into(folder: Path, wanted: str | None) -> Found:
    """What a folder is; wanted: the words of --format. RawError where it is none of those known."""
    for name, look in LOOKS.items():
        if wanted in (None, name) and (found := look(folder)):
            return found
    known = "; ".join(FORMATS[name] for name in LOOKS)
    as_said = f", as --format {wanted} says" * (wanted is not None)
    pickles = sorted(path.name for path in folder.glob("*.pkl"))
    hint = (
        f" {', '.join(pickles[:3])} are pickles, which may run any program when they are read, so "
        "they are not: write each matrix anew with scipy.sparse.save_npz(name, matrix)"
        if pickles
        else ""
    )
    raise RawError(
        f"{folder} is no folder of a known form{as_said}; {contents_of(folder)}. Known: {known}. "
        f"--interactions FILE names the file of interactions.{hint}"
    )


def _files(folder, **names):
    """{label: path} of the files of these names, first found; None unless train and test are."""
    labels = {"train": TRAIN, "valid": VALIDATION, "test": TEST}
    found = {}
    for part, options in names.items():
        path = next((folder / name for name in options if (folder / name).is_file()), None)
        if path is not None:
            found[labels[part]] = path
    return found if {TRAIN, TEST} <= found.keys() else None


def _features(folder):
    paths = sorted(folder.glob(f"*{FEATURES}"))
    return {path.name.removesuffix(FEATURES): path for path in paths}


def _mmssl(folder):
    parts = _files(
        folder, train=["train.json"], valid=["val.json", "valid.json"], test=["test.json"]
    )
    return parts and Found("mmssl", parts, features=_features(folder))


def _diffmm(folder):
    parts = _files(folder, train=["trnMat.npz"], valid=["valMat.npz"], test=["tstMat.npz"])
    return parts and Found("diffmm", parts, features=_features(folder))


def _lightgcn(folder):
    parts = _files(folder, train=["train.txt"], valid=["valid.txt", "val.txt"], test=["test.txt"])
    return parts and Found("lightgcn", parts, features=_features(folder))


def _atomic(folder):
    """RecBole's folder, one .inter or one for each part; or MMRec's, which lacks the types."""
    files = sorted(folder.glob("*.inter"))
    if not files:
        return None
    split = _files(
        folder,
        **{
            part: [path.name for path in files if path.name.endswith(f".{part}.inter")]
            for part in ("train", "valid", "test")
        },
    )
    with files[0].open("rb") as file:
        typed = b":token" in file.readline(10_000)
    if not split and len(files) > 1:
        raise RawError(
            f"{folder} has {len(files)} .inter files: {', '.join(f.name for f in files[:8])}; "
            "--interactions FILE names one"
        )
    items = sorted(folder.glob("*.item"))
    return Found(
        "recbole" if typed else "mmrec",
        split or {None: files[0]},
        items=items[0] if len(items) == 1 else None,
        features={} if typed else _features(folder),
    )


def _movielens(folder):
    for rows, items in (
        ("ratings.csv", "movies.csv"),
        ("ratings.dat", "movies.dat"),
        ("u.data", "u.item"),
    ):
        if (folder / rows).is_file():
            path = folder / items
            return Found("movielens", {None: folder / rows}, path if path.is_file() else None)
    return None


LOOKS = {
    "mmssl": _mmssl,
    "diffmm": _diffmm,
    "lightgcn": _lightgcn,
    "recbole": _atomic,
    "mmrec": _atomic,
    "movielens": _movielens,
}


def is_lists(path: Path) -> bool:
    """Whether a file holds a user's items together: MMSSL's .json, or a matrix in .npz."""
    return path.suffix.lower() in (".json", ".npz")


def frame_of(path: Path) -> pd.DataFrame:
    """The rows of such a file: columns user and item, as texts. RawError where it is none."""
    users, items = (_matrix if path.suffix.lower() == ".npz" else _lists)(path)
    return pd.DataFrame({"user": users, "item": items}, dtype=object)


def _lists(path):
    try:
        lists = json.loads(path.read_text(encoding="utf-8"))
        rows = [(str(user), str(item)) for user, items in lists.items() for item in items]
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise RawError(
            f"{path} is no JSON object of a list of items for each user, {{user: [item, ...]}}: "
            f"{error}"
        ) from error
    return [user for user, _ in rows], [item for _, item in rows]


def _matrix(path):
    import scipy.sparse as sp

    try:
        matrix = sp.load_npz(path).tocoo()
    except Exception as error:  # numpy's, zipfile's and scipy's, of all kinds
        raise RawError(
            f"{path} is no sparse matrix users x items as scipy.sparse.save_npz writes it: {error}"
        ) from error
    there = matrix.data != 0
    return matrix.row[there].astype(np.str_), matrix.col[there].astype(np.str_)


def part_name(label: int | None) -> str:
    """train, validation or test."""
    return "interactions" if label is None else NAMES[label]
