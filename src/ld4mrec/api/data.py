"""Data folders: made from files or DataFrames, or opened."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ld4mrec import checksums
from ld4mrec.api.checks import TABLE, check, check_path
from ld4mrec.config.configuration import Config
from ld4mrec.data.features import feature_paths
from ld4mrec.data.interactions import SPLITS, RecDataset
from ld4mrec.errors import ConfigError, DataError, counted
from ld4mrec.places import from_yaml
from ld4mrec.preprocessing import own
from ld4mrec.serving.ids import Ids
from ld4mrec.terminal import quiet

Table = str | Path | pd.DataFrame


@dataclass(frozen=True)
class Data:
    """A data folder: `<name>.inter`, features, id maps. Its last part is the data set's name."""

    folder: Path

    @property
    def name(self) -> str:
        """The name of the data set."""
        return self.folder.name

    @property
    def manifest(self) -> dict:
        """What made the folder: sources, options, counts after each step; {} if unknown."""
        return checksums.read_json(self.folder / "manifest.json", "prepare the data again") or {}

    @property
    def modalities(self) -> list[str]:
        """Names of the features that are there."""
        names = (Path(path).stem for path in feature_paths(self._config()))
        return [name.removesuffix("_feat") for name in names]

    def interactions(self) -> pd.DataFrame:
        """Columns user, item (original ids) and split (train, validation, test), and time if known.

        Rows as in the file. DataError for a folder that is damaged.
        """
        config = self._config()
        with quiet():
            read = RecDataset(config)
        users, items = (
            Ids.read(config, kind, n)
            for kind, n in (("user", read.get_user_num()), ("item", read.get_item_num()))
        )
        frame = read.df
        columns = {
            "user": users.of(frame[read.uid_field].to_numpy()),
            "item": items.of(frame[read.iid_field].to_numpy()),
            "split": pd.Categorical.from_codes(frame[read.splitting_label], SPLITS),
        }
        return pd.DataFrame(columns).reset_index(drop=True)

    def keys(self) -> dict[str, str]:
        """The configuration's keys that name this folder."""
        return {"data_path": f"{self.folder.parent}{os.sep}"}

    def _config(self) -> Config:
        return Config("Pop", self.name, self.keys()).points(grid=False)[0]

    def __repr__(self) -> str:
        steps = self.manifest.get("steps")
        size = ""
        if steps:
            last = steps[-1]
            size = (
                f": {counted(last['users'], 'user')}, {counted(last['items'], 'item')}, "
                f"{counted(last['interactions'], 'interaction')}"
            )
        return f"Data({str(self.folder)!r}){size}"


def prepare(
    interactions: Table | None = None,
    *,
    out: str | Path,
    text: Table | None = None,
    images: str | Path | None = None,
    features: Mapping[str, str | Path | tuple] | None = None,
    train: Table | None = None,
    valid: Table | None = None,
    test: Table | None = None,
    columns: str | Sequence[str] | Mapping[str, str] | None = None,
    text_fields: Sequence[str] | str | None = None,
    item_id: str | None = None,
    min_rating: float | None = None,
    require: Sequence[str] | str | None = None,
    k_core: int | None = None,
    split: str | None = None,
    seed: int = 0,
    force: bool = False,
    verbose: bool = True,
    **options: Any,
) -> Data:
    """Make a data folder of a table of interactions; docs/data.md has every format and step.

    interactions: a file, a folder of a known form, or a DataFrame; or train, valid and test of a
    split that is given. out: the folder to make. text: table of items, whose text_fields make the
    texts. images: folder or zip. features: {modality: file, or (file, file of ids)}. columns: names
    of user, item, rating and time, or {role: name}. options: further ones of `ld4mrec prepare own`,
    such as time_format, with _ for -. A folder that was made of the same files with the same
    options is taken as it is; another one is replaced with `force` only. Raises UserError.
    """
    check_path("out", out)
    tables = {"interactions": interactions, "text": text}
    for name, table in (tables | {"train": train, "valid": valid, "test": test}).items():
        if table is not None:
            check(name, table, TABLE, "a path or a DataFrame")
    if images is not None:
        check_path("images", images)
    if "items" in options:
        raise ConfigError("prepare has no option 'items'; the table of items is text=...")
    if isinstance(columns, Mapping):
        columns = [f"{role}={name}" for role, name in columns.items()]
    given = {
        "interactions": interactions,
        "out": str(out),
        "items": text,
        "images": images and str(images),
        "features": features,
        "train": train,
        "valid": valid,
        "test": test,
        "columns": columns,
        "text_fields": text_fields,
        "item_id": item_id,
        "min_rating": min_rating,
        "require": require,
        "k_core": k_core,
        "split": split,
        "seed": seed,
        "force": force,
    }
    own.make(print if verbose else lambda line: None, **given, **options)
    return open_data(out)


def open_data(data: Data | str | Path) -> Data:
    """A data folder that is there: its path, or the name of one in data/; else DataError."""
    if isinstance(data, Data):
        return data
    check_path("data", data)
    folder = Path(data).expanduser()
    if not folder.is_dir() and len(folder.parts) == 1:
        folder = from_yaml("../data") / folder
    folder = Path(os.path.abspath(folder))  # a link keeps its own name
    if not folder.is_dir():
        raise DataError(
            f"there is no data folder {folder}; ld4mrec.prepare(...) makes one, docs/data.md tells "
            "where the known ones come from"
        )
    return Data(folder)
