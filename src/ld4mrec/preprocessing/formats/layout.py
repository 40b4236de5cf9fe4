"""How a file of rows is written: told by its name and its first lines, or by what the user says.

Nothing is guessed silently: `Layout.title` says what was recognised, and what cannot be told is
asked for with the first rows shown.
"""

import codecs
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ld4mrec.errors import UserError, counted, nearest
from ld4mrec.preprocessing.steps.raw import RawError
from ld4mrec.preprocessing.steps.sources import reading
from ld4mrec.tables import is_number

FIRST = 1 << 16  # bytes of a file that are looked at
SHOWN = 3  # rows that a question shows
CANDIDATES = ("\t", ",", ";", "|", "::", " ")
NAMED_SEPARATORS = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " ", "\\t": "\t"}
# Column names by which a role is recognised, lower case, without what is no letter or digit.
ROLE_NAMES = {
    "user": {
        *("user", "userid", "users", "uid", "userno", "customer", "customerid", "reviewerid"),
        *("visitorid", "accountid", "memberid", "msnoid", "nutzer", "username", "email"),
    },
    "item": {
        *("item", "itemid", "items", "iid", "product", "productid", "movie", "movieid", "asin"),
        *("parentasin", "sku", "article", "articleid", "book", "bookid", "song", "songid"),
        *("track", "trackid", "videoid", "businessid", "newsid", "isbn", "artikel"),
    },
    "rating": {"rating", "ratings", "overall", "score", "stars", "bookrating"},
    "time": {
        *("timestamp", "time", "unixreviewtime", "date", "datetime", "tdat", "createdat", "vtime"),
    },
    "label": {"xlabel"},
}
ROLES = ("user", "item", "rating", "time")
FORMATS = {
    "csv": "text with one separator (CSV, TSV, ...)",
    "jsonl": "a JSON object per line",
    "parquet": "Parquet",
    "recbole": "RecBole's atomic files (.inter, .item)",
    "mmrec": "MMRec's .inter",
    "lightgcn": "LightGCN's train.txt and test.txt: a user and its items per line",
    "mmssl": "MMSSL's folder: train.json, val.json, test.json",
    "diffmm": "DiffMM's folder: trnMat.npz, valMat.npz, tstMat.npz",
    "amazon2018": "Amazon Reviews 2018",
    "amazon2023": "Amazon Reviews 2023",
    "movielens": "MovieLens (ratings.csv, ratings.dat, u.data)",
}
AMAZON_2018 = {
    "user": "reviewerID",
    "item": "asin",
    "rating": "overall",
    "time": "unixReviewTime",
}
AMAZON_2023 = {"user": "user_id", "item": "parent_asin", "rating": "rating", "time": "timestamp"}
BY_PLACE = {"user": "1", "item": "2", "rating": "3", "time": "4"}
MOVIELENS = {"user": "userId", "item": "movieId", "rating": "rating", "time": "timestamp"}
MMREC = {"user": "userID", "item": "itemID", "label": "x_label"}


class AskError(UserError):
    """Something that only the user can tell; the message shows the rows and names the option."""


@dataclass(frozen=True)
class Layout:
    """kind: delimited, jsonl, parquet, frame, or pairs (a user and its items per line).

    title: the format in words. names: of the columns, in a file without a header "1", "2", ...
    roles: {role: column} that the format itself fixes. first: the first rows, for questions.
    """

    kind: str
    title: str
    names: tuple[str, ...] = ()
    separator: str = ","
    quotes: bool = True
    header: bool = True
    encoding: str = "utf-8"
    roles: dict[str, str] = field(default_factory=dict)
    first: tuple[tuple[str, ...], ...] = ()

    def shown(self) -> str:
        """The columns and the first rows, for a question."""
        rows = [self.names, *self.first[:SHOWN]]
        return "\n".join("  " + " | ".join(cell[:40] for cell in row) for row in rows)


@dataclass(frozen=True)
class Said:
    """What the user says of a file; None: to be told. columns: the words of --columns."""

    format: str | None = None
    separator: str | None = None
    header: bool | None = None
    quotes: bool | None = None
    encoding: str | None = None
    columns: tuple[str, ...] = ()


def plain_name(name: str) -> str:
    """A column's name for comparison: `User_ID:token` is userid."""
    return "".join(c for c in name.partition(":")[0].lower() if c.isalnum())


def role_of(name: str) -> str | None:
    """The role that a column's name tells."""
    plain = plain_name(name)
    return next((role for role, names in ROLE_NAMES.items() if plain in names), None)


def inner_suffix(path: Path) -> str:
    """The suffix below the packing: .csv of ratings.csv.gz."""
    packed = path.suffix.lower() in (".gz", ".zip")
    return (Path(path.stem) if packed else path).suffix.lower()


def recognise(source: Path | pd.DataFrame, said: Said, items: bool = False) -> Layout:
    """The Layout of a file, or of a DataFrame. items: it describes items, not interactions.

    RawError for a file that cannot be read; AskError where it cannot be told.
    """
    if isinstance(source, pd.DataFrame):
        return _of_frame(source)
    if not source.is_file():
        what = "is a folder" if source.is_dir() else "does not exist"
        raise RawError(f"{source} {what}; wanted a file of rows")
    suffix = inner_suffix(source)
    if suffix == ".parquet" or said.format == "parquet":
        return _of_parquet(source)
    if suffix in (".pkl", ".pickle"):
        raise RawError(
            f"{source} is a pickle, which may run any program when it is read, so it is not read. "
            "Write it anew: a scipy matrix with scipy.sparse.save_npz, a frame with to_csv"
        )
    start = _first_bytes(source)
    if not start.strip():
        raise RawError(f"{source} is empty")
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) and said.encoding is None:
        raise AskError(f"{source} looks like UTF-16; say --encoding utf-16")
    encoding = said.encoding or ("latin-1" if _is_old_movielens(source) else "utf-8-sig")
    lines = _lines(source, start, encoding)
    if said.format == "jsonl" or (said.format is None and lines[0].lstrip().startswith(("{", "["))):
        return _of_json(source, lines, items)
    if said.format in ("amazon2018", "amazon2023") and lines[0].lstrip().startswith("{"):
        return _of_json(source, lines, items)
    if said.format == "lightgcn":
        return Layout("pairs", FORMATS["lightgcn"], ("user", "items"))
    return _of_text(source, lines, said, encoding, items)


def _first_bytes(source):
    with reading(source) as (stream, _, _):
        return stream.read(FIRST)


def _is_old_movielens(source):
    return source.name in ("movies.dat", "u.item", "users.dat", "u.user")


def _lines(source, start, encoding):
    """The first whole lines, decoded."""
    cut = start.rfind(b"\n") + 1 if len(start) == FIRST else len(start)
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(start[: cut or FIRST])
    except (UnicodeDecodeError, LookupError) as error:
        text = start[: cut or FIRST].decode("utf-8", "replace")
        if isinstance(error, LookupError):
            raise UserError(f"--encoding {encoding}: Python knows no such encoding") from error
    return [line for line in text.splitlines() if line.strip()] or [""]


def _of_frame(frame):
    names = tuple(map(str, frame.columns))
    first = tuple(tuple(map(str, row)) for row in frame.head(SHOWN).itertuples(index=False))
    return Layout("frame", "a DataFrame", names, first=first, roles=_published(names))


def _of_parquet(source):
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(source)
        names = tuple(file.schema_arrow.names)
        batch = next(file.iter_batches(batch_size=SHOWN), None)
        if batch is not None:
            batch.validate(full=True)  # a damaged text is found where it is decoded, else
        rows = [] if batch is None else batch.to_pylist()
    except Exception as error:  # pyarrow's, of many kinds
        raise RawError(f"{source} cannot be read as Parquet: {error}") from error
    first = tuple(tuple(str(row[name]) for name in names) for row in rows)
    return Layout("parquet", FORMATS["parquet"], names, first=first, roles=_published(names))


def _of_json(source, lines, items):
    if lines[0].lstrip().startswith("["):
        raise RawError(f"{source} is one JSON array; wanted a JSON object per line (JSON lines)")
    rows = []
    for line in lines[:SHOWN]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            old = " (Amazon's metadata of 2014 are Python's words, not JSON)" * ("'" in line[:8])
            raise RawError(
                f"{source} line {len(rows) + 1} is no JSON object{old}: {error}: {line[:80]!r}"
            ) from error
        if not isinstance(row, dict):
            raise RawError(f"{source} line {len(rows) + 1} is {line[:80]!r}; wanted a JSON object")
        rows.append(row)
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    first = tuple(tuple(str(row.get(name, "")) for name in names) for row in rows)
    roles = {} if items else _published(names)
    title = _title(roles) or FORMATS["jsonl"]
    return Layout("jsonl", title, names, roles=roles, first=first)


def _published(names: Sequence[str]) -> dict[str, str]:
    """{role: column} of a format whose columns are known by name."""
    for roles in (AMAZON_2018, AMAZON_2023, MOVIELENS):
        if set(roles.values()) <= set(names):
            return roles
    if set(MMREC.values()) <= set(names):
        return MMREC | dict(_mmrec_more(names))
    return {}


def _mmrec_more(names):
    return [
        (role, name)
        for role, name in (("rating", "rating"), ("time", "timestamp"))
        if name in names
    ]


def _title(roles):
    known = {"reviewerID": "amazon2018", "userId": "movielens", "userID": "mmrec"}
    if roles.get("item") == "parent_asin":
        return FORMATS["amazon2023"]
    name = known.get(roles.get("user"))
    return name and FORMATS[name]


def _of_text(source, lines, said, encoding, items):
    separator = _separator(source, lines, said)
    quotes = said.quotes
    if quotes is None:
        quotes = (
            separator not in ("::", "|")
            and source.name != "u.data"
            and source.suffix
            not in (
                ".inter",
                ".item",
            )
        )
    rows = _cut(lines, separator, quotes)
    header = said.header
    if header is None:
        header = _has_header(source, rows, said, items)
    names = tuple(rows[0]) if header else tuple(map(str, range(1, len(rows[0]) + 1)))
    if len(set(names)) < len(names):
        again = next(name for name in names if names.count(name) > 1)
        raise RawError(f"{source}: the header has the column '{again}' twice; rename one")
    first = tuple(map(tuple, rows[header : header + SHOWN]))
    layout = Layout(
        *("delimited", _text_title(separator), names, separator, quotes, header, encoding),
        first=first,
    )
    return _published_text(source, layout, said, items)


def _text_title(separator):
    shown = {"\t": "TAB", " ": "blank"}.get(separator, f"'{separator}'")
    return f"text with {shown} between its columns"


def _published_text(source, layout, said, items):
    """The layout with the roles and the title of the published format that it has."""
    names, title, roles = layout.names, layout.title, {}
    if layout.header and all(":" in name for name in names):
        title = FORMATS["recbole"]
    elif said.format == "recbole":
        raise RawError(f"{source}: RecBole's header is name:type, this is {'|'.join(names)[:80]!r}")
    elif not items:
        roles = _published(names)
        title = _title(roles) or title
        if not layout.header and _is_movielens(source, layout, said):
            title, roles = FORMATS["movielens"], BY_PLACE
        elif not layout.header and said.format == "amazon2018":
            # ratings only: item, user, rating, seconds
            title = FORMATS["amazon2018"]
            roles = BY_PLACE | {"user": "2", "item": "1"}
    return Layout(**{**vars(layout), "title": title, "roles": roles})


def _is_movielens(source, layout, said):
    if len(layout.names) != 4:
        return False
    return said.format == "movielens" or layout.separator == "::" or source.name == "u.data"


def _cut(lines, separator, quotes):
    if len(separator) > 1 or not quotes:
        return [line.split(separator) for line in lines]
    return list(csv.reader(io.StringIO("\n".join(lines)), delimiter=separator))


def _separator(source, lines, said):
    """What stands between the columns."""
    if said.separator is not None:
        return NAMED_SEPARATORS.get(said.separator, said.separator)
    counts = {}
    some = lines[:20]
    for separator in CANDIDATES:
        cuts = [len(row) for row in _cut(some, separator, separator not in ("::", " "))]
        if cuts and min(cuts) == max(cuts) > 1:
            counts[separator] = cuts[0]
    if "::" in counts:
        return "::"
    if len(counts) > 1:
        counts.pop(" ", None)  # a blank within texts
    if not counts:
        header = {s: len(_cut(some[:1], s, s not in ("::", " "))[0]) for s in CANDIDATES[:-1]}
        counts = {s: n for s, n in header.items() if n > 1}
    if len(counts) == 1:
        return next(iter(counts))
    first = "\n".join(f"  {line[:100]}" for line in lines[: SHOWN + 1])
    tie = f"{', '.join(map(repr, counts))} all fit" if counts else "none of the usual ones fits"
    raise AskError(
        f"{source}: what stands between the columns cannot be told ({tie}). Its first lines:\n"
        f"{first}\nSay --separator, such as --separator ';' or --separator tab"
    )


def _has_header(source, rows, said, items):
    """Whether the first row names the columns."""
    first = rows[0]
    if any(role_of(cell) for cell in first) or any(
        ":" in c and c.rpartition(":")[2] in (*("token", "float", "token_seq", "float_seq"),)
        for c in first
    ):
        return True
    wanted = [word.rpartition("=")[2] for word in said.columns]
    if any(word in first for word in wanted if not word.isdecimal()):
        return True
    if any(is_number(cell) for cell in first):
        return False
    if len(rows) > 1 and any(is_number(cell) for cell in rows[1]):
        return True
    if items and len(rows) > 1 and not any(word.isdecimal() for word in wanted):
        return not _is_old_movielens(source)
    shown = "\n".join("  " + " | ".join(cell[:40] for cell in row) for row in rows[: SHOWN + 1])
    raise AskError(
        f"{source}: whether the first line names the columns cannot be told:\n{shown}\n"
        "Say --header or --no-header"
    )


def columns_of(layout: Layout, source: object, said: Said) -> dict[str, str]:
    """{role: column} of a file of interactions. AskError where user or item cannot be told."""
    if said.columns:
        return _said_columns(layout, source, said.columns)
    if layout.kind == "pairs":
        return {}
    if layout.roles:
        return layout.roles
    found: dict[str, list[str]] = {}
    for name in layout.names:
        if role := role_of(name):
            found.setdefault(role, []).append(name)
    several = {role: names for role, names in found.items() if len(names) > 1}
    for role in several:
        # RecBole and others: user_id beside user is the id
        ids = [name for name in several[role] if plain_name(name) == f"{role}id"]
        if len(ids) == 1:
            found[role] = ids
    unclear = [role for role in ROLES if len(found.get(role, ())) > 1]
    absent = [role for role in ROLES[:2] if role not in found]
    if not unclear and not absent:
        return {role: names[0] for role, names in found.items()}
    what = f"which column is the {absent[0]}" if absent else f"which column is the {unclear[0]}"
    more = f" ({' or '.join(found[unclear[0]])})" if unclear and not absent else ""
    raise AskError(
        f"{source}: {what} cannot be told{more}. Its columns and first rows:\n{layout.shown()}\n"
        "Say --columns USER,ITEM[,RATING[,TIME]] with the columns' names"
        + ("" if layout.header else " or places from 1")
        + ", '-' for one that is absent; or role=column: --columns user=...,item=...,time=..."
    )


def _said_columns(layout, source, words):
    roles = {}
    if any("=" in word for word in words):
        for word in words:
            role, equals, name = word.partition("=")
            if not equals or role not in (*ROLES, "label"):
                raise UserError(
                    f"--columns has '{word}'; wanted role=column with a role of "
                    f"{', '.join((*ROLES, 'label'))}.{nearest(role, ROLES)}"
                )
            roles[role] = name
    else:
        if not 2 <= len(words) <= len(ROLES):
            raise UserError(
                f"--columns names {counted(len(words), 'column')}; wanted user, item, and if there "
                "are any rating and time"
            )
        roles = {role: name for role, name in zip(ROLES, words, strict=False) if name != "-"}
        if len(words) == 3 and role_of(words[2]) == "time":
            roles["time"] = roles.pop("rating")
    typed = {name.partition(":")[0]: name for name in layout.names if ":" in name}
    for role, name in roles.items():
        if name in layout.names:
            continue
        if name in typed:
            roles[role] = typed[name]
        elif layout.header is False or not name.isdecimal():
            raise UserError(
                f"--columns: {source} has no column '{name}'.{nearest(name, layout.names)} Its "
                f"columns and first rows:\n{layout.shown()}"
            )
        elif 1 <= int(name) <= len(layout.names):
            roles[role] = layout.names[int(name) - 1]
        else:
            raise UserError(
                f"--columns: {source} has {counted(len(layout.names), 'column')}, no column {name}"
            )
    for role in ROLES[:2]:
        if role not in roles:
            raise UserError(f"--columns names no {role} column; --columns user=...,item=...")
    if len(set(roles.values())) < len(roles):
        raise UserError(f"--columns gives one column two roles: {roles}")
    return roles


def split_words(text: str | Sequence[str] | None) -> tuple[str, ...]:
    """The words of an option with commas between."""
    if text is None:
        return ()
    words = text.split(",") if isinstance(text, str) else list(text)
    return tuple(word.strip() for word in words if word.strip())
