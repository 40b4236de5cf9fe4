"""Finished runs without their weights, small enough for a repository: a ledger to go on from."""

from pathlib import Path

import numpy as np

from ld4mrec import checksums, files
from ld4mrec.comparison.ledger import Row, per_user
from ld4mrec.errors import RunError
from ld4mrec.runs.run import Run

OF_THIS_MACHINE = "command"  # of a manifest: it names the machine's folders
MEASURED = ("inference.json", "bound.json")


def archive(rows: list[Row], folder: str | Path) -> int:
    """Copy what reports read of each finished run to folder/<data set>/<model>/<id>/; the number of
    runs that were new.

    Kept: manifest.json without the command, per_user.npz (compressed, every metric as it was), what
    experiments measured on the model, and result.json, which is written last. `--ledger` reads such
    a folder. RunError if it cannot be written.
    """
    try:
        return sum(_keep(run, Path(folder)) for row in rows for run in row.done)
    except OSError as error:
        raise RunError(f"--archive {folder} cannot be written: {error}") from error


def _keep(run: Run, folder: Path) -> bool:
    """Whether the run was new."""
    place = folder / run.result["dataset"] / run.result["model"] / run.id
    for name in MEASURED:  # also later than the rest
        if measured := run.folder.read_json(name):
            checksums.write_json(place / name, measured)
    if (place / "result.json").is_file():
        return False
    manifest = run.folder.read_json("manifest.json")
    manifest.pop(OF_THIS_MACHINE, None)
    checksums.write_json(place / "manifest.json", manifest)
    with files.replacing(place / "per_user.npz") as file:
        np.savez_compressed(file, **per_user(run))
    listed = checksums.of_files(place, ("manifest.json", "per_user.npz"))
    checksums.write_json(place / "result.json", run.result | {"files": listed})
    return True
