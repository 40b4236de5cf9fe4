"""A report: what it says."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ld4mrec.report.figures import Figure
from ld4mrec.report.tables import Table, check_name


@dataclass(frozen=True)
class Section:
    """content: paragraphs (plain texts), Tables and Figures; ValueError for anything else."""

    heading: str
    content: tuple[str | Table | Figure, ...]

    def __post_init__(self) -> None:
        _check_texts(self.heading, self.content, (str, Table, Figure))


@dataclass(frozen=True)
class Report:
    """What a report says; all texts are plain.

    name: as of a Table; what labels in LaTeX begin with.
    lead: paragraphs below the title. warnings: what a reader must know before a number is used.
    colophon: {label: values}: commands, versions, commit, fingerprints of the data. ValueError for
    what is no text, for equal names, and for a figure whose table is not shown.
    """

    title: str
    sections: tuple[Section, ...]
    lead: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    colophon: dict[str, tuple[str, ...]] = field(default_factory=dict)
    name: str = "report"

    def __post_init__(self) -> None:
        check_name(self.name)
        for what, texts in {"lead": self.lead, "warnings": self.warnings, **self.colophon}.items():
            _check_texts(what, texts, (str,))
        for blocks in (self.tables, self.figures):
            names = [block.name for block in blocks]
            if len(set(names)) < len(names):
                raise ValueError(f"two tables or two figures of one name: {names}")
        for figure in self.figures:
            if figure.table not in self.tables:
                raise ValueError(
                    f"figure {figure.name!r} is drawn from table {figure.table.name!r}, which the "
                    "report does not show"
                )

    @property
    def tables(self) -> list[Table]:
        return [x for section in self.sections for x in section.content if isinstance(x, Table)]

    @property
    def figures(self) -> list[Figure]:
        return [x for section in self.sections for x in section.content if isinstance(x, Figure)]

    def number(self, block: Table | Figure) -> int:
        """Of a table among the tables, of a figure among the figures."""
        return (self.tables if isinstance(block, Table) else self.figures).index(block) + 1


def _check_texts(what: str, values: Iterable, kinds: tuple[type, ...]) -> None:
    if isinstance(values, str) or not all(isinstance(value, kinds) for value in values):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{what!r} wants a sequence of {names}, got {values!r}")
