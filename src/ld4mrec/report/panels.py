"""The figures of the paper's experiments, in the manner of report.figures: each is drawn from
one table and from nothing else.
"""

import math
from dataclasses import dataclass, field

from ld4mrec.report import drawing
from ld4mrec.report.figures import Figure
from ld4mrec.report.palette import LIGHT
from ld4mrec.report.tables import BEST, mark_best

# a series is known by its marker and its dashes; the colours, apart in lightness, only help
SERIES = (
    {"color": LIGHT["plain"], "marker": "o", "linestyle": "-"},
    {"color": LIGHT["ink"], "marker": "s", "linestyle": "--"},
    {"color": LIGHT["muted"], "marker": "^", "linestyle": "-."},
    {"color": LIGHT["plain"], "marker": "v", "linestyle": ":"},
    {"color": LIGHT["ink"], "marker": "P", "linestyle": "-"},
    {"color": LIGHT["muted"], "marker": "X", "linestyle": "--"},
)
LEADING = {"color": LIGHT["accent"], "marker": "D", "linestyle": "-"}
DARKEST = 0.5  # opacity of a heat map's highest cell: texts on it stay legible in both themes


@dataclass(frozen=True, kw_only=True)
class Panels(Figure):
    """Columns as panels, each with a scale of its own; the rows as dots, in the table's order.
    logarithmic: columns whose scale is so. y_axis: what the rows are.
    """

    columns: tuple[str, ...]
    logarithmic: tuple[str, ...] = ()
    y_axis: str = ""

    def used(self):
        return self.columns

    def paint(self, sheet):
        labels = [label for label, _ in self.table.rows]
        sheet.set_size_inches(drawing.WIDTH, drawing.ROW * len(labels) + 0.8)
        panels = sheet.subplots(1, len(self.columns), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, self.columns, strict=True):
            self._panel(axes, name)
        drawing.name_rows(panels[0], self, labels)
        panels[0].set_ylabel(self.y_axis)

    def _panel(self, axes, name):
        axes.set_xlabel(name)
        ends = []
        for at, (label, cell) in enumerate(self.table.column(name).items()):
            if not cell.is_number:
                drawing.write_absence(axes, at, cell.text)
                continue
            spread = cell.spread or 0
            ends += [cell.value - spread, cell.value + spread]
            drawing.dot(axes, cell.value, at, self.look(label), (spread, spread))
            axes.annotate(
                cell.text,
                (cell.value + spread, at),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                size=drawing.TINY,
                weight="bold" if cell.mark == BEST else "normal",
            )
        axes.grid(axis="x")
        if name in self.logarithmic and min(ends) > 0:
            axes.set_xscale("log")
            room = (max(ends) / min(ends)) ** 0.08 * 1.1
            axes.set_xlim(min(ends) / room, max(ends) * room**5)
            drawing.plain_log_ticks(axes.xaxis)
        else:
            room = (max(ends) - min(ends)) or abs(max(ends)) or 1
            axes.set_xlim(min(ends) - 0.1 * room, max(ends) + 0.5 * room)
            axes.locator_params(axis="x", nbins=4)


@dataclass(frozen=True, kw_only=True)
class Lines(Figure):
    """A line per row over columns that stand at numbers. places: where each column stands on x.
    percent: y is a share.
    """

    columns: tuple[str, ...]
    places: tuple[float, ...]
    x_axis: str
    logarithmic: bool = False
    percent: bool = False

    def used(self):
        return self.columns

    def paint(self, sheet):
        sheet.set_size_inches(drawing.WIDTH, 3.6)
        axes = sheet.subplots()
        looks = iter(SERIES * math.ceil(len(self.table.rows) / len(SERIES)))
        for label, cells in self.table.lines():
            numbers = [
                (place, cell)
                for place, (name, cell) in zip(self.places, self._kept(cells), strict=True)
                if cell.is_number
            ]
            look = LEADING if label in self.highlight else next(looks)
            if not numbers:
                continue
            axes.errorbar(
                [place for place, _ in numbers],
                [cell.value for _, cell in numbers],
                yerr=[cell.spread or 0 for _, cell in numbers],
                label=label,
                markersize=6,
                markeredgewidth=0,
                linewidth=1.6,
                elinewidth=1.0,
                **look,
            )
        if self.logarithmic:
            axes.set_yscale("log")
            drawing.plain_log_ticks(axes.yaxis)
        if self.percent:
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")
            axes.axhline(0, color=LIGHT["muted"], linewidth=0.8)
        axes.set_xticks(self.places)
        axes.set_xlabel(self.x_axis)
        axes.set_ylabel(self.axis)
        axes.grid(axis="y")
        axes.figure.legend(loc="outside upper left", ncols=4, frameon=False)

    def _kept(self, cells):
        return [(name, cell) for name, cell in cells if name in self.columns]


@dataclass(frozen=True, kw_only=True)
class Curves(Figure):
    """Columns over a column of numbers, each in a panel with a scale of its own. labels: of the
    panels' axes, by default the columns' names.
    """

    x: str
    columns: tuple[str, ...]
    x_axis: str
    labels: dict[str, str] = field(default_factory=dict)

    def used(self):
        return (self.x, *self.columns)

    def paint(self, sheet):
        sheet.set_size_inches(drawing.WIDTH, 2.9)
        x = self.table.column(self.x)
        panels = sheet.subplots(1, len(self.columns), squeeze=False)[0]
        sheet.supxlabel(self.x_axis, size=drawing.LABEL, color=LIGHT["ink"])
        for axes, name in zip(panels, self.columns, strict=True):
            found = [
                (x[label].value, cell)
                for label, cell in self.table.column(name).items()
                if cell.is_number and x[label].is_number
            ]
            axes.errorbar(
                [place for place, _ in found],
                [cell.value for _, cell in found],
                yerr=[cell.spread or 0 for _, cell in found],
                markersize=5,
                markeredgewidth=0,
                linewidth=1.6,
                elinewidth=1.0,
                **SERIES[0],
            )
            axes.set_title(self.labels.get(name, name), loc="left", size=drawing.SMALL)
            axes.ticklabel_format(axis="y", useOffset=False)
            axes.locator_params(axis="x", integer=True, nbins=6)
            axes.grid(axis="y")


@dataclass(frozen=True, kw_only=True)
class HeatMap(Figure):
    """Rows by columns as a map: the higher the darker, the highest framed. y_axis, x_axis: what
    rows and columns are.
    """

    columns: tuple[str, ...]
    x_axis: str
    y_axis: str

    def used(self):
        return self.columns

    def paint(self, sheet):
        from matplotlib.patches import Rectangle

        labels = [label for label, _ in self.table.rows]
        wide, deep = len(self.columns), len(labels)
        sheet.set_size_inches(min(drawing.WIDTH, 1.1 * wide + 1.2), 0.5 * deep + 0.9)
        axes = sheet.subplots()
        cells = [cell for name in self.columns for cell in self.table.column(name).values()]
        places = [(x, y) for x in range(wide) for y in range(deep)]
        numbers = [cell.value for cell in cells if cell.is_number]
        low, reach = min(numbers), (max(numbers) - min(numbers)) or 1
        for (x, y), cell in zip(places, mark_best(cells, larger_is_better=True), strict=True):
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
        axes.set_yticks(range(deep), labels)
        axes.set_xlim(-0.6, wide - 0.4)
        axes.set_ylim(deep - 0.4, -0.6)
        axes.set_xlabel(self.x_axis)
        axes.set_ylabel(self.y_axis)
        axes.spines["bottom"].set_visible(False)
