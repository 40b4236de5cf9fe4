"""MicroLens-50k: how its raw files, and each of their defects, are treated."""

import zipfile

import pandas as pd
import pytest

from ld4mrec.files import sha256
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


def test_the_larger_set_is_read_its_titles_without_a_header(download):
    it = download("microlens")
    for old, new in (
        (microlens.PAIRS, "MicroLens-100k_pairs.csv"),
        (microlens.TITLES, "MicroLens-100k_title_en.csv"),
    ):
        (it.raw / old).rename(it.raw / new)
    path = it.raw / "MicroLens-100k_title_en.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))
    got = microlens.read_titles(path, 0.01)
    path.rename(other := it.raw / microlens.TITLES)
    other.write_text("".join(lines))
    assert got.texts == microlens.read_titles(other, 0.01).texts
    other.unlink()
    path.write_text("".join(lines[1:]))
    status, out, _ = it.prepare("--dry-run", "--image-encoder=none", features=True)
    assert status == 0
    assert "MicroLens-100k_pairs.csv is of MicroLens-100k; the paper used MicroLens-50k" in out


def test_items_in_the_order_of_time_are_read_without_times(download):
    it = download("microlens")
    rows = pd.read_csv(it.raw / microlens.PAIRS)
    rows = rows.sort_values(["user", "timestamp"], kind="stable").drop_duplicates(["user", "item"])
    users = rows.groupby("user")["item"].apply(lambda items: " ".join(map(str, items)))
    (it.raw / microlens.PAIRS).unlink()
    path = it.raw / f"{microlens.PREFIX}_pairs.tsv"
    path.write_text("".join(f"{user}\t{items}\n" for user, items in users.items()))
    assert it.prepare("--k-core=1", "--split=leave-one-out")[0] == 0
    made = pd.read_csv(it.out / "microlens.inter", sep="\t")
    assert list(made) == ["userID", "itemID", "x_label"]
    assert len(made) == len(rows)
    ids = pd.read_csv(it.out / "i_id_mapping.csv", sep="\t")["item_id"].to_numpy()
    of_user = pd.read_csv(it.out / "u_id_mapping.csv", sep="\t")["user_id"].to_numpy()
    last = rows.groupby("user")["item"].last()
    test = made[made["x_label"] == 2]
    assert (last.loc[of_user[test["userID"]]].to_numpy() == ids[test["itemID"]]).all()
    for flag in ("--split=temporal", "--from=2020-01-01"):
        status, _, err = it.prepare("--dry-run", flag)
        assert status == 2
        assert "has no times, only their order" in err
    path.write_text("1\t5 x\n2\t6\n")
    _, bad, *_ = microlens.read_lists(path, 1.0)
    assert bad.first == ["line 1: no user with items: '1\\t5 x'"]


def test_the_official_files_are_told_by_their_checksum(download, monkeypatch):
    it = download("microlens")
    _, out, _ = it.prepare("--dry-run")
    assert f"{microlens.PAIRS} is not the official file: its SHA-256 begins with" in out
    begin = sha256(it.raw / microlens.PAIRS)[:8]
    monkeypatch.setitem(microlens.OFFICIAL, microlens.PAIRS, begin)
    _, out, _ = it.prepare("--dry-run")
    assert f"{microlens.PAIRS} is the official file\n" in out


def test_titles_of_another_header_are_told_before_the_reading(download):
    it = download("microlens")
    (it.raw / microlens.TITLES).write_text("video,name\n1,x\n")
    status, out, err = it.prepare("--image-encoder=none", features=True)
    assert (status, out) == (2, "")
    assert "the header is 'video,name'; wanted 'item,title'" in err


def test_a_file_with_quoted_fields_is_told(tmp_path):
    path = pairs(tmp_path, [(f'"{user}"', 7, f'"{TIME}"') for user in range(9)])
    _, bad, *_ = microlens.read_pairs(path, NO_WINDOW, 0.01)
    with pytest.raises(RawError, match="its fields are in quotes, which the source's are not"):
        bad.check()
