"""Encoders by name: those of packages (OFFLINE in base.py), `file:PATH`, hub ids and local folders.

Loading brings in the libraries that an encoder needs, and no others.
"""

import functools
from pathlib import Path

from ld4mrec.preprocessing.steps.encoders import hub, offline
from ld4mrec.preprocessing.steps.encoders.base import (
    FILE,
    OFFLINE,
    Encoder,
    EncoderError,
    need_packages,
    offline_names,
)
from ld4mrec.preprocessing.steps.encoders.own_vectors import OwnVectors


def load_encoder(name: str, modality: str, device: str = "auto") -> Encoder | OwnVectors:
    """The encoder called `name` for "text" or "image", ready to use.

    device: "auto" (a GPU if torch finds one), "cpu", "cuda", "cuda:1", "mps". EncoderError says
    what to install or which path to give.
    """
    check_encoder(name, modality)
    if name.startswith(FILE):
        return _own_vectors(name)
    if name in OFFLINE:
        return offline.LOADERS[name](device)
    return hub.load(name, modality, device)


def check_encoder(name: str, modality: str) -> None:
    """Raise EncoderError if it can be seen without loading that `load_encoder` would fail."""
    if name.startswith(FILE):
        path = Path(name.removeprefix(FILE)).expanduser()
        if not path.is_file():
            raise EncoderError(
                f"{name}: {path} is not a file; wanted vectors keyed by original item id, a .npz "
                "with `ids` and `vectors`, or a .csv or .tsv"
            )
        _own_vectors(name)
        return
    facts = OFFLINE.get(name)
    if facts is None:
        hub.check(name, modality)
        return
    if facts.modality != modality:
        raise EncoderError(
            f"{name} encodes {facts.modality}, not {modality}; --{modality}-encoder takes "
            f"{', '.join(offline_names(modality))}, a hub id, a folder, or {FILE}PATH"
        )
    need_packages(name, facts.modules, facts.extra)


def _own_vectors(name):
    """The vectors of `file:PATH`, read once as long as the file keeps its size and time."""
    path = Path(name.removeprefix(FILE)).expanduser()
    stat = path.stat()
    return _read_once(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=2)
def _read_once(path, *stamp):
    return OwnVectors(path)
