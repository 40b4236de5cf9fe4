"""Every figure's data is its table's, which is the CSV's."""

import csv
import io

import numpy as np
import pytest

from example_report import contrast, painted, rgb
from ld4mrec.report import figures as common
from ld4mrec.report.palette import DARK, LIGHT
from ld4mrec.report.panels import DARKEST, Curves, HeatMap, Lines, Pairs, Panels
from ld4mrec.report.tables import Cell, Table, to_csv

matplotlib = pytest.importorskip("matplotlib", reason="figures need the extra 'compare'")
PLACES = {"5%": 5, "10%": 10}
ABSENT = Cell(None, note="not run")
TABLE = Table(
    "t",
    "T",
    ("5%", "10%", "time"),
    (
        ("ours", (Cell(0.12345678, spread=0.01), Cell(0.2), Cell(3.0))),
        ("other", (Cell(-0.3), ABSENT, Cell(40.0))),
        ("none", (ABSENT, ABSENT, ABSENT)),
    ),
)


def lines(axes):
    """[(x, y)] of the lines with markers."""
    drawn = [line for line in axes.get_lines() if line.get_marker() not in ("None", None, "")]
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in drawn]


def in_csv(table, column):
    """The column's numbers as the CSV has them."""
    rows = csv.DictReader(io.StringIO(to_csv([table])))
    return [float(row["value"]) for row in rows if row["column"] == column and row["value"]]


def make(kind, **more):
    return kind(name="f", caption="C", **{"table": TABLE} | more)


def test_panels():
    (left, right), _ = painted(make(Panels, columns=("5%", "time"), logarithmic=("time",)))
    assert [x for (x,), _ in lines(left)] == in_csv(TABLE, "5%") == [0.12345678, -0.3]
    assert [y for _, (y,) in lines(left)] == [0, 1]  # the rows in the table's order
    assert [x for (x,), _ in lines(right)] == in_csv(TABLE, "time")
    assert right.get_xscale() == "log"
    assert (left.get_xlabel(), right.get_xlabel()) == ("5%", "time")


def test_pairs():
    (axes,), _ = painted(make(Pairs, columns=("5%", "10%"), axis="loss"))
    dots = [(x, y) for x, y in lines(axes) if len(x) == 1]
    assert dots == [([0.12345678], [0]), ([-0.3], [1]), ([0.2], [0])]
    plain = [line for line in axes.get_lines() if line.get_marker() in ("None", None, "")]
    joined = [list(line.get_xdata()) for line in plain if len(line.get_xdata()) == 2]
    assert [0.12345678, 0.2] in joined
    assert not any(-0.3 in line for line in joined)  # the row has no second number
    (legend,) = axes.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["5%", "10%"]
    assert axes.get_xlabel() == "loss"
    with pytest.raises(ValueError, match="'f' wants two columns, got"):
        make(Pairs, columns=("5%",))


def test_lines():
    figure = make(Lines, columns=tuple(PLACES), places=PLACES, x_axis="share", axis="loss")
    (axes,), _ = painted(figure)
    assert lines(axes) == [([5, 10], [0.12345678, 0.2]), ([5], [-0.3])]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("share", "loss")
    (legend,) = axes.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ours", "other"]


def test_series_are_told_apart_without_colour():
    rows = tuple((f"row {at}", (Cell(at), Cell(at + 1), Cell(0))) for at in range(6))
    table = Table("t", "T", TABLE.columns, rows)
    (axes,), _ = painted(
        make(Lines, table=table, columns=tuple(PLACES), places=PLACES, x_axis="x", axis="y")
    )
    looks = [(line.get_marker(), line.get_linestyle()) for line in axes.get_lines()]
    assert len(set(looks)) == 6


def test_curves():
    table = Table(
        "t", "T", ("t", "error"), [(f"t = {t}", (Cell(t), Cell(t**2 / 7))) for t in range(4)]
    )
    (axes,), _ = painted(make(Curves, table=table, x="t", columns=("error",), x_axis="step"))
    assert lines(axes) == [([0, 1, 2, 3], in_csv(table, "error"))]


def test_a_map_is_darkest_where_it_is_highest():
    table = Table("t", "T", ("a", "b"), (("x", (Cell(0.1), Cell(0.4))), ("y", (Cell(0.2), ABSENT))))
    (axes,), _ = painted(make(HeatMap, table=table, columns=("a", "b"), x_axis="γ", y_axis="p"))
    shades = {
        tuple(np.round(patch.get_xy() + np.array(0.48)).tolist()): patch.get_alpha()
        for patch in axes.patches
        if patch.get_alpha() is not None
    }
    assert shades == {(0, 0): 0, (0, 1): pytest.approx(DARKEST / 3), (1, 0): DARKEST}
    assert [text.get_text() for text in axes.texts] == ["0.1000", "0.2000", "0.4000", "–"]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_texts_are_legible_on_the_darkest_cell(theme):
    cell = DARKEST * rgb(theme["plain"]) + (1 - DARKEST) * rgb(theme["paper"])
    assert contrast(cell, rgb(theme["ink"])) >= 4.5


@pytest.mark.parametrize(
    "figure",
    [
        make(Panels, columns=("5%", "time")),
        make(Lines, columns=tuple(PLACES), places=PLACES, x_axis="x", percent=True),
        make(HeatMap, columns=("5%", "10%"), x_axis="x", y_axis="y"),
        make(Curves, x="5%", columns=("time",), x_axis="x"),
    ],
    ids=lambda figure: type(figure).__name__,
)
def test_equal_figures_are_equal_files_in_the_palettes_colours(figure):
    svg, png, _ = common.draw(figure)
    again = common.draw(figure).svg
    assert svg.file == again.file  # a colour that the palette lacks would have been refused
    assert png.startswith(b"\x89PNG")
