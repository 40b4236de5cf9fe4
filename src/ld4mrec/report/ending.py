"""What a command says at its end of the report that it wrote."""

import textwrap
from pathlib import Path

from ld4mrec.report.report import Report

WIDTH = 80  # columns of a terminal
MOST_LINES = 5


def ending(report: Report, folder: Path) -> str:
    """The title and the lead of a report in five lines at most, and where its files are."""
    lines = textwrap.wrap(report.title, WIDTH)
    for sentence in report.lead:
        lines += textwrap.wrap(sentence, WIDTH, break_on_hyphens=False)
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], f"{lines[MOST_LINES - 1][: WIDTH - 4]} ..."]
    if report.warnings:
        many = len(report.warnings)
        lines.append(f"{many} warning{'s' * (many > 1)}: read the report before you use a number")
    lines += [f"the report is in {folder}:", "  report.html, .md, .csv, .tex, figures/"]
    return "\n".join(lines)
