"""What the figures share: a look, axes with named rows, dots with reaches, labels that give way.

Used while `figures.draw` holds matplotlib's settings; the module itself does not import it.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

from ld4mrec.report.palette import LIGHT
from ld4mrec.report.tables import BEST, Cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
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
    "svg.hashsalt": "ld4mrec",  # equal figures are equal files
}
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
    """Ticks in plain numbers: 1, 10, 100; with 2 and 5 where there is room; even in a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    low, high = axis.get_view_interval()
    if high < 10 * low:
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    else:
        between = (1, 2, 5) if high < 1000 * low else (1,)
        axis.set_major_locator(LogLocator(subs=between, numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


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
