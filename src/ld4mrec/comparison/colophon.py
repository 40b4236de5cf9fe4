"""How a report was made: for its last section."""

import sys

import torch

from ld4mrec.config.configuration import Config
from ld4mrec.runs.folder import environment


def colophon(
    config: Config | None, data: dict[str, str] | None, made_of: dict[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """{label: values}: command, what it was made of, versions, commit, machine, data.

    config: whose device the machine is described by, None: the CPU. data: {file: SHA-256}.
    made_of: such labels and values more.
    """
    found = environment(config or {"device": torch.device("cpu")})
    versions = [f"{name} {version}" for name, version in found["packages"].items()]
    made = {
        "command": (" ".join(sys.argv),),
        **made_of,
        "versions": (f"Python {found['python']}", *versions),
        "commit": (found["git_commit"] or "not a git checkout",),
        "machine": (found["platform"], f"{found['device']}"),
    }
    if data is not None:
        made["data"] = tuple(f"{name}: SHA-256 {digest}" for name, digest in data.items())
    return made
