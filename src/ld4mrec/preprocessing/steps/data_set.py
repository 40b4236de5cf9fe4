"""What a data set brings to its command."""

from argparse import Namespace, _ArgumentGroup
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ld4mrec.data import splits
from ld4mrec.errors import DataError
from ld4mrec.preprocessing.formats.layout import split_words
from ld4mrec.preprocessing.steps import features, sources
from ld4mrec.preprocessing.steps.encoders.base import FILE
from ld4mrec.preprocessing.steps.encoders.own_vectors import OwnVectors
from ld4mrec.preprocessing.steps.encoders.registry import load_encoder
from ld4mrec.preprocessing.steps.images import ImageFolder, Images
from ld4mrec.preprocessing.steps.interactions import Interactions
from ld4mrec.preprocessing.steps.raw import BadLines, RawError
from ld4mrec.preprocessing.steps.report import Report


class RawRows(NamedTuple):
    """What a loader made of a file of interactions: distinct pairs with their earliest time.

    n_rows, n_inside: rows that can be used, and of them in the window. records: of the file.
    """

    interactions: Interactions
    bad: BadLines
    n_rows: int
    n_inside: int
    records: list[dict]


class RawTexts(NamedTuple):
    """What a loader made of a file of texts. texts: {original item id: text}."""

    texts: dict[str, str]
    bad: BadLines
    records: list[dict]


class DataSet:
    """A data set's own part of its command.

    One whose interactions and texts lie in a file each names the two, and reads them with read_rows
    and read_texts. name: as in data.counts.TABLE_1. time_unit: of Interactions.times. zone: what is
    known about the times' zone. period, image_hint: what the download spans, and where its images
    are, in words.
    """

    name = title = ""
    rows_file: str | tuple[str, ...] = ""  # of several names the first that is there
    texts_file: str | tuple[str, ...] = ""
    time_unit: str | None = "s"  # None: the source has no times
    zone = "UTC"
    text_encoder, image_encoder = "", "efficientnet-lite0"
    period = image_hint = ""
    image_places: tuple[str, ...] = ("images",)  # in the raw folder
    row_name, pair_name = "rows", "distinct (user, item), earliest time"  # in the table of steps
    subsampled = True  # the paper used a part of the download
    download = True  # a raw download in a folder, --raw; False: files that options of its own name
    default_core: int | None = 5
    core_hint = "5"
    default_split: str | None = "mmrec"
    _texts: RawTexts | None = None  # what was read of texts_file

    @property
    def source(self) -> str:
        """What the data folder is made from, in words."""
        return f"the raw download of {self.title}"

    def add_arguments(self, parser: _ArgumentGroup) -> None:
        """Options that only this data set has."""

    def check(self, options: Namespace) -> None:
        """UserError for options that cannot be; called before anything is read."""
        if features.wants("text", options):
            try:
                path = self.find(self.texts_file, options)
            except RawError as error:
                raise RawError(f"{error}. --text-encoder none goes on without texts") from error
            self.check_texts(path, options)

    def check_texts(self, path: Path, options: Namespace) -> None:
        """UserError where the file of texts cannot be read as the options say; reads its header."""

    def find(self, file: str | tuple[str, ...], options: Namespace) -> Path:
        """A file of the raw download, by one of its names; RawError if it is absent."""
        names = (file,) if isinstance(file, str) else file
        return sources.find(sources.raw_folder(options.raw), *names)

    def read_rows(self, path: Path, options: Namespace) -> RawRows:
        """Read the file of interactions."""
        raise NotImplementedError

    def read_texts(self, path: Path, options: Namespace) -> RawTexts:
        """Read the file of texts."""
        raise NotImplementedError

    def interactions(self, options: Namespace, report: Report) -> tuple[Interactions, list[dict]]:
        """Read the raw rows: distinct Interactions, and records of the files read."""
        path = self.find(self.rows_file, options)
        read = self.read_rows(path, options)
        report.lines_left_out(read.bad)
        report.step(self.row_name, read.n_rows, f"{path} has no usable row.")
        self.report_window(read.n_inside, options, report)
        report.step(self.pair_name, read.interactions.counts())
        return read.interactions, read.records

    def required(
        self, interactions: Interactions, options: Namespace, report: Report
    ) -> Interactions:
        """The rows of items that have what --require names."""
        left = interactions
        for modality in split_words(options.require):
            items = left.item_ids.texts()
            has = self.who_has(modality, items, options, report)
            left = left.take(has[left.items])
            two = ", ".join(map(repr, items[:2]))
            why = f"No item of the interactions has {modality}; do the ids agree? {two}"
            report.step(f"rows of items with {modality}", left.counts(), why)
        return left

    def who_has(
        self, modality: str, items: list[str], options: Namespace, report: Report
    ) -> np.ndarray:
        """Mask (items,) of those that have a text, a picture or a vector; items: original ids."""
        encoder = getattr(options, f"{modality}_encoder")
        if encoder.startswith(FILE):
            return load_encoder(encoder, modality).rows_of(items) >= 0
        if modality == "text":
            texts, _ = self.texts(options, items, report)
            return np.array([bool(text) for text in texts], dtype=bool)
        images = self.images(options)
        return np.array([item in images for item in items], dtype=bool)

    def report_window(self, n_inside: int, options: Namespace, report: Report) -> None:
        """Report the rows in the window, where --from or --to sets one."""
        if options.window != (None, None):
            why = f"--from and --to leave no row; the data is of {self.period}."
            report.step("rows in the window", n_inside, why)

    def timestamp(self) -> dict:
        """What the manifest says of the times."""
        return {"unit": self.time_unit, "since": "1970-01-01", "zone": self.zone}

    def paths(self, options: Namespace) -> dict[str, str]:
        """{option: path} of what is read beside --raw, --images and the store."""
        return {}

    def labels(
        self, interactions: Interactions, options: Namespace, report: Report
    ) -> tuple[str, np.ndarray]:
        """The split's rule, and the labels (N,) of the renumbered interactions."""
        return options.split, splits.split(options.split, interactions, options.seed)

    def vectors(self, options: Namespace, items: list[str]) -> dict[str, OwnVectors]:
        """{modality: ready vectors} of further modalities; items: original ids."""
        return {}

    def side_files(self, options: Namespace, items: list[str], report: Report) -> None:
        """Write what the options ask for beside the data folder; items: original ids."""

    def texts(
        self, options: Namespace, items: list[str], report: Report
    ) -> tuple[list[str | None], list[dict]]:
        """Text of each original id, None where there is none; and records of the files read."""
        if self._texts is None:
            self._texts = self.read_texts(self.find(self.texts_file, options), options)
            report.lines_left_out(self._texts.bad)
        read = self._texts
        return [read.texts.get(item) or None for item in items], read.records

    def images(self, options: Namespace) -> Images:
        """The images, of --images or one of `image_places`; DataError if there are none."""
        if options.images:
            return self.images_at(Path(options.images))
        raw = Path(options.raw)
        for folder in (raw, *(path for path in sorted(raw.iterdir()) if path.is_dir())):
            for place in self.image_places:
                if (folder / place).exists():
                    return self.images_at(folder / place)
        for path, members in sources.zips(raw):
            if any(member.split("/")[0] in self.image_places for member in members):
                return self.images_at(path)
        raise DataError(
            f"no images in {options.raw}; {self.image_hint}. --images PATH names another place, "
            "--image-encoder none goes on without"
        )

    def images_at(self, path: Path) -> Images:
        """The images in a folder, or in a zip where a data set has that."""
        return ImageFolder(path, lambda item: f"{item}.jpg")
