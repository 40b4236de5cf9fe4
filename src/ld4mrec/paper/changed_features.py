"""Data folders with other item features, for the experiments `missing` and `knockout`.

What an item loses is filled as preprocessing fills it: with the mean of the items that have their
features (docs/data.md). The interactions are the original's.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ld4mrec.config.configuration import Config
from ld4mrec.data.features import data_folder, feature_paths, modality_files, read_feature_file
from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import DataError
from ld4mrec.files import link_or_copy, replacing, sha256
from ld4mrec.paper.derived_data import DATA_KEYS, derived_folder, link_files, source_of

VERSION = 1  # raised when the same arguments would give other features
KINDS = ("missing", "constant", "noise", "permutation")


def modalities_of(config: Config) -> list[str]:
    """Names of the modalities of config's data set whose files are there."""
    return [name for name, path in modality_files(config).items() if Path(path).is_file()]


def slug(text: str) -> str:
    """A text as a part of a name: lower-case letters and digits, hyphens between them."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def masked_items(items: int, share: float, seed: int) -> np.ndarray:
    """round(share * items) of so many items, drawn by a seed; those of a smaller share are among
    those of a larger one. Raises DataError where none would be left.
    """
    n = round(share * items)
    if n >= items:
        raise DataError(f"a share of {share:g} of {items} items leaves none with features")
    return np.random.default_rng([VERSION, seed]).permutation(items)[:n]


def changed(rows: np.ndarray, kind: str, share: float, seed: int) -> np.ndarray:
    """Features (I, F) float32 after a change of one of KINDS.

    missing: a share of the items, drawn by the seed, has the mean of the others. constant: every
    item has the mean of all. noise: normal numbers with each column's mean and deviation.
    permutation: each item has the row of one drawn by the seed.
    """
    items = len(rows)
    exact = rows.astype(np.float64)
    if kind == "missing":
        masked = masked_items(items, share, seed)
        kept = np.ones(items, dtype=bool)
        kept[masked] = False
        exact[masked] = exact[kept].mean(0)
    elif kind == "constant":
        exact[:] = exact.mean(0)
    elif kind == "noise":
        generator = np.random.default_rng([VERSION, seed])
        exact = generator.normal(exact.mean(0), exact.std(0), size=exact.shape)
    elif kind == "permutation":
        exact = exact[np.random.default_rng([VERSION, seed]).permutation(items)]
    else:
        raise ValueError(f"kind is {kind!r}; wanted one of {', '.join(KINDS)}")
    return exact.astype(np.float32)


def changed_folder(
    config: Config, experiment: str, kind: str, which: Iterable[str], share: float, seed: int
) -> Path:
    """The data folder of config's data set with the features of the modalities `which` changed, see
    `changed`, written to config's cache_dir if it is not there; ConfigError without a cache_dir.

    Interactions and other features are links; a yaml with the original's names, a manifest.
    """
    source, folder = source_of(config, experiment), data_folder(config)
    named = modality_files(config)
    files = sorted({os.path.relpath(named[name], folder) for name in which})
    features = [os.path.relpath(path, folder) for path in feature_paths(config)]
    content = {
        "version": VERSION,
        "source": str(source),
        "sha256": {name: sha256(folder / name) for name in features} | {"inter": sha256(source)},
        "kind": kind,
        "files": files,
        "share": share,
        "seed": seed,
        "keys": {key: config[key] for key in DATA_KEYS},
    }
    what = "all" if set(files) == set(features) else slug("-".join(sorted(which)))
    amount = f"{round(100 * share):02d}" if kind == "missing" else ""
    name = f"{config['dataset']}_{kind}{amount}_{what}_seed{seed}"

    def write(made: Path) -> dict[str, Any]:
        link_or_copy(source.resolve(), made / f"{name}.inter")
        link_files(config, [other for other in features if other not in files], made)
        items = RecDataset(config).get_item_num()
        for file in files:
            rows = read_feature_file(str(folder / file), items)
            with replacing(made / file) as stream:
                np.save(stream, changed(rows, kind, share, seed), allow_pickle=False)
        return {"features_sha256": {file: sha256(made / file) for file in files}}

    return derived_folder(config, experiment, name, content, write)
