"""Item features of a data set: one .npy file per modality, row r belongs to item r."""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ld4mrec.config.configuration import Config
from ld4mrec.errors import DataError, counted

# The order in which models take them; others follow as named.
LEADING_MODALITIES = ("text", "image")
# Maps of original ids, beside the interactions.
ID_MAPS = {"user": "u_id_mapping.csv", "item": "i_id_mapping.csv"}
MMREC_KEYS = {"vision": "vision_feature_file", "text": "text_feature_file"}


class NoFeaturesError(DataError, AssertionError):
    """MMRec's assertion: a multimodal model of a third party and no feature at all."""


@dataclass
class Features:
    """files: {path: (I, F) float32}; modalities: {name: path}, ordered; vision, text: paths of
    MMRec's two, or None.
    """

    files: dict = field(default_factory=dict)
    modalities: dict = field(default_factory=dict)
    vision: str | None = None
    text: str | None = None


def data_folder(config: Config) -> Path:
    """The data set's folder; MMRec's rule: data_path and dataset are joined as strings."""
    return Path(config["data_path"] + config["dataset"])


def modality_files(config: Config) -> dict[str, str]:
    """{modality: path} as the data set's yaml names them, existing or not; text and image first."""
    named = config["modalities"]
    if named is None:
        named = {"text": config["text_feature_file"], "image": config["vision_feature_file"]}
    leading = [name for name in LEADING_MODALITIES if name in named]
    return {name: str(inside(config, named[name])) for name in [*leading, *named] if named[name]}


def inside(config: Config, name: str) -> Path:
    """Path of a file in the data folder; DataError for a name that leads out of it."""
    folder = data_folder(config)
    if os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == os.pardir:
        raise DataError(
            f"the data set's settings name {name}, which lies outside {folder}; only files in the "
            "data folder are read: put it, or a link to it, there"
        )
    return folder / name


def feature_paths(config: Config) -> list[str]:
    """Paths of all feature files that exist, those of `modalities` and MMRec's two."""
    two = (config[key] for key in MMREC_KEYS.values())
    two = [str(inside(config, name)) for name in two if name]
    paths = dict.fromkeys([*modality_files(config).values(), *two])
    return [path for path in paths if Path(path).is_file()]


def load_features(config: Config, n_items: int) -> Features:
    """Read and check the features of all modalities; warns of files that do not exist.

    Raises DataError for a file that `read_feature_file` refuses and, for third-party models only,
    NoFeaturesError where there is no feature at all, as MMRec does.
    """
    present = feature_paths(config)
    loaded = Features(files={path: read_feature_file(path, n_items) for path in present})
    for modality, path in modality_files(config).items():
        if path in loaded.files:
            loaded.modalities[modality] = path
        else:
            logging.getLogger(__name__).warning("no %s features: %s does not exist", modality, path)
    for attribute, key in MMREC_KEYS.items():
        path = str(inside(config, config[key])) if config[key] else None
        setattr(loaded, attribute, path if path in loaded.files else None)
    if not getattr(config, "ours", True) and not (loaded.vision or loaded.text):
        raise NoFeaturesError(
            f"{config['model']} is a multimodal plugin and data set '{config['dataset']}' has no "
            "feature file for it; name one as vision_feature_file or text_feature_file in the data "
            "set's yaml, or set is_multimodal_model: False"
        )
    return loaded


def read_feature_file(path: str, n_items: int) -> np.ndarray:
    """(I, F) float32 array of a .npy file; DataError unless each item has its row of numbers."""
    try:
        rows = np.load(path, allow_pickle=False, mmap_mode="r")
    except Exception as error:  # numpy's and zipfile's, of many kinds
        raise DataError(
            f"{path} is not a .npy file of numbers ({error}); write it with numpy.save"
        ) from error
    is_array = isinstance(rows, np.ndarray)
    if not (is_array and rows.ndim == 2 and rows.shape[1] and rows.dtype.kind in "fiu"):
        got = f"{rows.dtype} of shape {rows.shape}" if is_array else "an .npz archive"
        raise DataError(f"{path} holds {got}; wanted numbers of shape (items, dimensions)")
    size, wanted = os.path.getsize(path), rows.offset + rows.nbytes
    if size != wanted:
        raise DataError(
            f"{path} has {counted(size, 'byte')}, its header says {wanted}: it is damaged; write "
            "it again"
        )
    if len(rows) != n_items:
        raise DataError(
            f"{path} has {counted(len(rows), 'row')} but the interactions have "
            f"{counted(n_items, 'item')}; "
            "row r must belong to item r: prepare features and interactions together"
        )
    # in memory, for the file may change while the run lasts; what float32 cannot hold becomes
    # infinite and is refused below
    with np.errstate(over="ignore"):
        rows = np.array(rows, dtype=np.float32)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise DataError(
            f"{path} has NaN or infinite values in {counted(int((~finite).sum()), 'row')}, first "
            f"in row {int(finite.argmin())} (beyond float32 counts as infinite); fill or drop "
            "these items when preparing the data"
        )
    return rows
