"""The files of a data folder, which appears when it is complete."""

import errno
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from utils.errors import DataError
from utils.files import sha256, write_json

MANIFEST = "manifest.json"
GENERATORS = "preprocessing/"  # a manifest's generator begins so: --force may replace the folder


class OutputError(DataError):
    """The folder to make: it is occupied, or cannot be written."""


def check_free(out, force):
    """OutputError if `out` must not be made or replaced; says whether it is occupied."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; --out must name the folder to make")
    if not out.is_dir() or not any(out.iterdir()):
        return False
    if not force:
        raise OutputError(
            f"{out} is there already; choose another folder, or replace it with --force (what was "
            "encoded before is reused)"
        )
    if not made_here(out):
        raise OutputError(
            f"{out} was not made by preprocessing (it has no {MANIFEST} of it), so --force leaves "
            "it alone; choose another folder or remove it yourself"
        )
    return True


def disk_is_full(error):
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def made_here(folder):
    """Whether a folder holds a data set that one of our commands made."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return manifest["generator"].startswith(GENERATORS)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


@contextmanager
def staged(out, force=False):
    """Yield a new folder beside `out` that takes its place when the block ends without an error.

    Whatever goes wrong, `out` is as it was, and nothing of the new folder stays.
    """
    out = Path(os.path.abspath(out))  # a link keeps its own name
    occupied = check_free(out, force)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent))
    except OSError as error:
        raise OutputError(f"{out} cannot be made: {error}") from error
    try:
        new, old = work / "new", work / "old"
        new.mkdir()
        yield new
        if occupied:
            os.replace(out, old)  # until the next line there is no `out`: folders cannot be swapped
        try:
            os.replace(new, out)
        except OSError:
            if occupied:
                os.replace(old, out)
            raise
    except OSError as error:
        if disk_is_full(error):
            raise OutputError(
                f"the disk that holds {out.parent} is full; nothing was left there. --dry-run "
                "tells how much is needed"
            ) from error
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_interactions(folder, name, interactions, labels):
    """`<name>.inter` and the two mappings, TAB-separated; rows by user, time and item.

    interactions: renumbered, so codes are the ids to write. labels: (N,) 0, 1 or 2.
    """
    order = np.lexsort((interactions.items, interactions.times, interactions.users))
    columns = {
        "userID": interactions.users[order],
        "itemID": interactions.items[order],
        "x_label": labels[order],
        "timestamp": interactions.times[order],
    }
    write_table(folder / f"{name}.inter", columns)
    for file, original, column, ids in (
        ("u_id_mapping.csv", "user_id", "userID", interactions.user_ids),
        ("i_id_mapping.csv", "item_id", "itemID", interactions.item_ids),
    ):
        write_table(folder / file, {original: ids.texts(), column: range(len(ids))})


def write_table(path, columns):
    """A TAB-separated file with a header, LF at line ends."""
    pd.DataFrame(columns).to_csv(path, sep="\t", index=False, lineterminator="\n")


def write_manifest(folder, manifest):
    """manifest.json: what is given, and sizes and checksums of the folder's files."""
    outputs = {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": sha256(path),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    write_json(folder / MANIFEST, manifest | {"outputs": outputs})


def inter_bytes(interactions):
    """Rough size of the text files, for --dry-run."""
    users, items, n = interactions.counts()
    return 32 * n + 72 * users + 24 * items
