"""What the figures share: a look, axes with named rows, dots with reaches, labels that give way.

Used while `figures.draw` holds matplotlib's settings; the module itself does not import it.
"""

import textwrap
from collections.abc import Callable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

from ld4mrec.report.palette import LIGHT
from ld4mrec.report.tables import BEST, Cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure as Sheet
    from matplotlib.transforms import Bbox

Look = Callable[[str], dict[str, str]]  # of a row's label: marker, color, weight
Place = tuple[float, float]

WIDTH = 7.2  # inches; an SVG has 72 units to the inch
ROW = 0.29  # inches
LABEL, SMALL, TINY = 9, 8, 7  # points
SETTINGS = {
    **dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize", "ytick.labelsize"), LABEL),
    "xtick.labelsize": SMALL,
    **dict.fromkeys(("text.color", "axes.labelcolor", "ytick.color"), LIGHT["ink"]),
    **dict.fromkeys(("xtick.color", "axes.edgecolor"), LIGHT["muted"]),
    "text.parse_math": False,  # a label may contain $
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 0.7,
    **{f"axes.spines.{side}": False for side in ("top", "right", "left")},
    **{f"{axis}tick.{kind}.size": 0 for axis in "xy" for kind in ("major", "minor")},
    "svg.fonttype": "none",  # texts as texts
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
    "svg.hashsalt": "ld4mrec",  # equal figures are equal files
}
TITLE_LETTERS = 105  # of a title's line, in the width of a sheet
TITLE_LINE = 0.17  # inches
SIDES = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)]


def name_rows(axes: "Axes", labels: list[str], look: Look) -> None:
    """A row per label, the first on top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    for text, label in zip(axes.get_yticklabels(), labels, strict=True):
        text.set_weight(look(label)["weight"])


def numbers(
    axes: "Axes", cells: dict[str, Cell], reasons: bool = False
) -> Iterator[tuple[int, str, Cell]]:
    """(place, row label, cell) of each number; where there is none, writes a dash or its note."""
    for at, (label, cell) in enumerate(cells.items()):
        if cell.is_number:
            yield at, label, cell
        else:
            text = cell.note if reasons and cell.note else cell.text
            _write_in_row(axes, (0, at), text, 6, {"style": "italic", "color": LIGHT["muted"]})


def dot(
    axes: "Axes", place: Place, look: dict[str, str], x_reach: Place = (0, 0), y_reach: float = 0
) -> None:
    """A marker with lines as far as x_reach, to the left and to the right, and y_reach."""
    reach = {"xerr": [[end] for end in x_reach] if any(x_reach) else None, "yerr": y_reach or None}
    style = {"marker": look["marker"], "color": look["color"], "markersize": 6}
    axes.errorbar(*place, **reach, **style, markeredgewidth=0, elinewidth=1.6, zorder=3)


def curve(
    axes: "Axes", points: list[tuple[float, Cell]], look: dict[str, str], size: int, **more: Any
) -> None:
    """A line through (x, cell) with markers of a size in points and the cells' spreads."""
    x, y = [x for x, _ in points], [cell.value for _, cell in points]
    style = {"markersize": size, "markeredgewidth": 0, "linewidth": 1.6, "elinewidth": 1.0}
    axes.errorbar(x, y, yerr=[cell.spread or 0 for _, cell in points], **style, **look, **more)


def weight(cell: Cell) -> str:
    """Of the text of a cell: the best is bold."""
    return "bold" if cell.mark == BEST else "normal"


def write_at_right(axes: "Axes", at: int, text: str, weight: str = "normal") -> None:
    """A text at the end of a row."""
    _write_in_row(axes, (1, at), text, 8, {"weight": weight, "annotation_clip": False})


def write_beside(axes: "Axes", x: float, at: int, cell: Cell, gap: int) -> None:
    """A cell's number in a row, to the right of x by a gap in points."""
    style = {"va": "center", "size": TINY, "weight": weight(cell)}
    axes.annotate(cell.text, (x, at), xytext=(gap, 0), textcoords="offset points", **style)


def _write_in_row(axes, place, text, gap, style):
    """A text in a row. place: (0 or 1, the panel's left or right end; row)."""
    style = {"va": "center", "size": SMALL} | style
    style |= {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    axes.annotate(text, place, xytext=(gap, 0), **style)


def plain_log_ticks(axis: "Axis") -> None:
    """Ticks in plain numbers, 1, 10, 100, with 2 and 5 where there is room; even in a decade.
    Fewer where their labels would touch each other: call it when the rest is drawn.
    """
    from matplotlib.ticker import (
        FixedLocator,
        FuncFormatter,
        LogLocator,
        MaxNLocator,
        NullLocator,
    )

    low, high = axis.get_view_interval()
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    locators = [LogLocator(base=base, numticks=12) for base in (10, 100, 1000, 10**6)]
    if high < 1000 * low:
        locators[:0] = [LogLocator(subs=subs, numticks=12) for subs in ((1, 2, 5), (1, 3))]
    if high < 10 * low:
        steps = {"steps": [1, 2, 5, 10], "min_n_ticks": 1}
        locators = [MaxNLocator(many, **steps) for many in (6, 4, 3, 2, 1)]
    for locator in (*locators, FixedLocator([high])):
        axis.set_major_locator(locator)
        if _has_room(axis):
            break


def _has_room(axis: "Axis") -> bool:
    """Whether the labels of an axis's ticks stay apart."""
    figure = axis.axes.figure
    figure.draw_without_rendering()  # places them
    renderer = figure.canvas.get_renderer()
    low, high = axis.get_view_interval()
    shown = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = [label.get_window_extent(renderer).padded(2) for label in shown if label.get_text()]
    return not any(a.overlaps(b) for at, a in enumerate(boxes) for b in boxes[:at])


def write_title(sheet: "Sheet", heading: str, caption: str) -> "Bbox":
    """Write a heading and a caption above what is drawn, which stays where it is; the box, in
    inches, that holds all of it.
    """
    from matplotlib.transforms import Bbox

    sheet.draw_without_rendering()
    sheet.set_layout_engine("none")  # fixed from here
    width, height = sheet.get_size_inches()
    many = round(TITLE_LETTERS * width / WIDTH)
    lines = [(line, "bold") for line in textwrap.wrap(heading, many)]
    lines += [(line, "normal") for line in textwrap.wrap(caption, many)]
    for at, (line, weight) in enumerate(reversed(lines)):
        up = 0.08 + at * TITLE_LINE
        sheet.text(0.05 / width, 1 + up / height, line, weight=weight, va="bottom", size=LABEL)
    return Bbox([[0, 0], [width, height + 0.16 + len(lines) * TITLE_LINE]])


def label_points(axes: "Axes", places: dict[str, Place], boxes: "list[Bbox]", look: Look) -> None:
    """Write labels where they cover least: right, left, above, below or aslant of their points.

    places: {label: (x, y)}. boxes: of the data coordinates that should stay free.
    """
    axes.figure.draw_without_rendering()  # fixes where the axes are
    renderer = axes.figure.canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    taken = [axes.transData.transform_bbox(box).padded(4) for box in boxes]
    for label, place in places.items():
        tries = []
        for (right, up), distance in product(SIDES, (8, 14)):
            text = axes.annotate(
                label,
                place,
                xytext=(right * distance, up * distance),
                textcoords="offset points",
                ha=("center", "left", "right")[right],
                va=("center", "bottom", "top")[up],
                weight=look(label)["weight"],
                in_layout=False,
            )
            box = text.get_window_extent(renderer)
            outside = box.width * box.height - _overlap(box, frame)
            tries.append((outside + sum(_overlap(box, other) for other in taken), text, box))
        _, chosen, box = min(tries, key=lambda tried: round(tried[0], 3))  # the first of the least
        taken.append(box)
        for _, text, _ in tries:
            if text is not chosen:
                text.remove()


def _overlap(a: "Bbox", b: "Bbox") -> float:
    """The area that two boxes share, in square pixels."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(width, 0) * max(height, 0)
