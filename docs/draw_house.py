"""Draw docs/house.svg, the rooms and the arrows between them, from the imports.

    python docs/draw_house.py

An arrow that a chain of others implies is left out. benchmarks, which use any room, are too.
"""

import io
import sys
from collections import Counter
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import house  # noqa: E402 (the path comes first)
from ld4mrec.report.drawing import LABEL, SETTINGS, TINY  # noqa: E402
from ld4mrec.report.palette import LIGHT  # noqa: E402
from ld4mrec.report.svg import Svg  # noqa: E402

PLAN = """
-      -       -       scripts     -              -        -      -
-      -       -       commands    -              -        entry  -
-      -       -       paper       -              -        api    -
-      -       -       comparison  -              -        -      preprocessing
-      report  mmrec   -           plugins.check  serving  -      -
-      -       -       search      -              -        -      -
-      -       -       engines     -              -        -      -
-      -       -       runs        -              -        -      -
-      -       -       plugins     -              -        -      -
-      -       -       training    models         -        -      -
-      -       -       evaluation  -              -        -      -
-      -       -       common      -              -        -      -
-      -       -       data        -              -        -      -
-      -       -       config      -              -        -      -
-      -       -       ground      -              -        -      -
"""
ROWS = [line.split() for line in PLAN.split("\n")[1:-1]]
AT = {room: (x, y) for y, row in enumerate(ROWS) for x, room in enumerate(row) if room != "-"}
SPINE, LAST = 3, 7  # columns
SHOWN = {"entry": "import ld4mrec", "mmrec": "utils (MMRec's)"}
WIDTH, HEIGHT = 0.88, 0.62  # of a box, in columns and rows


def draw_room(axes, room, lines):
    """A box with a room's name and its lines of code."""
    column, row = AT[room]
    left, width = (0, LAST + WIDTH) if room == "ground" else (column, WIDTH)
    corner = left - WIDTH / 2, row - HEIGHT / 2
    colours = {"facecolor": LIGHT["tint"], "edgecolor": LIGHT["muted"]}
    axes.add_patch(Rectangle(corner, width, HEIGHT, linewidth=0.8, **colours))
    middle = {"ha": "center", "va": "center"}
    axes.text(column, row - 0.11, SHOWN.get(room, room), size=LABEL, **middle)
    axes.text(column, row + 0.16, f"{lines:,} lines", size=TINY, color=LIGHT["muted"], **middle)


def draw_arrow(axes, start, end):
    """From box to box, straight down or round one corner."""
    (x, y), (to_x, to_y) = AT[start], AT[end]
    side = WIDTH / 2 if to_x > x else -WIDTH / 2
    tail, head, bend = (x, y + HEIGHT / 2), (to_x, to_y - HEIGHT / 2), "arc3"
    if end == "ground":
        head = x, head[1]
    elif to_x != x and x == SPINE:
        tail, bend = (x + side, y), "angle,angleA=0,angleB=90,rad=5"
    elif to_x != x:
        head, bend = (to_x - side, to_y), "angle,angleA=90,angleB=0,rad=5"
    look = {"arrowstyle": "-|>", "color": LIGHT["plain"], "shrinkA": 0, "shrinkB": 1}
    axes.annotate("", head, tail, arrowprops={"connectionstyle": bend, **look})


def svg() -> str:
    """The picture; its description lists every arrow."""
    lines = Counter()
    for file, length in house.lines_of(ROOT).items():
        lines[house.room_of(file)] += length
    arrows = house.onward(house.imports_of(ROOT))
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9.7, 8), facecolor=LIGHT["paper"])
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        axes.set(xlim=(-0.55, LAST + 0.55), ylim=(len(ROWS) - 0.5, -0.5))
        for room in AT:
            draw_room(axes, room, lines[room])
        for start, ends in house.reduced(arrows).items():
            for end in sorted(ends) if start in AT else ():
                draw_arrow(axes, start, end)
        file = io.BytesIO()
        figure.savefig(file, format="svg")
    description = [f"{room} > {', '.join(sorted(others))}" for room, others in arrows.items()]
    return Svg(file.getvalue(), "house", "The rooms of the project", "\n".join(description)).file


if __name__ == "__main__":
    (ROOT / "docs" / "house.svg").write_text(svg(), encoding="utf-8")
