"""The interactions of a data set, read, checked and split as their label column says."""

import csv
import itertools
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ld4mrec.config.configuration import Config
from ld4mrec.data.features import data_folder, inside
from ld4mrec.errors import ConfigError, DataError, counted, nearest
from ld4mrec.tables import has_byte, refuse_nul

BLANKS = r"\s+"  # as a separator: pandas' word for any number of them
MOST_DIGITS = 300  # that a float64 can take
SPLITS = ("train", "validation", "test")  # what the labels 0, 1, 2 mean


class RecDataset:
    """Interactions as a frame `df` of integer columns; MMRec's RecDataset as far as plugins see it.

    config: the run's configuration. df: rows to wrap; None reads
    `<data_path><dataset>/<inter_file_name>`, checks it, names repeated pairs and removes validation
    and test rows of users without training rows (`dropped` counts them). U = get_user_num() and
    I = get_item_num() are max id + 1 over the whole file, in every split. Raises DataError naming
    file, line, value got and value wanted.
    """

    def __init__(self, config: Config, df: pd.DataFrame | None = None):
        self.config = config
        self.logger = logging.getLogger(__name__)
        self.dataset_name = config["dataset"]
        self.dataset_path = str(data_folder(config))
        self.uid_field = config["USER_ID_FIELD"]
        self.iid_field = config["ITEM_ID_FIELD"]
        self.splitting_label = config["inter_splitting_label"]
        self.dropped = dict.fromkeys(SPLITS, 0)
        self.inter_path = inter_path(config)
        self.df = self._read() if df is None else df
        self.user_num = int(self.df[self.uid_field].max()) + 1 if len(self.df) else 0
        self.item_num = int(self.df[self.iid_field].max()) + 1 if len(self.df) else 0
        if df is None:
            self._warn_of_repeats()
            if config["filter_out_cod_start_users"]:
                self._drop_cold_users()

    def _read(self):
        path, columns = self.inter_path, [self.uid_field, self.iid_field, self.splitting_label]
        check_there(self.config)
        separator = self.config["field_separator"] or "\t"
        try:
            refuse_nul(path)
            found, width = _header(path, separator)
            absent = [column for column in columns if column not in found]
            if absent and len(found) == 1:
                raise DataError(
                    f"{path} has one column, '{found[0]}', when cut at {separator!r}; set "
                    "field_separator in the data set's yaml to what stands between its columns"
                )
            if len(set(columns)) < 3:
                raise DataError(
                    f"USER_ID_FIELD, ITEM_ID_FIELD and inter_splitting_label name {columns}; "
                    "wanted three different columns"
                )
            if absent:
                raise DataError(
                    f"{path} has no column '{absent[0]}'; its columns are {found}."
                    f"{nearest(absent[0], found)} Set USER_ID_FIELD, ITEM_ID_FIELD, "
                    "inter_splitting_label or field_separator in the data set's yaml"
                )
            if width != len(found):
                raise DataError(
                    f"{path} line 2 has {counted(width, 'field')} and the header {len(found)}: "
                    "which column is which cannot be told; mend the header"
                )
            # all columns: of a part of them pandas reads rows that are longer than the header
            frame = pd.read_csv(path, **how_to_cut(separator))
            self._warn_of_ratings(frame)
            frame = frame[columns]
        except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
            raise DataError(
                f"{path} cannot be read as '{separator!r}'-separated text: {error}"
            ) from error
        if not len(frame):
            raise DataError(f"{path} has a header and no interactions")
        for column in columns:
            self._check_integers(frame[column])
        for column in columns[:2]:
            self._check_ids(frame[column])
        labels = frame[self.splitting_label]
        self._refuse(~labels.isin((0, 1, 2)), labels, "0 (train), 1 (validation) or 2 (test)")
        self._warn_of_blanks(columns)
        return frame.astype(np.int64)

    def _line(self, row):
        """The line of the file in which a row, from 0, of the frame stands; blank ones are none."""
        separator = self.config["field_separator"] or "\t"
        blank = " \t\r\n".replace(separator, "")
        with open(self.inter_path, encoding="utf-8", newline="\n") as file:
            numbers = (number for number, line in enumerate(file, 1) if line.strip(blank))
            return next(itertools.islice(numbers, int(row) + 1, None))

    def _warn_of_ratings(self, frame):
        """Name rows whose rating says that they are no likes: all count as interactions."""
        if found := no_likes(frame):
            n, row, value = found
            self.logger.warning(
                "%s: %s without a rating above 0, taken for interactions all the same (the first: "
                "line %d, %s)",
                *(self.inter_path, counted(n, "row"), self._line(row), value),
            )

    def _warn_of_blanks(self, columns):
        """Name numbers that stand beside a blank: a damaged digit may have been one."""
        blanks = b" \v\f\t".replace((self.config["field_separator"] or "\t").encode(), b"")
        if not any(has_byte(self.inter_path, blank) for blank in blanks):
            return
        texts = [self._texts(column) for column in columns]
        bad = np.any([column != column.str.strip() for column in texts], axis=0)
        if bad.any():
            row = int(bad.argmax())
            self.logger.warning(
                "%s: %s with a blank beside a number, which is read as if it were not there (the "
                "first: line %d, %s)",
                *(self.inter_path, counted(int(bad.sum()), "row")),
                self._line(row),
                [column.iloc[row] for column in texts],
            )

    def _warn_of_repeats(self):
        """Name the pairs that stand in several rows, by how they count in the metrics."""
        users, items, labels = (self.df[name].to_numpy() for name in self.df)
        pairs = users * np.int64(self.item_num) + items
        again = np.flatnonzero(pd.Series(pairs).duplicated().to_numpy())
        if not len(again):
            return
        alike = pd.Series(pairs * 3 + labels).duplicated().to_numpy()[again]
        for rows, how in (
            (again[alike], "the same split; in the metrics each pair counts once"),
            (again[~alike], "another split; what the mask hides is never a hit"),
        ):
            if len(rows):
                self.logger.warning(
                    "%s: %s a pair of %s (the first: line %d, user %d, item %d)",
                    *(self.inter_path, counted(len(rows), "row repeats", "rows repeat"), how),
                    self._line(rows[0]),
                    *(users[rows[0]], items[rows[0]]),
                )

    def _check_integers(self, column):
        if pd.api.types.is_integer_dtype(column) and not column.isna().any():
            return
        # as they are written: pandas has made one kind of number of a whole column
        texts = self._texts(column.name)
        whole = texts.str.fullmatch(r"\s*[-+]?[0-9]{1,18}\s*")
        bad = ~whole if not whole.all() else pd.Series(True, index=column.index)
        self._refuse(bad, texts, "a whole number without a decimal point")

    def _texts(self, name):
        """A column of the file as texts."""
        how = how_to_cut(self.config["field_separator"] or "\t")
        how |= {"keep_default_na": False, "dtype": str}
        frame = pd.read_csv(self.inter_path, usecols=[name], **how)
        return frame[name].fillna("")

    def _check_ids(self, column):
        self._refuse(column < 0, column, "ids counted from 0")
        ids, rows = column.to_numpy(), len(column)
        # ids without a gap need a row each, so an absurd id need not ask for absurd memory
        present = np.zeros(min(int(ids.max()) + 1, rows + 1), dtype=bool)
        present[ids[ids < len(present)]] = True
        if not present.all():
            raise DataError(
                f"{self.inter_path}: {column.name} must count 0, 1, 2, ... without gaps, but "
                f"{int(np.argmin(present))} is missing and the largest is {int(ids.max())}; "
                "renumber them (and the feature rows with them)"
            )

    def _refuse(self, bad, column, wanted):
        if bad.any():
            row = int(np.argmax(bad.to_numpy()))
            value = column.iloc[row]
            value = f"{value!r:.60}" if isinstance(value, str) else value
            raise DataError(
                f"{self.inter_path} line {self._line(row)}: {column.name} is {value}; wanted "
                f"{wanted} ({counted(int(bad.sum()), 'such row')})"
            )

    def _drop_cold_users(self):
        labels = self.df[self.splitting_label].to_numpy()
        users = self.df[self.uid_field].to_numpy()
        trained = np.zeros(self.user_num, dtype=bool)
        trained[users[labels == 0]] = True
        cold = ~trained[users]
        for label, split in enumerate(SPLITS):
            self.dropped[split] = int((cold & (labels == label)).sum())
        if cold.any():
            self.logger.info(
                "dropped %d validation and %s of users without training rows",
                self.dropped["validation"],
                counted(self.dropped["test"], "test row"),
            )
            self.df = self.df[~cold]

    def split(self) -> "list[RecDataset]":
        """Train, validation and test, with the two id columns; DataError if a split is empty."""
        labels = self.df[self.splitting_label].to_numpy()
        parts = []
        for label, split in enumerate(SPLITS):
            rows = self.df.loc[labels == label, [self.uid_field, self.iid_field]]
            if not len(rows):
                lost = self.dropped[split]
                why = (
                    f" after dropping {counted(lost, 'row')} of users without training rows"
                    * bool(lost)
                )
                raise DataError(
                    f"{self.inter_path} has no {split} rows (label {label}){why}; every split "
                    "needs some"
                )
            parts.append(self.copy(rows.reset_index(drop=True)))
        return parts

    def copy(self, new_df: pd.DataFrame) -> "RecDataset":
        """A data set with these rows and this one's numbers of users and items."""
        other = RecDataset(self.config, new_df)
        other.user_num, other.item_num = self.user_num, self.item_num
        other.dropped = self.dropped
        return other

    def get_user_num(self) -> int:
        return self.user_num

    def get_item_num(self) -> int:
        return self.item_num

    @property
    def inter_num(self) -> int:
        return len(self.df)

    def shuffle(self) -> None:
        """Shuffle the rows in place, by numpy's global random state."""
        self.df = self.df.sample(frac=1, replace=False).reset_index(drop=True)

    def __len__(self):
        return len(self.df)

    def __getitem__(self, index):
        return self.df.iloc[index]

    def __str__(self):
        users, items = self.df[self.uid_field].nunique(), self.df[self.iid_field].nunique()
        return (
            f"{self.dataset_name}: {counted(self.user_num, 'user')} ({users:,} with rows here), "
            f"{counted(self.item_num, 'item')} ({items:,} with rows here), "
            f"{counted(len(self.df), 'interaction')}, "
            f"density {len(self.df) / (self.user_num * self.item_num):.4%}"
        )

    __repr__ = __str__


def no_likes(frame: pd.DataFrame) -> tuple[int, int, object] | None:
    """(how many, the first row from 0, its value) of the rows of a table whose `rating` is no
    number above 0; None if there are none, or no such column.
    """
    column = next((name for name in frame if str(name).lower() == "rating"), None)
    if column is None:
        return None
    texts = frame[column].astype(str)
    numbers = pd.to_numeric(texts.where(texts.str.len() <= MOST_DIGITS), errors="coerce")
    bad = (~(numbers > 0)).to_numpy()
    first = int(bad.argmax())
    return (int(bad.sum()), first, texts.iloc[first]) if bad.any() else None


def how_to_cut(separator: str) -> dict[str, Any]:
    """pandas' options for columns between separators, taken literally but for \\s+: blanks."""
    if len(separator) == 1 or separator == BLANKS:
        return {"sep": separator, "quoting": csv.QUOTE_NONE, "low_memory": False}
    return {"sep": re.escape(separator), "quoting": csv.QUOTE_NONE, "engine": "python"}


def _header(path, separator):
    """The names of the columns, and how many fields the first row has."""
    how = how_to_cut(separator) | {"header": None, "dtype": str}
    names = pd.read_csv(path, nrows=1, keep_default_na=False, **how).iloc[0].tolist()
    try:
        return names, pd.read_csv(path, skiprows=1, nrows=1, **how).shape[1]
    except pd.errors.EmptyDataError:
        return names, len(names)


def inter_path(config: Config) -> Path:
    """Path of the data set's interactions; DataError for a name that leads out of its folder."""
    return inside(config, config["inter_file_name"] or f"{config['dataset']}.inter")


def check_there(config: Config) -> None:
    """DataError unless the data set has its folder and its interactions."""
    path = inter_path(config)
    if not path.parent.is_dir():
        hint = config["how_to_get"]
        get = f"how to get '{config['dataset']}': {hint}"
        advice = get if hint else "--data_path=FOLDER/ names its parent"
        raise DataError(f"there is no data folder {path.parent}; {advice}")
    if not path.is_file():
        there = sorted(p.name for p in path.parent.iterdir())[:10]
        raise DataError(
            f"{path.parent} has no {path.name} (inter_file_name); it holds {there or 'nothing'}"
        )


def check_topk(config: Config, n_items: int) -> None:
    """ConfigError for a cut-off beyond the catalogue."""
    longest = max(config["topk"])
    if longest > n_items:
        text = f"topk has {longest}, but there are only {counted(n_items, 'item')}"
        raise ConfigError(f"{text}; lower it with --topk=[...]")
