"""A report as Markdown."""

import re
from collections.abc import Iterable

from ld4mrec.report.report import Report
from ld4mrec.report.tables import BEST, SECOND, Cell, Table

MEANT = re.compile(r"[\\`*\[\]|~$]|&(?=[#\w])|<(?=[A-Za-z/!?])|(?<![^\W_])_|_(?![^\W_])")
MEANT_FIRST = re.compile(r"^(\d*)(>|[-+=.)#](?=[-=#\s]|$))")  # lists, lines, headings, quotations
WRAPS = {BEST: "**{}**", SECOND: "*{}*", None: "{}"}


def escaped(text: str) -> str:
    """Plain text as Markdown, on one line: what has a meaning where it stands loses it."""
    text = MEANT.sub(r"\\\g<0>", " ".join(text.split()))
    return MEANT_FIRST.sub(r"\1\\\2", text)


def code(text: str) -> str:
    """A code span, whatever is in it."""
    text = " ".join(text.split())
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence, pad = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def table(table: Table, number: int | None = None) -> str:
    """A table with its title, legend and notes. number: of the table in the report."""
    footnotes = table.footnotes()
    title = f"Table {number}. {escaped(table.title)}" if number else escaped(table.title)
    head = [table.row_title, *table.columns]
    rules = ["---", *("---:" if table.is_numeric(name) else "---" for name in table.columns)]
    lines = [f"**{title}**", "", _line(map(escaped, head)), _line(rules)]
    for label, cells in table.rows:
        lines.append(_line([escaped(label), *(_cell(cell, footnotes) for cell in cells)]))
    below = [escaped(text) for text in (table.legend(second="italic"), *table.notes) if text]
    below += [f"<sup>{letter}</sup> {escaped(note)}" for note, letter in footnotes.items()]
    return "\n".join([*lines, *(f"\n{sentence}" for sentence in below)])


def report(report: Report, figure_files: dict[str, str]) -> str:
    """The report. figure_files: {figure's name: path of its image}, of those that were drawn."""
    parts = [f"# {escaped(report.title)}", *map(escaped, report.lead)]
    parts += [f"> **Warning.** {escaped(warning)}" for warning in report.warnings]
    for section in report.sections:
        parts.append(f"## {escaped(section.heading)}")
        for block in section.content:
            if isinstance(block, str):
                parts.append(escaped(block))
            elif block in report.tables:
                parts.append(table(block, report.number(block)))
            elif block.name in figure_files:
                caption = escaped(block.caption)
                parts.append(f"![{caption}]({figure_files[block.name]})")
                parts.append(f"**Figure {report.number(block)}.** {caption}")
    if report.colophon:
        parts.append("## How this report was made")
    for label, values in report.colophon.items():
        parts.append("\n".join([f"{escaped(label)}:\n", *(f"- {code(v)}" for v in values)]))
    return "\n\n".join(parts) + "\n"


def _cell(cell: Cell, footnotes: dict[str, str]) -> str:
    text = WRAPS[cell.mark].format(escaped(cell.text))
    parts = [text, cell.spread_text, cell.interval_text]
    letter = f"<sup>{footnotes[cell.note]}</sup>" if cell.note else ""
    return " ".join(filter(None, parts)) + letter


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
