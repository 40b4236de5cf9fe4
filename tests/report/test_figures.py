import re
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pytest

import example_report
import support
from example_report import contrast, painted, rgb
from ld4mrec.report import drawing, palette
from ld4mrec.report.figures import Bands, Dots, Forest, Scatter, draw
from ld4mrec.report.tables import Cell, Table

matplotlib = pytest.importorskip("matplotlib", reason="figures need the extra 'compare'")
SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"


@pytest.fixture(scope="module")
def figures():
    return example_report.figures(*example_report.tables())


@pytest.fixture(scope="module")
def drawn(figures):
    """{name: Drawn} of the four figures."""
    return {figure.name: draw(figure) for figure in figures}


def root_of(svg):
    return ElementTree.fromstring(svg.file.encode())


def all_of(root, tag):
    return root.iter(f"{SVG}{tag}")


def texts(root):
    return [element.text for element in all_of(root, "text")]


def points(root):
    """Places (x, y) of the markers, in the order of drawing."""
    uses = np.array([(float(u.get("x")), float(u.get("y"))) for u in all_of(root, "use")])
    assert len(uses)
    return uses


def horizontal_lines(root, width):
    """(from, to) of the horizontal lines of a stroke width."""
    found = []
    for path in all_of(root, "path"):
        numbers = re.fullmatch(r"M (\S+) (\S+)\s+L (\S+) (\S+)\s*", path.get("d"))
        if numbers and path.get("stroke-width", "1") == width and numbers[2] == numbers[4]:
            found.append((float(numbers[1]), float(numbers[3])))
    return np.array(found)


def assert_proportional(drawn, values):
    """That drawn = a * values + b with a > 0, to a thousandth of a unit."""
    slope, offset = np.polyfit(values, drawn, 1)
    assert slope > 0
    np.testing.assert_allclose(drawn, slope * np.array(values) + offset, atol=2e-3)


def small(*values, column="Recall@20"):
    cells = [value if isinstance(value, Cell) else Cell(value) for value in values]
    return Table("t", "T", (column,), [(f"row {at}", (cell,)) for at, cell in enumerate(cells)])


def dots(table, **more):
    return Dots(name="f", caption="C", table=table, column=table.columns[0], **more)


def test_dots_stand_where_the_numbers_are_best_on_top(drawn):
    found = points(root_of(drawn["recall"][0]))
    values = sorted((recall for recall, *_ in example_report.MODELS.values()), reverse=True)
    assert_proportional(found[:, 0], values)
    assert (np.diff(found[:, 1]) > 0).all()
    names = texts(root_of(drawn["recall"][0]))
    rows = [name for name in names if name in example_report.MODELS or name == "EASE"]
    assert rows == ["LD4MRec", "MGCN", "LATTICE", "BM3", "LightGCN", "VBPR", "BPR", "Pop", "EASE"]


def test_spreads_reach_as_far_as_they_are_long(drawn):
    root = root_of(drawn["recall"][0])
    lines = horizontal_lines(root, "1.6")
    models = sorted(example_report.MODELS.values(), reverse=True)
    spreads = [spread for _, spread, *_ in models if spread]
    values = [recall for recall, spread, *_ in models if spread]
    ends = [
        value + sign * spread
        for value, spread in zip(values, spreads, strict=True)
        for sign in (-1, 1)
    ]
    assert_proportional(
        np.concatenate([lines.ravel(), points(root)[:, 0]]),
        [*ends, *(recall for recall, *_ in models)],
    )


def test_a_missing_number_says_why_in_its_place(drawn):
    assert example_report.NO_RUN in texts(root_of(drawn["recall"][0]))


def test_intervals_stand_where_they_are_and_are_grey_around_zero(drawn):
    root = root_of(drawn["differences"][0])
    cells = example_report.significance().column("Δ Recall@20").values()
    lines = horizontal_lines(root, "1.6")
    places = np.concatenate([lines.ravel(), points(root)[:, 0]])
    ends = [end for cell in cells for end in cell.interval]
    assert_proportional(places, [*ends, *(cell.value for cell in cells)])
    classes = [use.get("class") for use in all_of(root, "use")]
    grey = [cell.interval[0] <= 0 <= cell.interval[1] for cell in cells]
    assert [c == "fill-muted" for c in classes] == grey
    assert sum(grey) == 1
    assert {"← other model better", "LD4MRec better →"} <= set(texts(root))


def test_an_interval_may_lie_beside_its_number():
    cell = Cell(0.5, interval=(0.6, 0.9))
    figure = Forest(
        name="f", caption="C", table=small(cell, Cell(None, note="no run")), column="Recall@20"
    )
    root = root_of(draw(figure)[0])
    assert_proportional([points(root)[0, 0], *horizontal_lines(root, "1.6")[0]], [0.5, 0.6, 0.9])
    assert "no run" in texts(root)
    table = small(Cell(-0.3, interval=(-0.4, -0.2)), Cell(0.0, interval=(-0.1, 0.1)))
    root = root_of(draw(replace(figure, table=table))[0])
    assert [use.get("class") for use in all_of(root, "use")] == ["fill-plain", "fill-muted"]


def test_bars_are_as_long_as_the_numbers_and_begin_at_zero(drawn):
    root = root_of(drawn["by-activity"][0])
    bars = []
    for path in all_of(root, "path"):
        if path.get("class") in ("fill-plain", "fill-accent"):
            x = [float(number) for number in re.findall(r"[ML] (\S+) \S+", path.get("d"))]
            bars.append(max(x) - min(x))
    table = example_report.bands()
    values = [cell.value for name in table.columns for cell in table.column(name).values()]
    np.testing.assert_allclose(np.array(bars) / values, bars[0] / values[0], rtol=1e-4)
    spreads = [cell.spread for name in table.columns for cell in table.column(name).values()]
    lengths = np.diff(horizontal_lines(root, "1"))[:, 0]
    expected = np.array([2 * spread for spread in spreads if spread]) * bars[0] / values[0]
    np.testing.assert_allclose(lengths, expected, rtol=1e-3)
    assert [text for text in texts(root) if text in table.columns] == list(table.columns)


def test_bands_take_another_line_and_keep_a_missing_number_apart():
    columns = tuple(f"band {at}" for at in range(5))
    rows = [
        ("A", [Cell(float(at), 0.1) for at in range(5)]),
        ("B", [Cell(None, note="no run")] * 5),
    ]
    figure = Bands(name="f", caption="C", table=Table("t", "T", columns, rows), columns=columns)
    root = root_of(draw(figure)[0])
    found = texts(root)
    assert [text for text in found if text.startswith("band")] == list(columns)
    assert found.count("–") == 5
    assert found.count("A") == 2  # one for each line of panels


def test_scatter_has_a_logarithmic_and_a_plain_axis(drawn):
    found = points(root_of(drawn["accuracy-and-time"][0]))
    models = example_report.MODELS.values()
    assert_proportional(found[:, 0], np.log([seconds for *_, seconds, _, _ in models]))
    assert_proportional(-found[:, 1], [recall for recall, *_ in models])
    assert {"1", "10", "100", "1,000"} <= set(texts(root_of(drawn["accuracy-and-time"][0])))


def test_scatter_says_what_it_cannot_show():
    columns = ("seconds", "Recall")
    rows = [
        ("fine", (Cell(10.0), Cell(0.1))),
        ("no time", (Cell(None, note="x"), Cell(0.2))),
        ("zero", (Cell(0.0), Cell(0.3))),
        ("wide", (Cell(20.0, spread=30.0), Cell(0.1, spread=0.01))),
    ]
    table = Table("t", "T", columns, rows)
    figure = Scatter(name="f", caption="C", table=table, x="seconds", y="Recall")
    root = root_of(draw(figure)[0])
    assert "not shown, for want of a number: no time, zero" in texts(root)
    assert len(points(root)) == 2
    assert (horizontal_lines(root, "1.6") > 0).all()  # no reach to a time below zero
    with pytest.raises(ValueError, match="no row of table 't' has both 'Recall' and a positive 's"):
        Scatter(
            name="f",
            caption="C",
            table=Table("t", "T", columns, rows[2:3]),
            x=columns[0],
            y=columns[1],
        )


def test_labels_of_near_points_do_not_cover_each_other():
    generator = np.random.default_rng(0)
    rows = [
        (f"a model of a long name {at}", (Cell(x), Cell(y)))
        for at, (x, y) in enumerate(zip(10 + generator.random(9), generator.random(9), strict=True))
    ]
    table = Table("t", "T", ("s", "r"), rows)
    figure = Scatter(name="f", caption="C", table=table, x="s", y="r")
    (axes,), renderer = painted(figure)
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(boxes) == 9
    assert not any(a.overlaps(b) for at, a in enumerate(boxes) for b in boxes[:at])


def test_a_highlight_has_a_form_of_its_own(drawn):
    root = root_of(drawn["recall"][0])
    forms = [use.get(HREF) for use in all_of(root, "use")]
    assert forms.count(forms[0]) == 1
    assert len(set(forms)) == 2
    bold = {text.text for text in all_of(root, "text") if text.get("font-weight") == "700"}
    assert "LD4MRec" in bold
    assert "MGCN" not in bold


def test_texts_are_texts_even_with_dollars():
    figure = dots(small(0.1, column='$x$ <b> & "c"'))
    svg = draw(figure).svg
    assert '$x$ <b> & "c"' in texts(root_of(svg))
    assert "font-family" not in svg.file.split("<text", 1)[1]  # the page's


def test_every_colour_is_of_the_palette_and_has_its_class(drawn):
    for svg, *_ in drawn.values():
        for element in root_of(svg).iter():
            assert "style" not in element.attrib
            classes = set(element.get("class", "").split())
            expected = set()
            for key in ("fill", "stroke"):
                colour = element.get(key, "none")
                if colour != "none":
                    expected.add(f"{key}-{palette.NAMES[colour]}")
            assert classes == expected
        for text in all_of(root_of(svg), "text"):
            assert text.get("fill")  # black, the default, is unseen on dark paper


def test_the_file_alone_is_dark_for_who_wants_it(drawn):
    svg, *_ = drawn["recall"]
    style = root_of(svg).find(f"{SVG}style").text
    assert style.startswith("@media (prefers-color-scheme: dark) {")
    for name, colour in palette.DARK.items():
        assert f".fill-{name} {{ fill: {colour}; }} .stroke-{name} {{ stroke: {colour}; }}" in style
    assert "<style" not in svg.inline
    assert "prefers-color-scheme" not in svg.inline


def test_a_file_and_an_element_say_what_they_show(drawn, figures):
    for figure in figures:
        root = root_of(drawn[figure.name][0])
        assert root.find(f"{SVG}title").text == figure.caption
        assert root.find(f"{SVG}desc").text == figure.description()
        assert root.get("viewBox").startswith("0 0 518.4 ")
        inline = ElementTree.fromstring(drawn[figure.name][0].inline)
        assert inline.get("role") == "img"
        assert inline.get("aria-label") == figure.description()
        assert not {"width", "height"} & set(inline.attrib)
    assert (
        figures[0]
        .description()
        .startswith("model, Recall@20: EASE –; Pop 0.0596; BPR 0.0671 ± 0.0014; ")
    )


def test_figures_of_one_page_share_no_name(drawn):
    names = []
    for svg, *_ in drawn.values():
        root = ElementTree.fromstring(svg.inline)
        own = [element.get("id") for element in root.iter() if element.get("id")]
        links = {use.get(HREF)[1:] for use in all_of(root, "use")}
        links |= set(re.findall(r"url\(#(.*?)\)", svg.inline))
        assert links == set(own)
        names += own
    assert len(names) == len(set(names)) > 4


def test_a_png_is_an_opaque_picture_of_the_same_shape(drawn):
    from PIL import Image

    for svg, png, _ in drawn.values():
        image = Image.open(BytesIO(png)).convert("RGBA")
        _, _, width, height = map(float, root_of(svg).get("viewBox").split())
        assert image.width == pytest.approx(width * 200 / 72, abs=1)
        assert image.height == pytest.approx(height * 200 / 72, abs=1)
        assert image.getpixel((0, 0)) == (255, 255, 255, 255)
        assert len(image.getcolors(1 << 20)) > 10


def test_equal_figures_give_equal_files_whatever_the_users_settings(drawn, figures):
    svg, png, pdf = drawn["recall"]
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "x"}):
        before = dict(matplotlib.rcParams)
        again = draw(figures[0])
        assert dict(matplotlib.rcParams) == before
    assert again[0].file == svg.file
    assert again[0].inline == svg.inline
    assert again.png == png
    assert again.pdf == pdf


def test_a_file_alone_has_a_title_and_a_page_and_a_paper_have_their_own(figures):
    recall = figures[0]
    svg, _, pdf = draw(recall, heading="Eight models on toy")
    alone = texts(root_of(svg))
    assert "Eight models on toy" in alone
    assert " ".join(alone[-2:]) == f"{recall.caption} Eight models on toy"
    assert root_of(svg).find(f"{SVG}title").text == f"Eight models on toy. {recall.caption}"
    inline = texts(ElementTree.fromstring(svg.inline))
    assert "Eight models on toy" not in inline
    assert set(inline) < set(alone)
    assert pdf.startswith(b"%PDF-")
    assert b"/Type3" not in pdf  # fonts that publishers refuse


def test_a_title_breaks_into_lines_that_fit(figures):
    caption = "a word and another " * 12
    root = root_of(draw(replace(figures[1], caption=caption), "A heading").svg)
    lines = [text for text in texts(root) if text.startswith(("a word", "another", "word"))]
    assert len(lines) > 1
    assert max(map(len, lines)) <= 105


@pytest.mark.parametrize("width", [7.2, 1.5, 1.0])
@pytest.mark.parametrize(("low", "high"), [(1200, 9000), (300, 40_000), (1, 5e6), (0.0002, 0.9)])
def test_log_ticks_do_not_touch(width, low, high):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sheet = Figure(figsize=(width, 2), layout="constrained")
    renderer = FigureCanvasAgg(sheet).get_renderer()
    axes = sheet.subplots()
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    drawing.plain_log_ticks(axes.xaxis)
    sheet.draw_without_rendering()
    labels = [tick.label1 for tick in axes.xaxis.get_major_ticks()]
    labels = [tick for tick in labels if axes.get_xlim()[0] <= tick.get_position()[0]]
    labels = [tick for tick in labels if tick.get_position()[0] <= axes.get_xlim()[1]]
    boxes = [label.get_window_extent(renderer) for label in labels]
    assert boxes
    assert not any(a.overlaps(b) for at, a in enumerate(boxes) for b in boxes[:at])


def test_a_table_without_numbers_or_row_is_refused():
    with pytest.raises(
        ValueError, match="'f' has nothing to draw: column 'Recall@20' of table 't'"
    ):
        dots(small(Cell("text")))
    with pytest.raises(ValueError, match="'t' has no column 'recall'. Did you mean 'Recall@20'"):
        Dots(name="f", caption="C", table=small(1.0), column="recall")
    with pytest.raises(
        ValueError, match="highlights 'row', no row of table 't'. Did you mean 'row 0"
    ):
        dots(small(1.0), highlight=("row",))
    with pytest.raises(ValueError, match="lower-case letters"):
        Dots(name="../f", caption="C", table=small(1.0), column="Recall@20")
    with pytest.raises(ValueError, match="wants an interval in row 'row 0', column 'Recall@20'"):
        Forest(name="f", caption="C", table=small(1.0), column="Recall@20")


def test_equal_or_lone_numbers_can_be_drawn():
    for values in ((0.0,), (-1.0, -1.0)):
        table = small(*(Cell(value, spread=0.0, interval=(value, value)) for value in values))
        named = {"name": "f", "caption": "C", "table": table}
        for figure in (
            dots(table),
            Forest(**named, column="Recall@20"),
            Bands(**named, columns=("Recall@20",)),
        ):
            draw(figure)


def test_what_is_not_drawn_needs_no_matplotlib():
    script = """
        import sys
        sys.modules["matplotlib"] = None
        import example_report
        example_report.report()
    """
    script = "\n".join(line.strip() for line in script.splitlines())
    path = f"{support.ROOT / 'src'}:{support.ROOT / 'tests'}"
    subprocess.run([sys.executable, "-c", script], check=True, env={"PYTHONPATH": path})


@pytest.mark.parametrize("theme", [palette.LIGHT, palette.DARK])
def test_contrasts(theme):
    assert contrast(rgb("#000000"), rgb("#ffffff")) == pytest.approx(21)
    colours = {name: rgb(colour) for name, colour in theme.items()}
    for paper in ("paper", "tint", "warning"):
        for text in ("ink", "muted", "plain"):
            assert contrast(colours[text], colours[paper]) >= 4.5, (text, paper)
    for mark in ("plain", "accent", "muted"):
        assert contrast(colours[mark], colours["paper"]) >= 3, mark
