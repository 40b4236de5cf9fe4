"""Figures of a report, each drawn from one of its tables and from nothing else.

A Figure says what to draw; `draw` draws it with matplotlib, an extra: pip install '.[compare]'.
"""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ld4mrec.errors import nearest
from ld4mrec.report import drawing
from ld4mrec.report.palette import LIGHT
from ld4mrec.report.svg import Svg
from ld4mrec.report.tables import Cell, Table, check_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Sheet

PER_LINE = 4  # panels of Bands


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What to draw. name: as of a Table, and of the files. caption: a sentence below. highlight:
    labels of rows that stand out. axis: label of the values' axis, by default the column's name.

    ValueError for a highlight that the table has not, and where a drawn column holds no number.
    """

    name: str
    caption: str
    table: Table
    highlight: tuple[str, ...] = ()
    axis: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        for label in self.highlight:
            if label not in self.table.labels:
                raise ValueError(
                    f"figure {self.name!r} highlights {label!r}, no row of table "
                    f"{self.table.name!r}.{nearest(label, self.table.labels)}"
                )
        for name in self.used():
            if not self.table.is_numeric(name):
                raise ValueError(
                    f"figure {self.name!r} has nothing to draw: column {name!r} of table "
                    f"{self.table.name!r} holds no number"
                )

    def used(self) -> tuple[str, ...]:
        """The columns that are drawn."""
        raise NotImplementedError

    def paint(self, sheet: "Sheet") -> None:
        """Draw onto an empty figure of matplotlib's."""
        raise NotImplementedError

    def description(self) -> str:
        """The drawn numbers in words, for those who cannot see them."""
        lines = []
        for label in self.table.labels:
            cells = [self.table.column(name)[label] for name in self.used()]
            lines.append(f"{label} {', '.join(cell.words for cell in cells)}")
        return f"{self.table.row_title}, {', '.join(self.used())}: {'; '.join(lines)}."

    def look(self, label: str) -> dict[str, str]:
        """Marker, colour and weight of a row: no colour alone says anything."""
        if label in self.highlight:
            return {"marker": "D", "color": LIGHT["accent"], "weight": "bold"}
        return {"marker": "o", "color": LIGHT["plain"], "weight": "normal"}


@dataclass(frozen=True, kw_only=True)
class OfColumn(Figure):
    """A figure of a single column."""

    column: str

    def used(self) -> tuple[str, ...]:
        return (self.column,)

    def rows(self, sheet: "Sheet", cells: dict[str, Cell]) -> "Axes":
        """A line per cell of {row label: cell}, the first on top; a guide along numbers."""
        sheet.set_size_inches(drawing.WIDTH, drawing.ROW * len(cells) + 0.75)
        axes = sheet.subplots()
        axes.set_xlabel(self.axis or self.column)
        guides = [at for at, cell in enumerate(cells.values()) if cell.is_number]
        look = {"color": LIGHT["rule"], "linewidth": 0.7, "zorder": 0.5}
        axes.hlines(guides, 0, 1, transform=axes.get_yaxis_transform(), **look)
        drawing.name_rows(axes, list(cells), self.look)
        return axes


@dataclass(frozen=True, kw_only=True)
class OfColumns(Figure):
    """A figure of several columns."""

    columns: tuple[str, ...]

    def used(self) -> tuple[str, ...]:
        return self.columns

    @classmethod
    def with_table(cls, table: Table, columns: tuple[str, ...], **settings: Any) -> tuple:
        """The table and, of its name, the figure of those of the columns that hold a number."""
        if not (drawn := table.numeric(columns)):
            return (table,)
        return table, cls(name=table.name, table=table, columns=drawn, **settings)


@dataclass(frozen=True, kw_only=True)
class Dots(OfColumn):
    """A number per row as a dot with its spread, the largest on top; zero may lie outside."""

    def paint(self, sheet: "Sheet") -> None:
        cells = self.table.column(self.column)
        numbers = [label for label in cells if cells[label].is_number]
        numbers.sort(key=lambda label: cells[label].value, reverse=True)
        cells = {label: cells[label] for label in numbers} | cells  # those without at the end
        axes = self.rows(sheet, cells)
        for at, label, cell in drawing.numbers(axes, cells, reasons=True):
            spread = cell.spread or 0
            drawing.dot(axes, (cell.value, at), self.look(label), (spread, spread))
            drawing.write_at_right(axes, at, cell.words, drawing.weight(cell))
        axes.margins(x=0.04)


@dataclass(frozen=True, kw_only=True)
class Forest(OfColumn):
    """Differences with their intervals around a line at zero; grey where zero is inside.
    below, above: whom a difference below or above zero favours. ValueError for a number without an
    interval.
    """

    below: str = ""
    above: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for label, cell in self.table.column(self.column).items():
            if cell.is_number and cell.interval is None:
                raise ValueError(
                    f"figure {self.name!r} wants an interval in row {label!r}, column "
                    f"{self.column!r} of table {self.table.name!r}"
                )

    def paint(self, sheet: "Sheet") -> None:
        cells = self.table.column(self.column)
        axes = self.rows(sheet, cells)
        axes.axvline(0, color=LIGHT["ink"], linewidth=0.9, zorder=1)
        ends = [0]
        for at, label, cell in drawing.numbers(axes, cells, reasons=True):
            low, high = cell.interval
            ends += [low, high, cell.value]
            look = self.look(label) | ({"color": LIGHT["muted"]} if low <= 0 <= high else {})
            # a percentile interval may lie beside its mean
            axes.hlines(at, low, high, color=look["color"], linewidth=1.6, zorder=3)
            drawing.dot(axes, (cell.value, at), look)
            drawing.write_at_right(axes, at, cell.words)
        room = 0.06 * (max(ends) - min(ends) or 1)
        axes.set_xlim(min(ends) - room, max(ends) + room)
        style = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        style |= {"color": LIGHT["muted"], "size": drawing.SMALL, "va": "bottom"}
        if self.below:
            axes.annotate(f"← {self.below}", (0, 1), xytext=(-6, 3), ha="right", **style)
        if self.above:
            axes.annotate(f"{self.above} →", (0, 1), xytext=(6, 3), ha="left", **style)


@dataclass(frozen=True, kw_only=True)
class Bands(OfColumns):
    """Several columns, such as bands of users, as panels of bars with the same rows and scale."""

    def paint(self, sheet: "Sheet") -> None:
        labels = self.table.labels
        wide = min(PER_LINE, len(self.columns))
        deep = -(-len(self.columns) // wide)
        sheet.set_size_inches(drawing.WIDTH, deep * (drawing.ROW * len(labels) + 0.45) + 0.35)
        sheet.get_layout_engine().set(wspace=0.05)
        sheet.supxlabel(self.axis or "", size=drawing.LABEL, color=LIGHT["ink"])
        panels = sheet.subplots(deep, wide, sharex=True, sharey=True, squeeze=False).flat
        ends = [0]
        for axes, name in zip(panels, self.columns, strict=False):
            axes.set_title(name, loc="left", color=LIGHT["muted"])
            for at, label, cell in drawing.numbers(axes, self.table.column(name)):
                ends += cell.reach
                axes.barh(at, cell.value, height=0.62, color=self.look(label)["color"], linewidth=0)
                if cell.spread:
                    axes.hlines(at, *cell.reach, color=LIGHT["ink"], linewidth=1)
                drawing.write_beside(axes, max(cell.reach[1], 0), at, cell, gap=3)
            axes.axvline(0, color=LIGHT["muted"], linewidth=0.8)
            axes.spines["bottom"].set_visible(False)
            axes.grid(axis="x")
            axes.locator_params(axis="x", nbins=4, steps=[1, 2, 5, 10])
        for axes in panels[len(self.columns) :]:
            axes.set_visible(False)
        reach = max(ends) - min(ends) or 1
        panels[0].set_xlim(min(ends), max(ends) + 0.45 * reach)  # room for the numbers
        drawing.name_rows(panels[0], labels, self.look)


@dataclass(frozen=True, kw_only=True)
class Scatter(Figure):
    """Two columns against each other as labelled points; x, such as a time, is logarithmic.
    x_axis: label of x, by default the column's name. ValueError where no row has both numbers.
    """

    x: str
    y: str
    x_axis: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self._points():
            raise ValueError(
                f"figure {self.name!r} has nothing to draw: no row of table {self.table.name!r} "
                f"has both {self.y!r} and a positive {self.x!r}"
            )

    def used(self) -> tuple[str, ...]:
        return (self.x, self.y)

    def _points(self) -> dict[str, tuple[Cell, Cell]]:
        """{label: (cell of x, cell of y)} of the rows that have a place."""
        column = self.table.column(self.x)
        both = {label: (x, self.table.column(self.y)[label]) for label, x in column.items()}
        return {
            label: (x, y)
            for label, (x, y) in both.items()
            if x.is_number and x.value > 0 and y.is_number
        }

    def paint(self, sheet: "Sheet") -> None:
        from matplotlib.transforms import Bbox

        sheet.set_size_inches(drawing.WIDTH, 4.2)
        axes = sheet.subplots()
        axes.set_xscale("log")
        places, boxes = {}, []
        for label, (x, y) in self._points().items():
            places[label] = (x.value, y.value)
            left, right = min(x.spread or 0, 0.9 * x.value), x.spread or 0  # a logarithm's domain
            drawing.dot(axes, places[label], self.look(label), (left, right), y.spread or 0)
            boxes.append(Bbox([[x.value - left, y.value], [x.value + right, y.value]]))
            boxes.append(Bbox([[x.value, y.reach[0]], [x.value, y.reach[1]]]))
        axes.margins(0.1)
        axes.set_xlabel(self.x_axis or self.x)
        axes.set_ylabel(self.axis or self.y)
        axes.grid()
        drawing.plain_log_ticks(axes.xaxis)
        if absent := [label for label in self.table.labels if label not in places]:
            text = f"not shown, for want of a number: {', '.join(absent)}"
            axes.set_title(text, loc="right", size=drawing.SMALL, color=LIGHT["muted"])
        drawing.label_points(axes, places, boxes, self.look)


class Drawn(NamedTuple):
    """A figure's files: an SVG and a PNG that stand alone under a title, a PDF for a paper, whose
    caption LaTeX sets.
    """

    svg: Svg
    png: bytes
    pdf: bytes


def draw(figure: Figure, heading: str = "") -> Drawn:
    """The files, equal for equal figures; ModuleNotFoundError without matplotlib.

    heading: of the report, above the caption in the files that stand alone.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Sheet

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not what the user's matplotlibrc says
        matplotlib.rcParams.update(drawing.SETTINGS)
        sheet = Sheet(layout="constrained", facecolor=LIGHT["paper"])
        FigureCanvasAgg(sheet)  # it measures texts
        figure.paint(sheet)
        dates = {"CreationDate": None, "Creator": None, "Producer": None}
        pdf = _saved(sheet, "pdf", transparent=True, metadata=dates)
        inline = _saved(sheet, "svg", transparent=True, metadata={"Date": None})
        whole = {"bbox_inches": drawing.write_title(sheet, heading, figure.caption)}
        alone = _saved(sheet, "svg", transparent=True, metadata={"Date": None}, **whole)
        png = _saved(sheet, "png", dpi=200, metadata={"Software": None}, **whole)
    title = ". ".join(filter(None, (heading, figure.caption)))
    return Drawn(Svg(inline, figure.name, title, figure.description(), alone), png, pdf)


def _saved(sheet: "Sheet", form: str, **how: Any) -> bytes:
    """The bytes of a file of a format."""
    file = io.BytesIO()
    sheet.savefig(file, format=form, pad_inches=0, **how)
    return file.getvalue()
