"""Figures of a report, each drawn from one of its tables and from nothing else.

A Figure says what to draw. `draw` draws it with matplotlib, which is an extra:
pip install '.[compare]'.
"""

import io
from dataclasses import dataclass

from ld4mrec.errors import nearest
from ld4mrec.report import drawing
from ld4mrec.report.palette import LIGHT
from ld4mrec.report.svg import Svg
from ld4mrec.report.tables import BEST, Table, check_name


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What to draw. name: as of a Table, and of the files. caption: a sentence below. highlight:
    labels of rows that stand out. axis: label of the values' axis, by default the column's name.
    """

    name: str
    caption: str
    table: Table
    highlight: tuple[str, ...] = ()
    axis: str | None = None

    def __post_init__(self):
        check_name(self.name)
        labels = [label for label, _ in self.table.rows]
        for label in self.highlight:
            if label not in labels:
                raise ValueError(
                    f"figure {self.name!r} highlights {label!r}, no row of table "
                    f"{self.table.name!r}.{nearest(label, labels)}"
                )
        for name in self.used():
            if not self.table.is_numeric(name):
                raise ValueError(
                    f"figure {self.name!r} has nothing to draw: column {name!r} of table "
                    f"{self.table.name!r} holds no number"
                )

    def used(self):
        """The columns that are drawn."""
        raise NotImplementedError

    def paint(self, sheet):
        """Draw onto an empty figure of matplotlib's."""
        raise NotImplementedError

    def description(self):
        """The drawn numbers in words, for those who cannot see them."""
        lines = []
        for label, _ in self.table.rows:
            cells = [self.table.column(name)[label] for name in self.used()]
            lines.append(f"{label} {', '.join(map(_in_words, cells))}")
        return f"{self.table.row_title}, {', '.join(self.used())}: {'; '.join(lines)}."

    def look(self, label):
        """Marker, colour and weight of a row: no colour alone says anything."""
        if label in self.highlight:
            return {"marker": "D", "color": LIGHT["accent"], "weight": "bold"}
        return {"marker": "o", "color": LIGHT["plain"], "weight": "normal"}


@dataclass(frozen=True, kw_only=True)
class Dots(Figure):
    """A number per row as a dot with its spread, the best on top. Its axis need not begin at zero:
    hence dots, not bars.
    """

    column: str
    larger_is_better: bool = True

    def used(self):
        return (self.column,)

    def paint(self, sheet):
        cells = self.table.column(self.column)
        rows = [label for label in cells if cells[label].is_number]
        rows.sort(key=lambda label: cells[label].value, reverse=self.larger_is_better)
        rows += [label for label in cells if not cells[label].is_number]
        axes = drawing.row_axes(sheet, self, {label: cells[label] for label in rows})
        for at, label in enumerate(rows):
            cell = cells[label]
            if not cell.is_number:
                drawing.write_absence(axes, at, cell.note or cell.text)
                continue
            spread = cell.spread or 0
            drawing.dot(axes, cell.value, at, self.look(label), (spread, spread))
            drawing.write_at_right(axes, at, _in_words(cell), _weight(cell))
        axes.margins(x=0.04)


@dataclass(frozen=True, kw_only=True)
class Forest(Figure):
    """Differences with their intervals around a line at zero; grey where zero is inside.
    below, above: whom a difference below or above zero favours.
    """

    column: str
    below: str = ""
    above: str = ""

    def __post_init__(self):
        super().__post_init__()
        for label, cell in self.table.column(self.column).items():
            if cell.is_number and cell.interval is None:
                raise ValueError(
                    f"figure {self.name!r} wants an interval in row {label!r}, column "
                    f"{self.column!r} of table {self.table.name!r}"
                )

    def used(self):
        return (self.column,)

    def paint(self, sheet):
        cells = self.table.column(self.column)
        axes = drawing.row_axes(sheet, self, cells)
        axes.axvline(0, color=LIGHT["ink"], linewidth=0.9, zorder=1)
        ends = [0]
        for at, (label, cell) in enumerate(cells.items()):
            if not cell.is_number:
                drawing.write_absence(axes, at, cell.note or cell.text)
                continue
            low, high = cell.interval
            ends += [low, high, cell.value]
            look = self.look(label) | ({"color": LIGHT["muted"]} if low <= 0 <= high else {})
            # a percentile interval may lie beside its mean
            axes.hlines(at, low, high, color=look["color"], linewidth=1.6, zorder=3)
            drawing.dot(axes, cell.value, at, look)
            drawing.write_at_right(axes, at, _in_words(cell))
        room = 0.06 * (max(ends) - min(ends) or 1)
        axes.set_xlim(min(ends) - room, max(ends) + room)
        style = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        style |= {"color": LIGHT["muted"], "size": drawing.SMALL, "va": "bottom"}
        if self.below:
            axes.annotate(f"← {self.below}", (0, 1), xytext=(-6, 3), ha="right", **style)
        if self.above:
            axes.annotate(f"{self.above} →", (0, 1), xytext=(6, 3), ha="left", **style)


@dataclass(frozen=True, kw_only=True)
class Bands(Figure):
    """Several columns, such as bands of users, as panels of bars with the same rows and the same
    scale: any number of models needs no colour code.
    """

    columns: tuple[str, ...]
    per_line: int = 4

    def used(self):
        return self.columns

    def paint(self, sheet):
        labels = [label for label, _ in self.table.rows]
        wide = min(self.per_line, len(self.columns))
        deep = -(-len(self.columns) // wide)
        sheet.set_size_inches(drawing.WIDTH, deep * (drawing.ROW * len(labels) + 0.45) + 0.35)
        sheet.get_layout_engine().set(wspace=0.05)
        sheet.supxlabel(self.axis or "", size=drawing.LABEL, color=LIGHT["ink"])
        panels = sheet.subplots(deep, wide, sharex=True, sharey=True, squeeze=False).flat
        ends = [0]
        for axes, name in zip(panels, self.columns, strict=False):
            axes.set_title(name, loc="left", color=LIGHT["muted"])
            for at, (label, cell) in enumerate(self.table.column(name).items()):
                if cell.is_number:
                    ends += [cell.value - (cell.spread or 0), cell.value + (cell.spread or 0)]
                    self._bar(axes, at, cell, self.look(label)["color"])
                else:
                    drawing.write_absence(axes, at, cell.text)
            axes.axvline(0, color=LIGHT["muted"], linewidth=0.8)
            axes.spines["bottom"].set_visible(False)
            axes.grid(axis="x")
            axes.locator_params(axis="x", nbins=4, steps=[1, 2, 5, 10])
        for axes in panels[len(self.columns) :]:
            axes.set_visible(False)
        reach = max(ends) - min(ends) or 1
        panels[0].set_xlim(min(ends), max(ends) + 0.45 * reach)  # room for the numbers
        drawing.name_rows(panels[0], self, labels)

    @staticmethod
    def _bar(axes, at, cell, colour):
        axes.barh(at, cell.value, height=0.62, color=colour, linewidth=0)
        spread = cell.spread or 0
        if spread:
            axes.hlines(
                at, cell.value - spread, cell.value + spread, color=LIGHT["ink"], linewidth=1
            )
        axes.annotate(
            cell.text,
            (max(cell.value + spread, 0), at),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            size=drawing.TINY,
            weight=_weight(cell),
        )


@dataclass(frozen=True, kw_only=True)
class Scatter(Figure):
    """Two columns against each other as labelled points; x, such as a time, is logarithmic.
    x_axis: label of x, by default the column's name.
    """

    x: str
    y: str
    x_axis: str | None = None

    def __post_init__(self):
        super().__post_init__()
        if not self._points():
            raise ValueError(
                f"figure {self.name!r} has nothing to draw: no row of table {self.table.name!r} "
                f"has both {self.y!r} and a positive {self.x!r}"
            )

    def used(self):
        return (self.x, self.y)

    def _points(self):
        """{label: (cell of x, cell of y)} of the rows that have a place."""
        x, y = self.table.column(self.x), self.table.column(self.y)
        both = {label: (x[label], y[label]) for label in x}
        return {
            label: (x, y)
            for label, (x, y) in both.items()
            if x.is_number and x.value > 0 and y.is_number
        }

    def paint(self, sheet):
        from matplotlib.transforms import Bbox

        sheet.set_size_inches(drawing.WIDTH, 4.2)
        axes = sheet.subplots()
        axes.set_xscale("log")
        places, boxes = {}, []
        for label, (x, y) in self._points().items():
            places[label] = (x.value, y.value)
            left, right = min(x.spread or 0, 0.9 * x.value), x.spread or 0  # a logarithm's domain
            up = y.spread or 0
            drawing.dot(axes, x.value, y.value, self.look(label), (left, right), up)
            boxes.append(Bbox([[x.value - left, y.value], [x.value + right, y.value]]))
            boxes.append(Bbox([[x.value, y.value - up], [x.value, y.value + up]]))
        axes.margins(0.1)
        axes.set_xlabel(self.x_axis or self.x)
        axes.set_ylabel(self.axis or self.y)
        axes.grid()
        drawing.plain_log_ticks(axes.xaxis)
        absent = [label for label, _ in self.table.rows if label not in places]
        if absent:
            text = f"not shown, for want of a number: {', '.join(absent)}"
            axes.set_title(text, loc="right", size=drawing.SMALL, color=LIGHT["muted"])
        drawing.label_points(axes, places, boxes, self.look)


def draw(figure):
    """(Svg, PNG's bytes) of a figure; equal figures give equal bytes."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Sheet

    svg, png = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not what the user's matplotlibrc says
        matplotlib.rcParams.update(drawing.SETTINGS)
        sheet = Sheet(layout="constrained", facecolor=LIGHT["paper"])
        FigureCanvasAgg(sheet)  # it measures texts
        figure.paint(sheet)
        sheet.savefig(png, format="png", dpi=200, metadata={"Software": None})
        sheet.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    return Svg(svg.getvalue(), figure.name, figure.caption, figure.description()), png.getvalue()


def _in_words(cell):
    return " ".join(filter(None, (cell.text, cell.spread_text, cell.interval_text)))


def _weight(cell):
    return "bold" if cell.mark == BEST else "normal"
