"""How an experiment's report was made: for its last section."""

import sys
from pathlib import Path

from ld4mrec.config.configuration import Config, of_the_host
from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.places import CONFIGS, from_yaml
from ld4mrec.runs.folder import environment
from ld4mrec.runs.identity import data_fingerprint


def host_config(dataset, keys):
    """The configuration of a data set without a model's own keys."""
    return Config("Pop", dataset, of_the_host(keys)).points(grid=False)[0]


def folder_of(keys, key):
    """data_path, runs_dir or cache_dir as the runs have it, absolute; None if it is null."""
    if key not in keys:
        return str(from_yaml(read_yaml(CONFIGS / "overall.yaml")[key]))
    value = keys[key]
    return None if value is None else str((Path.cwd() / Path(value).expanduser()).resolve())


def colophon(setup, rows=(), data=True):
    """{label: values}: command, seeds, runs, versions, commit, machine, fingerprints of the data.

    data: False where the experiment has no data set of its own.
    """
    config = host_config(setup.dataset, setup.keys) if data else None
    found = environment(config or {"device": _Cpu})
    versions = [f"{name} {version}" for name, version in found["packages"].items()]
    made = {"command": (" ".join(sys.argv),), "seeds": (", ".join(map(str, setup.seeds)),)}
    ids = [f"{row.dataset}/{row.entry.model}/{one.folder.id}" for row in rows for one in row.done]
    if ids:
        made["runs"] = tuple(dict.fromkeys(ids))
    made |= {
        "versions": (f"Python {found['python']}", *versions),
        "commit": (found["git_commit"] or "not a git checkout",),
        "machine": (found["platform"], f"{found['device']}"),
    }
    if data:
        named = data_fingerprint(config).items()
        made["data"] = tuple(f"{name}: SHA-256 {digest}" for name, digest in named)
    return made


class _Cpu:
    type = "cpu"
