import base64
import csv
import hashlib
import re
import sys
from dataclasses import replace

import pytest

import example_report
from example_report import Page
from ld4mrec.errors import UserError
from ld4mrec.report import figures
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Cell, Table, to_csv
from ld4mrec.report.writing import NO_MATPLOTLIB, write_report

FILES = ["report.csv", "report.html", "report.md", "report.tex"]


def table(name="t", label="A", note=None):
    return Table(name, "T", ("Recall",), [(label, (Cell(0.1),)), ("B", (Cell(0.2, note=note),))])


def dots(name, table):
    return figures.Dots(name=name, caption="C", table=table, column="Recall")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The example's files."""
    folder = tmp_path_factory.mktemp("reports") / "example"
    write_report(folder, example_report.report())
    return folder


@pytest.fixture(scope="module")
def html(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def no_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_the_files_of_a_report(folder):
    names = [figure.name for figure in example_report.report().figures]
    assert sorted(path.name for path in folder.iterdir()) == ["figures", *FILES]
    assert sorted(path.name for path in (folder / "figures").iterdir()) == sorted(
        f"{name}.{kind}" for name in names for kind in ("svg", "png", "pdf")
    )
    assert (folder / "report.csv").read_text() == to_csv(example_report.tables())


def test_equal_reports_are_equal_files(tmp_path):
    shown = table()
    for name in ("first", "again"):
        report = Report("T", (Section("S", (shown, dots("f", shown))),), colophon={"data": ("x",)})
        write_report(tmp_path / name, report)
    written = {path.relative_to(tmp_path / "first"): path for path in tmp_path.glob("first/**/*.*")}
    assert len(written) == 7
    for name, path in written.items():
        assert (tmp_path / "again" / name).read_bytes() == path.read_bytes(), name


def test_a_report_in_markdown(folder):
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# Eight models on toy & \\<tiktok>\n\nMade-up numbers")
    assert "> **Warning.** MGCN was tuned" in text
    assert "## Are the differences real?" in text
    for number, table in enumerate(example_report.tables(), start=1):
        assert f"**Table {number}. {table.title}**".replace("<", "\\<") in text
    images = re.findall(r"^!\[.*\]\((.*)\)$", text, re.MULTILINE)
    assert len(images) == 4
    assert all((folder / image).is_file() for image in images)
    assert "- `Python 3.11.7`\n- `torch 2.13.0`" in text


def test_a_report_in_latex(folder):
    text = (folder / "report.tex").read_text(encoding="utf-8")
    assert text.count(r"\begin{table") == text.count(r"\end{table") == 4
    assert r"\label{tab:report-significance}" in text


def test_the_page_is_balanced_and_every_link_leads_somewhere(html):
    page = Page(html)
    assert page.unbalanced == []
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(names)) == len(names)
    links = [attributes["href"] for attributes in page.of("a")]
    inside = {link[1:] for link in links if link[0] == "#"}
    assert inside <= set(names)
    assert {"section-1", "colophon", "table-accuracy", "note-accuracy-a"} <= inside
    for _, attributes in page.elements:
        for key in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(key, names[0]) in names


def test_the_page_loads_nothing(html):
    page = Page(html)
    for tag, attributes in page.elements:
        assert tag not in ("img", "iframe", "object", "embed", "base")
        assert "src" not in attributes
        assert "style" not in attributes  # the policy forbids it
        assert not [key for key in attributes if key.startswith("on")]
        for key in ("href", "xlink:href"):
            assert attributes.get(key, "#").startswith(("#", "data:"))
    style = "".join(page.texts_in("style"))
    assert style.startswith(":root { --paper: #ffffff;")
    assert "url(" not in style
    assert "@import" not in style
    assert html.count("http:") == html.count('"http://www.w3.org/')  # names, not addresses
    assert "https:" not in html


def test_the_policy_names_exactly_the_pages_style_and_script(html):
    (policy,) = [a["content"] for a in Page(html).of("meta") if "http-equiv" in a]
    for tag in ("style", "script"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_tables_are_tables_to_everyone(html):
    page = Page(html)
    tables = example_report.tables()
    assert len(page.of("table")) == len(page.of("caption")) == 4
    assert [text for text in page.texts_in("b") if text.startswith("Table")] == [
        f"Table {number}." for number in (1, 2, 3, 4)
    ]
    scopes = [attributes.get("scope") for attributes in page.of("th")]
    assert scopes.count("col") == sum(1 + len(table.columns) for table in tables)
    assert scopes.count("row") == sum(len(table.rows) for table in tables)
    assert None not in scopes
    values = {float(cell["data-value"]) for cell in page.of("td") if "data-value" in cell}
    cells = [cell for table in tables for _, row in table.rows for cell in row]
    assert values == {cell.value for cell in cells if cell.is_number}
    marked = page.texts_in("strong")
    assert marked == [cell.text for cell in cells if cell.mark == "best"]


def test_figures_are_in_the_page_and_lead_to_their_numbers(html):
    page = Page(html)
    report = example_report.report()
    assert [svg["aria-label"] for svg in page.of("svg")] == [
        figure.description() for figure in report.figures
    ]
    links = re.findall(r'Numbers: <a href="#table-(.*?)">Table (\d)</a>', html)
    assert links == [
        (figure.table.name, str(report.number(figure.table))) for figure in report.figures
    ]


def test_what_the_page_says(html):
    page = Page(html)
    report = example_report.report()
    assert page.texts_in("h1") == page.texts_in("title") == ["Eight models on toy & <tiktok>"]
    assert page.texts_in("h2") == [
        *(section.heading for section in report.sections),
        "How this report was made",
    ]
    paragraphs = page.texts_in("p")
    for text in (*report.lead, *report.warnings, report.sections[0].content[0]):
        assert text in paragraphs
    assert page.texts_in("dt") == list(report.colophon)
    assert page.texts_in("code") == [v for values in report.colophon.values() for v in values]


def test_the_page_has_the_csv_with_it(folder, html):
    (link,) = [a for a in Page(html).of("a") if "download" in a]
    kind, content = link["href"].split(",")
    assert kind == "data:text/csv;charset=utf-8;base64"
    assert base64.b64decode(content) == (folder / "report.csv").read_bytes()


def test_no_text_becomes_markup_anywhere(tmp_path):
    evil = "</title></style></script>--><script>alert(\"x\")</script><b onclick='x'>&amp;{{ 1 }}"
    shown = Table("t", evil, (evil,), [(evil, (Cell(0.1, note=evil),))], (evil,), evil)
    figure = figures.Dots(name="f", caption=evil, table=shown, column=evil, axis=evil)
    content = (evil, shown, figure)
    report = Report(evil, (Section(evil, content),), (evil,), (evil,), {evil: (evil,)})
    write_report(tmp_path, report)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.unbalanced == []
    assert len(page.of("script")) == 1
    assert "onclick" not in [key for _, attributes in page.elements for key in attributes]
    for tag in ("title", "h1", "h2", "dt", "code", "th", "text"):
        assert evil in page.texts_in(tag), tag
    with open(tmp_path / "report.csv", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[1] == ["t", evil, evil, "0.1", *([""] * 4), evil]


def test_without_matplotlib_the_tables_stay_and_a_sentence_says_why(no_matplotlib, tmp_path):
    write_report(tmp_path, example_report.report())
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.of("svg") == []
    assert len(page.of("table")) == 4
    assert NO_MATPLOTLIB in page.texts_in("p")
    assert "'.[compare]'" in NO_MATPLOTLIB
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "![" not in text
    assert f"> **Warning.** {NO_MATPLOTLIB}" in text.replace("\\", "")


def test_a_report_without_figures_and_colophon_misses_nothing(no_matplotlib, tmp_path):
    write_report(tmp_path, Report("T", (Section("S", (table(),)),)))
    assert "How this report was made" not in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "matplotlib" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_another_missing_module_is_no_missing_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(ModuleNotFoundError, match="backend_agg"):
        write_report(tmp_path, example_report.report())


def test_nothing_is_written_when_a_figure_fails(monkeypatch, tmp_path):
    def fail(self, sheet):
        raise RuntimeError("cannot paint")

    monkeypatch.setattr(figures.Dots, "paint", fail)
    with pytest.raises(RuntimeError, match="cannot paint"):
        write_report(tmp_path, example_report.report())
    assert list(tmp_path.iterdir()) == []


def test_figures_of_an_earlier_report_go_and_other_files_stay(tmp_path):
    shown = table()
    (tmp_path / "figures").mkdir()
    for name in ("figures/mine.txt", "mine.svg", "figures/old.svg", "figures/old.pdf"):
        (tmp_path / name).write_text("x")
    write_report(tmp_path, Report("T", (Section("S", (shown, dots("new", shown))),)))
    names = [path.name for path in (tmp_path / "figures").iterdir()]
    assert sorted(names) == ["mine.txt", "new.pdf", "new.png", "new.svg"]
    assert (tmp_path / "mine.svg").exists()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(UserError, match="the report cannot be written to .*taken: "):
        write_report(tmp_path / "taken", Report("T", (Section("S", (table(),)),)))


def test_what_a_report_refuses():
    shown, other = table(), table(label="C")
    with pytest.raises(ValueError, match="two tables or two figures of one name: .'t', 't'."):
        Report("T", (Section("S", (shown, other)),))
    with pytest.raises(ValueError, match="of one name: .'f', 'f'."):
        Report("T", (Section("S", (shown, dots("f", shown), dots("f", shown))),))
    with pytest.raises(ValueError, match="'f' is drawn from table 't', which the report does not"):
        Report("T", (Section("S", (shown, dots("f", other))),))
    with pytest.raises(ValueError, match="'S' wants a sequence of str or Table or Figure, got 'ab"):
        Section("S", "abc")
    with pytest.raises(ValueError, match="'S' wants a sequence"):
        Section("S", (1.0,))
    fine = Report("T", (Section("S", (shown,)),))
    for name, value in {"lead": "text", "warnings": "text", "colophon": {"data": "text"}}.items():
        with pytest.raises(ValueError, match="'(lead|warnings|data)' wants a sequence of str"):
            replace(fine, **{name: value})


def test_numbers_count_tables_and_figures_apart():
    report = example_report.report()
    assert [report.number(table) for table in report.tables] == [1, 2, 3, 4]
    assert [report.number(figure) for figure in report.figures] == [1, 2, 3, 4]
