"""Your own data: every format from a file of ours to recommendations in original ids."""

import gzip
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import support
from ld4mrec.preprocessing import own
from ld4mrec.search.train import run
from ld4mrec.serving.recommend import Wanted, recommend
from toy_sources import (
    FIRST_DAY,
    ITEMS,
    NAMED,
    NUMBERED,
    USERS,
    WRITERS,
    amazon_2018,
    amazon_2018_ratings_only,
    amazon_2023,
    amazon_2023_csv,
    csv_file,
    diffmm,
    json_lines,
    lightgcn,
    mmrec,
    mmssl,
    movielens_1m,
    movielens_100k,
    movielens_csv,
    packed_by_gzip,
    packed_by_zip,
    parquet_file,
    parts_of,
    recbole,
    text,
    tsv_without_header,
)


class Made:
    """A data folder made by the command, and what was printed."""

    def __init__(self, folder, capsys):
        self.folder, self.capsys = folder, capsys
        self.out = folder / "data" / "mine"

    def prepare(self, *words, core=1):
        """(exit status, stdout, stderr)."""
        words = [f"--out={self.out}", f"--k-core={core}", f"--store={self.folder}/store", *words]
        self.capsys.readouterr()
        status = own.main([str(word) for word in words])
        return status, *self.capsys.readouterr()

    def made(self, *words, **options):
        """stdout of a command that ends well."""
        status, out, err = self.prepare(*words, **options)
        assert status == 0, err
        return out

    def refused(self, *words, **options):
        """The error of a command that is refused."""
        status, _, err = self.prepare(*words, **options)
        assert status == 2
        assert not self.out.exists()
        return err

    def table(self):
        return pd.read_csv(self.out / "mine.inter", sep="\t")

    def ids(self, side):
        name = {"user": "u", "item": "i"}[side]
        path = self.out / f"{name}_id_mapping.csv"
        mapping = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        return mapping[f"{side}_id"].tolist()

    def pairs(self):
        """{(user, item)} in original ids."""
        table = self.table()
        users, items = self.ids("user"), self.ids("item")
        return {(users[u], items[i]) for u, i in zip(table["userID"], table["itemID"], strict=True)}

    def by_label(self):
        """{label: {(user, item)}} in original ids."""
        users, items = self.ids("user"), self.ids("item")
        return {
            label: {(users[u], items[i]) for u, i in zip(g["userID"], g["itemID"], strict=True)}
            for label, g in self.table().groupby("x_label")
        }

    def manifest(self):
        return json.loads((self.out / "manifest.json").read_text())

    def recommended(self):
        """The lists of a Pop trained on the data, as recommend.py writes them."""
        keys = {"threads": 1, "topk": [2], "valid_metric": "recall@2", "use_gpu": False}
        keys |= {"data_path": f"{self.out.parent}/", "runs_dir": f"{self.folder}/runs/"}
        keys |= {"cache_dir": None}
        (done,) = run("Pop", "mine", keys)
        assert done.result["test"]["recall@2"] >= 0
        lists = self.folder / "lists.csv"
        recommend(Wanted(run=str(done.folder.path), k=3, out=lists))
        return pd.read_csv(lists, dtype={"user": str, "item": str}, keep_default_na=False)


@pytest.fixture
def made(tmp_path, capsys):
    return Made(tmp_path, capsys)


FORMATS = {
    csv_file: "text with ','",
    tsv_without_header: "text with TAB",
    packed_by_gzip: "text with ';'",
    packed_by_zip: "text with '|'",
    parquet_file: "Parquet",
    json_lines: "a JSON object per line",
    recbole: "RecBole's atomic files",
    lightgcn: "LightGCN's train.txt",
    mmssl: "MMSSL's folder",
    diffmm: "DiffMM's folder",
    mmrec: "MMRec's .inter",
    amazon_2018: "Amazon Reviews 2018",
    amazon_2018_ratings_only: "Amazon Reviews 2018",
    amazon_2023: "Amazon Reviews 2023",
    amazon_2023_csv: "Amazon Reviews 2023",
    movielens_csv: "MovieLens",
    movielens_1m: "MovieLens",
    movielens_100k: "MovieLens",
}


def test_every_toy_source_is_tried():
    assert tuple(FORMATS) == WRITERS


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_a_format_from_its_file_to_recommendations(write, made):
    folder = made.folder / "source"
    folder.mkdir()
    words, rows = write(folder)
    assert FORMATS[write] in made.made(*words)
    assert made.pairs() == {row[:2] for row in rows}
    lists = made.recommended()
    assert set(lists["user"]) == {row[0] for row in rows}
    assert set(lists["item"]) <= {row[1] for row in rows}
    assert not set(zip(lists["user"], lists["item"], strict=True)) & made.pairs()


@pytest.mark.parametrize(
    "write", [w for w in FORMATS if w not in (lightgcn, mmssl, diffmm)], ids=lambda w: w.__name__
)
def test_times_of_a_format(write, made):
    folder = made.folder / "source"
    folder.mkdir()
    words, rows = write(folder)
    made.made(*words)
    unit = made.manifest()["timestamp"]["unit"]
    assert unit == ("ms" if write in (amazon_2023, amazon_2023_csv) else "s")
    table, users, items = made.table(), made.ids("user"), made.ids("item")
    got = {
        (users[u], items[i], t)
        for u, i, t in zip(table["userID"], table["itemID"], table["timestamp"], strict=True)
    }
    factor = 1000 if unit == "ms" else 1
    assert got == {(user, item, factor * time) for user, item, _, time in rows}


@pytest.mark.parametrize("write", [mmssl, diffmm, mmrec])
def test_a_given_split_and_features_by_row_are_kept(write, made):
    folder = made.folder / "source"
    folder.mkdir()
    words, _ = write(folder)
    made.made(*words)
    parts = parts_of(NUMBERED)
    wanted = {i: {row[:2] for row in parts[p]} for i, p in enumerate(("train", "val", "test"))}
    assert made.by_label() == wanted
    rows = np.arange(ITEMS * 3, dtype=np.float32).reshape(ITEMS, 3)
    order = np.array(made.ids("item"), dtype=int)
    assert np.array_equal(np.load(made.out / "image_feat.npy"), rows[order])
    assert np.array_equal(np.load(made.out / "audio_feat.npy"), -rows[order])
    assert made.manifest()["split"]["rule"] == "as given"


def test_a_given_split_without_validation_gets_a_seeded_share_of_train(made):
    folder = made.folder / "source"
    folder.mkdir()
    words, _ = lightgcn(folder)
    made.made(*words, "--valid-share=0.25")
    first = made.by_label()
    assert {label: len(rows) for label, rows in first.items()} == {0: 36, 1: 12, 2: 24}
    assert {user for user, _ in first[0]} == set(map(str, range(USERS)))
    made.made(*words, "--valid-share=0.25", "--force")
    assert made.by_label() == first
    made.made(*words, "--valid-share=0.25", "--force", "--seed=1")
    assert made.by_label() != first
    assert made.by_label()[2] == first[2]


def test_files_of_a_given_split(made):
    words = []
    for part, rows in parts_of(NAMED).items():
        path = made.folder / f"{part}.csv"
        path.write_text(text(rows), encoding="utf-8")
        words += [f"--{'valid' if part == 'val' else part}", path]
    repeated = made.folder / "val.csv"
    repeated.write_text(repeated.read_text() + text(parts_of(NAMED)["train"][:2], header=None))
    out = made.made(*words, core=1)
    assert "2 pairs are in several parts of the split" in out
    assert [len(rows) for rows in made.by_label().values()] == [48, 12, 12]
    err = made.prepare(*words[:2], "--force")[2]
    assert "--test is missing" in err
    assert "--split temporal: the split is given" in made.prepare(*words, "--split=temporal")[2]


def one(made, content, *words, name="rows.csv", **options):
    path = made.folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return made.prepare("--interactions", path, *words, **options)


ODD_IDS = [
    "007",
    "7",
    " 7",
    "NA",
    "null",
    "é✓",
    "a,b",
    'say "x"',
    "tab\there",
    "two\nlines",
    "cr\rx",
]


def test_ids_are_any_text_and_come_back_unchanged(made):
    rows = [(user, item, 1, 1) for user in ODD_IDS for item in ODD_IDS]
    frame = pd.DataFrame(rows, columns=["user", "item", "rating", "time"])
    content = io.StringIO()
    frame.to_csv(content, index=False, quoting=1)
    status, _, err = one(made, content.getvalue())
    assert status == 0, err
    with open(made.out / "u_id_mapping.csv", newline="") as file:
        assert "cr\rx" in file.read()
    assert sorted(made.ids("user")) == sorted(ODD_IDS)
    assert sorted(made.ids("item")) == sorted(ODD_IDS)
    keys = {"threads": 1, "topk": [2], "valid_metric": "recall@2", "use_gpu": False}
    keys |= {"data_path": f"{made.out.parent}/", "runs_dir": f"{made.folder}/runs/"}
    (done,) = run("Pop", "mine", keys | {"cache_dir": None})
    lists = made.folder / "lists.jsonl"
    recommend(Wanted(run=str(done.folder.path), k=3, mask="none", out=lists))
    got = [json.loads(line) for line in lists.read_text().splitlines()]
    assert {row["user"] for row in got} == set(ODD_IDS)
    assert {row["item"] for row in got} <= set(ODD_IDS)


def test_numbers_as_ids_are_sorted_by_size(made):
    one(made, text([(10 - n % 3, n, 5, n) for n in range(12)]))
    assert made.ids("item") == [str(n) for n in range(12)]
    assert made.ids("user") == ["8", "9", "10"]


def test_ratings_are_clicks_and_that_is_said(made):
    status, out, _ = one(made, text(NAMED))
    assert status == 0
    assert "the ratings of column 'rating' are taken as clicks" in out
    assert len(made.table()) == len(NAMED)


def test_min_rating(made):
    status, out, _ = one(made, text(NAMED), "--min-rating=4")
    assert status == 0
    assert "rows with rating from 4 on" in out
    assert made.pairs() == {row[:2] for row in NAMED if row[2] >= 4}


def test_without_times(made):
    rows = [row[:2] for row in NAMED]
    status, _, err = one(made, text(rows, header=("user", "item")))
    assert status == 0, err
    assert list(made.table()) == ["userID", "itemID", "x_label"]
    assert made.manifest()["timestamp"] is False
    for rule in ("leave-one-out", "temporal"):
        err = one(made, text(rows, header=("user", "item")), f"--split={rule}", "--force")[2]
        assert f"--split {rule} goes by time and the interactions have none" in err
    same = [(*row, 1, FIRST_DAY) for row in rows]
    err = one(made, text(same), "--split=leave-one-out", "--force")[2]
    assert f"goes by time and all times are {FIRST_DAY}" in err


@pytest.mark.parametrize(
    ("write", "unit", "factor"),
    [
        (lambda t: t, "s", 1),
        (lambda t: 1000 * t + 7, "ms", None),
        (lambda t: 1_000_000 * t, "ms", 1000),
        (lambda t: f"{t}.0", "s", 1),
        (lambda t: f"{t}.25", "ms", None),
        (lambda t: pd.Timestamp(t, unit="s").isoformat(), "s", 1),
        (lambda t: str(pd.Timestamp(t, unit="s", tz="UTC")), "s", 1),
        (lambda t: f"{pd.Timestamp(t, unit='s').isoformat()}.250", "ms", None),
    ],
)
def test_ways_to_write_a_time(write, unit, factor, made):
    rows = [(user, item, rating, write(time)) for user, item, rating, time in NAMED]
    status, _, err = one(made, text(rows))
    assert status == 0, err
    assert made.manifest()["timestamp"]["unit"] == unit
    got = sorted(made.table()["timestamp"])
    extra = 0 if factor else (7 if "7" in str(write(0))[-1:] else 250)
    factor = factor or 1000
    assert got == sorted(factor * time + extra for *_, time in NAMED)


def test_a_way_of_the_users_own(made):
    rows = [
        (u, i, r, pd.Timestamp(t, unit="s").strftime("%d.%m.%Y %H:%M:%S")) for u, i, r, t in NAMED
    ]
    status, _, err = one(made, text(rows))
    assert status == 2
    assert "are no times by numbers or ISO 8601; say --time-format" in err
    assert one(made, text(rows), "--time-format=%d.%m.%Y %H:%M:%S")[0] == 0
    assert sorted(made.table()["timestamp"]) == sorted(row[3] for row in NAMED)


def test_a_window_in_the_sources_unit(made):
    rows = [(user, item, rating, 1000 * time) for user, item, rating, time in NAMED]
    status, out, err = one(made, text(rows), "--from=2020-09-14", "--to=2020-09-18")
    assert status == 0, err
    assert "rows in the window" in out
    days = pd.to_datetime(made.table()["timestamp"], unit="ms")
    assert days.min() >= pd.Timestamp("2020-09-14")
    assert days.max() < pd.Timestamp("2020-09-18")


def test_an_id_that_is_no_number_among_numbers_is_told(made):
    words, _ = lightgcn(made.folder)
    path = made.folder / "train.txt"
    path.write_text(path.read_text().replace("2 12 2 7 8\n", "2 12 2 7 <\n"))
    out = made.made(*words)
    assert "1 item id is no whole number as the others are, such as '<'" in out
    assert "user id" not in out


@pytest.mark.parametrize(
    ("line", "why"),
    [("11\n", "a user without an item: '11'"), ("11 1\0 2\n", "a NUL: '11 1")],
)
def test_a_line_of_lists_that_cannot_be_meant_is_counted(made, line, why):
    words, _ = lightgcn(made.folder)
    path = made.folder / "train.txt"
    path.write_text(path.read_text() + line)
    out = made.made(*words, "--max-bad-lines=0.1")
    assert f"1 of 13 lines cannot be used (line 13: {why}" in out
    status, _, err = made.prepare(*words, "--force")
    assert (status, "1 of 13 lines cannot be used" in err) == (2, True)


def test_lists_nested_too_deeply_are_a_sentence(made):
    words, _ = mmssl(made.folder)
    (made.folder / "train.json").write_text('{"0": ' + "[" * 100_000)
    assert "train.json is no JSON object of a list of items" in made.refused(*words)
    lines = made.folder / "rows.jsonl"
    lines.write_text('{"user": "a", "item": "b"}\n' + "[" * 100_000 + "\n")
    err = made.refused("--interactions", lines, "--max-bad-lines=0")
    assert "line 2" in err


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_line_that_is_no_text_and_cannot_be_cut_prints_no_traceback(made):
    words, _ = mmrec(made.folder)
    path = made.folder / "toy.inter"
    path.write_bytes(path.read_bytes().replace(b"\t1600259201\t", b"\x891600259201\t"))
    status, _, err = made.prepare(*words)
    assert (status, "Expected 5 columns, got 4" in err) == (2, True)
    assert "Traceback" not in err


BAD = {
    "one field too few": ("x\n", "1 field, not 4"),
    "an empty id": (",b,1,1600000000\n", "an id is empty or no UTF-8"),
    "a control sign": ("a\x12,b,1,1600000000\n", "an id is empty or no UTF-8"),
    "no UTF-8": (b"caf\xe9,b,1,1600000000\n", "an id is empty or no UTF-8"),
    "no time": ("a,b,1,yesterday\n", "no time"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_counted_and_shown(name, made):
    line, why = BAD[name]
    line = line if isinstance(line, bytes) else line.encode()
    content = text(NAMED).encode() + line
    status, out, err = one(made, content, "--max-bad-lines=0.05")
    assert status == 0, err
    assert f"1 of {len(NAMED) + 2} lines cannot be used (line {len(NAMED) + 2}: {why}" in out
    err = one(made, content, "--max-bad-lines=0", "--force")[2]
    assert "--max-bad-lines" in err


def test_features_that_go_on_after_their_array_are_damaged(made):
    words, _ = mmrec(made.folder)
    path = made.folder / "image_feat.npy"
    content = path.read_bytes()
    path.write_bytes(content[:149] + b"{" + content[149:])
    assert "image_feat.npy is not a .npy file of numbers (it goes on after" in made.refused(*words)


def test_no_rating_is_a_bad_row_only_where_ratings_count(made):
    content = text(NAMED) + "a,b,none,1600000000\n"
    assert one(made, content, "--max-bad-lines=0")[0] == 0
    status, out, _ = one(made, content, "--max-bad-lines=1", "--min-rating=1", "--force")
    assert status == 0
    assert ": no rating: 'a | b | none | 1600000000'" in out


QUESTIONS = {
    "no known names": (
        "who,what,n\nann,spoon,3\n",
        [
            "which column is the user cannot be told",
            "who | what | n",
            "ann | spoon | 3",
            "--columns",
        ],
    ),
    "two items": (
        "user,product,article\nann,a,b\n",
        [
            "which column is the item cannot be told (product or article)",
            "user | product | article",
        ],
    ),
    "no header": (
        "ann,spoon\nbob,fork\n",
        ["whether the first line names the columns cannot be told", "--header or --no-header"],
    ),
    "no separator": (
        "one\ntwo\n",
        ["what stands between the columns cannot be told", "--separator"],
    ),
    "two separators": ("a,b;c\nd,e;f\n", ["',', ';' all fit", "--separator"]),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_is_ambiguous_is_asked_for_with_the_first_rows(name, made):
    content, said = QUESTIONS[name]
    err = one(made, content)[2]
    for words in said:
        assert words in err
    assert not made.out.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--columns=user,thing", "has no column 'thing'. Did you mean"),
        ("--columns=user", "--columns names 1 column; wanted user, item"),
        ("--columns=user=user,item=user", "--columns gives one column two roles"),
        ("--columns=user=user,rating=rating", "--columns names no item column"),
        ("--columns=usr=user,item=item", "--columns has 'usr=user'; wanted role=column"),
        ("--columns=1,9", "has 4 columns, no column 9"),
        ("--require=text", "--require text: there is no text to have"),
        ("--image-pattern=x.jpg", "--image-pattern is 'x.jpg'; it must hold {item}"),
        ("--features=audio", "--features is 'audio'; wanted NAME=FILE"),
        ("--features=audio=none.npy", "--features audio=none.npy: there is no file"),
        ("--text-fields=title", "there is no table of items: give --items FILE"),
        ("--encoding=utf-99", "--encoding utf-99: Python knows no such encoding"),
        ("--train=x.csv", "give --interactions PATH, or for a split that is given"),
        ("--min-rating=9", "nothing is left after step 'rows with rating from 9 on'"),
    ],
)
def test_options_that_cannot_be(words, said, made):
    status, _, err = one(made, text(NAMED), words)
    assert status == 2
    assert said in err


def test_a_rating_that_is_not_there(made):
    rows = [row[:2] for row in NAMED]
    err = one(made, text(rows, header=("user", "item")), "--min-rating=4")[2]
    assert "--min-rating: no column of ratings is known" in err


def test_what_is_no_table(made):
    assert "is a pickle, which may run any program" in one(made, b"\x80\x04", name="m.pkl")[2]
    assert "is empty" in one(made, "")[2]
    assert "cannot be read as Parquet" in one(made, "PAR1 x", name="rows.parquet")[2]
    assert "line 1 is no JSON object (Amazon's metadata of 2014" in one(made, "{'a': 1}\n")[2]
    assert "is one JSON array" in one(made, '[{"user": 1}]')[2]
    assert "has the column 'user' twice" in one(made, "user,user,item\n1,2,3\n")[2]
    assert "looks like UTF-16" in one(made, text(NAMED).encode("utf-16"))[2]
    err = one(made, gzip.compress(text(NAMED).encode())[:-20], name="rows.csv.gz")[2]
    assert "is damaged or incomplete" in err
    (made.folder / "empty").mkdir()
    (made.folder / "empty" / "trnMat.pkl").touch()
    err = made.refused("--interactions", made.folder / "empty")
    assert "is no folder of a known form" in err
    assert "trnMat.pkl are pickles" in err


@pytest.mark.parametrize("packed", [packed_by_gzip, packed_by_zip])
def test_damage_that_only_a_checksum_shows(made, packed):
    (_, path), _ = packed(made.folder)
    content = bytearray(path.read_bytes())
    # a digit of a stored member; in gzip the CRC itself, before four bytes of the size
    place = (
        content.rindex(b"1", 0, content.rindex(b"PK\x01\x02")) if packed is packed_by_zip else -6
    )
    content[place] ^= 1
    path.write_bytes(content)
    err = made.refused("--interactions", path)
    where = f"{path}:inner/ratings.csv" if packed is packed_by_zip else f"{path}"
    assert f"{where} is damaged or incomplete" in err
    assert re.search("CRC check failed|Bad CRC-32 for file 'inner/ratings.csv'", err)


def test_other_encodings(made):
    rows = [(user, item, r, t) for user, item, r, t in NAMED]
    assert one(made, text(rows).encode("latin-1"), "--encoding=latin-1")[0] == 0
    assert made.pairs() == {row[:2] for row in NAMED}
    status, _, err = one(made, text(rows).encode("utf-16"), "--encoding=utf-16", "--force")
    assert status == 0, err
    assert made.pairs() == {row[:2] for row in NAMED}


def test_a_parquet_file_with_one_bad_byte_is_read_or_a_sentence(tmp_path, capsys):
    frame = pd.DataFrame({"user": ["a"] * 50, "item": [f"i{n}" for n in range(50)]})
    frame.to_parquet(path := tmp_path / "rows.parquet")
    whole, ended = path.read_bytes(), set()
    words = [f"--interactions={path}", f"--out={tmp_path / 'x'}", "--k-core=1", "--dry-run"]
    for place in range(4, min(len(whole), 700), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 255
        path.write_bytes(damaged)
        ended.add(own.main(words))
    assert ended == {0, 2}


def test_a_quote_that_is_not_closed(made):
    rows = [(f'"{user}', *more) for user, *more in NAMED]
    out = one(made, text(rows))[1]  # quotes close each other in pairs, over the ends of lines
    assert "ids hold the end of a line" in out
    assert "--no-quotes takes quotes as they are" in out
    err = one(made, text(rows[:-1]), "--force")[2]
    assert "--no-quotes takes quotes as they are" in err
    assert one(made, text(rows), "--no-quotes", "--force")[0] == 0
    assert made.ids("user")[0].startswith('"ann')


ITEM_IDS = sorted({row[1] for row in NAMED})


def items_file(folder, name="products.jsonl"):
    rows = [
        {"sku": item, "title": f"Thing  {item}", "brand": ["x", "y"], "price": 1.5}
        for item in ITEM_IDS[:-1]
    ]
    (folder / name).write_text("\n".join(map(json.dumps, rows)))
    return folder / name


def test_texts_pictures_and_ready_vectors(made, tmp_path):
    from PIL import Image

    items = items_file(tmp_path)
    (tmp_path / "covers").mkdir()
    for place, item in enumerate(ITEM_IDS[1:]):
        colour = (15 * place, 255 - 15 * place, 100)
        Image.new("RGB", (32, 32), colour).save(tmp_path / "covers" / f"c_{item}.png")
    np.save(tmp_path / "sound.npy", np.eye(len(ITEM_IDS), 4, dtype=np.float32))
    (tmp_path / "ids.csv").write_text("\n".join(reversed(ITEM_IDS)) + "\n", encoding="utf-8")
    status, out, err = one(
        *(made, text(NAMED), "--items", items, "--text-fields=title,brand"),
        *("--images", tmp_path / "covers", "--image-pattern=c_{item}.png"),
        *("--features", f"audio={tmp_path}/sound.npy,{tmp_path}/ids.csv"),
    )
    assert status == 0, err
    assert "products.jsonl: 14 items, text = title, brand" in out
    manifest = made.manifest()
    assert manifest["features"]["text"]["missing"] == {"count": 1, "itemIDs": [14]}
    assert manifest["features"]["image"]["missing"] == {"count": 1, "itemIDs": [0]}
    audio = np.load(made.out / "audio_feat.npy")
    assert np.array_equal(audio, np.eye(len(ITEM_IDS), 4)[::-1])
    assert {s["file"] for s in manifest["sources"]} == {"rows.csv", "products.jsonl"}
    status, out, err = one(
        *(made, text(NAMED), "--items", items, "--item-id=sku", "--require=text,image", "--force"),
        *("--images", tmp_path / "covers", "--image-pattern=c_{item}.png"),
    )
    assert status == 0, err
    assert "rows of items with text" in out
    assert made.ids("item") == ITEM_IDS[1:-1]


def test_ready_vectors_by_row(made, tmp_path):
    vectors = np.arange(30, dtype=np.float32).reshape(15, 2)
    np.save(tmp_path / "v.npy", vectors)
    err = one(made, text(NAMED), f"--features=image={tmp_path}/v.npy")[2]
    assert "whose rows these are cannot be told" in err
    items = tmp_path / "all.csv"
    lines = [(item, "x") for item in reversed(ITEM_IDS)]
    items.write_text(text(lines, header=("item", "title")), encoding="utf-8")
    words = (f"--features=image={tmp_path}/v.npy", "--items", items, "--text-encoder=none")
    status, _, err = one(made, text(NAMED), *words)
    assert status == 0, err
    assert np.array_equal(np.load(made.out / "image_feat.npy"), vectors[::-1])
    status, _, err = one(made, text(NUMBERED), f"--features=image={tmp_path}/v.npy", "--force")
    assert status == 0, err
    assert np.array_equal(np.load(made.out / "image_feat.npy"), vectors)
    table = [(f"{n}", item) for n, item in enumerate(reversed(ITEM_IDS))]
    (tmp_path / "map.tsv").write_text(text(table, "\t", ("itemID", "item_id")), encoding="utf-8")
    words = f"--features=image={tmp_path}/v.npy,{tmp_path}/map.tsv"
    status, _, err = one(made, text(NAMED), words, "--force")
    assert status == 0, err
    assert np.array_equal(np.load(made.out / "image_feat.npy"), vectors[::-1])
    (tmp_path / "map.tsv").write_text("1\n2\n")
    assert "has 2 ids; wanted 15" in one(made, text(NAMED), words, "--force")[2]


def test_items_of_other_ids_are_refused(made, tmp_path):
    (tmp_path / "t.csv").write_text(text([("7", "x")], header=("item", "title")))
    err = one(made, text(NAMED), "--items", tmp_path / "t.csv")[2]
    assert "no item of the interactions is in t.csv" in err
    (tmp_path / "t.csv").write_text(text([("7", "x", "y")], header=("no", "a", "b")))
    err = one(made, text(NAMED), "--items", tmp_path / "t.csv")[2]
    assert "has no column that looks like the item's id" in err
    assert "no | a | b" in err
    err = one(made, text(NAMED), "--items", tmp_path / "t.csv", "--item-id=no")[2]
    assert "which columns make an item's text cannot be told" in err


def test_a_dry_run_writes_nothing(made):
    status, out, _ = one(made, text(NAMED), "--dry-run")
    assert status == 0
    assert "nothing was written (--dry-run)" in out
    assert not made.out.exists()


def test_the_core_is_five_where_no_split_is_given(made, tmp_path):
    rows = [(user, item, 1, 1) for user in range(5) for item in range(6)]
    (tmp_path / "rows.csv").write_text(text([*rows, ("few", 0, 1, 1)]))
    assert own.main([f"--interactions={tmp_path}/rows.csv", f"--out={made.out}"]) == 0
    assert "5-core" in made.capsys.readouterr().out
    assert made.ids("user") == list("01234")


def test_blocks_give_what_one_block_gives(made, monkeypatch):
    from ld4mrec.preprocessing.formats import reading, rows

    one(made, text(NAMED))
    whole = made.pairs(), made.by_label()
    monkeypatch.setattr(reading, "BLOCK", 300)
    monkeypatch.setattr(rows, "COMPACT_AT", 10)
    status, _, err = one(made, text(NAMED + NAMED[:9]), "--force")
    assert status == 0, err
    assert (made.pairs(), made.by_label()) == whole


def test_a_data_frame(made):
    frame = pd.DataFrame(NAMED, columns=["user", "item", "rating", "time"])
    options = {"out": made.out, "k_core": 1, "no_features": True}
    own.make(lambda line: None, interactions=frame, **options)
    assert made.pairs() == {row[:2] for row in NAMED}
    assert made.manifest()["options"]["interactions"] == f"a DataFrame of {len(NAMED)} rows"


def blocks_of_docs(name, chapter):
    """The code blocks of a chapter."""
    text = (support.ROOT / name).read_text(encoding="utf-8")
    part = text.split(f"\n## {chapter}\n")[1].split("\n## ")[0]
    return re.findall(r"```\n(.*?)```", part, flags=re.DOTALL)


def shell(folder, lines):
    """Output of shell lines in a folder, where `ld4mrec` and the scripts are ours."""
    for script in ("preprocessing/own.py", "src/main.py", "src/recommend.py", "src/compare.py"):
        lines = lines.replace(f"python {script}", f"{sys.executable} {support.ROOT}/{script}")
    lines = lines.replace("ld4mrec ", f"{sys.executable} -m ld4mrec ")
    paths = {"PYTHONPATH": str(support.ROOT / "src")}
    done = subprocess.run(
        ["bash", "-e", "-c", lines],
        cwd=folder,
        env=os.environ | paths,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_chapter_of_the_docs(tmp_path):
    commands, printed, *_ = blocks_of_docs("docs/data.md", "Your own data")
    there = f"--data_path={tmp_path}/data --runs_dir={tmp_path}/runs --cache_dir=null"
    commands = commands.replace("-d tea", f"-d tea {there}")
    commands = commands.replace("--out data", f"--store {tmp_path}/store --out data")
    out = shell(tmp_path, commands)
    ids = [line.rpartition(",")[0] for line in printed.splitlines()]
    assert [line.rpartition(",")[0] for line in out.splitlines()[-len(ids) :]] == ids


@pytest.mark.slow
def test_the_four_commands_of_the_readme(tmp_path):
    from ld4mrec.preprocessing import demo

    demo.generate(tmp_path / "world", users=150, items=90)
    mapping = pd.read_csv(tmp_path / "world" / "u_id_mapping.csv", sep="\t")["user_id"]
    rows = pd.read_csv(tmp_path / "world" / "world.inter", sep="\t")
    frame = pd.DataFrame({"user": mapping.to_numpy()[rows["userID"]], "item": rows["itemID"]})
    frame["rating"], frame["time"] = 3 + frame.index % 3, rows["timestamp"]
    frame.to_csv(tmp_path / "ratings.csv", index=False)
    titles = pd.DataFrame({"item": range(90), "title": [f"Thing {n % 7}" for n in range(90)]})
    titles.to_csv(tmp_path / "titles.csv", index=False)
    (commands,) = blocks_of_docs("README.md", "Your own data")
    there = f"--data_path={tmp_path}/data --runs_dir={tmp_path}/runs --cache_dir=null"
    commands = commands.replace("-d mine", f"-d mine {there} --threads=1 --topk=[10,20] --epochs=5")
    commands = commands.replace("--out data", f"--store {tmp_path}/store --k-core 2 --out data")
    commands = commands.replace("--seeds 3", f"--seeds 3 --out {tmp_path}/report")
    assert commands.count("\n") == 4
    shell(tmp_path, commands)
    lists = pd.read_csv(tmp_path / "top20.csv")
    assert set(lists["user"]) <= set(mapping)
    assert (tmp_path / "report" / "report.html").is_file()
