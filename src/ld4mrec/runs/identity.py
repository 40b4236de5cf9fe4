"""A run's id: a digest of everything that decides its numbers.

The same work has the same place, which makes the run folders the ledger of a grid. What decides:
what the model's code means, the data, every configuration key but the bookkeeping ones.
"""

import hashlib
import json
import os
from pathlib import Path

import torch

from ld4mrec import files
from ld4mrec.config.configuration import Config
from ld4mrec.config.schema import PATH_KEYS
from ld4mrec.data.features import data_folder, feature_paths, modality_files
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
