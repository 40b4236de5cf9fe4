"""What a run used, in one line and as rows of a table: data, features, model, device, seed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ld4mrec.config.configuration import Config
from ld4mrec.data.features import data_folder, feature_paths, modality_files
from ld4mrec.data.interactions import SPLITS, RecDataset

LISTED = 8  # files of a folder that a line names


def used(config: Config, splits: Sequence[RecDataset], model: nn.Module) -> str:
    """The line of a run. splits: training, validation, test."""
    sizes = {one: one.numel() for one in model.parameters()}
    size, trained = sum(sizes.values()), sum(n for one, n in sizes.items() if one.requires_grad)
    frozen = f", {trained:,} of them trained," * (trained < size)
    return (
        f"{data_used(config['dataset'], splits)}; features: {features_used(config)}; "
        f"{type(model).__name__} with {size:,} parameters{frozen} on {machine_used(config)}, "
        f"seed {config['seed']}"
    )


def data_used(name: str, splits: Sequence[RecDataset]) -> str:
    """A data set's counts after cold users were dropped."""
    users, items = splits[0].get_user_num(), splits[0].get_item_num()
    rows = [len(split) for split in splits]
    parts = ", ".join(f"{split} {n:,}" for split, n in zip(SPLITS, rows, strict=True))
    density = sum(rows) / max(1, users * items)
    return (
        f"{name} of {users:,} users, {items:,} items, {sum(rows):,} interactions ({parts}), "
        f"density {density:.4%}"
    )


def features_used(config: Config) -> str:
    """The modalities that a model is given, with shapes; or why it has none."""
    if not config["is_multimodal_model"]:
        return "none, is_multimodal_model is False"
    present = feature_paths(config)
    named = {name: path for name, path in modality_files(config).items() if path in present}
    others = [path for path in present if path not in named.values()]
    named |= {Path(path).name: path for path in others}  # MMRec's two where modalities has others
    found = [f"{name} {_shape(path)}" for name, path in named.items()]
    return ", ".join(found) or f"none; the folder holds {_listed(data_folder(config))}"


def machine_used(config: Config) -> str:
    """The device and the number of threads."""
    device = config["device"]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    threads = config["threads"]
    return f"{name}, {threads} thread{'s' * (threads != 1)}"


def _shape(path):
    """'(6710 x 128)' of a .npy file, from its header."""
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
        return f"({' x '.join(map(str, rows.shape))})"
    except (OSError, ValueError, AttributeError):
        return "(unreadable)"  # reading it says why


def _listed(folder):
    names = sorted(path.name for path in folder.iterdir() if path.name[0] != ".")
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
