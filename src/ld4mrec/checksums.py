"""Checksums of what we write: made when it is written, verified when it is read.

A JSON object of ours carries the SHA-256 of its content under "checksum". Other files are listed
with theirs in such an object beside them (a run's result.json). What was written before there were
checksums has none and is read without.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ld4mrec import files
from ld4mrec.errors import DamagedError

if TYPE_CHECKING:  # what only copies files starts without numpy
    import numpy as np

SEAL = "checksum"


def write_json(path: str | Path, value: dict) -> None:
    """Write a JSON object with its checksum, whole or not at all."""
    files.write_json(path, sealed(value))


def read_json(path: str | Path, mend: str) -> dict | None:
    """The object in a file of `write_json`, without its checksum; None where there is no file.

    mend: what to do about damage, a part of a sentence. Raises DamagedError for what is no JSON
    object, or not the one that was written.
    """
    path = Path(path)
    if not path.is_file():
        return None
    try:
        return unsealed(path.read_bytes())
    except ValueError as error:
        raise DamagedError(f"{path} is damaged ({error}); {mend}") from error


def sealed(value: dict) -> dict:
    """A JSON object with its checksum."""
    return value | {SEAL: _digest_of(json.loads(json.dumps(value)))}


def unsealed(text: bytes | str) -> dict:
    """The object in a JSON text, without its checksum; ValueError for anything else, or if it is
    not the one that was sealed.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}, wanted an object")
    if SEAL in value and value.pop(SEAL) != _digest_of(value):
        raise ValueError("its content is not what was written")
    return value


def _digest_of(value: dict) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def of_files(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """{name: SHA-256} of those of the files that are there."""
    return {name: files.sha256(folder / name) for name in names if (folder / name).is_file()}


def of_arrays(arrays: "Iterable[np.ndarray]") -> str:
    """SHA-256 of arrays: of types, shapes and values, in their order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
