"""A run's id: a digest of everything that decides its numbers.

The same work has the same place, which makes the run folders the ledger of a grid. What decides:
what the model's code means, the data, every configuration key but the bookkeeping ones.
"""

import hashlib
import json
import os
from pathlib import Path

import torch

from ld4mrec import checksums, files
from ld4mrec.config.configuration import Config
from ld4mrec.config.schema import PATH_KEYS
from ld4mrec.data.features import ID_MAPS, data_folder, feature_paths, modality_files
from ld4mrec.data.interactions import inter_path

# Raised when a change of the host moves results; the CHANGELOG says so. Part of every run's id.
RESULTS_VERSION = 3
BOOKKEEPING = {
    *PATH_KEYS,
    *("use_gpu", "gpu_id", "checkpoint_seconds", "keep_last", "save_recommended_topk"),
    *("tensorboard", "how_to_get", "hyper_parameters", "valid_metric_bigger"),
}


def data_fingerprint(config: Config) -> dict[str, str]:
    """{path in the data folder: SHA-256} of the interactions and of the feature files that the
    configuration names; for a third party's model of all files there.
    """
    folder = data_folder(config)  # names are paths in it: two modalities may have files of one name
    paths = [inter_path(config), *(feature_paths(config) if config["is_multimodal_model"] else ())]
    if not config.ours:  # a plugin may read whatever lies there; .pt files are not shown to it
        paths += [path for path in sorted(folder.iterdir()) if path.suffix != ".pt"]
    names = {os.path.relpath(path, folder): path for path in paths if Path(path).is_file()}
    return {name: files.known_sha256(path) for name, path in names.items()}


def id_maps(config: Config) -> dict[str, str]:
    """{path in the data folder: SHA-256} of the maps of original ids that are there. They decide no
    number, but what a run recommends.
    """
    paths = {name: data_folder(config) / name for name in ID_MAPS.values()}
    return {name: files.known_sha256(path) for name, path in paths.items() if path.is_file()}


def changed_since_made(config: Config) -> list[str]:
    """Names of the files that a run reads and that are not what the data folder's manifest.json
    says that preprocessing wrote; [] where preprocessing did not make the folder.
    """
    content = b""
    try:
        content = (data_folder(config) / "manifest.json").read_bytes()
        outputs = checksums.unsealed(content)["outputs"]
        written = {name: facts["sha256"] for name, facts in outputs.items()}
    except ValueError:  # damaged, so that of the others nothing is known
        return ["manifest.json"] if checksums.SEAL.encode() in content else []
    except (OSError, LookupError, TypeError, AttributeError):
        return []
    now = data_fingerprint(config) | id_maps(config)
    return [name for name, digest in now.items() if written.get(name, digest) != digest]


def run_identity(config: Config, data: dict[str, str], code: dict[str, str]) -> dict:
    """What decides a run's numbers, in plain values.

    data: see `data_fingerprint`. code: {definition: digest} of the model's.
    """
    keys = {k: plain_value(v) for k, v in config.final_config_dict.items() if k not in BOOKKEEPING}
    for key in ("learner", "valid_metric", "metrics"):  # read in any case
        keys[key] = str(keys[key]).lower()
    if not (config["patience_steps"] and config["req_training"]):
        del keys["patience_steps"]  # evaluations alone end the training, as in earlier versions
    present = [m for m, path in modality_files(config).items() if Path(path).is_file()]
    decides = {"code": code, "data": data, "modalities": present, "config": keys}
    return {"results_version": RESULTS_VERSION, "mg": config.mg} | decides


def run_id(identity: dict) -> str:
    """Short name of a run's folder: the seed, for the eye, and a digest of the identity."""
    text = json.dumps(identity, sort_keys=True)
    return f"s{identity['config']['seed']}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def plain_value(value: object) -> object:
    """A configuration value as JSON and yaml can hold it."""
    if isinstance(value, torch.device):
        return value.type
    if isinstance(value, dict):
        return {str(k): plain_value(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
