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
HEAD = "% Read this into a paper with \\input; the preamble needs \\usepackage{booktabs}.\n"


def escaped(text: str) -> str:
    """Plain text as LaTeX, on one line."""
    special = f"[{re.escape(''.join(ESCAPES))}]"
    text = re.sub(special, lambda match: ESCAPES[match[0]], " ".join(text.split()))
    text = re.sub(r"([-'])(?=\1)", r"\1{}", text)  # no ligature makes a dash of --
    return re.sub(r"^[\[*]", r"{\g<0>}", text)  # as it is, it would be an option of the \\ before


def table(table: Table) -> str:
    """A floating table with title, legend and notes."""
    footnotes = table.footnotes()
    kinds = "".join("r" if table.is_numeric(name) else "l" for name in table.columns)
    below = [escaped(sentence) for sentence in (table.legend(), *table.notes) if sentence]
    below += [
        rf"\textsuperscript{{{letter}}}\,{escaped(note)}" for note, letter in footnotes.items()
    ]
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{escaped(table.title)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{l{kinds}}}",
        r"\toprule",
        _line(map(escaped, [table.row_title, *table.columns])),
        r"\midrule",
        *(
            _line([escaped(label), *(_cell(table, name, cell) for name, cell in cells)])
            for label, cells in table.lines()
        ),
        r"\bottomrule",
        r"\end{tabular}",
        *([r"\par\smallskip", rf"{{\footnotesize {' '.join(below)}\par}}"] if below else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def report(report: Report) -> str:
    """All tables of a report."""
    return "\n".join([HEAD, *map(table, report.tables)])


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
