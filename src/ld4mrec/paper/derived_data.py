"""Data folders in the cache that an experiment makes of a data set: named by what they are made of,
written whole or not at all, and made anew where they are damaged.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from ld4mrec import checksums
from ld4mrec.config.configuration import Config
from ld4mrec.data.features import data_folder
from ld4mrec.data.interactions import RecDataset, inter_path
from ld4mrec.errors import ConfigError, DamagedError
from ld4mrec.files import link_or_copy, replacing, sha256, staged

logger = logging.getLogger(__name__)

# keys that say what the folder holds: its yaml has them, so the command line does not
DATA_KEYS = (
    *("modalities", "vision_feature_file", "text_feature_file", "USER_ID_FIELD", "ITEM_ID_FIELD"),
    *("inter_splitting_label", "field_separator", "inter_file_name", "user_graph_dict_file"),
)


def source_of(config: Config, experiment: str) -> Path:
    """The interactions of config's data set. ConfigError without a cache_dir, DataError where they
    are not.
    """
    if config["cache_dir"] is None:
        raise ConfigError(
            f"the {experiment} experiment writes its data sets into cache_dir, which is null; give "
            "--cache_dir=FOLDER"
        )
    source = inter_path(config)
    if not source.is_file():
        RecDataset(config)  # says what is not there
    return source


def derived_folder(
    config: Config,
    experiment: str,
    name: str,
    content: dict[str, Any],
    write: Callable[[Path], dict[str, Any]],
) -> Path:
    """<cache_dir>/<experiment>/<digest of content>/<name>, made where it is not there or damaged.

    content: all that decides what the folder holds. write: puts the files into a folder, of which
    `inter_name` is one, and returns facts for the manifest. A yaml with config's DATA_KEYS and the
    manifest are added here.
    """
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    folder = Path(config["cache_dir"]) / experiment / digest / name
    if not _is_whole(folder):
        _make(folder, config, content, write)
    return folder


def inter_name(folder: Path) -> str:
    """The name of a derived folder's interactions."""
    return f"{folder.name}.inter"


def link_files(config: Config, names: list[str], folder: Path) -> None:
    """Links in a folder to files of config's data folder, by their paths there."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy((data_folder(config) / name).resolve(), folder / name)


def _is_whole(folder):
    """Whether the folder has the interactions, and the features, that were written to it."""
    try:
        facts = checksums.read_json(folder / "manifest.json", "it is made anew")
        written = facts and {inter_name(folder): facts["inter_sha256"]}
        whole = facts is not None and all(
            sha256(folder / name) == digest
            for name, digest in (written | facts.get("features_sha256", {})).items()
        )
    except (DamagedError, OSError, LookupError):
        whole = False
    if not whole and folder.exists():
        logger.warning("%s is damaged: making it anew", folder)
    return whole


def _make(folder, config, content, write):
    """Make the folder, or leave it to another process that is faster."""
    try:
        with staged(folder, replace=True) as made:
            # `made` has a temporary name: files are named after the folder that it becomes
            facts = write(made)
            keys = {key: config[key] for key in DATA_KEYS} | {"inter_file_name": None}
            with replacing(made / f"{folder.name}.yaml", "w") as file:
                yaml.safe_dump(keys, file, sort_keys=True)
            facts = facts | {"inter_sha256": sha256(made / inter_name(folder))}
            checksums.write_json(made / "manifest.json", content | facts)
    except OSError:
        if not _is_whole(folder):
            raise
