"""Tables of a report: numbers, what belongs to them, and how they print.

A cell keeps its number unrounded. It is rounded where it is printed, once for all forms (Markdown,
LaTeX, HTML, figures); the CSV has it as it is.
"""

import csv
import io
import math
import numbers
import re
from dataclasses import dataclass, replace
from itertools import compress, count, product
from string import ascii_lowercase

from ld4mrec.errors import nearest

BEST, SECOND = "best", "second"
MINUS, MISSING = "\N{MINUS SIGN}", "\N{EN DASH}"
CSV_COLUMNS = ("table", "row", "column", "value", "spread", "low", "high", "mark", "note")


@dataclass(frozen=True)
class Cell:
    """A number or a text in a table.

    value: None if it could not be had; then `note` says why. spread: its standard deviation over
    seeds. interval: (low, high), of confidence. mark: BEST or SECOND, see `mark_best`.
    format: Python's format specification of the number ("+.4f", ",.0f", ".1%"), or "p": a
    p-value, never printed as 0.000. note: a sentence, printed as a footnote.
    """

    value: float | str | None
    spread: float | None = None
    interval: tuple[float, float] | None = None
    mark: str | None = None
    format: str = ".4f"
    note: str | None = None

    def __post_init__(self):
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
    def is_number(self):
        return isinstance(self.value, int | float)

    @property
    def text(self):
        """The value as printed; a dash where there is none."""
        if self.value is None:
            return MISSING
        return self._printed(self.value, self.format) if self.is_number else self.value

    @property
    def spread_text(self):
        """'± 0.0018', or nothing."""
        if self.spread is None:
            return ""
        return f"± {self._printed(self.spread, self.format.replace('+', ''))}"

    @property
    def interval_text(self):
        """'[0.0101, 0.0145]', or nothing."""
        if self.interval is None:
            return ""
        low, high = (self._printed(end, self.format) for end in self.interval)
        return f"[{low}, {high}]"

    @staticmethod
    def _printed(number, form):
        if form == "p":
            return "<0.001" if number < 0.001 else f"{number:.3f}"
        text = format(number, form)
        if not re.search("[1-9]", text):  # nothing is left of the sign: no -0.0000
            text = text.lstrip("+-")
        return text.replace("-", MINUS)


def _number(value):
    """A number of Python's or NumPy's as Python's int or float."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError(f"a cell wants a finite number, a text, or None with a note; got {value!r}")


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns.

    name: of lower-case letters, digits and hyphens; the place in the page and the CSV's key.
    rows: (label, cells) each. notes: sentences below. row_title: what a row is.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    notes: tuple[str, ...] = ()
    row_title: str = "model"

    def __post_init__(self):
        check_name(self.name)
        rows = tuple((label, tuple(cells)) for label, cells in self.rows)
        for field, value in (("columns", self.columns), ("rows", rows), ("notes", self.notes)):
            object.__setattr__(self, field, tuple(value))
        for kind, words in (("columns", self.columns), ("rows", [label for label, _ in rows])):
            if not words or len(set(words)) < len(words):
                raise ValueError(f"table {self.name!r} wants {kind} of different names: {words}")
        for label, cells in rows:
            if len(cells) != len(self.columns):
                raise ValueError(
                    f"table {self.name!r}, row {label!r}: {len(cells)} cells for "
                    f"{len(self.columns)} columns"
                )

    def column(self, name):
        """{row label: cell} of a column."""
        if name not in self.columns:
            raise ValueError(
                f"table {self.name!r} has no column {name!r}.{nearest(name, self.columns)}"
            )
        at = self.columns.index(name)
        return {label: cells[at] for label, cells in self.rows}

    def lines(self):
        """(row label, [(column, cell), ...]) of every row."""
        return [(label, list(zip(self.columns, cells, strict=True))) for label, cells in self.rows]

    def is_numeric(self, name):
        """Whether a column holds a number: then it is set flush right."""
        return any(cell.is_number for cell in self.column(name).values())

    def marked(self, larger_is_better):
        """The table with best and second marked in columns: {column: whether larger is better}."""
        marked = {
            name: mark_best(self.column(name).values(), larger)
            for name, larger in larger_is_better.items()
        }
        rows = tuple(
            (label, tuple(marked[name][at] if name in marked else cell for name, cell in cells))
            for at, (label, cells) in enumerate(self.lines())
        )
        return replace(self, rows=rows)

    def spread_room(self, name, cell):
        """What the longest spread of a column has and this cell's has not: set unseen, behind a ±
        if there is one, it keeps the column's numbers in line.
        """
        longest = max((one.spread_text for one in self.column(name).values()), key=len)
        missing = len(longest) - len(cell.spread_text)
        return longest[2 : 2 + missing] if cell.spread_text else longest

    def footnotes(self):
        """{note of a cell: its letter}, in the order of the cells; one letter for equal notes."""
        notes = dict.fromkeys(cell.note for cell in self._cells() if cell.note)
        return dict(zip(notes, _letters(), strict=False))

    def legend(self, best="bold", second="underlined"):
        """What marks and ± mean, as a sentence; empty where there are none."""
        shown = {cell.mark for cell in self._cells()}
        parts = [
            f"{how}: {mark}" for how, mark in ((best, BEST), (second, SECOND)) if mark in shown
        ]
        if any(cell.spread is not None for cell in self._cells()):
            parts.append("±: standard deviation over seeds")
        text = "; ".join(parts)
        return text and f"{text[0].upper()}{text[1:]}."

    def _cells(self):
        return [cell for _, cells in self.rows for cell in cells]


def check_name(name):
    """Refuse what cannot be a file's name and a place in a page."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ValueError(f"a name is of lower-case letters, digits and hyphens, got {name!r}")


def _letters():
    """a, b, ..., z, aa, ab, ..."""
    for length in count(1):
        yield from map("".join, product(ascii_lowercase, repeat=length))


def mark_best(cells, larger_is_better):
    """The cells as a tuple, the best number and the second marked.

    What prints alike is marked alike; two firsts leave no second, and numbers that are all alike,
    or a lone one, have no best. Texts and absent numbers stay unmarked, and so does a number with
    a note (fewer seeds, say) beside numbers without one.
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


def to_csv(tables):
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
