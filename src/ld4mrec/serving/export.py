"""What a serving system needs of a finished run, in files that load without this code."""

import json
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import nn

from common.denoiser import ReverseChain, reverse_steps
from common.dot_product import DotProductRecommender
from common.signals import GivenRows
from ld4mrec.errors import DataError, RunError
from ld4mrec.files import sha256, staged, write_json
from ld4mrec.runs.folder import PACKAGES
from ld4mrec.serving.new_users import FoldIn, Network, check_noiseless, step_embeddings

FORMAT = 1  # of the manifest
BAGS = (
    "int64: the users' item numbers in a row, ascending for each; and where each user's begin, as "
    "indices and indptr[:-1] of a CSR matrix"
)
LOAD_BAGS = "bags = [torch.from_numpy(x.astype('int64')) for x in (rows.indices, rows.indptr[:-1])]"


@dataclass
class Export:
    """arrays: {file .npy: array}. matrices: {file .npz: CSR}. networks: {file .pt2: (module, its
    example inputs, their dynamic dimensions)}. score: lines of Python that turn `users`, an array
    of integer ids, into `scores` (users, items), in the export's folder. new_users: the same for
    `rows`, histories as CSR, or None. holds: {file: what}.
    """

    score: list
    holds: dict
    new_users: list | None = None
    arrays: dict = field(default_factory=dict)
    matrices: dict = field(default_factory=dict)
    networks: dict = field(default_factory=dict)


def write_export(trained, folder, mask):
    """Write the folder: whole or not at all. trained: on the CPU. mask: see `Trained.known`.

    Returns its manifest. Raises RunError for a model that cannot be exported, DataError if the
    folder is there already or cannot be written.
    """
    what = parts_of(trained)
    out = Path(os.path.abspath(folder))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is there already; name another folder or remove it yourself")
    try:
        with staged(folder) as new:
            _write(new, trained, what, mask)
            return json.loads((new / "manifest.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror or error}") from error


def parts_of(trained):
    """The Export of a model; RunError with the reason if it has none."""
    if isinstance(trained.model, DotProductRecommender):
        return _vectors(trained)
    if trained.name not in EXPORTS:
        known = ", ".join(EXPORTS)
        raise RunError(
            f"{trained.name} cannot be exported: its scores are no product of vectors, and only "
            f"{known} have exports of their own"
        )
    return EXPORTS[trained.name](trained)


def _vectors(trained):
    users, items = trained.model.vectors()
    return Export(
        score=[
            "import numpy as np",
            "u, v = np.load('user_vectors.npy', mmap_mode='r'), np.load('item_vectors.npy')",
            "scores = u[users] @ v.T",
        ],
        holds={"user_vectors.npy": "(users, D)", "item_vectors.npy": "(items, D)"},
        arrays={"user_vectors.npy": users.numpy(), "item_vectors.npy": items.numpy()},
    )


def _pop(trained):
    lines = ["import numpy as np", "counts = np.load('item_scores.npy')"]
    return Export(
        score=[*lines, "scores = np.tile(counts, (len(users), 1))"],
        new_users=[*lines, "scores = np.tile(counts, (rows.shape[0], 1))"],
        holds={"item_scores.npy": "(items,), the same for everybody"},
        arrays={"item_scores.npy": trained.model.counts.numpy()},
    )


def _ease(trained):
    load = ["import numpy as np, scipy.sparse as sp"]
    multiply = "scores = rows @ np.load('item_weights.npy')"
    return Export(
        score=[*load, "rows = sp.load_npz('histories.npz')[users]", multiply],
        new_users=[*load, multiply],
        holds={"item_weights.npy": "(items, items): row j is what item j gives to the others"},
        arrays={"item_weights.npy": trained.model.weights.numpy()},
    )


def _itemknn(trained):
    model = trained.model
    gains = (model.gain.numpy(), model.item.numpy(), model.start.numpy())
    n = trained.train.shape[1]
    multiply = "scores = (rows @ sp.load_npz('item_weights.npz')).toarray()"
    return Export(
        score=[
            "import scipy.sparse as sp",
            "rows = sp.load_npz('histories.npz')[users]",
            multiply,
        ],
        new_users=["import scipy.sparse as sp", multiply],
        holds={"item_weights.npz": "CSR (items, items): row j is what item j gives to the others"},
        matrices={"item_weights.npz": sp.csr_matrix(gains, shape=(n, n))},
    )


def _ld4mrec(trained):
    check_noiseless(trained)
    model, users = trained.model, torch.from_numpy(_examples(trained))
    inputs = {
        "step_embeddings.npy": step_embeddings(model),
        "collaborative.npy": model.collaborative,
    }
    for name in model.modalities:
        inputs[f"preference_{name}.npy"] = getattr(model, f"preference_{name}")
    bags = model.history.bags(users)
    one = {0: torch.export.Dim("users")}
    preferences = [tuple(one for _ in model.modalities)] if model.modalities else []
    dims = (*BAG_DIMS, one, one, *preferences)
    example = (*bags, *(table[users].clone() for table in inputs.values()))
    load = ["import numpy as np, scipy.sparse as sp, torch"]
    read = f"[torch.from_numpy(np.load(f, mmap_mode='r')[users]) for f in {list(inputs)}]"
    return Export(
        score=[
            *load,
            "rows = sp.load_npz('histories.npz')[users]",
            LOAD_BAGS,
            f"tables = {read}",
            "scores = torch.export.load('network.pt2').module()(*bags, *tables)",
        ],
        new_users=[
            *load,
            LOAD_BAGS,
            "scores = torch.export.load('new_users.pt2').module()(*bags)",
        ],
        holds={
            "network.pt2": f"torch.export: ({BAGS}; rows of the tables) to scores",
            "new_users.pt2": f"torch.export: ({BAGS}) to scores, folding in",
            "step_embeddings.npy": "(users, d_t)",
            "collaborative.npy": "(users, 2r)",
        }
        | {f"preference_{name}.npy": "(users, F)" for name in model.modalities},
        arrays={name: table.numpy() for name, table in inputs.items()},
        networks={
            "network.pt2": (Network(model.net), example, dims),
            "new_users.pt2": (FoldIn(model), bags, BAG_DIMS),
        },
    )


def _diffrec(trained):
    config = trained.run.config
    for key in ("sampling_steps", "sampling_noise"):
        if config[key]:
            raise RunError(
                f"the run has {key} = {config[key]}, which draws noise for each batch of users; "
                "exports need a run without"
            )
    users = torch.from_numpy(_examples(trained))
    call = "scores = torch.export.load('network.pt2').module()(*bags)"
    load = ["import scipy.sparse as sp, torch"]
    module = Denoising(trained.model)
    return Export(
        score=[*load, "rows = sp.load_npz('histories.npz')[users]", LOAD_BAGS, call],
        new_users=[*load, LOAD_BAGS, call],
        holds={"network.pt2": f"torch.export: ({BAGS}) to scores"},
        networks={"network.pt2": (module, trained.model.history.bags(users), BAG_DIMS)},
    )


class Denoising(nn.Module):
    """DiffRec's scores of histories: items (N,) and begin (B,) to (B, I), without noise."""

    def __init__(self, model):
        super().__init__()
        self.net = model.net
        self.steps = reverse_steps(model.diffusion, model.target)
        by_row = model.net.row_norm
        self.chain = None if by_row else ReverseChain(model.net, model.diffusion, model.target)

    @torch.no_grad()
    def forward(self, items, begin):
        history = GivenRows(items, begin, self.net.item_in.shape[0])
        if self.chain is not None:
            return self.chain.from_history(history, begin)
        x = history.dense(begin)
        for t in reversed(range(len(self.steps))):  # common.denoiser.p_sample, which export cannot
            a, b = self.steps[t]  # follow into its tables
            x = a * x + b * self.net(x, t)
        return x


BAG_DIMS = ({0: torch.export.Dim("entries")}, {0: torch.export.Dim("users")})
EXPORTS = {
    "LD4MRec": _ld4mrec,
    "DiffRec": _diffrec,
    "EASE": _ease,
    "ItemKNN": _itemknn,
    "Pop": _pop,
}


def _examples(trained):
    """Two users with history, for torch.export to trace."""
    return np.flatnonzero(np.diff(trained.train.indptr))[:2]


def _write(folder, trained, what, mask):
    run, shape = trained.run, trained.train.shape
    for name, array in what.arrays.items():
        np.save(folder / name, array, allow_pickle=False)
    histories, known = trained.train, trained.known(mask)
    matrices = {"histories.npz": histories, "known.npz": known} | what.matrices
    for name, matrix in matrices.items():
        sp.save_npz(folder / name, matrix)
    for name, (module, example, dims) in what.networks.items():
        write_network(folder / name, module, example, dims)
    for ids in (trained.users, trained.items):
        table = pd.DataFrame({"number": np.arange(ids.n), "id": ids.all()})
        table.to_csv(folder / f"{ids.kind}s.csv", index=False, lineterminator="\n")
    holds = {
        "histories.npz": "CSR (users, items): the training items",
        "known.npz": f"CSR (users, items): what is not to be recommended, mask {mask}",
        "users.csv": "number, id: row of the arrays, original id",
        "items.csv": "number, id: column of the scores, original id",
    } | what.holds
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
        "versions": {"python": platform.python_version()} | _versions(),
        "score": what.score,
        "new_users": what.new_users,
        "rank": "highest scores first, of equals the lowest number; leave out what known.npz has",
        "files": {name: _described(folder / name, text) for name, text in holds.items()},
    }
    write_json(folder / "manifest.json", manifest)


def write_network(path, module, example, dims):
    """An exported network with its weights; nothing of where its code lay."""
    module = module.eval().requires_grad_(False)
    # strict: the models' len(x) of a batch would be traced as the example's number otherwise
    program = torch.export.export(module, tuple(example), dynamic_shapes=dims, strict=True)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    torch.export.save(program, path)


def _versions():
    from importlib.metadata import version

    return {name: version(name) for name in PACKAGES}


def _described(path, holds):
    return {"holds": holds, "bytes": path.stat().st_size, "sha256": sha256(path)}
