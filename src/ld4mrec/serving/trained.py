"""A finished run, opened to recommend from it: model, interactions and original ids."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

from common.graph import binary_csr
from ld4mrec import checksums
from ld4mrec.config.configuration import Config
from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.data.features import data_folder
from ld4mrec.errors import ConfigError, DataError, RunError
from ld4mrec.plugins import sources
from ld4mrec.runs import reopen
from ld4mrec.runs.folder import RunFolder
from ld4mrec.runs.identity import RESULTS_VERSION, data_fingerprint, id_maps
from ld4mrec.runs.model_code import code_fingerprint
from ld4mrec.runs.run import Run
from ld4mrec.serving.choices import FREE, MASKS
from ld4mrec.serving.ids import Ids
from ld4mrec.terminal import quiet
from ld4mrec.training import randomness

LISTED = 5  # runs that a message names


@dataclass
class Trained:
    """run: the finished Run. model: with its best weights, in eval mode. splits: the interactions
    of training, validation and test, binary CSR (U, I). users, items: their original Ids.
    """

    run: Run
    model: torch.nn.Module
    splits: list[sp.csr_matrix]
    users: Ids
    items: Ids

    @property
    def name(self) -> str:
        """Class name of the model."""
        return self.run.config["model"]

    @property
    def train(self) -> sp.csr_matrix:
        """The training items."""
        return self.splits[0]

    def known(self, mask: str) -> sp.csr_matrix:
        """Items that are not recommended, binary CSR (U, I); mask: one of MASKS."""
        if mask not in MASKS:
            raise RunError(f"mask is {mask!r}; wanted one of {', '.join(MASKS)}")
        return binary_csr(sum(self.splits[: MASKS[mask]], sp.csr_matrix(self.train.shape)))


def find_run(name: str | Path) -> Path:
    """Folder of the finished run that a path means: a run folder, a folder with one finished run
    in it, or the beginning of such a path. Raises RunError if there is none, or more than one.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        places = [path]
    else:
        there = path.parent.iterdir() if path.parent.is_dir() else ()
        places = sorted(place for place in there if place.name.startswith(path.name))
    inside = [inner for place in places if place.is_dir() for inner in sorted(place.iterdir())]
    found = [place for place in (*places, *inside) if (place / "result.json").is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(place.name for place in found[:LISTED])
        more = ", ..." * (len(found) > LISTED)
        raise RunError(
            f"{name} means {len(found)} finished runs: {listed}{more}; name one of their folders"
        )
    started = [place for place in places if (place / "manifest.json").is_file()]
    if started:
        raise RunError(
            f"the run in {started[0]} is not finished (no result.json); main.py --resume goes on"
        )
    raise RunError(
        f"there is no finished run at {name}; wanted a run's folder, such as "
        "runs/<data set>/<model>/<id>/, which holds its result.json"
    )


def open_run(path: str | Path, overrides: dict | None = None) -> Trained:
    """Trained of a finished run's folder; overrides: {key: value} of FREE keys. Sets threads and
    seeds as the run did. RunError or DataError where its data, weights or model are not what they
    were.
    """
    path = Path(path)
    here = [name for name in ("result.json", "config.yaml", "best.pt") if (path / name).is_file()]
    if here == ["result.json"]:
        raise RunError(
            f"{path} holds a result without weights, as in an archive: recommend with the folder "
            "that the run was trained in (runs/ by default), or train it again"
        )
    mend = "train the run again"
    try:
        manifest = checksums.read_json(path / "manifest.json", mend)
        identity = manifest["identity"]
        folder = RunFolder(path, identity)
        folder.check("manifest.json")
        folder.check("config.yaml")
        saved = read_yaml(path / "config.yaml")
        code, data = identity["code"], identity["data"]
        saved = {key: saved[key] for key in ("model", "dataset")} | saved  # an absent file is {}
    except RunError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunError(
            f"manifest.json or config.yaml of {path} is absent or damaged ({error!r}); {mend}"
        ) from error
    if any(name.startswith("plugin/") for name in code):
        raise RunError(
            f"{path} is a run of a model file of a third party; recommendations are made with the "
            f"models in src/models: {', '.join(sources.model_names())}"
        )
    config = configuration(path, saved, overrides or {})
    check_same_data(path, config, data | (manifest.get("id_maps") or {}))
    randomness.set_threads(config["threads"] or None)
    if config["device"].type == "cuda":
        torch.cuda.set_device(config["gpu_id"])
    run = Run(config, folder).as_found()
    with quiet():
        opened = reopen.load(run)
    model, shape = opened.model, (opened.model.n_users, opened.model.n_items)
    splits = [
        binary_csr(sp.coo_matrix((np.ones(len(loader.users)), (loader.users, loader.items)), shape))
        for loader in opened.loaders
    ]
    users, items = map(Ids.read, (config, config), ("user", "item"), shape)
    return Trained(run, model, splits, users, items)


def configuration(path: Path, saved: dict, overrides: Mapping) -> Config:
    """The run's Config from `saved`, its config.yaml; FREE keys as overrides say, cache and GPU by
    default today's, as those of the run's machine may not be here.
    """
    free = {key: saved[key] for key in FREE if key in saved and key != "gpu_id"}
    if free.get("cache_dir") is not None:
        del free["cache_dir"]  # it was made where the run was; null stays null
    free |= overrides
    if not isinstance(free.get("data_path"), str) or not free["data_path"].strip():
        raise ConfigError(
            f"--data_path is {free.get('data_path')!r}; wanted the folder that holds the data set's"
        )
    folder = Path(f"{free['data_path'].rstrip('/')}/{saved['dataset']}")
    if not folder.is_dir():
        raise DataError(
            f"there is no data folder {folder}, on which {path.name} was trained; "
            "--data_path=FOLDER/ names the folder that now holds it"
        )
    now = Config(saved["model"], saved["dataset"], free).points(grid=False)[0]
    not_saved = {*FREE, "runs_dir", "run_dir", "device"}
    return now.replace({key: value for key, value in saved.items() if key not in not_saved})


def check_same_data(path: Path, config: Config, trained_on: Mapping[str, str]) -> None:
    """DataError unless files of the data are those that a run had. path: the run's folder;
    trained_on: {file: SHA-256} of interactions, features, maps of original ids.
    """
    now = data_fingerprint(config) | id_maps(config)
    for name, digest in trained_on.items():
        if now.get(name) == digest:
            continue
        state = f"has another content (SHA-256 {now[name][:12]}..." if name in now else "is gone ("
        raise DataError(
            f"{data_folder(config) / name} {state}; {path.name} was trained on {digest[:12]}...): "
            "give --data_path=FOLDER/ where the run's data lies, or train again"
        )


def changed_code(trained: Trained) -> list[str]:
    """What of the model's code, and of the host's version of results, differs from the run's."""
    then = trained.run.folder.identity
    now = code_fingerprint(sources.find_model(trained.name))
    names = sorted(set(now) | set(then["code"]))
    changed = [name for name in names if now.get(name) != then["code"].get(name)]
    if any(name.endswith(".py") for name in then["code"]):
        changed = ["the run kept digests of files, not of definitions"]
    version = then["results_version"]
    moved = f"the host's results: version {version} then, {RESULTS_VERSION} now"
    return changed + [moved] * (version != RESULTS_VERSION)
