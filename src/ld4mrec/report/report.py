"""A report: what it says, and its files."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from ld4mrec.errors import UserError
from ld4mrec.files import replacing
from ld4mrec.report import figures, latex, markdown, page
from ld4mrec.report.tables import Table, to_csv

NO_MATPLOTLIB = (
    "The figures are not drawn, because matplotlib is not installed: "
    "pip install --constraint constraints.txt --editable '.[compare]', then repeat the command."
)


@dataclass(frozen=True)
class Section:
    """content: paragraphs (plain texts), Tables and Figures, in the order of reading."""

    heading: str
    content: tuple[str | Table | figures.Figure, ...]

    def __post_init__(self):
        _check_texts(self.heading, self.content, (str, Table, figures.Figure))


@dataclass(frozen=True)
class Report:
    """What a report says; all texts are plain.

    lead: paragraphs below the title. warnings: what a reader must know before a number is used.
    colophon: {label: values}: commands, versions, commit, fingerprints of the data.
    """

    title: str
    sections: tuple[Section, ...]
    lead: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    colophon: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self):
        for what, texts in {"lead": self.lead, "warnings": self.warnings, **self.colophon}.items():
            _check_texts(what, texts, (str,))
        for what in (self.tables, self.figures):
            names = [one.name for one in what]
            if len(set(names)) < len(names):
                raise ValueError(f"two tables or two figures of one name: {names}")
        for figure in self.figures:
            if figure.table not in self.tables:
                raise ValueError(
                    f"figure {figure.name!r} is drawn from table {figure.table.name!r}, which the "
                    "report does not show"
                )

    @property
    def tables(self):
        return self._blocks(Table)

    @property
    def figures(self):
        return self._blocks(figures.Figure)

    def _blocks(self, kind):
        return [block for one in self.sections for block in one.content if isinstance(block, kind)]

    def number(self, block):
        """Of a table among the tables, of a figure among the figures."""
        return (self.tables if isinstance(block, Table) else self.figures).index(block) + 1


def _check_texts(what, values, kinds):
    if isinstance(values, str) or not all(isinstance(value, kinds) for value in values):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{what!r} wants a sequence of {names}, got {values!r}")


def write_report(folder, report):
    """Write report.md, .csv, .tex and .html and figures/*.svg and *.png into a folder.

    Nothing is written unless everything could be made; each file appears whole, report.html last.
    Without matplotlib the report has no figures and says how to get them. figures/ is the
    report's own: what an earlier report left there goes.
    """
    folder = Path(folder)
    try:
        drawn = {figure.name: figures.draw(figure) for figure in report.figures}
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        drawn = {}
        report = replace(report, warnings=(*report.warnings, NO_MATPLOTLIB))
    numbers = to_csv(report.tables)
    files = {}
    for name, (svg, png) in drawn.items():
        files[f"figures/{name}.svg"] = svg.file.encode()
        files[f"figures/{name}.png"] = png
    images = {name: f"figures/{name}.svg" for name in drawn}
    files["report.csv"] = numbers.encode()
    files["report.tex"] = latex.report(report).encode()
    files["report.md"] = markdown.report(report, images).encode()
    inline = {name: svg.inline for name, (svg, _) in drawn.items()}
    files["report.html"] = page.report(report, inline, numbers).encode()
    try:
        for name, content in files.items():
            with replacing(folder / name) as file:
                file.write(content)
        for old in (folder / "figures").glob("*.[ps][nv]g"):
            if f"figures/{old.name}" not in files:
                old.unlink()
    except OSError as error:
        raise UserError(f"the report cannot be written to {folder}: {error.strerror}") from error
