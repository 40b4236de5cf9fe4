"""Small damages and odd values for the campaign (campaign.py): drawn from a seed, applied to bytes.

An edit is a list [name, argument, ...] of JSON values; `apply` gives the content after a list of
edits. A drawer takes a random generator and the content and returns such a list. A judge says of
the edited content whether it is still what a user may mean: then other numbers are right. The
judges know the formats by themselves; they share no code with what they judge.
"""

import csv
import io
import json
import random
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator

import numpy as np
import torch
import yaml

Edit = list
Drawer = Callable[[random.Random, bytes], list[Edit]]
Judge = Callable[[bytes, bytes], bool]

BOMB = "[&a [x,x,x,x,x,x,x,x,x]" + "".join(
    f", &{new} [{','.join([f'*{old}'] * 9)}]"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
RAW = (  # texts that stand in a yaml as they are, and after --key=
    *("!!int ''", "!!bool x", "!!python/name:os.getcwd ''", "&a [*a]", BOMB + "]", "[" * 1000),
    *("1" * 401, "010", "0x10", "1_000", "1:30", "1e3", "1e400", "-1e-400", ".inf", ".nan", "nan"),
    *("2024-11-30", "off", "yes", "~", "null", "None", "", " ", "'", '"', "{a: b", "[1, [2", "*x"),
    *("a: b: c", "- a", "<<: 1", "W #x", "%x", "@", "`", "é", "x" * 300, "x/y", "=1+1", "-", "--"),
    *("9223372036854775807", "9223372036854775808", "-1", "0", "1", "2", "0.5", "-0.0", "1e-3"),
    *("[]", "{}", "[1]", "[1, a]", "[[1]]", "{a: 1}", "[0.1, 0.2]", "true", "[null]", "True,False"),
)
ODD = (  # JSON values
    *(None, True, False, 0, 1, -1, 7, 0.5, 1e308, float("nan"), float("inf"), 2**63, 10**400),
    *("", " ", "a", "7", "recall@20", "x" * 300, "\0", "é", [], [1], [[]], [None], ["a"], {}),
    *({"a": 1}, {"": None}),
)
FIELDS = (  # of tables
    *("", " ", '"', '"a', "a", "-1", "0", "1.0", "1.5", "1e3", "007", "nan", "NA", "3", "59", "60"),
    *("9223372036854775807", "9223372036854775808", "1" * 401, "\0", "é", "0x1", "True", "1 ", "#"),
)


def _spot(rng, content):
    return rng.randrange(max(len(content), 1))


# --- bytes ------------------------------------------------------------------------------------------


def flip(content: bytes, at: int, bit: int) -> bytes:
    """One bit is the other."""
    if at >= len(content):
        return content
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def put(content: bytes, at: int, length: int, text: str) -> bytes:
    """`length` bytes give way to a text (latin-1)."""
    return content[:at] + text.encode("latin-1") + content[at + length :]


def twice(content: bytes, at: int, length: int) -> bytes:
    """A piece stands there twice."""
    return content[: at + length] + content[at:]


def nothing(content: bytes, at: int, length: int) -> bytes:
    """Zeros, as after a power cut."""
    return content[:at] + bytes(len(content[at : at + length])) + content[at + length :]


def recoded(content: bytes, name: str) -> bytes:
    """A text in another encoding, or with other line ends."""
    text = content.decode("utf-8", "replace")
    return text.replace("\n", "\r\n").encode() if name == "crlf" else text.encode(name, "replace")


def draw_bytes(rng: random.Random, content: bytes) -> list[Edit]:
    kind = rng.choice(
        ("flip", "flip", "flip", "flips", "cut", "zeros", "drop", "twice", "put", "tail")
    )
    at, length = _spot(rng, content), rng.choice((1, 4, 64, 4096))
    return {
        "flip": [["flip", at, rng.randrange(8)]],
        "flips": [
            ["flip", _spot(rng, content), rng.randrange(8)] for _ in range(rng.randint(2, 20))
        ],
        "cut": [["put", rng.choice((0, at)), len(content), ""]],
        "zeros": [["nothing", at, rng.choice((length, len(content)))]],
        "drop": [["put", at, length, ""]],
        "twice": [["twice", at, length]],
        "put": [["put", at, 0, rng.choice(("\0", '"', "\n", "\xff", "{", "PK\x03\x04"))]],
        "tail": [["put", len(content), 0, rng.choice(("\0", "\n", "x" * 100, "\0" * 4096))]],
    }[kind]


def draw_text(rng: random.Random, content: bytes) -> list[Edit]:
    """Bytes, or the whole in another encoding."""
    if rng.random() < 0.1:
        return [["recoded", rng.choice(("utf-16", "utf-8-sig", "cp1252", "crlf"))]]
    return draw_bytes(rng, content)


# --- rows of a table --------------------------------------------------------------------------------


def _separator(content):
    return "\t" if b"\t" in content.partition(b"\n")[0] else ","


def rows(content: bytes, how: str, line: int = 0, column: int = 0, text: str = "") -> bytes:
    """A change of one line (0: the header), or of a column in all lines; how: one of ROWS."""
    cut = _separator(content)
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    table = [row.split(cut) for row in lines]
    line, column = line % max(len(table) - 1, 1), column % len(table[0])
    row = table[line]
    if how == "field":
        row[column % len(row)] = text
    elif how == "more":
        row.append(text)
    elif how == "fewer":
        row.pop()
    elif how == "joined":
        row += table.pop(line + 1)
    elif how == "again":
        table.insert(line, list(row))
    elif how == "blank":
        table.insert(line, [""])
    elif how == "trailing":  # every row but the header ends with the separator
        table[1:] = [other + [""] * (other != [""]) for other in table[1:]]
    elif how == "index":  # as of a data frame written with its index
        table = [
            [str(n) * (n > 0), *other] if other != [""] else other for n, other in enumerate(table)
        ]
    elif how == "moved":  # the header's column, not the rows'
        table[0].append(table[0].pop(column))
    elif how == "unread":  # a further column with a name, of odd texts
        table = [
            [*other, "note" if not n else text if n == line else "x"] if other != [""] else other
            for n, other in enumerate(table)
        ]
    elif how == "gone":
        table = [other[:column] + other[column + 1 :] for other in table]
    elif how == "separator":
        cut = text
    elif how == "none":
        del table[1:]
    return "\n".join(cut.join(other) for other in table).encode("utf-8", "surrogateescape")


ROWS = (
    *("field", "field", "field", "more", "fewer", "joined", "again", "blank", "trailing", "index"),
    *("moved", "unread", "unread", "gone", "separator", "none"),
)


def draw_rows(rng: random.Random, content: bytes) -> list[Edit]:
    how = rng.choice(ROWS)
    many = rng.choice((1, 1, 2, 5)) if how in ("field", "more", "fewer", "joined", "again") else 1
    text = rng.choice(";| \t" if how == "separator" else FIELDS)
    top = content.count(b"\n") + 1
    return [["rows", how, rng.randrange(top), rng.randrange(9), text] for _ in range(many)]


# --- yaml and json ----------------------------------------------------------------------------------


def _read_tree(content):
    try:
        return json.loads(content), "json"
    except ValueError:
        return yaml.safe_load(content), "yaml"


def _nodes(tree, path=()) -> Iterator[list]:
    inside = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, value in inside:
        yield [*path, key]
        yield from _nodes(value, (*path, key))


def tree(content: bytes, how: str, path: list, value: object = None) -> bytes:
    """A value at a path is another (set; raw: a text that stands there as it is), has another name
    (rename) or is gone (drop). Content that cannot be read stays.
    """
    try:
        top, form = _read_tree(content)
        inner = top
        for key in path[:-1]:
            inner = inner[key]
        old = inner.pop(path[-1]) if path else top
    except (ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        return content
    new = "RAWTEXT" if how == "raw" else old if how == "rename" else value
    if not path:
        top = new
    elif how == "rename":
        inner[value] = new
    elif how != "drop":
        inner.insert(path[-1], new) if isinstance(inner, list) else inner.update({path[-1]: new})
    text = json.dumps(top, indent=2) if form == "json" else yaml.safe_dump(top, sort_keys=False)
    return text.replace('"RAWTEXT"' if form == "json" else "RAWTEXT", str(value)).encode()


def draw_tree(rng: random.Random, content: bytes) -> list[Edit]:
    if rng.random() < 0.3:
        return draw_text(rng, content)
    top = _read_tree(content)[0]
    edits = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice([*_nodes(top), []])
        how = rng.choice(("set", "set", "raw", "rename", "drop"))
        if not path or how == "rename" and not isinstance(path[-1], str):
            how = "set"
        value = {"set": rng.choice(ODD), "raw": rng.choice(RAW), "drop": None}.get(how)
        edits.append(["tree", how, path, misspelt(rng, path[-1]) if how == "rename" else value])
    return edits


def misspelt(rng: random.Random, word: str) -> str:
    """The word with two letters changed places, one letter less, or one more."""
    at = rng.randrange(max(len(word) - 1, 1))
    return rng.choice((word[:at] + word[at + 1 :], word[:at] + "x" + word[at:], word + "s"))


# --- arrays, archives, weights ----------------------------------------------------------------------


def _changed(array, how):
    """An array of another shape or type, or with other values; how: one of ARRAYS."""
    array = np.array(array)
    if how == "text":
        return array.astype(str)
    if how == "flat":
        return array.reshape(-1)
    if how == "more":
        return np.concatenate([array, array]) if array.ndim else array.reshape(1)
    if how == "fewer":
        return array[:-1] if array.ndim else array
    if how == "none":
        return array[:0] if array.ndim else array
    if how == "nan":
        array = array.astype(np.float32)
        array.reshape(-1)[:1] = np.nan
        return array
    if how == "other":
        array.reshape(-1)[:1] = (
            array.reshape(-1)[:1] + 1 if array.dtype.kind in "fiu" else array[:1]
        )
        return array
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return array.T if how == "turned" else array.astype(how)


ARRAYS = (
    "text",
    "flat",
    "more",
    "fewer",
    "none",
    "nan",
    "other",
    "turned",
    "int8",
    ">f8",
    "c8",
    "?",
    "f2",
)


def _saved(array):
    held = io.BytesIO()
    np.save(held, array, allow_pickle=False)
    return held.getvalue()


def array(content: bytes, how: str) -> bytes:
    """A .npy whose array is changed as `how`, one of ARRAYS, says."""
    try:
        return _saved(_changed(np.load(io.BytesIO(content), allow_pickle=False), how))
    except (ValueError, TypeError, EOFError):
        return content


def draw_array(rng: random.Random, content: bytes) -> list[Edit]:
    if rng.random() < 0.6:
        head = [["flip", rng.randrange(min(128, len(content))), rng.randrange(8)]]
        return head if rng.random() < 0.3 else draw_bytes(rng, content)
    return [["array", rng.choice(ARRAYS)]]


def member(content: bytes, number: int, how: str) -> bytes:
    """A zip, whole and valid, in which one member is gone, renamed, empty, cut or, as an array,
    changed as one of ARRAYS says.
    """
    new = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(new, "w") as target:
            names = old.namelist()
            for name in names:
                data = old.read(name)
                if name == names[number % len(names)]:
                    if how == "gone":
                        continue
                    name = "other" if how == "renamed" else name
                    data = {"empty": b"", "cut": data[: len(data) // 2]}.get(how, data)
                    data = array(data, how) if how in ARRAYS else data
                target.writestr(name, data)
    except (ValueError, OSError, zipfile.BadZipFile):
        return content
    return new.getvalue()


def draw_zip(rng: random.Random, content: bytes) -> list[Edit]:
    if rng.random() < 0.6:
        return draw_bytes(rng, content)
    how = rng.choice(("gone", "renamed", "empty", "cut", *ARRAYS))
    return [["member", rng.randrange(9), how]]


def weights(content: bytes, number: int, how: str) -> bytes:
    """A file of torch.save in which a node of the tree is gone or has another kind, shape or
    value.
    """
    try:
        top = torch.load(io.BytesIO(content), weights_only=True)
    except Exception:  # an earlier edit broke it
        return content
    places = [path for path in _nodes(top)] or [[]]
    path = places[number % len(places)]
    inner = top
    for key in path[:-1]:
        inner = inner[key]
    old = inner[path[-1]]
    if how == "gone":
        del inner[path[-1]]
    elif isinstance(old, torch.Tensor) and how in ARRAYS and how not in ("text", ">f8"):
        inner[path[-1]] = torch.from_numpy(np.array(_changed(old.numpy(), how)))
    else:
        inner[path[-1]] = {"none": None, "flat": [], "text": "a", "more": {}}.get(how, -1)
    held = io.BytesIO()
    torch.save({} if how == "turned" and len(path) == 1 else top, held)
    return held.getvalue()


def draw_weights(rng: random.Random, content: bytes) -> list[Edit]:
    if rng.random() < 0.7:
        return draw_bytes(rng, content)
    return [["weights", rng.randrange(1000), rng.choice(("gone", *ARRAYS))]]


# --- words of a command -----------------------------------------------------------------------------


def words(content: bytes, key: str, value: str | None, sure: bool = True) -> bytes:
    """A command's words, one a line, with --key=value instead of, or beside, what is there."""
    lines = content.decode().split("\n")
    lines = [line for line in lines if line.partition("=")[0] != f"--{key}"]
    new = f"--{key}" if value is None else f"--{key}={value}"
    return "\n".join([*lines, new.replace("\n", " ").replace("\0", "")]).encode()


EDITS = {
    function.__name__: function
    for function in (flip, put, twice, nothing, recoded, rows, tree, array, member, weights, words)
}


def apply(content: bytes, edits: list[Edit]) -> bytes:
    """The content after the edits, one after the other."""
    for name, *arguments in edits:
        content = EDITS[name](content, *arguments)
    return content


def smaller(edits: list[Edit]) -> Iterator[list[Edit]]:
    """Simpler lists of edits to try: halves, one less, texts and lengths cut in half."""
    half = len(edits) // 2
    if half:
        yield edits[:half]
        yield edits[half:]
        for number in range(len(edits)):
            yield edits[:number] + edits[number + 1 :]
    for number, edit in enumerate(edits):
        for place, value in enumerate(edit[1:], 1):
            cut = value[: len(value) // 2] if isinstance(value, str) and len(value) > 8 else None
            if edit[0] == "nothing" and place == 2 and value > 1:
                cut = value // 2
            if cut is not None:
                yield [
                    *edits[:number],
                    [*edit[:place], cut, *edit[place + 1 :]],
                    *edits[number + 1 :],
                ]


# --- judges: is the edited content what a user may mean? --------------------------------------------


def never(before: bytes, after: bytes) -> bool:
    """Files that we wrote and nobody edits: whatever differs is damage."""
    return False


def always(before: bytes, after: bytes) -> bool:
    """Content without any redundancy: a change cannot be told from what is meant."""
    return True


def _table(content):
    """Header and rows of a table without quotes; None if it is none."""
    try:
        lines = content.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        return None
    if lines[-1] or any(c in content for c in (b'"', b"\0", b"\r", b"\xef\xbb\xbf")):
        return None
    table = [line.split(_separator(content)) for line in lines[:-1]]
    widths = {len(row) for row in table}
    return table if len(table) > 1 and len(widths) == 1 and all(table[0]) else None


def good_interactions(before: bytes, after: bytes) -> bool:
    """Rows as wide as the header, small ids, a label of a split, no pair twice."""
    table = _table(after)
    if table is None or not {"userID", "itemID", "x_label"} <= set(table[0]):
        return False
    at = [table[0].index(name) for name in ("userID", "itemID", "x_label")]
    picked = [[row[place] for place in at] for row in table[1:]]
    if not all(re.fullmatch(r"\d{1,9}", field) for row in picked for field in row):
        return False
    pairs = {(int(user), int(item)) for user, item, _ in picked}
    return len(pairs) == len(picked) and all(int(row[2]) < 3 for row in picked)


def good_table(before: bytes, after: bytes) -> bool:
    """The header that was, rows as wide, and digits where a column had nothing else."""
    first, table = next(csv.reader([before.decode().split("\n")[0]])), _table(after)
    if table is None or table[0] != first:
        return False
    old = list(csv.reader(io.StringIO(before.decode())))[1:]
    numbers = [c for c in range(len(first)) if all(row[c].isdigit() for row in old)]
    return all(row[c].isascii() and row[c].isdigit() for row in table[1:] for c in numbers)


def good_lines(before: bytes, after: bytes) -> bool:
    """A JSON object with user and item in each line."""
    try:
        found = [json.loads(line) for line in after.decode("utf-8").splitlines()]
    except ValueError:
        return False
    return all(isinstance(row, dict) and {"user", "item"} <= row.keys() for row in found)


def good_array(before: bytes, after: bytes) -> bool:
    """Finite numbers, as many rows as there were, and not a byte more than the header says."""
    try:
        held = io.BytesIO(after)
        new, old = (
            np.load(held, allow_pickle=False),
            np.load(io.BytesIO(before), allow_pickle=False),
        )
        rest = held.read()
    except Exception:
        return False
    fits = new.ndim == 2 and len(new) == len(old) and new.dtype.kind in "fiu" and not rest
    return bool(fits and np.isfinite(new).all())


def good_keys(known: set) -> Judge:
    """Yaml whose top keys are all known."""

    def judge(before: bytes, after: bytes) -> bool:
        try:
            read = yaml.safe_load(after)
        except (yaml.YAMLError, ValueError, RecursionError):
            return False
        return isinstance(read, dict) and all(isinstance(k, str) and k in known for k in read)

    return judge
