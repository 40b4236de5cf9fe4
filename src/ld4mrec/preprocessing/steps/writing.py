"""The files of a data folder, which appears when it is complete."""

import csv
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from ld4mrec import checksums, files
from ld4mrec.errors import DISK_IS_FULL, DataError
from ld4mrec.preprocessing.steps.interactions import Interactions

MANIFEST = "manifest.json"
GENERATORS = "preprocessing/"  # a manifest's generator begins so: --force may replace the folder


class OutputError(DataError):
    """The folder to make: it is occupied, or cannot be written."""


def check_free(out: Path, force: bool) -> bool:
    """OutputError if `out` must not be made or replaced; says whether it is occupied. Removes what
    killed processes left of making it.
    """
    files.tidy(out)
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; --out must name the folder to make")
    if not out.is_dir() or not any(out.iterdir()):
        return False
    if not force:
        raise OutputError(
            f"{out} is there already; choose another folder, or replace it with --force"
        )
    if manifest_of(out) is None:
        raise OutputError(
            f"{out} was not made by preprocessing (it has no {MANIFEST} of it), so --force leaves "
            "it alone; choose another folder or remove it yourself"
        )
    return True


def manifest_of(folder: Path) -> dict | None:
    """The manifest of a folder that one of our commands made, else None."""
    try:
        manifest = checksums.unsealed((folder / MANIFEST).read_bytes())
        return manifest if manifest["generator"].startswith(GENERATORS) else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def unchanged(folder: Path, asked: dict) -> dict | None:
    """The manifest of a folder that holds what is asked for, as it was made, else None.

    asked: values that the manifest must have.
    """
    manifest = manifest_of(folder)
    if manifest is None or any(manifest.get(key) != value for key, value in asked.items()):
        return None
    for name, facts in manifest.get("outputs", {}).items():
        path = folder / name
        if not path.is_file() or files.sha256(path) != facts["sha256"]:
            return None
    return manifest


@contextmanager
def staged(out: str | Path, force: bool = False) -> Iterator[Path]:
    """files.staged for a data folder; OutputError where `out` must not or cannot be made."""
    out = Path(os.path.abspath(out))  # a link keeps its own name
    occupied = check_free(out, force)
    folder = None
    try:
        with files.staged(out, replace=occupied) as folder:
            yield folder
    except OSError as error:
        if folder is None:
            raise OutputError(f"{out} cannot be made: {error}") from error
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and not occupied:
            raise OutputError(
                f"{out} was made by another command meanwhile; nothing was changed"
            ) from error
        if error.errno in DISK_IS_FULL:
            raise OutputError(
                f"the disk that holds {out.parent} is full; nothing was left there. --dry-run "
                "tells how much is needed"
            ) from error
        raise


def write_interactions(
    folder: Path, name: str, interactions: Interactions, labels: np.ndarray, timed: bool = True
) -> None:
    """`<name>.inter` and the two mappings, TAB-separated; rows by user, time and item.

    interactions: renumbered, so codes are the ids to write. labels: (N,) 0, 1 or 2. timed: False
    where the source has no times: then the file has none either.
    """
    order = np.lexsort((interactions.items, interactions.times, interactions.users))
    columns = {
        "userID": interactions.users[order],
        "itemID": interactions.items[order],
        "x_label": labels[order],
        "timestamp": interactions.times[order],
    }
    if not timed:
        del columns["timestamp"]
    write_table(folder / f"{name}.inter", columns)
    for side, ids in (("user", interactions.user_ids), ("item", interactions.item_ids)):
        mapping = {f"{side}_id": ids.texts(), f"{side}ID": range(len(ids))}
        write_table(folder / f"{side[0]}_id_mapping.csv", mapping)


def write_table(path: Path, columns: dict) -> None:
    """A TAB-separated file with a header, LF at line ends."""
    frame = pd.DataFrame(columns)
    texts = [values for values in columns.values() if isinstance(values, list)]
    # the csv module leaves a CR without quotes, and then it reads as the end of a line
    odd = any("\r" in text for values in texts for text in values)
    quoting = csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL
    frame.to_csv(path, sep="\t", index=False, lineterminator="\n", quoting=quoting)


def write_manifest(folder: Path, manifest: dict) -> dict:
    """manifest.json: what is given, and sizes and checksums of the folder's files. Returns it."""
    outputs = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            facts = {"bytes": path.stat().st_size, "sha256": files.sha256(path)}
            outputs[path.relative_to(folder).as_posix()] = facts
    manifest = manifest | {"outputs": outputs}
    checksums.write_json(folder / MANIFEST, manifest)
    return manifest
