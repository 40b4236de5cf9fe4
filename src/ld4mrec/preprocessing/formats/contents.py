"""What a table of items says of them: the texts, and the order of its rows."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ld4mrec.errors import UserError, nearest
from ld4mrec.preprocessing.formats.layout import AskError, Layout, plain_name, role_of
from ld4mrec.preprocessing.formats.reading import blocks_of, texts_of
from ld4mrec.preprocessing.steps.raw import BadLines

# Columns that are taken as an item's text where the user names none, in this order.
TEXT_NAMES = (
    *("title", "name", "productname", "prodname", "itemname", "movietitle", "brand", "store"),
    *("category", "categories", "genre", "genres", "class", "description", "features", "text"),
)
PLACES_OF_MOVIES = {"movies.dat": ("1", ("2", "3")), "u.item": ("1", ("2",))}


@dataclass
class Contents:
    """texts: {item id: text}, '' where there is none; order: item ids in the order of the rows.

    fields: the columns that make the text. repeated: rows of an item that came before.
    """

    texts: dict[str, str]
    order: list[str]
    fields: tuple[str, ...]
    bad: BadLines
    records: list[dict]
    repeated: int


def item_column(layout: Layout, source: object, said: str | None, like: str | None) -> str:
    """The column of the items' ids. like: its name in the interactions. AskError if unclear."""
    names = layout.names
    if said is not None:
        return _named(layout, source, said, "--item-id")
    if like in names:
        return like
    if source_name(source) in PLACES_OF_MOVIES and not layout.header:
        return PLACES_OF_MOVIES[source_name(source)][0]
    found = [name for name in names if role_of(name) == "item"]
    plain = [name for name in names if like and plain_name(name) == plain_name(like)]
    for some in (plain, found):
        if len(some) == 1:
            return some[0]
    if "parent_asin" in found:
        return "parent_asin"
    if len(names) == 2 and not found:
        return names[0]
    what = "has several" if found else "has no"
    raise AskError(
        f"{source} {what} column that looks like the item's id. Its columns and first rows:\n"
        f"{layout.shown()}\nSay --item-id COLUMN"
    )


def text_columns(
    layout: Layout, source: object, said: tuple[str, ...], item: str
) -> tuple[str, ...]:
    """The columns that make an item's text. AskError where none is named or known."""
    if said:
        return tuple(_named(layout, source, word, "--text-fields") for word in said)
    if source_name(source) in PLACES_OF_MOVIES and not layout.header:
        return PLACES_OF_MOVIES[source_name(source)][1]
    known = {plain_name(name): name for name in layout.names if name != item}
    found = tuple(known[plain] for plain in TEXT_NAMES if plain in known)
    others = [name for name in layout.names if name != item]
    if not found and len(others) == 1:
        found = tuple(others)
    if found:
        return found
    raise AskError(
        f"{source}: which columns make an item's text cannot be told. Its columns and first rows:\n"
        f"{layout.shown()}\nSay --text-fields A,B,... or, for none, --text-encoder none"
    )


def source_name(source: object) -> str:
    """A file's name; of a DataFrame none."""
    return source.name if isinstance(source, Path) else ""


def _named(layout, source, word, option):
    """The column that a word names, also without the type of a RecBole header."""
    if word in layout.names:
        return word
    for name in layout.names:
        if name.partition(":")[0] == word:
            return name
    raise UserError(
        f"{option}: {source} has no column '{word}'.{nearest(word, layout.names)} Its columns and "
        f"first rows:\n{layout.shown()}"
    )


def read_contents(
    source: Path | pd.DataFrame,
    layout: Layout,
    item: str,
    fields: tuple[str, ...],
    max_bad_lines: float,
) -> Contents:
    """Each item's fields that are not empty, joined by '. '; the first row of an item counts."""
    name = "the DataFrame of items" if isinstance(source, pd.DataFrame) else str(source)
    bad = BadLines(name, f"{item}, {', '.join(fields)}", max_bad_lines)
    texts: dict[str, str] = {}
    order, records, repeated = [], [], 0
    columns = {"item": item} | {f"text {place}": field for place, field in enumerate(fields)}
    for block in blocks_of(source, layout, columns, bad, records):
        ids, *parts = (texts_of(column) for column in block.values())
        for item_id, *values in zip(ids, *parts, strict=True):
            if not item_id:
                bad.add("no item id", [0], [b""])
            elif item_id in texts:
                repeated += 1
            else:
                clean = (" ".join(value.split()) for value in values)
                texts[item_id] = ". ".join(value for value in clean if value)
                order.append(item_id)
    return Contents(texts, order, fields, bad, records, repeated)
