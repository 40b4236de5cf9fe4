"""What the figures share: a look, axes with named rows, dots with reaches, labels that give way.

Used while `figures.draw` holds matplotlib's settings; the module itself does not import it.
"""

from itertools import product

from ld4mrec.report.palette import LIGHT

WIDTH = 7.2  # inches; an SVG has 72 units to the inch
ROW = 0.29  # inches
LABEL, SMALL, TINY = 9, 8, 7  # points
SETTINGS = {
    "font.size": LABEL,
    "axes.labelsize": LABEL,
    "axes.titlesize": LABEL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": LABEL,
    "text.color": LIGHT["ink"],
    "text.parse_math": False,  # a label may contain $
    "axes.labelcolor": LIGHT["ink"],
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["ink"],
    "axes.edgecolor": LIGHT["muted"],
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


def row_axes(sheet, figure, cells):
    """Axes with a line per cell of {row label: cell}, the first on top; a guide along numbers."""
    sheet.set_size_inches(WIDTH, ROW * len(cells) + 0.75)
    axes = sheet.subplots()
    axes.set_xlabel(figure.axis or figure.column)
    guides = [at for at, cell in enumerate(cells.values()) if cell.is_number]
    across = axes.get_yaxis_transform()
    axes.hlines(guides, 0, 1, transform=across, color=LIGHT["rule"], linewidth=0.7, zorder=0.5)
    name_rows(axes, figure, list(cells))
    return axes


def name_rows(axes, figure, labels):
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    for text, label in zip(axes.get_yticklabels(), labels, strict=True):
        text.set_weight(figure.look(label)["weight"])


def dot(axes, x, y, look, x_reach=(0, 0), y_reach=0):
    """A marker with lines as far as x_reach = (to the left, to the right) and y_reach."""
    axes.errorbar(
        x,
        y,
        xerr=[[reach] for reach in x_reach] if any(x_reach) else None,
        yerr=y_reach or None,
        marker=look["marker"],
        color=look["color"],
        markersize=6,
        markeredgewidth=0,
        elinewidth=1.6,
        zorder=3,
    )


def write_at_right(axes, at, text, weight="normal"):
    """A text at the end of a row."""
    place = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    style = {"va": "center", "size": SMALL, "weight": weight, "annotation_clip": False}
    axes.annotate(text, (1, at), xytext=(8, 0), **place, **style)


def write_absence(axes, at, text):
    """A text in the place of a number."""
    place = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    style = {"va": "center", "size": SMALL, "style": "italic", "color": LIGHT["muted"]}
    axes.annotate(text, (0, at), xytext=(6, 0), **place, **style)


def plain_log_ticks(axis):
    """Ticks in plain numbers: 1, 10, 100; with 2 and 5 where there is room for them; evenly spaced
    ones within less than a decade.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    low, high = axis.get_view_interval()
    if high < 10 * low:
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    else:
        between = (1, 2, 5) if high < 1000 * low else (1,)
        axis.set_major_locator(LogLocator(subs=between, numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def label_points(axes, places, boxes, look):
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
        _, chosen, box = min(tries, key=lambda one: round(one[0], 3))  # the first of the least
        taken.append(box)
        for _, text, _ in tries:
            if text is not chosen:
                text.remove()


def _overlap(one, other):
    """The area that two boxes share, in square pixels."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(width, 0) * max(height, 0)
