import csv
import io
import re
import shutil
import subprocess
from html import unescape

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import example_report
from example_report import Page
from ld4mrec.report import latex, markdown, page
from ld4mrec.report.tables import BEST, CSV_COLUMNS, SECOND, Cell, Table, mark_best, slug, to_csv

PUNCTUATION = "ab1 é\\`*_{}[]()#+-.!|<>~&$=;\"'/:@%^−–±≤\n"
awkward = st.text(PUNCTUATION, min_size=1, max_size=12).filter(str.strip)
finite = st.floats(allow_nan=False, allow_infinity=False)


def one_line(text):
    return " ".join(text.split())


def html_of(table):
    """The table's element alone."""
    return str(page.ENVIRONMENT.get_template("table.html").module.table(table, None))


def small(*cells, **more):
    """A table with a single column and a row per cell."""
    rows = [(f"row {at}", (cell,)) for at, cell in enumerate(cells)]
    return Table("small", "A title", ("Recall@20",), rows, **more)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Cell(0.09019), "0.0902"),
        (Cell(-0.0012), "−0.0012"),
        (Cell(-0.00001), "0.0000"),
        (Cell(0.00001, format="+.4f"), "0.0000"),
        (Cell(0.0123, format="+.4f"), "+0.0123"),
        (Cell(5145490, format=",.0f"), "5,145,490"),
        (Cell(5145490, format=",d"), "5,145,490"),
        (Cell(0.8725, format=".1%"), "87.2%"),
        (Cell(0.0004, format="p"), "<0.001"),
        (Cell(0.0312, format="p"), "0.031"),
        (Cell("better"), "better"),
        (Cell(None, note="no run"), "–"),
    ],
)
def test_a_value_prints(cell, text):
    assert cell.text == text


def test_spread_and_interval_print_in_the_format_of_the_value():
    cell = Cell(0.0123, spread=0.00184, interval=(-0.0005, 0.02), format="+.4f")
    assert cell.spread_text == "± 0.0018"
    assert cell.interval_text == "[−0.0005, +0.0200]"
    assert (Cell(1.0).spread_text, Cell(1.0).interval_text) == ("", "")
    assert Cell(2.0, spread=0).spread_text == "± 0.0000"


def test_numbers_of_numpy_become_pythons():
    cell = Cell(np.float32(0.5), np.float64(0.25), interval=np.array([0.0, 1.0]))
    assert (type(cell.value), type(cell.spread)) == (float, float)
    assert cell.interval == (0.0, 1.0)
    assert type(Cell(np.int64(3), format="d").value) is int


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"value": float("nan")}, "wants a finite number, a text, or None with a note; got nan"),
        ({"value": float("inf")}, "finite number"),
        ({"value": True}, "finite number"),
        ({"value": np.ones(1)}, "finite number"),
        ({"value": None}, "needs a note that says why"),
        ({"value": 1.0, "mark": "third"}, "mark is 'best', 'second' or None, got 'third'"),
        ({"value": "good", "spread": 1.0}, "only a number has spread, interval or mark"),
        ({"value": None, "note": "no run", "mark": BEST}, "only a number has"),
        ({"value": 1.0, "spread": -0.1}, "a spread is not negative, got -0.1"),
        ({"value": 1.0, "spread": float("nan")}, "finite number"),
        ({"value": 1.0, "interval": (2, 1)}, r"an interval is \(low, high\), got \(2, 1\)"),
        ({"value": 1.5, "format": "d"}, "format 'd' does not print 1.5"),
    ],
)
def test_what_a_cell_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Cell(**arguments)


def marks(values, larger_is_better=True):
    cells = [
        value if isinstance(value, Cell) else Cell(value, note="no run" if value is None else None)
        for value in values
    ]
    return [cell.mark for cell in mark_best(cells, larger_is_better)]


def test_best_and_second():
    assert marks([0.1, 0.3, 0.2]) == [None, BEST, SECOND]
    assert marks([0.1, 0.3, 0.2], larger_is_better=False) == [BEST, None, SECOND]
    assert marks([None, "text", 0.2, 0.1]) == [None, None, BEST, SECOND]


def test_what_prints_alike_is_marked_alike():
    assert marks([0.30001, 0.30002, 0.2]) == [BEST, BEST, None]
    assert marks([0.3, 0.20001, 0.20002]) == [BEST, SECOND, SECOND]
    assert marks([0.3, 0.3]) == [None, None]
    assert marks([0.3, None]) == [None, None]
    assert marks([]) == []


def test_a_number_with_a_note_does_not_compete():
    few = Cell(0.9, note="1 of 5 seeds")
    fewer = Cell(0.1, note="2 of 5 seeds")
    assert marks([Cell(0.1), few, Cell(0.2)]) == [SECOND, None, BEST]
    assert marks([Cell(0.1), few]) == [None, None]
    assert marks([fewer, few]) == [SECOND, BEST]


def test_earlier_marks_go():
    cells = [Cell(1.0, mark=SECOND), Cell(2.0), Cell(0.5, mark=BEST)]
    assert marks(cells) == [SECOND, BEST, None]


@given(st.lists(st.integers(-5, 5).map(float), min_size=2), st.booleans())
def test_marks_agree_with_the_sorted_numbers(values, larger):
    found = marks(values, larger)
    ranked = sorted(set(values), reverse=larger)
    for value, mark in zip(values, found, strict=True):
        assert (mark == BEST) == (len(ranked) > 1 and value == ranked[0])
        second = len(ranked) > 1 and values.count(ranked[0]) == 1 and value == ranked[1]
        assert (mark == SECOND) == second


def test_columns_are_marked_each_in_its_direction():
    rows = [("A", (Cell(0.1), Cell(9.0))), ("B", (Cell(0.2), Cell(5.0)))]
    table = Table("t", "T", ("Recall", "seconds"), rows)

    def all_marks(marked):
        return [cell.mark for _, cells in marked.rows for cell in cells]

    both = table.marked(["Recall"], smaller=["seconds"])
    assert all_marks(both) == [SECOND, SECOND, BEST, BEST]
    assert all_marks(table.marked(["Recall"])) == [SECOND, None, BEST, None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Two words"}, "lower-case letters, digits and hyphens, got 'Two words'"),
        ({"name": ""}, "lower-case"),
        ({"columns": ("a", "a")}, "wants columns of different names"),
        ({"columns": ()}, "wants columns of different names"),
        ({"rows": ()}, "wants rows of different names"),
        ({"rows": [("x", (Cell(1),) * 2)] * 2}, "wants rows of different names: .'x', 'x'."),
        ({"rows": [("x", (Cell(1),))]}, "table 'fine', row 'x': 1 cell for 2 columns"),
    ],
)
def test_what_a_table_refuses(change, message):
    fine = {"name": "fine", "title": "T", "columns": ("a", "b"), "rows": [("x", (Cell(1),) * 2)]}
    Table(**fine)
    with pytest.raises(ValueError, match=message):
        Table(**fine | change)


def test_a_column_by_name():
    table = small(Cell(1.0), Cell(2.0))
    assert table.column("Recall@20") == {"row 0": Cell(1.0), "row 1": Cell(2.0)}
    with pytest.raises(ValueError, match="'small' has no column 'recall@20'. Did you mean 'Recall"):
        table.column("recall@20")


def test_equal_notes_share_a_letter():
    absent = Cell(None, note="no run")
    table = small(absent, Cell(1.0, note="four seeds"), absent)
    assert table.footnotes() == {"no run": "a", "four seeds": "b"}
    many = small(*(Cell(1.0, note=f"{at}") for at in range(28)))
    assert list(many.footnotes().values())[24:] == ["y", "z", "aa", "ab"]


def test_the_legend_says_what_is_there():
    assert small(Cell(1.0)).legend() == ""
    assert small(Cell(1.0, spread=0.1)).legend() == "±: standard deviation over seeds."
    assert small(Cell(1.0, mark=BEST)).legend() == "Bold: best."
    marked = small(Cell(1.0, 0.1, mark=BEST), Cell(0.5, mark=SECOND))
    assert marked.legend(second="italic") == (
        "Bold: best; italic: second; ±: standard deviation over seeds."
    )


def test_the_room_of_absent_digits():
    long, short, none = Cell(1.0, 140.0), Cell(1.0, 5.25), Cell(1.0)
    table = small(long, short, none)
    assert [table.spread_room("Recall@20", cell) for cell in (long, short, none)] == [
        "",
        "14",
        "± 140.0000",
    ]
    assert small(none).spread_room("Recall@20", none) == ""


@given(st.lists(st.tuples(finite, finite.map(abs), st.none() | awkward), min_size=1, max_size=5))
def test_the_csv_gives_every_number_back(cells):
    table = small(*(Cell(v, s, interval=(v, v), format=".3g", note=note) for v, s, note in cells))
    read = list(csv.reader(io.StringIO(to_csv([table]), newline="")))
    assert tuple(read[0]) == CSV_COLUMNS
    assert len(read) == 1 + len(cells)
    for line, (value, spread, note) in zip(read[1:], cells, strict=True):
        assert line[0] == "small"
        assert line[2] == "Recall@20"
        assert [float(number) for number in line[3:7]] == [value, spread, value, value]
        assert line[7:] == ["", note or ""]


def test_the_csv_of_all_tables():
    tables = example_report.accuracy(), example_report.cost()
    lines = to_csv(tables).splitlines()
    assert len(lines) == 1 + 9 * 4 + 8 * 3
    assert "accuracy,LD4MRec,Recall@20,0.10719999999999999,0.0015,,,best," in lines
    assert f"accuracy,EASE,Recall@20,,,,,,{example_report.NO_RUN}" in lines
    assert "cost,LD4MRec,parameters,5145490,,,,," in lines


WORKED = Table(
    "worked",
    "R & D | 100 %",
    ("Recall@20", "Δ", "words_"),
    [
        (
            "a_b",
            (
                Cell(0.0902, 0.0018, mark=BEST),
                Cell(-0.01, interval=(-0.02, 0.0), format="+.2f"),
                Cell("<b>"),
            ),
        ),
        ("[c]", (Cell(0.0896, mark=SECOND), Cell(None, note="no run"), Cell("x"))),
    ],
    notes=("A note.",),
)


def test_markdown_by_hand():
    assert (
        markdown.table(WORKED, 3)
        == r"""**Table 3. R & D \| 100 %**

| model | Recall@20 | Δ | words\_ |
| --- | ---: | ---: | --- |
| a_b | **0.0902** ± 0.0018 | −0.01 [−0.02, 0.00] | \<b> |
| \[c\] | *0.0896* | –<sup>a</sup> | x |

Bold: best; italic: second; ±: standard deviation over seeds.

A note.

<sup>a</sup> no run"""
    )


def test_latex_by_hand():
    assert (
        latex.table(WORKED, "tiktok")
        == r"""\begin{table}[t]
\centering\small
\caption{R \& D \textbar{} 100 \%}
\label{tab:tiktok-worked}
\resizebox{\ifdim\width>\linewidth \linewidth\else\width\fi}{!}{%
\begin{tabular}{lrrl}
\toprule
model & Recall@20 & $\Delta$ & words\_ \\
\midrule
a\_b & \textbf{0.0902} {\scriptsize $\pm$ 0.0018} & $-$0.01 [$-$0.02, 0.00] & \textless{}b\textgreater{} \\
{[}c] & \underline{0.0896} {\scriptsize \phantom{$\pm$ 0.0018}} & \textendash{}\textsuperscript{a} & x \\
\bottomrule
\end{tabular}}
\par\smallskip
{\footnotesize Bold: best; underlined: second; $\pm$: standard deviation over seeds. A note. \textsuperscript{a}\,no run\par}
\end{table}
"""  # noqa: E501
    )


def test_latex_takes_both_columns_where_one_is_too_narrow():
    assert latex.width(WORKED) < latex.COLUMN
    columns = [f"test Recall@{k}" for k in range(4)]
    wide = Table("wide", "T", columns, [("LD4MRec", [Cell(0.1, 0.01)] * 4)])
    assert latex.width(wide) > latex.COLUMN
    text = latex.table(wide)
    assert text.startswith("\\begin{table*}[t]")
    assert text.endswith("\\end{table*}\n")
    assert r"\label{tab:report-wide}" in text


def test_latex_sets_long_texts_in_lines():
    table = Table("t", "T", ("keys", "n"), [("a", (Cell("key=value, " * 9), Cell(1)))])
    assert f"{{l{latex.IN_LINES}r}}" in latex.table(table)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex: apt-get install texlive")
@pytest.mark.parametrize("columns", ["onecolumn", "twocolumn"])
def test_latex_fits_the_page(columns, tmp_path):
    text = latex.report(example_report.report())
    (tmp_path / "report.tex").write_text(text, encoding="utf-8")
    (tmp_path / "paper.tex").write_text(
        rf"\documentclass[{columns}]{{article}}\usepackage{{array,booktabs,graphicx}}"
        r"\begin{document}\input{report}\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert text.count(r"\label{tab:report-") == len(example_report.report().tables)


@pytest.mark.parametrize(
    ("text", "name"), [("tiktok", "tiktok"), ("My set_1", "my-set-1"), ("9 a", "d-9-a"), ("é", "d")]
)
def test_a_text_as_a_name(text, name):
    assert slug(text) == name


def test_html_by_hand():
    rows = re.findall(r"<tr>.*?</tr>", html_of(WORKED), re.DOTALL)
    cells = [re.sub(r"\s+", " ", cell) for cell in re.findall("<t[dh].*?</t[dh]>", rows[1], re.S)]
    assert cells == [
        '<th scope="row">a_b</th>',
        '<td class="number" data-value="0.0902"><strong>0.0902</strong>'
        '<span class="unseen"> (best)</span> <span class="spread">± 0.0018</span></td>',
        '<td class="number" data-value="-0.01">−0.01 '
        '<span class="interval">[−0.02, 0.00]</span></td>',
        "<td>&lt;b&gt;</td>",
    ]
    assert rows[2].count("data-value") == 1  # the absent number has none
    assert 'data-room="± 0.0018"' in rows[2]
    assert '<sup><a href="#note-worked-a">a</a></sup>' in rows[2]


def test_what_the_columns_of_markdown_and_latex_hold_is_flush_right():
    table = example_report.significance()
    assert "| --- | ---: | ---: | ---: | --- |" in markdown.table(table)
    assert r"\begin{tabular}{lrrrl}" in latex.table(table)


def texts_of(html):
    """The texts of a HTML table's cells, row by row."""
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    cells = [re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]
    return [[one_line(unescape(re.sub("<.*?>", "", cell))) for cell in row] for row in cells]


def check_markdown(title, label, word):
    """That a reader of Markdown gets the plain texts back."""
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    html = reader.render(f"{markdown.escaped(title)}\n").strip()
    assert unescape(html) == f"<p>{one_line(title)}</p>"
    rows = [(label, (Cell(word),)), (f"{label} 2", (Cell(1.0),))]
    table = Table("t", title, (word,), rows)
    html = reader.render(markdown.table(table))
    assert texts_of(html) == [
        ["model", one_line(word)],
        [one_line(label), one_line(word)],
        [one_line(f"{label} 2"), "1.0000"],
    ]
    code = reader.render(f"x {markdown.code(word)} x")
    assert unescape(re.search("<code>(.*)</code>", code)[1]).strip() == one_line(word)


@given(awkward, awkward, awkward)
def test_texts_survive_markdown(title, label, word):
    check_markdown(title, label, word)


@pytest.mark.parametrize(
    "text",
    [
        *("# a", "#", "> a", ">a", "- a", "+ a", "* a", "1. a", "12) a", "---", "- - -", "***"),
        *("___", "===", "*a*", "__a__", "_a_", "a_b_c", "~~a~~", "`a`", "``a`b``", "[a](b)"),
        *("![a](b)", "<b>a</b>", "<!-- a", "<http://a.b>", "&amp;", "&#35;", "a\\", "\\|", "a | b"),
    ],
)
def test_no_text_has_a_meaning_in_markdown(text):
    check_markdown(text, text, text)


@given(awkward, awkward, awkward)
def test_texts_survive_html(title, label, word):
    table = Table("t", title, (word,), [(label, (Cell(None, note=word),))], (title,), label)
    assert [text for _, text in Page(html_of(table)).texts if text] == [
        *map(one_line, (title, label, word, label)),
        *("–", "a", one_line(title), "a", one_line(word)),
    ]


@given(awkward)
def test_texts_survive_latex(text):
    escaped = latex.escaped(text)
    plain = re.sub(r"^\{([\[*])\}", r"\1", escaped)
    assert "--" not in plain
    plain = re.sub(r"([-'])\{\}(?=\1)", r"\1", plain)
    commands = sorted(((v, k) for k, v in latex.ESCAPES.items()), key=lambda pair: -len(pair[0]))
    known = "|".join(re.escape(command) for command, _ in commands)
    assert re.sub(known, lambda m: dict(commands)[m[0]], plain) == one_line(text)
    # nothing that LaTeX acts on is left beside what we wrote
    assert not re.search(r"[\\{}$&%#_^~<>|]", re.sub(known, "", plain))
    assert not escaped.startswith(("[", "*"))
