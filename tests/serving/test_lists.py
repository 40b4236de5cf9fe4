"""Tables: what is written reads back as it was, in every format; nothing half-written stays."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ld4mrec.errors import ConfigError, DataError
from ld4mrec.serving import lists
from ld4mrec.serving.lists import check_suffix, read_table, write_table

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1)
SCORES = arrays.arrays(np.float32, 3, elements=st.floats(-1e9, 1e9, width=32))


@pytest.fixture(params=[".csv", ".jsonl", ".parquet"])
def path(request, tmp_path):
    if request.param == ".parquet":
        pytest.importorskip("pyarrow")
    return tmp_path / f"table{request.param}"


@settings(max_examples=25)
@given(texts=st.lists(TEXT, min_size=3, max_size=3), scores=SCORES)
def test_what_is_written_reads_back(path, texts, scores):
    frame = pd.DataFrame({"user": texts, "item": [3, 1, 2], "score": scores})
    write_table(path, [frame[:2], frame[2:]])
    back = read_table(path, ("user", "item"))
    assert back["user"].tolist() == texts
    assert back["item"].tolist() == ["3", "1", "2"]
    assert np.array_equal(scores_in(path), scores)


def scores_in(path):
    if path.suffix == ".csv":
        return pd.read_csv(path)["score"].astype(np.float32)
    if path.suffix == ".parquet":
        return pd.read_parquet(path)["score"]
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return np.array([json.loads(line)["score"] for line in lines], dtype=np.float32)


def test_doubles_keep_all_digits(path):
    frame = pd.DataFrame({"score": [1 / 3, 1e-17, -2e30]})
    write_table(path, [frame])
    if path.suffix == ".jsonl":
        found = [json.loads(line)["score"] for line in path.read_text().splitlines()]
    else:
        read = pd.read_csv if path.suffix == ".csv" else pd.read_parquet
        found = read(path)["score"].tolist()
    assert found == frame["score"].tolist()


def test_an_interrupted_table_leaves_the_old_file(path):
    frame = pd.DataFrame({"user": ["a"], "score": [0.5]})
    write_table(path, [frame])
    before = path.read_bytes()

    def interrupted():
        yield frame
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_table(path, interrupted())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/x.csv cannot be written"):
        write_table(tmp_path / "file" / "x.csv", [])


@pytest.mark.parametrize("name", ["top.txt", "top", "top.csv.gz", "top.CSV"])
def test_a_suffix_without_a_format_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=r"--out is .* wanted one of .csv, .parquet, .jsonl"):
        check_suffix(tmp_path / name, "--out")


def test_parquet_without_its_package_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lists.importlib, "import_module", no_pyarrow)
    with pytest.raises(ConfigError, match=r"need the package pyarrow: pip install .*\[parquet\]"):
        check_suffix(tmp_path / "x.parquet", "--out")


def no_pyarrow(name):
    raise ImportError(name)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("h.csv", "user,items\na,1\n", r"has no column 'item'; .*Did you mean 'items'"),
        ("h.csv", "user,item\n", "has no rows"),
        ("h.csv", "user,item\na,1\nb,\n", r"row 2 after the header lacks a value .*\(1 such row\)"),
        ("h.csv", "", "has no header in its first line"),
        ("h.csv", "user,item,rating\n900,3,5,\n", "line 2 has 4 fields and the header 3"),
        ("h.csv", "user,item\n900,3\n900,3,5\n", "cannot be read as csv: .*line 3, saw 3"),
        ("h.csv", ",user,item\n0,a,1\n", "one of them without a name; was it written with an"),
        ("h.csv", "user,item,item\na,1,2\n", "has two columns named 'item'"),
        ("h.csv", "user,item\na,1\0\n", "has a zero byte at byte 13: it is damaged"),
        ("h.csv", "user|item\na|1\n", "has no column 'user'; its columns are"),
        ("h.jsonl", '{"user": "a"\n', "line 1 cannot be read: Expecting"),
        ("h.jsonl", '\n\n{"user": "a", "item": [1]}\n', r"line 3 cannot be read: item is \["),
        ("h.jsonl", '{"user": "a", "user": "b"}\n', "line 1 cannot be read: a key stands twice"),
        ("h.jsonl", "[" * 9999, "line 1 cannot be read: .*recursion"),
        ("h.jsonl", '{"user": "a", "item": null}\n', "item is None, wanted a text or a number"),
        ("h.jsonl", '{"user": "a"}\n', "has no column 'item'"),
        ("h.jsonl", "[1, 2]\n3\n", "line 1 cannot be read: it holds a list, wanted an object"),
        ("h.parquet", "no parquet", "cannot be read as parquet"),
        ("absent.csv", None, "there is no file"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, name, text, message):
    path = tmp_path / name
    if path.suffix == ".parquet":
        pytest.importorskip("pyarrow")
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_table(path, ("user", "item"))


def test_ids_of_json_numbers_are_read_as_written(tmp_path):
    path = tmp_path / "h.jsonl"
    path.write_text('{"user": "007", "item": 12}\n{"user": "NA", "item": 3}\n')
    assert read_table(path, ("user", "item")).to_numpy().tolist() == [["007", "12"], ["NA", "3"]]


def test_a_bom_and_numbers_of_any_size_are_read(tmp_path):
    path = tmp_path / "h.jsonl"
    path.write_text('\ufeff{"user": 99999999999999999999, "item": 12}\n', encoding="utf-8")
    assert read_table(path, ("user", "item")).to_numpy().tolist() == [
        ["99999999999999999999", "12"]
    ]
    path = tmp_path / "h.csv"
    path.write_text("\ufeffuser,item\n007,12\n", encoding="utf-8")
    assert read_table(path, ("user", "item")).to_numpy().tolist() == [["007", "12"]]


def test_a_quote_in_an_id_is_named(tmp_path, caplog):
    path = tmp_path / "h.csv"
    path.write_text('user,item\na,1\nb",2\n"c",3\n')
    assert read_table(path, ("user", "item"))["user"].tolist() == ["a", 'b"', "c"]
    (told,) = caplog.messages
    assert told.endswith(
        "1 row with a quote or the end of a line in an id, which is taken as it is (the first: "
        'row 2 after the header, b", 2)'
    )


def test_a_quote_whose_partner_is_lines_below_is_named(tmp_path, caplog):
    path = tmp_path / "h.csv"
    path.write_text('user,item\na,1\n",2\nb,3\n",4\n')
    assert len(read_table(path, ("user", "item"))) == 2
    (told,) = caplog.messages
    assert "1 row with a quote or the end of a line in an id" in told


def test_repeats_and_ratings_of_zero_are_counted(tmp_path, caplog):
    path = tmp_path / "h.csv"
    path.write_text("user,item,rating\na,1,5\na,1,5\nb,2,0\nb,3,\n")
    assert len(read_table(path, ("user", "item"))) == 4
    first, second = caplog.messages
    assert "2 rows without a rating above 0, taken" in first
    assert "the first: row 3 after the header, 0" in first
    assert (
        "1 row left out as a repeat of another (the first: row 2 after the header, a, 1)" in second
    )


@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_spreadsheets_csv_is_read(tmp_path, mark):
    (path := tmp_path / "h.csv").write_text(f"user{mark}item\na,1{mark}2\n")
    assert read_table(path, ("user", "item")).to_numpy().tolist() == [["a,1", "2"]]


def test_a_parquet_file_with_one_bad_byte_is_read_or_a_sentence(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"user": ["a"] * 40, "item": [f"i{n}" for n in range(40)]})
    frame.to_parquet(path := tmp_path / "h.parquet")
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 255
        path.write_bytes(damaged)
        try:
            assert list(read_table(path, ("user", "item"))) == ["user", "item"]
        except DataError:
            refused += 1
    assert refused
