"""Data folders with random interactions added to the training split, for the noise experiment.

What is added: distinct user-item pairs, uniform over those that occur in no split, of users who
have training rows. A smaller share of the same seed is the beginning of a larger one.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ld4mrec.config.configuration import Config
from ld4mrec.data.features import data_folder, feature_paths
from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import DataError, counted
from ld4mrec.files import sha256
from ld4mrec.paper.derived_data import DATA_KEYS, derived_folder, link_files, source_of

VERSION = 1  # raised when the same arguments would give other pairs
BLOCK = 1 << 16  # pairs drawn at a time; part of what a seed means


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
    source = source_of(config, "noise")
    content = {
        "version": VERSION,
        "source": str(source),
        "sha256": sha256(source),
        "share": share,
        "seed": seed,
        "keys": {key: config[key] for key in (*DATA_KEYS, "filter_out_cod_start_users")},
        "features": [os.path.relpath(path, data_folder(config)) for path in feature_paths(config)],
    }
    name = f"{config['dataset']}_noise{round(100 * share):02d}_seed{seed}"

    def write(folder: Path) -> dict[str, Any]:
        added = _write_interactions(folder / f"{name}.inter", config, content)
        link_files(config, content["features"], folder)
        return {"added": added}

    return derived_folder(config, "noise", name, content, write)


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
