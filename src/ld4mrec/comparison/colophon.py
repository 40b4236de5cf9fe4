"""How a report was made: for its last section."""

import sys

import torch

from ld4mrec.config.configuration import Config
from ld4mrec.runs.folder import environment

Colophon = dict[str, tuple[str, ...]]  # {label: values}


def colophon(config: Config | None, data: dict[str, str], made_of: Colophon) -> Colophon:
    """Command, what it was made of, versions, commit, machine, data.

    config: whose device the machine is described by, None: the CPU. data: {file: SHA-256}.
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
    if data:
        made["data"] = tuple(f"{name}: SHA-256 {digest}" for name, digest in data.items())
    return made
