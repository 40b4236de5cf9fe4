"""H&M: how its raw files, and each of their defects, are treated."""

import csv
import zipfile
from argparse import Namespace

import numpy as np
import pandas as pd
import pytest

from ld4mrec.errors import DataError, UserError
from ld4mrec.preprocessing import hm
from ld4mrec.preprocessing.steps.raw import RawError
from ld4mrec.preprocessing.steps.sources import find

NO_WINDOW = (None, None)
HEADER = ",".join(hm.HEADER)
CUSTOMERS = [f"{number:064x}" for number in range(5)]


def transactions(folder, rows, header=HEADER, ending="\n"):
    """Write rows of (day, customer number, article); returns the path."""
    path = folder / hm.TRANSACTIONS
    lines = [header, *(f"{day},{CUSTOMERS[user]},{item},0.02,1" for day, user, item in rows)]
    path.write_text("".join(line + ending for line in lines), newline="")
    return path


def read(path, window=NO_WINDOW, share=0.0):
    """{(customer, article): seconds} and the rest of read_transactions."""
    got, *rest = hm.read_transactions(path, window, share)
    users, items = got.user_ids.texts(), got.item_ids.texts()
    rows = zip(got.users.tolist(), got.items.tolist(), got.times.tolist(), strict=True)
    return {(users[user], items[item]): time for user, item, time in rows}, *rest


def days(*dates):
    return [int(np.datetime64(date, "s").astype(int)) for date in dates]


def test_rows_of_the_sample_equal_pandas(made_samples):
    path = made_samples["hm"] / hm.TRANSACTIONS
    got, bad, n_rows, n_inside, records = read(path)
    table = pd.read_csv(path, dtype=str)
    wanted = table.groupby(["customer_id", "article_id"])["t_dat"].min()
    assert got == dict(zip(wanted.index, days(*wanted), strict=True))
    assert (bad.bad, n_rows, n_inside) == (0, len(table), len(table))
    assert bad.lines == len(table) + 1
    assert [record["file"] for record in records] == [hm.TRANSACTIONS]


def test_duplicates_and_repeats_count_once_at_the_earliest_day(tmp_path):
    rows = [("2019-05-02", 1, "0663713001")] * 3 + [("2018-09-20", 1, "0663713001")]
    got, _, n_rows, _, _ = read(transactions(tmp_path, rows))
    assert got == {(CUSTOMERS[1], "0663713001"): days("2018-09-20")[0]}
    assert n_rows == 4


def test_leading_zeros_survive_and_lost_ones_come_back(tmp_path):
    rows = [("2019-01-01", 0, "0108775015"), ("2019-01-02", 1, "108775015")]
    got, *_ = read(transactions(tmp_path, rows))
    assert {item for _, item in got} == {"0108775015"}
    assert len(got) == 2


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_line_ends(tmp_path, ending):
    path = transactions(tmp_path, [("2019-01-01", 0, "0108775015")], ending=ending)
    assert len(read(path)[0]) == 1


def test_a_zip_of_the_file_is_read_as_it_is(tmp_path, made_samples):
    path = made_samples["hm"] / hm.TRANSACTIONS
    with zipfile.ZipFile(tmp_path / f"{hm.TRANSACTIONS}.zip", "w") as archive:
        archive.write(path, hm.TRANSACTIONS)
        archive.writestr(f"__MACOSX/._{hm.TRANSACTIONS}", b"junk")
    found = find(tmp_path, hm.TRANSACTIONS)
    assert read(found)[0] == read(path)[0]


def test_the_window_leaves_out_its_end(tmp_path):
    rows = [(f"2019-01-0{day}", 0, f"010877501{day}") for day in (1, 2, 3, 4)]
    got, _, n_rows, n_inside, _ = read(
        transactions(tmp_path, rows), tuple(days("2019-01-02", "2019-01-04"))
    )
    assert sorted(item[-1] for _, item in got) == ["2", "3"]
    assert (n_rows, n_inside) == (4, 2)


GOOD = f"2019-01-01,{CUSTOMERS[0]},0108775015,0.02,1"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f"2019-01-01,{CUSTOMERS[0]},0108775015,0.02", "line 3: not 5 fields"),
        (GOOD + ",7", "line 3: not 5 fields"),
        (GOOD.replace("2019-01-01", "2019-02-30"), "line 3: date or article id"),
        (GOOD.replace("2019-01-01", "01.01.2019"), "line 3: date or article id"),
        (GOOD.replace("0108775015", "01087x5015"), "line 3: date or article id"),
        (GOOD.replace("0108775015", "9999999999"), "line 3: date or article id"),
        (GOOD.replace("0" * 64, "0" * 63), "line 3: customer id"),
        (GOOD.replace("0" * 64, "0" * 63 + '"'), "line 3: customer id"),
        (GOOD.replace("0" * 64, "0" * 63 + "\0"), "line 3: customer id"),
        (GOOD.replace("0" * 64, "0" * 63 + "\x7f"), "line 3: customer id"),
    ],
)
def test_lines_that_cannot_be_used(tmp_path, line, why):
    path = tmp_path / hm.TRANSACTIONS
    path.write_text("\n".join([HEADER, GOOD, line, GOOD]))
    got, bad, n_rows, *_ = read(path, share=1.0)
    assert (len(got), n_rows, bad.bad) == (1, 2, 1)
    assert bad.first[0].startswith(why)
    bad.share = 0.2
    with pytest.raises(RawError, match="1 of 4 lines cannot be used"):
        bad.check()


def test_a_wrong_file_is_refused_before_its_end(tmp_path):
    path = tmp_path / hm.TRANSACTIONS
    path.write_text(HEADER + "\n" + "a,b\n" * 2000)
    with pytest.raises(RawError, match="2,000 of 2,001 lines cannot be used"):
        read(path, share=0.01)


@pytest.mark.parametrize("header", ["", "user,item,timestamp", HEADER.upper()])
def test_another_header_is_refused(tmp_path, header):
    path = transactions(tmp_path, [], header=header)
    with pytest.raises(RawError, match="line 1: the header is .*; wanted 't_dat,customer_id"):
        read(path)


def test_a_header_with_byte_order_mark_and_quotes(tmp_path):
    quoted = "\ufeff" + ",".join(f'"{name}"' for name in hm.HEADER)
    path = transactions(tmp_path, [("2019-01-01", 0, "0108775015")], header=quoted)
    assert len(read(path)[0]) == 1


def test_a_damaged_zip(tmp_path):
    (tmp_path / f"{hm.TRANSACTIONS}.zip").write_bytes(b"PK no zip")
    with pytest.raises(RawError, match="is damaged or incomplete"):
        read(find(tmp_path, hm.TRANSACTIONS))


def articles(folder, rows):
    path = folder / hm.ARTICLES
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, ["article_id", *hm.TEXT_FIELDS], restval="x")
        out.writeheader()
        out.writerows(rows)
    return path


def test_texts_of_articles(tmp_path):
    rows = [
        {"article_id": "0108775015", "prod_name": "Strap  top", "detail_desc": 'A "warm", one.'},
        {"article_id": "108775016", "prod_name": "null", "detail_desc": ""},
        {"article_id": "0108775017", "prod_name": " ", "detail_desc": ""},
    ]
    fields = ["prod_name", "detail_desc"]
    texts, bad, _ = hm.read_articles(articles(tmp_path, rows), fields, 0)
    assert bad.lines == 4
    assert texts == {
        "0108775015": 'Strap top. A "warm", one.',
        "0108775016": "null",
        "0108775017": "",
    }


def test_fields_of_articles_must_exist(tmp_path):
    path = articles(tmp_path, [])
    with pytest.raises(UserError, match="no column 'prodname'. Did you mean 'prod_name'?"):
        hm.read_articles(path, ["prodname"], 0)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(RawError, match="has no column article_id; its columns are"):
        hm.read_articles(path, ["a"], 0)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"0000000001,top,x,y", "line 2: not 3 fields: '0000000001,top,x,y'"),
        (b"0000000001,top", "line 2: not 3 fields: '0000000001,top'"),
        (b"0000000001,\xff,x", "line 2: bytes that are no UTF-8: '0000000001,\\\\xff,x'"),
        (b'0000000001,"a"b,x', "line 2: ',' expected after '\"': ''"),
    ],
)
def test_articles_that_cannot_be_used(line, why, tmp_path):
    path = tmp_path / hm.ARTICLES
    path.write_bytes(b"\xef\xbb\xbfarticle_id,prod_name,detail_desc\r\n" + line + b"\r\n2,a,b\r\n")
    got, bad, _ = hm.read_articles(path, ["prod_name", "detail_desc"], 0.1)
    assert got == {"0000000002": "a. b"}  # a long line shifts no column of the others
    assert (bad.lines, bad.bad, bad.first) == (3, 1, [why])
    with pytest.raises(RawError, match="1 of 3 lines cannot be used"):
        bad.check()


def test_articles_that_end_within_quotes(tmp_path):
    path = tmp_path / hm.ARTICLES
    path.write_text('article_id,prod_name\n1,a\n2,"b\n')
    _, bad, _ = hm.read_articles(path, ["prod_name"], 0)
    with pytest.raises(RawError, match="line 3: unexpected end of data"):
        bad.check()


def test_customer_ids_that_are_no_ascii(tmp_path, download):
    it = download("hm")
    path = it.raw / hm.TRANSACTIONS
    header, first, rest = path.read_bytes().split(b"\n", 2)
    first = first[:11] + b"\xff" * 64 + first[75:]
    path.write_bytes(b"\n".join([header, first, rest]))
    status, out, _ = it.prepare("--k-core=1")
    assert status == 0
    assert "line 2: customer id: " in out


def test_planted_defects_of_the_articles(download):
    sold = download("hm")
    texts, _, records = hm.read_articles(sold.raw / hm.ARTICLES, hm.TEXT_FIELDS, 0)
    assert len(texts) == sold.planted["articles"]
    assert (
        sum("classic" in text for text in texts.values()) == len(texts) - 9
    )  # of the sold, 9 without
    assert any("Under-, Nightwear" in text for text in texts.values())  # a quoted comma
    assert records[0]["file"] == hm.ARTICLES


@pytest.mark.parametrize("folder", hm.IMAGE_FOLDERS)
def test_both_image_folders_are_found(folder, download):
    it = download("hm")
    (it.raw / "images_128_128").rename(it.raw / "moved")
    options = Namespace(raw=it.raw, images=None)
    with pytest.raises(DataError, match="no images in"):
        hm.HM().images(options)
    (it.raw / "moved").rename(it.raw / folder)
    images = hm.HM().images(options)
    items = sorted({key[1] for key in read(it.raw / hm.TRANSACTIONS)[0]})
    assert sum(item in images for item in items) == 300 - 3
    with_image = next(item for item in items if item in images)
    assert images.read(with_image)[:2] == b"\xff\xd8"


@pytest.mark.parametrize("folder", hm.IMAGE_FOLDERS)
def test_a_zip_of_images(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(f"{folder}/010/0108775015.jpg", b"picture")
    images = hm.HM().images_at(tmp_path / "x.zip")
    assert images.read("0108775015") == b"picture"


def test_never_sold_articles_have_no_row(download):
    it = download("hm")
    assert it.prepare("--k-core=1")[0] == 0
    assert it.steps()["1-core"]["items"] == 300
    assert it.planted["articles"] == 309


def test_counts_of_the_steps(download):
    it = download("hm")
    status, out, _ = it.prepare()
    assert status == 0
    steps = it.steps()
    assert steps["rows of purchases"]["interactions"] == it.planted["rows"]
    assert (
        steps["distinct (user, item), earliest day"]["interactions"]
        == it.truth["clicks"]["interactions"]
    )
    assert {k: steps["5-core"][k] for k in ("users", "items", "interactions")} == it.truth["5-core"]
    assert "43,529    16,908       368,381" in out
