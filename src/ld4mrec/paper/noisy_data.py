"""Data folders with random interactions added to the training split, for the noise experiment.

What is added: distinct user-item pairs, uniform over those that occur in no split, of users who
have training rows. A smaller share of the same seed is the beginning of a larger one.
"""

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import ArrayLike

from ld4mrec import checksums
from ld4mrec.config.configuration import Config
from ld4mrec.data.features import data_folder, feature_paths
from ld4mrec.data.interactions import RecDataset, inter_path
from ld4mrec.errors import ConfigError, DamagedError, DataError, counted
from ld4mrec.files import link_or_copy, replacing, sha256, staged

logger = logging.getLogger(__name__)

VERSION = 1  # raised when the same arguments would give other pairs
BLOCK = 1 << 16  # pairs drawn at a time; part of what a seed means
# keys that say what the folder holds: the noisy folder's yaml has them
DATA_KEYS = (
    *("modalities", "vision_feature_file", "text_feature_file", "USER_ID_FIELD", "ITEM_ID_FIELD"),
    *("inter_splitting_label", "field_separator", "inter_file_name", "user_graph_dict_file"),
)


def random_pairs(users: ArrayLike, items: int, taken: np.ndarray, n: int, seed: int) -> np.ndarray:
    """(n, 2) int64: distinct (user, item) pairs, uniform over users x range(items) without `taken`.

    users: (U,) distinct ids. taken: (m, 2) pairs. The first rows of a larger n are those of a
    smaller one. Raises DataError if there are fewer than n such pairs.
    """
    users = np.asarray(users, dtype=np.int64)
    excluded = np.unique(taken[:, 0].astype(np.int64) * items + taken[:, 1])
    room = len(users) * items - int(np.isin(excluded // items, users).sum())
    if n > room:
        n_free = counted(room, "user-item pair is", "user-item pairs are")
        raise DataError(f"{counted(n, 'pair')} to add, but {n_free} in no split")
    generator = np.random.default_rng([VERSION, seed])
    keys = np.empty(0, dtype=np.int64)
    while len(keys) < n:
        blocks = [keys]
        for _ in range(-(-(n - len(keys)) // BLOCK)):
            drawn = users[generator.integers(len(users), size=BLOCK)] * items
            drawn += generator.integers(items, size=BLOCK)
            blocks.append(drawn[np.isin(drawn, excluded, invert=True)])
        keys = np.concatenate(blocks)
        _, first = np.unique(keys, return_index=True)
        keys = keys[np.sort(first)]
    return np.stack(np.divmod(keys[:n], items), axis=1)


def noisy_folder(config: Config, share: float, seed: int) -> Path:
    """The data folder of config's data set with round(share * training rows) random interactions
    more, written to config's cache_dir if it is not there; ConfigError without a cache_dir.

    Interactions, a yaml with the original's names, a manifest; links to the original's features.
    """
    if config["cache_dir"] is None:
        raise ConfigError(
            "the noise experiment writes its data sets into cache_dir, which is null; give "
            "--cache_dir=FOLDER"
        )
    source = inter_path(config)
    if not source.is_file():
        RecDataset(config)  # says what is not there
    content = {
        "version": VERSION,
        "source": str(source),
        "sha256": sha256(source),
        "share": share,
        "seed": seed,
        "keys": {key: config[key] for key in (*DATA_KEYS, "filter_out_cod_start_users")},
        "features": [os.path.relpath(path, data_folder(config)) for path in feature_paths(config)],
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    name = f"{config['dataset']}_noise{round(100 * share):02d}_seed{seed}"
    folder = Path(config["cache_dir"]) / "noise" / digest / name
    if not _is_whole(folder):
        _write(folder, config, content)
    return folder


def _is_whole(folder):
    """Whether the folder has the interactions that were written to it."""
    try:
        facts = checksums.read_json(folder / "manifest.json", "it is made anew")
        whole = facts is not None and facts["inter_sha256"] == sha256(folder / _inter(folder))
    except (DamagedError, OSError, LookupError):
        whole = False
    if not whole and folder.exists():
        logger.warning("%s is damaged: making it anew", folder)
    return whole


def _inter(folder):
    return f"{folder.name}.inter"


def _write(folder: Path, config: Config, content: dict[str, Any]) -> None:
    """Make the folder, or leave it to another process that is faster."""
    try:
        with staged(folder, replace=True) as made:
            inter = made / _inter(folder)
            added = _write_interactions(inter, config, content)
            for name in content["features"]:
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                link_or_copy((data_folder(config) / name).resolve(), made / name)
            keys = content["keys"] | {"inter_file_name": None}
            keys.pop("filter_out_cod_start_users")
            with replacing(made / f"{folder.name}.yaml", "w") as file:
                yaml.safe_dump(keys, file, sort_keys=True)
            facts = {"added": added, "inter_sha256": sha256(inter)}
            checksums.write_json(made / "manifest.json", content | facts)
    except OSError:
        if not _is_whole(folder):
            raise


def _write_interactions(path: Path, config: Config, content: dict[str, Any]) -> int:
    """The original's rows, then the added ones, with label 0; how many were added."""
    everything = RecDataset(config.replace({"filter_out_cod_start_users": False}))
    frame = everything.df
    columns = [everything.uid_field, everything.iid_field, everything.splitting_label]
    rows = frame[columns].to_numpy()
    trained = rows[rows[:, 2] == 0]
    users = np.arange(everything.get_user_num())
    if config["filter_out_cod_start_users"]:
        users = np.unique(trained[:, 0])
    n = round(content["share"] * len(trained))
    pairs = random_pairs(users, everything.get_item_num(), rows[:, :2], n, content["seed"])
    added = pd.DataFrame(np.column_stack([pairs, np.zeros(n, dtype=np.int64)]), columns=columns)
    separator = config["field_separator"] or "\t"
    pd.concat([frame[columns], added]).to_csv(path, sep=separator, index=False)
    return n
