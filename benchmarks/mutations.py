"""Small damages and odd values for campaign.py: drawn from a seed, applied to bytes.

An edit is a list [name, argument, ...] of JSON values. A drawer takes a random generator and the
content and returns a list of edits. A judge says of content before and after whether it is still
what a user may mean: then other numbers are right. Judges share no code with what they judge.
"""

import io
import json
import random
import re
import zipfile
from collections.abc import Callable, Iterator

import numpy as np
import torch
import yaml

Edit = list
Drawer = Callable[[random.Random, bytes], list[Edit]]
Judge = Callable[[bytes, bytes], bool]

BOMB = "&a [x,x,x,x,x,x,x,x,x]" + "".join(
    f", &{new} [{','.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)
RAW = (  # texts that stand in a yaml as they are, and after --key=
    *("!!int ''", "!!bool x", "!!python/name:os.getcwd ''", "&a [*a]", f"[{BOMB}]", "[" * 1000),
    *("1" * 401, "010", "1:30", "1e3", "1e400", "-1e-400", ".nan", "2024-11-30", "off", "null"),
    *("None", "", " ", "'", "{a: b", "*x", "a: b: c", "<<: 1", "W #x", "%x", "é", "x" * 300, "x/y"),
    *("9223372036854775807", "9223372036854775808", "-1", "0", "1", "2", "0.5", "-0.0", "1e-3"),
    *("[]", "{}", "[1]", "[1, a]", "[[1]]", "{a: 1}", "[0.1, 0.2]", "true", "[null]", "True,False"),
)
ODD = (  # JSON values
    *(None, True, False, 0, 1, -1, 7, 0.5, 1e308, float("nan"), float("inf"), 2**63, 10**400),
    *("", " ", "a", "7", "x" * 300, "\0", "é", [], [1], [[]], [None], ["a"], {}, {"a": 1}),
)
FIELDS = (  # of tables
    *("", " ", '"', '"a', "a", "-1", "0", "1.5", "1e3", "007", "nan", "NA", "3", "59", "60"),
    *("9223372036854775807", "1" * 401, "\0", "é", "True", "1 ", "#"),
)
ROWS = (
    *("field", "field", "field", "more", "fewer", "joined", "again", "blank", "trailing", "index"),
    *("moved", "unread", "unread", "gone", "none"),
)


def flip(content: bytes, at: int, bit: int) -> bytes:
    """One bit is the other."""
    return (
        content[:at] + bytes(byte ^ 1 << bit for byte in content[at : at + 1]) + content[at + 1 :]
    )


def put(content: bytes, at: int, length: int, text: str) -> bytes:
    """`length` bytes give way to a text (latin-1)."""
    return content[:at] + text.encode("latin-1") + content[at + length :]


def zeros(content: bytes, at: int, length: int) -> bytes:
    """Zeros instead, as after a power cut."""
    return content[:at] + bytes(len(content[at : at + length])) + content[at + length :]


def recoded(content: bytes, name: str) -> bytes:
    """A text in another encoding, or with other line ends."""
    text = content.decode("utf-8", "replace")
    return text.replace("\n", "\r\n").encode() if name == "crlf" else text.encode(name, "replace")


def draw_bytes(rng: random.Random, content: bytes) -> list[Edit]:
    kind, size = rng.choice(("flip", "flip", "flips", "cut", "zeros", "drop", "put")), len(content)
    at, length = rng.randrange(max(size, 1)), rng.choice((1, 64, 4096))
    text = rng.choice(("\0", '"', "\n", "\xff", "{", "PK\x03\x04", "x" * 100, "\0" * 4096))
    many = rng.randint(2, 20) if kind == "flips" else 1
    if "flip" in kind:
        return [["flip", rng.randrange(max(size, 1)), rng.randrange(8)] for _ in range(many)]
    return {
        "cut": [["put", rng.choice((0, at)), size, ""]],
        "zeros": [["zeros", at, rng.choice((length, size))]],
        "drop": [["put", at, length, ""]],
        "put": [["put", rng.choice((at, size)), 0, text]],
    }[kind]


def draw_text(rng: random.Random, content: bytes) -> list[Edit]:
    """Bytes, or the whole in another encoding."""
    if rng.random() < 0.1:
        return [["recoded", rng.choice(("utf-16", "utf-8-sig", "cp1252", "crlf"))]]
    return draw_bytes(rng, content)


def _separator(content):
    return "\t" if b"\t" in content.partition(b"\n")[0] else ","


def rows(content: bytes, how: str, line: int, column: int, text: str) -> bytes:
    """A change of one line (0: the header), or of a column in all lines; how: one of ROWS."""
    cut = _separator(content)
    table = [row.split(cut) for row in content.decode("utf-8", "surrogateescape").split("\n")]
    line, column = line % max(len(table) - 1, 1), column % len(table[0])
    if how == "field":
        table[line][column % len(table[line])] = text
    elif how == "more":
        table[line].append(text)
    elif how == "fewer":
        table[line].pop()
    elif how == "joined":
        table[line] += table.pop(line + 1) if line + 1 < len(table) else []
    elif how in ("again", "blank"):
        table.insert(line, list(table[line]) if how == "again" else [""])
    elif how == "moved":  # the header's column, not the rows'
        table[0].append(table[0].pop(column))
    elif how == "gone":
        table = [row[:column] + row[column + 1 :] for row in table]
    elif how == "none":
        del table[1:]
    for number, row in enumerate(table[:-1]):
        if how == "trailing" and number:  # every row but the header ends with the separator
            row.append("")
        elif how == "index":  # as of a data frame written with its index
            row.insert(0, str(number) * (number > 0))
        elif how == "unread":  # a further column with a name, of odd texts
            row.append("note" if not number else text if number == line else "x")
    return "\n".join(map(cut.join, table)).encode("utf-8", "surrogateescape")


def draw_rows(rng: random.Random, content: bytes) -> list[Edit]:
    if rng.random() < 0.3:
        return draw_text(rng, content)
    how, top = rng.choice(ROWS), content.count(b"\n") + 1
    many = rng.choice((1, 1, 2, 5)) if how in ("field", "more", "fewer", "joined", "again") else 1
    text = rng.choice(FIELDS)
    return [["rows", how, rng.randrange(top), rng.randrange(9), text] for _ in range(many)]


def _read_tree(content):
    try:
        return json.loads(content), True
    except ValueError:
        return yaml.safe_load(content), False


def _nodes(tree, path=()) -> Iterator[list]:
    """Paths of all that is inside dicts and lists."""
    many = tree.items() if isinstance(tree, dict) else ()
    for key, value in enumerate(tree) if isinstance(tree, list) else many:
        yield [*path, key]
        yield from _nodes(value, (*path, key))


def tree(content: bytes, how: str, path: list, value: object) -> bytes:
    """In JSON or yaml the value at a path is another (set; raw: a text that stands there as it is),
    has another name (rename) or is gone (drop). Content that cannot be read stays.
    """
    try:
        top, is_json = _read_tree(content)
        top = inner = [top]
        for key in path[:-1]:
            inner = inner[key]
        old = inner.pop(path[-1])
        if how == "rename":
            inner[value] = old
        elif how != "drop":
            new = "RAWTEXT" if how == "raw" else value
            inner.insert(path[-1], new) if isinstance(inner, list) else inner.update(
                {path[-1]: new}
            )
    except Exception:  # an earlier edit broke it: too deep, no such path, no yaml
        return content
    (top,) = top or [None]
    text = json.dumps(top, indent=2) if is_json else yaml.safe_dump(top, sort_keys=False)
    if how == "raw":
        text = text.replace('"RAWTEXT"' if is_json else "RAWTEXT", value)
    return text.encode()


def misspelt(rng: random.Random, word: str) -> str:
    """The word with a letter less or one more."""
    at = rng.randrange(max(len(word) - 1, 1))
    return rng.choice((word[:at] + word[at + 1 :], word[:at] + "x" + word[at:], word + "s"))


def draw_tree(rng: random.Random, content: bytes) -> list[Edit]:
    if rng.random() < 0.3:
        return draw_text(rng, content)
    paths, edits = list(_nodes([_read_tree(content)[0]])), []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path, how = rng.choice(paths), rng.choice(("set", "set", "raw", "rename", "drop"))
        how = "set" if how == "rename" and not isinstance(path[-1], str) else how
        value = {"set": rng.choice(ODD), "raw": rng.choice(RAW), "drop": None}.get(how)
        edits.append(["tree", how, path, misspelt(rng, path[-1]) if how == "rename" else value])
    return edits


def _filled(array, value):
    array.reshape(-1)[:1] = value
    return array


ARRAYS = {  # changes of an array
    "text": lambda array: array.astype(str),
    "flat": lambda array: array.reshape(-1),
    "more": lambda array: np.concatenate([array, array]) if array.ndim else array.reshape(1),
    "fewer": lambda array: array[:-1] if array.ndim else array,
    "none": lambda array: array[:0] if array.ndim else array,
    "nan": lambda array: _filled(array.astype(np.float32), np.nan),
    "other": lambda array: _filled(array.copy(), 7) if array.dtype.kind in "fiu" else array,
    "turned": lambda array: array.T,
    "small": lambda array: array.astype(np.int8) if array.dtype.kind in "fiu" else array,
    "complex": lambda array: array.astype(np.complex64) if array.dtype.kind in "fiu" else array,
}


def array(content: bytes, how: str) -> bytes:
    """A .npy whose array is changed as `how`, one of ARRAYS, says."""
    held = io.BytesIO()
    try:
        found = np.load(io.BytesIO(content), allow_pickle=False)
        np.save(held, ARRAYS[how](found), allow_pickle=False)
    except (ValueError, TypeError, EOFError):
        return content
    return held.getvalue()


def draw_array(rng: random.Random, content: bytes) -> list[Edit]:
    header = [["flip", rng.randrange(128), rng.randrange(8)]]
    changed = [["array", rng.choice(list(ARRAYS))]]
    return rng.choice((header, changed, draw_bytes(rng, content)))


def member(content: bytes, number: int, how: str) -> bytes:
    """A zip, whole and valid, in which one member is gone, renamed, empty, cut or, as an array,
    changed as one of ARRAYS says.
    """
    new = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(new, "w") as target:
            names = old.namelist()
            chosen = names[number % len(names)]
            for name in names:
                data = old.read(name)
                if name == chosen and how in ARRAYS:
                    data = array(data, how)
                elif name == chosen:
                    data = {"empty": b"", "cut": data[: len(data) // 2]}.get(how, data)
                    name = "other" if how == "renamed" else name
                if name != chosen or how != "gone":
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
    """A file of torch.save in which a node of the tree is gone or is another."""
    top = torch.load(io.BytesIO(content), weights_only=True)
    paths = list(_nodes(top))
    *path, last = paths[number % len(paths)]
    inner = top
    for key in path:
        inner = inner[key]
    if how == "gone":
        del inner[last]
    elif isinstance(inner[last], torch.Tensor) and how != "text":
        inner[last] = torch.from_numpy(np.array(ARRAYS[how](inner[last].numpy())))
    else:
        inner[last] = {"none": None, "flat": [], "text": "a", "more": {}}.get(how, -1)
    held = io.BytesIO()
    torch.save({} if how == "turned" and not path else top, held)
    return held.getvalue()


def draw_weights(rng: random.Random, content: bytes) -> list[Edit]:
    if rng.random() < 0.7:
        return draw_bytes(rng, content)
    return [["weights", rng.randrange(1000), rng.choice(("gone", *ARRAYS))]]


def words(content: bytes, key: str, value: str | None) -> bytes:
    """A command's words, one a line, with --key=value instead of, or beside, what is there."""
    lines = [line for line in content.decode().split("\n") if line.partition("=")[0] != f"--{key}"]
    new = f"--{key}" if value is None else f"--{key}={value}"
    return "\n".join([*lines, new.replace("\n", " ").replace("\0", "")]).encode()


EDITS = (flip, put, zeros, recoded, rows, tree, array, member, weights, words)


def apply(content: bytes, edits: list[Edit]) -> bytes:
    """The content after the edits, one after the other."""
    functions = {function.__name__: function for function in EDITS}
    for name, *arguments in edits:
        content = functions[name](content, *arguments)
    return content


def smaller(edits: list[Edit]) -> Iterator[list[Edit]]:
    """Simpler lists of edits to try: halves, one less, long texts cut in half."""
    if len(edits) > 1:
        yield from (edits[: len(edits) // 2], edits[len(edits) // 2 :])
        yield from (edits[:n] + edits[n + 1 :] for n in range(len(edits)))
    for n, (*start, text) in enumerate(edits):
        if isinstance(text, str) and len(text) > 8:
            yield [*edits[:n], [*start, text[: len(text) // 2]], *edits[n + 1 :]]


def always(before: bytes, after: bytes) -> bool:
    """Content without any redundancy: a change cannot be told from what is meant."""
    return True


def never(before: bytes, after: bytes) -> bool:
    """Files that we wrote and nobody edits: whatever differs is damage."""
    return False


def _table(content):
    """Header and rows, all as wide, of a plain table; None for anything else."""
    try:
        lines = content.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        return None
    table = [line.split(_separator(content)) for line in lines]
    plain = not any(sign in content for sign in b'"\0\r')
    fits = len(table) > 1 and len({len(row) for row in table}) == 1 and all(table[0])
    return table if fits and plain else None


def good_interactions(before: bytes, after: bytes) -> bool:
    """Rows as wide as the header, small ids, a label of a split, no pair twice."""
    table, wanted = _table(after), ("userID", "itemID", "x_label")
    if table is None or not set(wanted) <= set(table[0]):
        return False
    at = [table[0].index(name) for name in wanted]
    picked = [tuple(row[place] for place in at) for row in table[1:]]
    if not all(re.fullmatch(r"[0-9]{1,9}", field) for row in picked for field in row):
        return False
    pairs = {(int(user), int(item)) for user, item, _ in picked}
    return len(pairs) == len(picked) and all(int(row[2]) < 3 for row in picked)


def good_table(before: bytes, after: bytes) -> bool:
    """The header that was, rows as wide, and digits where a column had nothing else."""
    old, table = (_table(content.replace(b"\r\n", b"\n")) for content in (before, after))
    if table is None or table[0] != old[0]:
        return False
    numbers = [c for c in range(len(old[0])) if all(row[c].isdigit() for row in old[1:])]
    return all(re.fullmatch("[0-9]+", row[c]) for row in table[1:] for c in numbers)


def good_ids(before: bytes, after: bytes) -> bool:
    """The header that was and rows as wide: ids are any text."""
    old, table = _table(before), _table(after)
    return table is not None and table[0] == old[0]


def good_width(before: bytes, after: bytes) -> bool:
    """Rows as wide as they were, without a header: ids are any text."""
    old, table = _table(before), _table(after)
    return table is not None and len(table[0]) == len(old[0])


def good_lists(before: bytes, after: bytes) -> bool:
    """Lines of small whole numbers."""
    return re.fullmatch(rb"(([0-9]{1,9} *)*\n)+", after.rstrip(b"\n") + b"\n") is not None


def good_vectors(before: bytes, after: bytes) -> bool:
    """Rows as wide as the header, whose names but the first mean nothing, distinct ids first, which
    need not be known, and finite numbers.
    """
    old, table = _table(before), _table(after)
    like = table is not None and (table[0][0], len(table[0])) == (old[0][0], len(old[0]))
    if not like or len({row[0] for row in table}) < len(table):
        return False
    number = r"-?[0-9]+(\.[0-9]+)?(e-?[0-9]{1,2})?"
    return all(row[0] and all(re.fullmatch(number, f) for f in row[1:]) for row in table[1:])


def good_array(before: bytes, after: bytes) -> bool:
    """Finite numbers, as many rows as there were, and not a byte more than the header says."""
    held = io.BytesIO(after)
    try:
        new, old = np.load(held, allow_pickle=False), np.load(io.BytesIO(before))
    except Exception:  # numpy's kinds are many
        return False
    fits = new.ndim == 2 and len(new) == len(old) and new.dtype.kind in "fiu" and not held.read()
    return bool(fits and np.isfinite(new).all())


def good_zip(before: bytes, after: bytes) -> bool:
    """A zip whose members are as their checksums say."""
    try:
        return zipfile.ZipFile(io.BytesIO(after)).testzip() is None
    except Exception:  # zipfile's kinds are many
        return False


def good_keys(known: set[str]) -> Judge:
    """Yaml whose top keys are all known."""

    def judge(before: bytes, after: bytes) -> bool:
        try:
            read = yaml.safe_load(after)
        except Exception:  # yaml's kinds are many
            return False
        return isinstance(read, dict) and all(isinstance(k, str) and k in known for k in read)

    return judge
