"""MicroLens-50k: how its raw files, and each of their defects, are treated."""

import zipfile

import pandas as pd
import pytest

from ld4mrec.preprocessing import microlens
from ld4mrec.preprocessing.steps.raw import RawError

NO_WINDOW = (None, None)
TIME = 1583378629552


def pairs(folder, rows, ending="\r\n", header="user,item,timestamp"):
    path = folder / microlens.PAIRS
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    path.write_text("".join(line + ending for line in lines), newline="")
    return path


def read(path, window=NO_WINDOW, share=0.0):
    got, *rest = microlens.read_pairs(path, window, share)
    users, items = got.user_ids.texts(), got.item_ids.texts()
    rows = zip(got.users.tolist(), got.items.tolist(), got.times.tolist(), strict=True)
    return {(users[user], items[item]): time for user, item, time in rows}, *rest


def titles(folder, text):
    path = folder / microlens.TITLES
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def test_rows_of_the_sample_equal_pandas(made_samples):
    path = made_samples["microlens"] / microlens.PAIRS
    got, bad, n_rows, *_ = read(path)
    table = pd.read_csv(path, dtype=str)
    wanted = zip(table["user"], table["item"], table["timestamp"].astype(int), strict=True)
    assert got == {(user, item): time for user, item, time in wanted}
    assert (bad.bad, n_rows) == (0, len(table))


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_both_line_ends(tmp_path, ending):
    got, bad, *_ = read(pairs(tmp_path, [(1, 9624, TIME), (2, 7, TIME + 1)], ending))
    assert got == {("1", "9624"): TIME, ("2", "7"): TIME + 1}
    assert bad.bad == 0


def test_a_repeated_pair_counts_once(tmp_path):
    got, *_ = read(pairs(tmp_path, [(1, 7, TIME + 5), (1, 7, TIME)]))
    assert got == {("1", "7"): TIME}


def test_the_window_is_in_milliseconds(tmp_path):
    path = pairs(tmp_path, [(1, item, TIME + item) for item in range(4)])
    got, _, n_rows, n_inside, _ = read(path, (TIME + 1, TIME + 3))
    assert sorted(item for _, item in got) == ["1", "2"]
    assert (n_rows, n_inside) == (4, 2)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ((1, 2), "line 3: not 3 fields"),
        ((1, 2, TIME // 1000), "line 3: timestamp"),
        (("u1", 2, TIME), "line 3: a field is no whole number"),
        ((1, "", TIME), "line 3: a field is no whole number"),
        ((1, 2, "2020-03-05 03"), "line 3: a field is no whole number"),
    ],
)
def test_lines_that_cannot_be_used(tmp_path, row, why):
    path = pairs(tmp_path, [(1, 1, TIME), row, (2, 2, TIME)])
    got, bad, *_ = read(path, share=1.0)
    assert (len(got), bad.bad) == (2, 1)
    assert bad.first[0].startswith(why)


def test_another_header_is_refused(tmp_path):
    with pytest.raises(RawError, match="the header is 'userID,videoID,timestamp'; wanted 'user,"):
        read(pairs(tmp_path, [], header="userID,videoID,timestamp"))


def test_titles_are_taken_as_they_are(tmp_path):
    text = 'item,title\n7,NA\n2,"beautiful dish, of  chili # food 🤣"\n9,null\n11," "\n'
    got, bad, _ = microlens.read_titles(titles(tmp_path, text), 0)
    assert got == {"7": "NA", "2": "beautiful dish, of chili # food 🤣", "9": "null", "11": ""}
    assert bad.bad == 0


def test_a_title_may_hold_line_ends_and_be_long(tmp_path):
    text = f'item,title\r\n7,"two\nlines"\r\n8,{"long " * 40_000}\r\n'
    got, bad, _ = microlens.read_titles(titles(tmp_path, text), 0)
    assert got["7"] == "two lines"
    assert len(got["8"]) == 199_999
    assert bad.bad == 0


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("7", "line 3: not 2 fields: '7'"),
        ("7,a,b", "line 3: not 2 fields: '7,a,b'"),
        ("seven,a", "line 3: item is no whole number: 'seven,a'"),
        ("7,caf\udce9", r"line 3: bytes that are no UTF-8: '7,caf\\xe9'"),
    ],
)
def test_titles_that_cannot_be_used(tmp_path, line, why):
    path = titles(tmp_path, f"item,title\n1,x\n{line}\n")
    got, bad, _ = microlens.read_titles(path, 1.0)
    assert got == {"1": "x"}
    assert bad.first == [why]


def test_planted_titles_of_the_sample(download):
    it = download("microlens")
    got, bad, _ = microlens.read_titles(it.raw / microlens.TITLES, 0)
    assert got[it.planted["a title 'NA'"]] == "NA"
    assert 5000 < len(got[it.planted["a title of 6000 characters"]]) <= 6000
    assert sum("," in title for title in got.values()) == it.planted["titles with a comma, quoted"]
    assert any("🤣" in title for title in got.values())
    assert (len(got), bad.bad) == (300, 0)


def test_covers_from_the_zip_or_the_folder(download, tmp_path):
    it = download("microlens")
    zipped = microlens.Microlens().images_at(it.raw / f"{microlens.COVERS}.zip")
    with zipfile.ZipFile(it.raw / f"{microlens.COVERS}.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    folder = microlens.Microlens().images_at(tmp_path / "unpacked" / microlens.COVERS)
    items = {item for _, item in read(it.raw / microlens.PAIRS)[0]}
    assert all(item in zipped and item in folder for item in items)
    one = sorted(items)[0]
    assert zipped.read(one) == folder.read(one)
    assert zipped.read("999999") is None


def test_gaps_in_the_ids_are_closed(download):
    it = download("microlens")
    assert it.planted["gaps in the item ids"] > 0
    status, out, _ = it.prepare()
    assert status == 0
    mapping = pd.read_csv(it.out / "i_id_mapping.csv", sep="\t")
    assert mapping["itemID"].tolist() == list(range(len(mapping)))
    assert mapping["item_id"].is_monotonic_increasing
    assert mapping["item_id"].iloc[-1] > len(mapping)
    assert it.manifest()["timestamp"]["unit"] == "ms"
    counts = {k: it.steps()["5-core"][k] for k in ("users", "items", "interactions")}
    assert counts == it.truth["5-core"]
    assert "46,420    14,193       330,683" in out


def test_size_paper_is_refused(download):
    status, _, err = download("microlens").prepare("--size=paper")
    assert status == 2
    assert "--size paper is not needed for MicroLens-50k" in err


def test_titles_that_end_within_quotes(tmp_path):
    path = titles(tmp_path, 'item,title\n1,a\n2,"b\n3,c\n')
    got, bad, _ = microlens.read_titles(path, 0)
    assert got == {"1": "a"}
    with pytest.raises(RawError, match="line 3: unexpected end of data"):
        bad.check()
