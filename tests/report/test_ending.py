"""What is said of a report at a command's end."""

from dataclasses import replace
from pathlib import Path

import example_report
from ld4mrec.report.ending import MOST_LINES, WIDTH, ending

FILES = ["the report is in r:", "  report.html, .md, .csv, .tex, figures/"]


def test_five_lines_and_the_paths():
    report = replace(example_report.report(), lead=("A sentence of some words. " * 40,))
    lines = ending(report, Path("r")).splitlines()
    assert len(lines) == MOST_LINES + 3
    assert lines[0] == report.title
    assert lines[MOST_LINES - 1].endswith(" ...")
    assert lines[MOST_LINES] == "2 warnings: read the report before you use a number"
    assert lines[-2:] == FILES
    assert max(map(len, lines)) <= WIDTH


def test_a_short_lead_is_told_whole():
    report = replace(example_report.report(), title="T", lead=("One.", "Two."), warnings=())
    assert ending(report, Path("r")).splitlines() == ["T", "One.", "Two.", *FILES]
    warned = replace(report, warnings=("x",))
    assert "1 warning: read" in ending(warned, Path("r"))
