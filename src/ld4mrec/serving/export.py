"""What a serving system needs of a finished run, in files that load without this code."""

import inspect
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from common.graph import HistoryRows
from common.servable import ExportParts
from ld4mrec.errors import DataError
from ld4mrec.files import sha256, staged, write_json
from ld4mrec.runs.folder import PACKAGES
from ld4mrec.serving.offers import export_parts
from ld4mrec.serving.trained import Trained

FORMAT = 1  # of the manifest
# Lines that make what `ExportParts` promises its own lines, and how a network takes histories.
MAKE_ROWS = "rows = sp.load_npz('histories.npz')[users]"
MAKE_BAGS = "bags = [torch.from_numpy(x.astype('int64')) for x in (rows.indices, rows.indptr[:-1])]"
BAGS = (
    "int64: the users' item numbers in a row, ascending for each; and where each user's begin, as "
    "indices and indptr[:-1] of a CSR matrix"
)
ENTRIES, USERS = ({0: torch.export.Dim(name)} for name in ("entries", "users"))


def write_export(trained: Trained, folder: str | Path, mask: str) -> dict:
    """Write the folder, whole or not at all, and return its manifest. trained: on the CPU. mask:
    see `Trained.known`. RunError for a model that cannot be exported, DataError for a folder that
    is there already or cannot be written.
    """
    parts = export_parts(trained)
    out = Path(os.path.abspath(folder))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is there already; name another folder or remove it yourself")
    try:
        with staged(folder) as new:
            _write(new, trained, parts, mask)
            return json.loads((new / "manifest.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror or error}") from error


def _write(folder, trained, parts, mask):
    run, shape, tables = trained.run, trained.train.shape, parts.get("tables", {})
    two = torch.from_numpy(np.flatnonzero(np.diff(trained.train.indptr))[:2])  # with history
    files = {"histories.npz": trained.train, "known.npz": trained.known(mask)} | parts["files"]
    for name, content in files.items():
        if name.endswith(".npy"):
            np.save(folder / name, np.asarray(content), allow_pickle=False)
        elif name.endswith(".npz"):
            sp.save_npz(folder / name, content)
        else:
            rows = (files[table][two].clone() for table in tables.get(name, ()))
            write_network(folder / name, content, (*HistoryRows(trained.train).bags(two), *rows))
    for ids in (trained.users, trained.items):
        table = pd.DataFrame({"number": np.arange(ids.n), "id": ids.all()})
        table.to_csv(folder / f"{ids.kind}s.csv", index=False, lineterminator="\n")
    holds = {
        "histories.npz": "CSR (users, items): the training items",
        "known.npz": f"CSR (users, items): what is not to be recommended, mask {mask}",
        "users.csv": "number, id: row of the arrays, original id",
        "items.csv": "number, id: column of the scores, original id",
    }
    for name in parts["files"]:
        rows = "; rows of the tables" if tables.get(name) else ""
        takes = f"torch.export: ({BAGS}{rows}) to " if name.endswith(".pt2") else ""
        holds[name] = takes + parts["holds"][name]
    files_of = {}
    for name, text in holds.items():
        size, digest = (folder / name).stat().st_size, sha256(folder / name)
        files_of[name] = {"holds": text, "bytes": size, "sha256": digest}
    manifest = {
        "format": FORMAT,
        "run": run.folder.id,
        "model": trained.name,
        "dataset": run.config["dataset"],
        "users": shape[0],
        "items": shape[1],
        "data": run.folder.identity["data"],
        "configuration": run.folder.identity["config"],
        "test": run.result["test"],
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        **score_lines(parts),
        "rank": "highest scores first, of equals the lowest number; leave out what known.npz has",
        "files": files_of,
    }
    write_json(folder / "manifest.json", manifest)


def score_lines(parts: ExportParts) -> dict[str, list[str] | None]:
    """The whole programs `score` and `new_users` of a manifest; None for what the model lacks."""
    load = f"import {parts['imports']}"
    score, new_users = parts.get("score"), parts.get("new_users")
    make_bags = [MAKE_BAGS] if any(name.endswith(".pt2") for name in parts["files"]) else []
    make_rows = [MAKE_ROWS] if make_bags or not score else []
    return {
        "score": [load, *make_rows, *make_bags, *(score or new_users)],
        "new_users": new_users and [load, *make_bags, *new_users],
    }


def write_network(path: Path, module: nn.Module, example: tuple[Tensor, ...]) -> None:
    """An exported network with its weights; nothing of where its code lay.

    example: what it takes: items (N,), begin (B,) and tensors (B, ...). Any N and B will do then.
    """
    module = module.eval().requires_grad_(False)
    _, _, *tables = inspect.signature(module.forward).bind(*example).arguments.values()
    dims = [tuple(USERS for _ in x) if isinstance(x, tuple) else USERS for x in tables]
    dims = (ENTRIES, USERS, *dims)
    # strict: the models' len(x) of a batch would be traced as the example's number otherwise
    program = torch.export.export(module, example, dynamic_shapes=dims, strict=True)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    torch.export.save(program, path)
