"""The files of a report."""

from dataclasses import replace
from pathlib import Path

from ld4mrec.errors import UserError
from ld4mrec.files import replacing
from ld4mrec.report import figures, latex, markdown, page
from ld4mrec.report.report import Report
from ld4mrec.report.tables import to_csv

NO_MATPLOTLIB = (
    "The figures are not drawn, because matplotlib is not installed: "
    "pip install --constraint constraints.txt --editable '.[compare]', then repeat the command."
)

OURS = (".svg", ".png", ".pdf")  # in figures/


def write_report(folder: str | Path, report: Report) -> None:
    """Write report.md, .csv, .tex and .html and figures/*.svg, *.png and *.pdf into a folder.

    Nothing is written unless everything could be made; each file appears whole, report.html last.
    Without matplotlib the report has no figures and says how to get them. What an earlier report
    left in figures/ goes. UserError for a folder that cannot be written.
    """
    folder = Path(folder)
    try:
        drawn = {figure.name: figures.draw(figure, report.title) for figure in report.figures}
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        drawn = {}
        report = replace(report, warnings=(*report.warnings, NO_MATPLOTLIB))
    numbers = to_csv(report.tables)
    images = {name: f"figures/{name}.svg" for name in drawn}
    inline = {name: made.svg.inline for name, made in drawn.items()}
    files = {images[name]: made.svg.file.encode() for name, made in drawn.items()}
    files |= {f"figures/{name}.png": made.png for name, made in drawn.items()}
    files |= {f"figures/{name}.pdf": made.pdf for name, made in drawn.items()}
    files["report.csv"] = numbers.encode()
    files["report.tex"] = latex.report(report).encode()
    files["report.md"] = markdown.report(report, images).encode()
    files["report.html"] = page.report(report, inline, numbers).encode()
    try:
        for name, content in files.items():
            with replacing(folder / name) as file:
                file.write(content)
        for old in (folder / "figures").glob("*.*"):
            if old.suffix in OURS and f"figures/{old.name}" not in files:
                old.unlink()
    except OSError as error:
        raise UserError(f"the report cannot be written to {folder}: {error.strerror}") from error
