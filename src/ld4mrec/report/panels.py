"""The figures of the paper's experiments, in the manner of report.figures."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ld4mrec.report import drawing
from ld4mrec.report.figures import OfColumns
from ld4mrec.report.palette import LIGHT
from ld4mrec.report.tables import BEST, mark_best

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Sheet

# a series is known by its marker and its dashes; the colours, apart in lightness, only help
SERIES = (
    {"color": LIGHT["plain"], "marker": "o", "linestyle": "-"},
    {"color": LIGHT["ink"], "marker": "s", "linestyle": "--"},
    {"color": LIGHT["muted"], "marker": "^", "linestyle": "-."},
    {"color": LIGHT["plain"], "marker": "v", "linestyle": ":"},
    {"color": LIGHT["ink"], "marker": "P", "linestyle": "-"},
    {"color": LIGHT["muted"], "marker": "X", "linestyle": "--"},
)
BEFORE = {"color": LIGHT["muted"], "marker": "s"}  # of Pairs, the first of two numbers
LEADING = {"color": LIGHT["accent"], "marker": "D", "linestyle": "-"}
DARKEST = 0.5  # opacity of a heat map's highest cell: texts on it stay legible in both themes


@dataclass(frozen=True, kw_only=True)
class Panels(OfColumns):
    """Columns as panels, each with a scale of its own; the rows as dots, in the table's order.
    logarithmic: columns whose scale is so. y_axis: what the rows are.
    """

    logarithmic: tuple[str, ...] = ()
    y_axis: str = ""

    def paint(self, sheet: "Sheet") -> None:
        labels = self.table.labels
        sheet.set_size_inches(drawing.WIDTH, drawing.ROW * len(labels) + 0.8)
        panels = sheet.subplots(1, len(self.columns), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, self.columns, strict=True):
            self._paint_panel(axes, name)
        drawing.name_rows(panels[0], labels, self.look)
        panels[0].set_ylabel(self.y_axis)
        for axes in panels:
            if axes.get_xscale() == "log":
                drawing.plain_log_ticks(axes.xaxis)

    def _paint_panel(self, axes: "Axes", name: str) -> None:
        axes.set_xlabel(name)
        ends = []
        for at, label, cell in drawing.numbers(axes, self.table.column(name)):
            ends += cell.reach
            spread = cell.spread or 0
            drawing.dot(axes, (cell.value, at), self.look(label), (spread, spread))
            drawing.write_beside(axes, cell.reach[1], at, cell, gap=6)
        axes.grid(axis="x")
        if name in self.logarithmic and min(ends) > 0:
            axes.set_xscale("log")
            room = (max(ends) / min(ends)) ** 0.08 * 1.1
            axes.set_xlim(min(ends) / room, max(ends) * room**5)
        else:
            room = (max(ends) - min(ends)) or abs(max(ends)) or 1
            axes.set_xlim(min(ends) - 0.1 * room, max(ends) + 0.5 * room)
            axes.locator_params(axis="x", nbins=4)


@dataclass(frozen=True, kw_only=True)
class Pairs(OfColumns):
    """Two columns on one scale, a line from the first's dot to the second's; the rows in the
    table's order. ValueError for other than two columns. axis: what both are.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.columns) != 2:
            raise ValueError(f"figure {self.name!r} wants two columns, got {self.columns}")

    def paint(self, sheet: "Sheet") -> None:
        labels = self.table.labels
        sheet.set_size_inches(drawing.WIDTH, drawing.ROW * len(labels) + 1.1)
        axes = sheet.subplots()
        first, second = (self.table.column(name) for name in self.columns)
        for at, label in enumerate(labels):
            ends = [cells[label] for cells in (first, second) if cells[label].is_number]
            if len(ends) == 2:
                look = {"color": LIGHT["rule"], "linewidth": 2.4, "zorder": 1}
                axes.plot([cell.value for cell in ends], [at, at], **look)
            if not ends:
                drawing.write_at_right(axes, at, second[label].text)
        for cells, before in ((first, True), (second, False)):
            for at, label in enumerate(labels):
                if (cell := cells[label]).is_number:
                    look = BEFORE if before else self.look(label)
                    drawing.dot(axes, (cell.value, at), look, (cell.spread or 0,) * 2)
        handles = [axes.plot([], [], **BEFORE, linestyle="none", label=self.columns[0])[0]]
        after = {"color": LIGHT["plain"], "marker": "o", "linestyle": "none"}
        handles += axes.plot([], [], **after, label=self.columns[1])
        axes.figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False)
        axes.set_xlabel(self.axis or "")
        axes.grid(axis="x")
        drawing.name_rows(axes, labels, self.look)


@dataclass(frozen=True, kw_only=True)
class Lines(OfColumns):
    """A line per row. places: {column: its number on x}. percent: y is a share."""

    places: dict[str, float]
    x_axis: str
    logarithmic: bool = False
    percent: bool = False
    x_logarithmic: bool = False

    def paint(self, sheet: "Sheet") -> None:
        sheet.set_size_inches(drawing.WIDTH, 3.6)
        axes = sheet.subplots()
        looks = iter(SERIES * math.ceil(len(self.table.rows) / len(SERIES)))
        for label, cells in self.table.lines():
            points = [
                (self.places[name], cell)
                for name, cell in cells
                if name in self.columns and cell.is_number
            ]
            look = LEADING if label in self.highlight else next(looks)
            if points:
                drawing.curve(axes, points, look, 6, label=label)
        if self.logarithmic:
            axes.set_yscale("log")
        if self.percent:
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")
            axes.axhline(0, color=LIGHT["muted"], linewidth=0.8)
        if self.x_logarithmic:
            axes.set_xscale("log")
        else:
            axes.set_xticks([self.places[name] for name in self.columns])
        axes.set_xlabel(self.x_axis)
        axes.set_ylabel(self.axis)
        axes.grid(axis="y")
        axes.figure.legend(loc="outside upper left", ncols=4, frameon=False)
        if self.logarithmic:
            drawing.plain_log_ticks(axes.yaxis)
        if self.x_logarithmic:
            drawing.plain_log_ticks(axes.xaxis)


@dataclass(frozen=True, kw_only=True)
class Curves(OfColumns):
    """Columns over a column x of numbers, each in a panel with a scale of its own."""

    x: str
    x_axis: str

    def used(self) -> tuple[str, ...]:
        return (self.x, *self.columns)

    def paint(self, sheet: "Sheet") -> None:
        sheet.set_size_inches(drawing.WIDTH, 2.9)
        x = self.table.column(self.x)
        panels = sheet.subplots(1, len(self.columns), squeeze=False)[0]
        sheet.supxlabel(self.x_axis, size=drawing.LABEL, color=LIGHT["ink"])
        for axes, name in zip(panels, self.columns, strict=True):
            points = [
                (x[label].value, cell)
                for label, cell in self.table.column(name).items()
                if cell.is_number and x[label].is_number
            ]
            drawing.curve(axes, points, SERIES[0], 5)
            axes.set_title(name, loc="left", size=drawing.SMALL)
            axes.ticklabel_format(axis="y", useOffset=False)
            axes.locator_params(axis="x", integer=True, nbins=6)
            axes.grid(axis="y")


@dataclass(frozen=True, kw_only=True)
class HeatMap(OfColumns):
    """Rows (y_axis) by columns (x_axis) as a map: the higher the darker, the highest framed."""

    x_axis: str
    y_axis: str

    def paint(self, sheet: "Sheet") -> None:
        from matplotlib.patches import Rectangle

        wide, deep = len(self.columns), len(self.table.rows)
        sheet.set_size_inches(min(drawing.WIDTH, 1.1 * wide + 1.2), 0.5 * deep + 0.9)
        axes = sheet.subplots()
        cells = [cell for name in self.columns for cell in self.table.column(name).values()]
        places = [(x, y) for x in range(wide) for y in range(deep)]
        numbers = [cell.value for cell in cells if cell.is_number]
        low, reach = min(numbers), (max(numbers) - min(numbers)) or 1
        for (x, y), cell in zip(places, mark_best(cells), strict=True):
            best = cell.mark == BEST
            if cell.is_number:
                shade = DARKEST * (cell.value - low) / reach
                box = {"facecolor": LIGHT["plain"], "alpha": shade, "linewidth": 0}
                axes.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, **box))
            edge = LIGHT["accent"] if best else LIGHT["rule"]
            frame = {"fill": False, "edgecolor": edge, "linewidth": 2 if best else 0.7}
            axes.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, **frame))
            style = {"ha": "center", "va": "center", "size": drawing.SMALL}
            axes.text(x, y, cell.text, weight="bold" if best else "normal", **style)
        axes.set_xticks(range(wide), self.columns)
        axes.set_yticks(range(deep), self.table.labels)
        axes.set_xlim(-0.6, wide - 0.4)
        axes.set_ylim(deep - 0.4, -0.6)
        axes.set_xlabel(self.x_axis)
        axes.set_ylabel(self.y_axis)
        axes.spines["bottom"].set_visible(False)
