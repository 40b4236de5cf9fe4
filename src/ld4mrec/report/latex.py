"""Tables as LaTeX, to be read into a paper."""

import re
from collections.abc import Iterable

from ld4mrec.report.report import Report
from ld4mrec.report.tables import BEST, MINUS, MISSING, SECOND, Cell, Table

WRAPS = {BEST: r"\textbf{{{}}}", SECOND: r"\underline{{{}}}", None: "{}"}
MATH = {"±": "pm", "×": "times", "·": "cdot", "≤": "le", "≥": "ge", "≈": "approx"}
MATH |= {"→": "to", "←": "gets", "Δ": "Delta", "α": "alpha", "β": "beta", "γ": "gamma"}
MATH |= {"λ": "lambda", "σ": "sigma"}
ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{letter: rf"\{letter}" for letter in "&%$#_{}"},
    MINUS: "$-$",
    "`": r"\textasciigrave{}",
    MISSING: r"\textendash{}",
    "\N{EM DASH}": r"\textemdash{}",
    **{symbol: rf"$\{name}$" for symbol, name in MATH.items()},
}
HEAD = r"""% Read this into a paper with \input.
% The preamble needs \usepackage{array,booktabs,graphicx}.
% The tables fit a column, or the page, of an article of one or of two columns.
% The figures: \includegraphics[width=\linewidth]{figures/NAME.pdf}
"""
LETTER, SMALL_LETTER, GAP = 4.7, 3.5, 12.0  # points: of \small, of \scriptsize, between columns
COLUMN = 240.0  # points: the width of a column where there are two
LONG = 30  # letters: a longer text is set in lines
# what is wider than its place is scaled down to it, what is not stays as it is
FIT = r"\resizebox{\ifdim\width>\linewidth \linewidth\else\width\fi}{!}{%"
IN_LINES = r">{\raggedright\arraybackslash}p{0.25\textwidth}"


def escaped(text: str) -> str:
    """Plain text as LaTeX, on one line."""
    special = f"[{re.escape(''.join(ESCAPES))}]"
    text = re.sub(special, lambda match: ESCAPES[match[0]], " ".join(text.split()))
    text = re.sub(r"([-'])(?=\1)", r"\1{}", text)  # no ligature makes a dash of --
    return re.sub(r"^[\[*]", r"{\g<0>}", text)  # as it is, it would be an option of the \\ before


def table(table: Table, of: str = "report") -> str:
    """A floating table with title, legend and notes, as wide as two columns where one is too
    narrow. of: the report's name, which the label begins with.
    """
    footnotes = table.footnotes()
    below = [escaped(sentence) for sentence in (table.legend(), *table.notes) if sentence]
    below += [
        rf"\textsuperscript{{{letter}}}\,{escaped(note)}" for note, letter in footnotes.items()
    ]
    wide = "*" * (width(table) > COLUMN)
    lines = [
        rf"\begin{{table{wide}}}[t]",
        r"\centering\small",
        rf"\caption{{{escaped(table.title)}}}",
        rf"\label{{tab:{of}-{table.name}}}",
        FIT,
        rf"\begin{{tabular}}{{l{''.join(_kind(table, name) for name in table.columns)}}}",
        r"\toprule",
        _line(map(escaped, [table.row_title, *table.columns])),
        r"\midrule",
        *(
            _line([escaped(label), *(_cell(table, name, cell) for name, cell in cells)])
            for label, cells in table.lines()
        ),
        r"\bottomrule",
        r"\end{tabular}}",
        *([r"\par\smallskip", rf"{{\footnotesize {' '.join(below)}\par}}"] if below else []),
        rf"\end{{table{wide}}}",
    ]
    return "\n".join(lines) + "\n"


def width(table: Table) -> float:
    """About how wide a table is in points, where nothing is scaled."""

    def of(cell: Cell) -> float:
        words = len(cell.text) + len(cell.interval_text)
        return LETTER * min(words, LONG) + SMALL_LETTER * len(cell.spread_text)

    found = [LETTER * max(map(len, (table.row_title, *table.labels)))]
    for name in table.columns:
        cells = table.column(name).values()
        found.append(max(LETTER * len(name), *map(of, cells)))
    return sum(found) + GAP * (len(found) - 1)


def _kind(table: Table, name: str) -> str:
    """How a column is set."""
    if table.is_numeric(name):
        return "r"
    long = max(len(cell.text) for cell in table.column(name).values()) > LONG
    return IN_LINES if long else "l"


def report(report: Report) -> str:
    """All tables of a report."""
    return "\n".join([HEAD, *(table(shown, report.name) for shown in report.tables)])


def _cell(table: Table, name: str, cell: Cell) -> str:
    letter = rf"\textsuperscript{{{table.footnotes()[cell.note]}}}" if cell.note else ""
    parts = [WRAPS[cell.mark].format(escaped(cell.text))]
    if cell.value is None:
        parts[0] += letter
    room = escaped(table.spread_room(name, cell))
    room = room and rf"\phantom{{{room}}}"
    if spread := escaped(cell.spread_text).replace(r"$\pm$ ", rf"$\pm$ {room}") or room:
        parts.append(rf"{{\scriptsize {spread}}}")
    if cell.interval:
        parts.append(cell.interval_text.replace(MINUS, ESCAPES[MINUS]))
    return " ".join(parts) + (letter if cell.value is not None else "")


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"
