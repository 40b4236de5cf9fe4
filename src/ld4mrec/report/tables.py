"""Tables of a report: numbers, what belongs to them, and how they print.

A cell keeps its number unrounded. It is rounded where it is printed, once for all forms (Markdown,
LaTeX, HTML, figures); the CSV has it as it is.
"""

import csv
import io
import math
import numbers
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain, compress, count, product
from string import ascii_lowercase
from typing import Any

from ld4mrec.errors import counted, nearest

BEST, SECOND = "best", "second"
MINUS, MISSING = "\N{MINUS SIGN}", "\N{EN DASH}"
CSV_COLUMNS = ("table", "row", "column", "value", "spread", "low", "high", "mark", "note")


@dataclass(frozen=True)
class Cell:
    """A number or a text in a table.

    value: None if it could not be had; then `note`, a footnote, says why. spread: its standard
    deviation over seeds. interval: of confidence. mark: BEST or SECOND. format: Python's format
    specification of the number, or "p": a p-value, never printed as 0.000. ValueError for what is
    none of this.
    """

    value: float | str | None
    spread: float | None = None
    interval: tuple[float, float] | None = None
    mark: str | None = None
    format: str = ".4f"
    note: str | None = None

    def __post_init__(self) -> None:
        if self.value is None and not self.note:
            raise ValueError("a cell without a value needs a note that says why")
        if self.mark not in (None, BEST, SECOND):
            raise ValueError(f"a cell's mark is {BEST!r}, {SECOND!r} or None, got {self.mark!r}")
        number = self.value is not None and not isinstance(self.value, str)
        if not number and (self.spread is not None or self.interval is not None or self.mark):
            raise ValueError(f"only a number has spread, interval or mark, got {self.value!r}")
        if number:
            object.__setattr__(self, "value", _number(self.value))
        if self.spread is not None:
            object.__setattr__(self, "spread", _number(self.spread))
            if self.spread < 0:
                raise ValueError(f"a spread is not negative, got {self.spread}")
        if self.interval is not None:
            low, high = map(_number, self.interval)
            object.__setattr__(self, "interval", (low, high))
            if low > high:
                raise ValueError(f"an interval is (low, high), got {self.interval}")
        try:
            _ = self.text, self.spread_text, self.interval_text
        except ValueError as error:
            raise ValueError(f"format {self.format!r} does not print {self.value!r}") from error

    @property
    def is_number(self) -> bool:
        return isinstance(self.value, int | float)

    @property
    def text(self) -> str:
        """The value as printed; a dash where there is none."""
        if self.value is None:
            return MISSING
        return self._printed(self.value, self.format) if self.is_number else self.value

    @property
    def spread_text(self) -> str:
        """'± 0.0018', or nothing."""
        if self.spread is None:
            return ""
        return f"± {self._printed(self.spread, self.format.replace('+', ''))}"

    @property
    def interval_text(self) -> str:
        """'[0.0101, 0.0145]', or nothing."""
        if self.interval is None:
            return ""
        low, high = (self._printed(end, self.format) for end in self.interval)
        return f"[{low}, {high}]"

    @property
    def words(self) -> str:
        """All of it that is printed: '0.0123 ± 0.0018'."""
        return " ".join(filter(None, (self.text, self.spread_text, self.interval_text)))

    @property
    def reach(self) -> tuple[float, float]:
        """The number less its spread, and with it."""
        spread = self.spread or 0
        return self.value - spread, self.value + spread

    @staticmethod
    def _printed(number: float, form: str) -> str:
        if form == "p":
            return "<0.001" if number < 0.001 else f"{number:.3f}"
        text = format(number, form)
        if not re.search("[1-9]", text):  # nothing is left of the sign: no -0.0000
            text = text.lstrip("+-")
        return text.replace("-", MINUS)


def _number(value: Any) -> float:
    """A number of Python's or NumPy's as Python's int or float."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError(f"a cell wants a finite number, a text, or None with a note; got {value!r}")


@dataclass(frozen=True)
class Table:
    """Rows, (label, cells) each, under named columns.

    name: of lower-case letters, digits and hyphens; the place in the page and the CSV's key.
    notes: sentences below. row_title: what a row is. ValueError for equal names, and for rows that
    are not as long as the columns are many.
    """

    name: str
    title: str
    columns: Iterable[str]
    rows: Iterable[tuple[str, Iterable[Cell]]]  # kept as tuples, like columns and notes
    notes: Iterable[str] = ()
    row_title: str = "model"

    def __post_init__(self) -> None:
        check_name(self.name)
        rows = tuple((label, tuple(cells)) for label, cells in self.rows)
        for field, value in (("columns", self.columns), ("rows", rows), ("notes", self.notes)):
            object.__setattr__(self, field, tuple(value))
        for kind, words in (("columns", self.columns), ("rows", self.labels)):
            if not words or len(set(words)) < len(words):
                raise ValueError(f"table {self.name!r} wants {kind} of different names: {words}")
        for label, cells in rows:
            if len(cells) != len(self.columns):
                raise ValueError(
                    f"table {self.name!r}, row {label!r}: {counted(len(cells), 'cell')} for "
                    f"{counted(len(self.columns), 'column')}"
                )

    @property
    def labels(self) -> list[str]:
        """Of the rows."""
        return [label for label, _ in self.rows]

    def column(self, name: str) -> dict[str, Cell]:
        """{row label: cell} of a column; ValueError naming the nearest where there is none."""
        if name not in self.columns:
            raise ValueError(
                f"table {self.name!r} has no column {name!r}.{nearest(name, self.columns)}"
            )
        at = self.columns.index(name)
        return {label: cells[at] for label, cells in self.rows}

    def lines(self) -> list[tuple[str, list[tuple[str, Cell]]]]:
        """(row label, [(column, cell), ...]) of every row."""
        return [(label, list(zip(self.columns, cells, strict=True))) for label, cells in self.rows]

    def is_numeric(self, name: str) -> bool:
        """Whether a column holds a number: then it is set flush right."""
        return any(cell.is_number for cell in self.column(name).values())

    def numeric(self, columns: Iterable[str]) -> tuple[str, ...]:
        """Those of the columns that hold a number."""
        return tuple(filter(self.is_numeric, columns))

    def marked(self, larger: Iterable[str], smaller: Iterable[str] = ()) -> "Table":
        """The table with best and second marked in columns where larger, or smaller, is better."""
        marked = {name: mark_best(self.column(name).values()) for name in larger}
        marked |= {name: mark_best(self.column(name).values(), False) for name in smaller}
        rows = [
            (label, [marked[name][at] if name in marked else cell for name, cell in cells])
            for at, (label, cells) in enumerate(self.lines())
        ]
        return replace(self, rows=rows)

    def spread_room(self, name: str, cell: Cell) -> str:
        """What a column's longest spread has and this cell's has not: it aligns them, unseen."""
        longest = max((other.spread_text for other in self.column(name).values()), key=len)
        missing = len(longest) - len(cell.spread_text)
        return longest[2 : 2 + missing] if cell.spread_text else longest

    def footnotes(self) -> dict[str, str]:
        """{note of a cell: its letter}, in the order of the cells; one letter for equal notes."""
        notes = dict.fromkeys(cell.note for cell in self._cells() if cell.note)
        words = (product(ascii_lowercase, repeat=length) for length in count(1))  # a, ..., z, aa
        return dict(zip(notes, map("".join, chain.from_iterable(words)), strict=False))

    def legend(self, second: str = "underlined") -> str:
        """What marks and ± mean, as a sentence; empty where there are none."""
        shown = {cell.mark for cell in self._cells()}
        forms = (("bold", BEST), (second, SECOND))
        parts = [f"{form}: {mark}" for form, mark in forms if mark in shown]
        if any(cell.spread is not None for cell in self._cells()):
            parts.append("±: standard deviation over seeds")
        text = "; ".join(parts)
        return text and f"{text[0].upper()}{text[1:]}."

    def _cells(self) -> list[Cell]:
        return [cell for _, cells in self.rows for cell in cells]


def check_name(name: str) -> None:
    """ValueError for what cannot be a file's name and a place in a page."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ValueError(f"a name is of lower-case letters, digits and hyphens, got {name!r}")


def slug(text: str) -> str:
    """A text as such a name."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return name if name[:1].isalpha() else f"d-{name}".rstrip("-")


def mark_best(cells: Iterable[Cell], larger_is_better: bool = True) -> tuple[Cell, ...]:
    """The cells, the best number and the second marked.

    What prints alike is marked alike; two firsts leave no second, and numbers that are all alike
    have no best. Unmarked stays a number with a note (fewer seeds, say) beside ones without.
    """
    cells = tuple(cells)
    ranks = [cell.is_number and not cell.note for cell in cells]
    if not any(ranks):
        ranks = [cell.is_number for cell in cells]
    ranked_cells = list(compress(cells, ranks))
    values = {cell.text: cell.value for cell in ranked_cells}
    ranked = sorted(values, key=values.get, reverse=larger_is_better)
    marks = {}
    if len(ranked) > 1:
        marks[ranked[0]] = BEST
        if sum(cell.text == ranked[0] for cell in ranked_cells) == 1:
            marks[ranked[1]] = SECOND
    return tuple(
        replace(cell, mark=marks.get(cell.text) if among else None)
        for cell, among in zip(cells, ranks, strict=True)
    )


def to_csv(tables: Iterable[Table]) -> str:
    """All tables in one long form, CSV_COLUMNS: a line per cell, numbers unrounded."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for table in tables:
        for label, cells in table.lines():
            for name, cell in cells:
                four = (cell.value, cell.spread, *(cell.interval or (None, None)))
                writer.writerow((table.name, label, name, *four, cell.mark, cell.note))
    return text.getvalue()
