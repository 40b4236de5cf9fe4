import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import DataError
from support import TEST, TRAIN, VALID, config_for, write_inter

GOOD = [(0, 0, 0), (0, 1, 1), (0, 2, 2), (1, 2, 0), (1, 0, 2)]


def read(folder, rows=GOOD, **more):
    write_inter(folder, rows, **more)
    return RecDataset(config_for(folder))


def test_splits_hold_the_rows_of_their_label_in_file_order(toy):
    data = RecDataset(config_for(toy))
    splits = data.split()
    for split, rows in zip(splits, (TRAIN, VALID, TEST), strict=True):
        assert list(split.df.itertuples(index=False, name=None)) == rows
        assert split.df.dtypes.tolist() == [np.int64, np.int64]
        assert (split.get_user_num(), split.get_item_num()) == (5, 7)  # over the whole file
    assert len(splits[0]) == splits[0].inter_num == 11
    assert splits[0][0].tolist() == [0, 0]
    assert "5 users (4 with rows here), 7 items" in str(splits[2])


def test_rows_of_users_without_training_rows_are_dropped_and_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    rows = [*GOOD, (2, 1, 1), (2, 0, 2), (2, 2, 2)]
    data = read(tmp_path / "d", rows)
    assert data.dropped == {"train": 0, "validation": 1, "test": 2}
    assert "dropped 1 validation and 2 test rows of users without training rows" in caplog.text
    assert [len(split) for split in data.split()] == [2, 1, 2]
    assert data.get_user_num() == 3  # the id space is that of the file


def test_cold_users_may_stay(tmp_path):
    write_inter(tmp_path / "d", [*GOOD, (2, 1, 1)])
    data = RecDataset(config_for(tmp_path / "d", filter_out_cod_start_users=False))
    assert len(data.split()[1]) == 2


def test_further_columns_are_optional_and_unread(tmp_path):
    rows = [(u, i, 3.5, label, "yesterday") for u, i, label in GOOD]
    data = read(tmp_path / "d", rows, header="userID\titemID\trating\tx_label\ttimestamp")
    assert data.df.columns.tolist() == ["userID", "itemID", "x_label"]


def test_copy_and_shuffle(toy):
    np.random.seed(0)  # noqa: NPY002 (the global one is meant)
    train = RecDataset(config_for(toy)).split()[0]
    other = train.copy(train.df)
    other.shuffle()
    assert sorted(other.df.itertuples(index=False, name=None)) == sorted(TRAIN)
    assert list(train.df.itertuples(index=False, name=None)) == TRAIN
    assert other.item_num == 7


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*GOOD, (-1, 0, 0)], r"d.inter line 7: userID is -1; wanted ids counted from 0"),
        (
            [*GOOD, (0, 5, 0)],
            r"itemID must count 0, 1, 2, .* but 3 is missing and the largest is 5",
        ),
        ([*GOOD, (0, 10**15, 0)], r"itemID must count .* the largest is 1000000000000000"),
        ([*GOOD, (0, 0, 3)], r"line 7: x_label is 3; wanted 0 \(train\), 1 \(validation\) or 2"),
        ([*GOOD, (0, "abc", 0)], r"line 7: itemID is 'abc'; wanted a whole number"),
        ([*GOOD, (0, 1.5, 0)], r"line 7: itemID is '1.5'; wanted a whole number"),
        ([*GOOD, (0, 10**20, 0)], r"line 7: itemID is '10{20}'; wanted a whole number"),
        ([*GOOD, ("", 1, 0)], r"line 7: userID is ''; wanted a whole number"),
        (
            [(0, 0, 0), (0, 1, 2)],
            r"no validation rows \(label 1\); every split needs",
        ),
        (
            [(0, 0, 0), (1, 0, 1), (0, 1, 2)],
            r"no validation rows .*after dropping 1 row",
        ),
        ([], "has a header and no interactions"),
    ],
)
def test_bad_rows_are_refused(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path / "d", rows).split()


def test_an_absent_column_is_named_with_those_that_are_there(tmp_path):
    with pytest.raises(
        DataError, match=r"no column 'itemID'; its columns are .*Did you mean 'itemId'"
    ):
        read(tmp_path / "d", header="userID\titemId\tx_label")


def test_an_empty_file_is_refused(tmp_path):
    folder = tmp_path / "d"
    write_inter(folder, GOOD).write_text("")
    with pytest.raises(DataError, match="cannot be read"):
        RecDataset(config_for(folder))


def test_an_absent_folder_says_how_to_get_the_data(tmp_path):
    with pytest.raises(DataError, match=r"no data folder .*demo; .*python preprocessing/demo.py"):
        RecDataset(config_for(tmp_path / "demo"))


def test_an_absent_file_says_what_is_there(toy):
    with pytest.raises(
        DataError, match=r"has no other.inter \(inter_file_name\); it holds \['image"
    ):
        RecDataset(config_for(toy, inter_file_name="other.inter"))


@given(labels=st.lists(st.sampled_from([0, 1, 2]), min_size=3, max_size=60), data=st.data())
def test_splits_are_disjoint_and_complete(tmp_path, labels, data):
    labels = [0, 1, 2, *labels]
    users = data.draw(st.lists(st.integers(0, 3), min_size=len(labels), max_size=len(labels)))
    users = np.unique(users, return_inverse=True)[1]
    rows = [(int(u), i, label) for i, (u, label) in enumerate(zip(users, labels, strict=True))]
    write_inter(tmp_path / "h", rows)
    read_in = RecDataset(config_for(tmp_path / "h", filter_out_cod_start_users=False))
    found = [
        (int(u), int(i), label)
        for label, split in enumerate(read_in.split())
        for u, i in split.df.itertuples(index=False)
    ]
    assert sorted(found) == sorted(rows)


def test_a_quote_in_an_unread_column_swallows_no_row(tmp_path):
    titles = ['"Open', "plain", 'a "quoted" one', '"', "last"]
    rows = [(*row, title) for row, title in zip(GOOD, titles, strict=True)]
    data = read(tmp_path / "d", rows, header="userID\titemID\tx_label\ttitle")
    assert list(data.df.itertuples(index=False, name=None)) == GOOD


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0\t0\t0\t7", "0\t1\t1\t7"], r"line 2 has 4 fields and the header 3: which column"),
        (["0\t0\t0\t", "0\t1\t1\t"], r"line 2 has 4 fields and the header 3: which column"),
        (["0\t0\t0", "0\t1\t1\t7"], r"cannot be read as .*Expected 3 fields in line 3, saw 4"),
        (["0\t0\t0", "0\t1\t10\t2\t0"], r"cannot be read as .*Expected 3 fields in line 3, saw 5"),
        (["0\t0\t0", "0\t1"], r"line 3: x_label is ''; wanted a whole number"),
    ],
    ids=["wider", "trailing tab", "a wider row", "a lost newline", "a shorter row"],
)
def test_rows_of_another_width_than_the_header_are_refused(tmp_path, lines, message):
    write_inter(tmp_path / "d", [])
    file = tmp_path / "d" / "d.inter"
    file.write_text("\n".join(["userID\titemID\tx_label", *lines]) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        RecDataset(config_for(tmp_path / "d"))


def test_a_row_joined_to_the_header_is_refused(tmp_path):
    write_inter(tmp_path / "d", GOOD)
    file = tmp_path / "d" / "d.inter"
    file.write_text(file.read_text().replace("\n", "\t", 1))
    with pytest.raises(DataError, match="line 2 has 3 fields and the header 6: which column"):
        RecDataset(config_for(tmp_path / "d"))


def test_zero_bytes_are_damage(tmp_path):
    write_inter(tmp_path / "d", GOOD)
    file = tmp_path / "d" / "d.inter"
    content = file.read_bytes()
    file.write_bytes(content[:30] + b"\0" * 12)
    with pytest.raises(DataError, match=r"d\.inter has a zero byte at byte 30: it is damaged"):
        RecDataset(config_for(tmp_path / "d"))


def test_pairs_that_stand_twice_are_named_with_their_first_line(tmp_path, caplog):
    rows = [*GOOD, (1, 0, 2), (0, 0, 2), (0, 2, 1)]
    read(tmp_path / "d", rows)
    assert (
        "d.inter: 1 row repeats a pair of the same split; in the metrics each pair counts once "
        "(the first: line 7, user 1, item 0)" in caplog.text
    )
    assert (
        "d.inter: 2 rows repeat a pair of another split; what the mask hides is never a hit "
        "(the first: line 8, user 0, item 0)" in caplog.text
    )
    caplog.clear()
    read(tmp_path / "e")
    assert "repeat" not in caplog.text


def written(folder, text):
    folder.mkdir()
    (folder / f"{folder.name}.inter").write_text(text)
    return config_for(folder)


ROWS = "0\t0\t0\n0\t1\t1\n0\t2\t2\n"


@pytest.mark.parametrize(("separator", "between"), [("[[", "[["), ("::", "::"), (r"\s+", " ")])
def test_a_separator_of_several_signs_is_meant_literally(tmp_path, separator, between):
    rows = ["userID itemID x_label", *(" ".join(map(str, row)) for row in GOOD)]
    written(tmp_path / "d", "\n".join(rows).replace(" ", between) + "\n")
    data = RecDataset(config_for(tmp_path / "d", field_separator=separator))
    assert list(data.df.itertuples(index=False, name=None)) == GOOD


def test_two_rows_joined_by_a_lost_newline_are_refused(tmp_path):
    config = written(tmp_path / "d", f"userID\titemID\tx_label\n{ROWS}0\t1\t01\t1\t0\n")
    with pytest.raises(DataError, match="line 5, saw 5"):
        RecDataset(config)


def test_a_number_that_no_float_holds_is_a_sentence(tmp_path):
    config = written(tmp_path / "d", f"userID\titemID\tx_label\n{ROWS}{'1' * 500}\t1\t0\n")
    with pytest.raises(DataError, match=r"line 5: userID is '?1{50,}.*wanted a whole number"):
        RecDataset(config)


def test_lines_are_counted_as_lines(tmp_path):
    config = written(tmp_path / "d", f"userID\titemID\tx_label\n\n{ROWS}  \n\n1\tx\t0\n")
    with pytest.raises(DataError, match="line 8: itemID is 'x'"):
        RecDataset(config)


def test_blanks_beside_numbers_are_named(tmp_path, caplog):
    rows = "0\t0\t0\ta b\n0 \t1\t1\tc\n0\t2\t2\t\n"
    data = RecDataset(written(tmp_path / "d", f"userID\titemID\tx_label\tnote\n{rows}"))
    assert len(data) == 3
    assert "1 row with a blank beside a number" in caplog.text
    assert "the first: line 3, ['0 ', '1', '1']" in caplog.text


def test_blanks_in_other_columns_are_let_be(tmp_path, caplog):
    rows = "0\t0\t0\ta b\n0\t1\t1\t c\n0\t2\t2\t\n"
    RecDataset(written(tmp_path / "d", f"userID\titemID\tx_label\tnote\n{rows}"))
    assert "blank" not in caplog.text


def test_ratings_of_0_count_as_interactions_and_are_named(tmp_path, caplog):
    rows = "0\t0\t0\t5\n0\t1\t1\t0\n0\t2\t2\t\n"
    data = RecDataset(written(tmp_path / "d", f"userID\titemID\tx_label\trating\n{rows}"))
    assert len(data) == 3
    assert "2 rows without a rating above 0, taken for interactions all the same" in caplog.text
    assert "the first: line 3, 0" in caplog.text
