"""published.yaml against the paper's text, where that is at hand."""

import re

import pytest

import support
from ld4mrec.data.counts import PRINTED_DENSITY, TABLE_1
from ld4mrec.paper import overview, published

TEXT = support.ROOT.parent / "shared" / "paper" / "LD4MRec.txt"
TITLES = {"tmall": "TMALL", "microlens": "Microlens", "hm": "H&m"}  # as Table 1 writes them


@pytest.fixture(scope="module")
def tables():
    """The text's tables: lists of rows of cells."""
    if not TEXT.is_file():
        pytest.skip(f"the paper's text is not at hand: there is no {TEXT}")
    found, rows = [], []
    for line in [*TEXT.read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith("|") and line.rstrip(" |").strip():
            rows.append([cell.strip() for cell in line.strip("| ").split("|")])
        elif rows:
            found.append(rows)
            rows = []
    # the three tables of accuracy follow each other without a line between them
    split = []
    for rows in found:
        starts = [at for at, row in enumerate(rows) if row[0] in ("Dataset", "Methods")]
        ends = [*starts[1:], len(rows)]  # what has no head is an equation's number
        split += [rows[a:b] for a, b in zip(starts, ends[: len(starts)], strict=True)]
    return split


def test_table_1(tables):
    printed = {row[0]: row[1:] for row in tables[0][2:]}
    assert set(printed) == set(TITLES.values())
    for name, title in TITLES.items():
        *counts, density = printed[title]
        assert tuple(int(text.replace(",", "")) for text in counts) == TABLE_1[name]
        assert float(density.rstrip("%")) / 100 == pytest.approx(PRINTED_DENSITY[name], rel=1e-12)
        assert TABLE_1[name].density == pytest.approx(PRINTED_DENSITY[name], abs=5e-6)


@pytest.mark.parametrize(("at", "name"), [(1, "tmall"), (2, "microlens"), (3, "hm")])
def test_tables_2_to_4(at, name, tables):
    printed = {row[0]: [float(text) for text in row[1:]] for row in tables[at][2:]}
    p_values = printed.pop("-value")
    ours = published.published()["tables"][name]
    assert ours["rows"] == printed
    assert ours["p_values"] == p_values
    assert len(printed) == 12


def test_table_5(tables):
    ours = published.published()["efficiency"]
    head, _, *rows = tables[4]
    assert ours["columns"] == head[2:]
    for name, first in zip(TITLES, range(0, 9, 3), strict=True):
        for row in rows[first : first + 3]:
            # the data set's name stands in its first row only
            numbers = [float(text) for text in row if re.fullmatch(r"\d+\.\d+", text)]
            (what,) = {"Training", "Inference", "Memory"} & set(row)
            assert ours[name][what.lower()] == numbers
    assert len(rows) == 9


def test_claims_are_in_the_text():
    if not TEXT.is_file():
        pytest.skip(f"the paper's text is not at hand: there is no {TEXT}")
    text = TEXT.read_text(encoding="utf-8")
    for claim in published.published()["claims"]:
        assert f"{100 * claim['says']:.1f}%" in text


def test_numbers_by_our_names():
    assert published.accuracy("tmall", "BPR", "recall@20") == 0.0232  # MF-BPR
    assert published.accuracy("hm", "LD4MRec", "ndcg@20") == 0.0269
    assert published.accuracy("tmall", "EASE", "recall@20") is None
    assert published.accuracy("tiktok", "LD4MRec", "recall@20") is None
    assert published.cost("microlens", "DiffRec", "inference") == 251.42
    assert published.cost("tmall", "BPR", "inference") is None
    assert published.source("hm") == "Table 4, section 6.5"


def test_one_sentence_of_the_text_is_not_what_its_table_says():
    table = overview.claims()
    said = {label: [cell.text for _, cell in cells] for label, cells in table.lines()}
    assert said["TMALL, Recall@20, over MGCN"] == ["+7.6%", "+7.6%"]
    assert said["Microlens, Recall@20, over DiffMM"] == ["+4.7%", "+1.9%"]
