"""Lines cut into fields: right values, counted defects, the same whatever the block's size."""

import datetime
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ld4mrec.preprocessing.steps import raw
from ld4mrec.preprocessing.steps.raw import BadLines, RawError, Table, blocks


def bad_lines(share=1.0):
    return BadLines("some.txt", "two fields", share)


def table(text, n_fields=2, separator=",", bad=None):
    return Table(text.encode(), separator, n_fields, bad or bad_lines())


@given(st.lists(st.text("ab,\r", max_size=6), max_size=12), st.integers(1, 20), st.booleans())
def test_blocks_are_whole_lines_and_lose_nothing(lines, size, ended):
    text = "\n".join(lines).encode() + b"\n" * ended
    got = list(blocks(io.BytesIO(text), "x", size))
    assert all(block.endswith(b"\n") for block in got)
    joined = b"".join(got)
    assert joined == text or joined == text + b"\n"


def test_a_file_without_line_ends_is_refused(monkeypatch):
    monkeypatch.setattr(raw, "LONGEST_LINE", 100)
    with pytest.raises(RawError, match="big.bin: a line of more than 100 bytes"):
        list(blocks(io.BytesIO(b"x" * 1000), "big.bin", 10))


FIELD = st.text("xyz01", max_size=4)


@given(st.lists(st.lists(FIELD, min_size=1, max_size=4), max_size=15), st.booleans())
def test_table_equals_splitting_line_by_line(rows, crlf):
    end = "\r\n" if crlf else "\n"
    text = "".join(",".join(row) + end for row in rows)
    bad = bad_lines()
    got = table(text, 2, bad=bad)
    good = [(number, row) for number, row in enumerate(rows, start=1) if len(row) == 2]
    assert got.number.tolist() == [number for number, _ in good]
    for column in range(2):
        assert [one.decode() for one in got.strings(column)] == [row[column] for _, row in good]
        assert got.width(column).tolist() == [len(row[column]) for _, row in good]
    blank = sum(row == [""] for row in rows)
    assert (bad.lines, bad.bad) == (len(rows), len(rows) - len(good) - blank)


def test_bad_lines_are_counted_and_the_first_three_shown():
    bad = bad_lines(0.5)
    table("a,b\nshort\nc,d\n1,2,3\n\nx\ny\n", bad=bad)
    assert bad.as_dict()["bad"] == 4
    assert bad.first == [
        "line 2: not 2 fields: 'short'",
        "line 4: not 2 fields: '1,2,3'",
        "line 6: not 2 fields: 'x'",
    ]
    with pytest.raises(
        RawError, match=r"some.txt: 4 of 7 lines cannot be used \(line 2: .*; ...\)"
    ):
        bad.check()
    bad.share = 0.6
    bad.check()
    # line numbers go on in the next block
    table("z\n", bad=bad)
    assert (bad.lines, bad.bad) == (8, 5)


def test_bytes_that_are_no_text_are_shown_escaped():
    bad = bad_lines()
    Table(b"\xff\xfe\n", ",", 2, bad)
    assert bad.first == [r"line 1: not 2 fields: '\\xff\\xfe'"]


def test_keep_counts_only_with_a_reason():
    bad = bad_lines()
    got = table("1,a\n2,b\n3,c\n", bad=bad)
    got.keep(np.array([True, False, True]))
    assert bad.bad == 0
    got.keep(np.array([False, True]), "no good")
    assert bad.first == ["line 1: no good: '1,a'"]
    assert got.strings(1) == [b"c"]


def test_equals_and_first_byte():
    got = table("cart,1\nclick,2\ncar,3\nCart,4\n,5\n")
    assert got.equals(0, b"cart").tolist() == [True, False, False, False, False]
    assert bytes(got.first_byte(0)) == b"cccC,"


@given(st.lists(st.text("0123456789-u ", max_size=17), min_size=1, max_size=20))
def test_integers_are_those_of_plain_digits(fields):
    got = table("".join(f"{field},x\n" for field in fields)).integers(0)
    wanted = [int(f) if f.isdecimal() and len(f) <= 15 else -1 for f in fields]
    assert got.tolist() == wanted


def test_integers_behind_a_prefix():
    got = table("u12,x\nu,x\n,x\nu7x,x\n")
    assert got.integers(0, skip=1).tolist() == [12, -1, -1, -1]


@given(st.lists(st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(2100, 1, 1))))
def test_times_are_those_of_datetime(times):
    times = [time.replace(microsecond=0) for time in times]
    got = table("".join(f"{time},{time.date()}\n" for time in times))
    epoch = datetime.datetime(1970, 1, 1)
    assert got.seconds(0).tolist() == [int((time - epoch).total_seconds()) for time in times]
    assert got.days(1).tolist() == [(time - epoch).days for time in times]


@pytest.mark.parametrize(
    "text",
    ["2013-02-29 00:00:00", "2013-13-01 00:00:00", "2013-01-01 24:00:00", "2013-01-01 00:60:00"]
    + ["2013-01-01 00:00", "2013/01/01 00:00:00", "2013-01-01T00:00:00", "20x3-01-01 00:00:00", ""],
)
def test_what_is_no_time_is_minus_one(text):
    assert table(f"{text},x\n").seconds(0).tolist() == [-1]


def test_an_empty_block_has_no_rows():
    got = Table(b"", ",", 2, bad_lines())
    assert len(got) == 0
    assert got.integers(0).tolist() == got.days(0).tolist() == got.seconds(0).tolist() == []
    assert got.text(0, 3).shape == (0, 3)
