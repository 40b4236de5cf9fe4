"""The generated raw downloads: formats, planted defects and tastes, same options same bytes."""

import csv
import hashlib
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from ld4mrec.errors import UserError
from ld4mrec.preprocessing import sample
from ld4mrec.preprocessing.samples import world


def content(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def facts(folder):
    return json.loads((folder / "manifest.json").read_text())


@pytest.mark.parametrize("name", sorted(sample.WRITERS))
def test_same_options_same_bytes(name, made_samples, tmp_path):
    sample.generate(name, tmp_path / "again")
    assert content(tmp_path / "again") == content(made_samples[name])
    sample.generate(name, tmp_path / "other", seed=1, users=60, items=80)
    assert content(tmp_path / "other") != content(made_samples[name])


@pytest.mark.parametrize("name", sorted(sample.WRITERS))
def test_enough_survives_the_core(name, made_samples):
    core = facts(made_samples[name])["5-core"]
    assert core["users"] >= 100
    assert core["items"] >= 60


def test_users_prefer_their_kind():
    drawn = world.draw_world(500, 300, np.random.default_rng(0))
    mine, theirs = drawn.user_kind[drawn.users], drawn.item_kind[drawn.items]
    same_subject = (mine // world.LOOKS == theirs // world.LOOKS).mean()
    same_look = (mine % world.LOOKS == theirs % world.LOOKS).mean()
    assert same_subject > 0.45  # chance: 1 of 6
    assert same_look > 0.45
    pairs = drawn.users * 1000 + drawn.items
    assert len(np.unique(pairs)) == len(pairs)


def test_pictures_tell_the_look():
    rng = np.random.default_rng(0)

    def mean_saturated(look):
        picture = Image.open(io.BytesIO(world.picture(look, rng)))
        assert picture.size == (world.SIZE, world.SIZE)
        pixels = np.asarray(picture).reshape(-1, 3).astype(float)
        spread = pixels.max(1) - pixels.min(1)
        return pixels[np.argsort(spread)[-500:]].mean(0)

    # red, blue, green, yellow and purple shapes; the sixth is black
    colours = [np.mean([mean_saturated(look) for _ in range(5)], axis=0) for look in range(5)]
    nearest = [
        int(np.argmin([np.linalg.norm(mean_saturated(look) - c) for c in colours]))
        for look in range(5)
    ]
    assert nearest == list(range(5))


def test_tmall_is_in_the_true_format(made_samples):
    folder, truth = made_samples["tmall"], facts(made_samples["tmall"])
    with zipfile.ZipFile(folder / "tianchi_2014001_rec_tmall_product.zip") as archive:
        assert archive.namelist() == ["tianchi_2014001_rec_tmall_product.txt"]
        products = archive.read(archive.namelist()[0]).decode().split("\n")[:-1]
    rows = [line.split("\x01") for line in products]
    assert sum(len(row) == 6 for row in rows) == 299
    whole = [row for row in rows if len(row) == 6]
    assert {" ", "NULL"} <= {row[1] for row in whole}
    assert any('"' in row[1] for row in whole)
    assert any("  " in row[1].strip() for row in whole)
    assert any(row[1].endswith(" ") for row in whole)
    assert 0.15 < sum(row[4] == "" for row in whole) / 300 < 0.35
    assert any("一" <= letter <= "鿿" for letter in whole[0][1])
    lines = []
    for part in "abc":
        name = f"tianchi_2014002_rec_tmall_log.part{part}.zip"
        with zipfile.ZipFile(folder / name) as archive:
            assert archive.namelist() == [f"tianchi_2014002_rec_tmall_log_part{part}.txt"]
            lines += archive.read(archive.namelist()[0]).decode().splitlines()
    assert len(lines) == truth["planted"]["log lines"]
    fields = [line.split("\x01") for line in lines]
    assert sum(len(row) == 3 for row in fields) == 1
    actions = {row[2] for row in fields}
    assert actions == {"click", "collect", "cart", "alipay"}
    times = [row[3] for row in fields if len(row) == 4]
    assert times != sorted(times)
    assert "2013-04-01 00:00:00" <= min(times) <= max(times) < "2013-10-01 00:00:00"
    assert 0.04 < 1 - len(set(lines)) / len(lines) < 0.07
    one, other = truth["planted"]["one title under two sellers"]
    titles = {row[0]: row[1] for row in whole}
    assert titles[one] == titles[other]
    assert len(list((folder / "images").glob("*.jpg"))) == 200


@pytest.mark.parametrize("packing", ["txt", "tar.gz"])
def test_tmall_packings_hold_the_same_rows(packing, made_samples, tmp_path):
    sample.generate("tmall", tmp_path / "x", packing=packing)
    wanted = {}
    for path in made_samples["tmall"].glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            wanted |= {name: archive.read(name) for name in archive.namelist()}
    if packing == "txt":
        got = {path.name: path.read_bytes() for path in (tmp_path / "x").glob("*.txt")}
    else:
        got = {}
        for table in ("Product", "Log"):
            pieces = sorted((tmp_path / "x").glob(f"*{table}.tar.gz*"))
            packed = io.BytesIO(b"".join(piece.read_bytes() for piece in pieces))
            with tarfile.open(fileobj=packed) as archive:
                got |= {m.name: archive.extractfile(m).read() for m in archive}
        assert len(list((tmp_path / "x").glob("*Log.tar.gz.00?"))) == 3
    assert got == wanted


def test_microlens_is_in_the_true_format(made_samples):
    folder = made_samples["microlens"]
    pairs = (folder / "MicroLens-50k_pairs.csv").read_bytes()
    assert pairs.startswith(b"user,item,timestamp\r\n")
    assert pairs.count(b"\n") == pairs.count(b"\r\n")
    rows = [line.split(b",") for line in pairs.split(b"\r\n")[1:-1]]
    assert {len(row[2]) for row in rows} == {13}
    with open(folder / "MicroLens-50k_titles.csv", encoding="utf-8", newline="") as file:
        titles = dict(list(csv.reader(file))[1:])
    ids = sorted(map(int, titles))
    assert ids != list(range(1, len(ids) + 1))
    assert "NA" in titles.values()
    assert max(map(len, titles.values())) == 6000
    assert any("," in title for title in titles.values())
    assert any("🤣" in title for title in titles.values())
    with zipfile.ZipFile(folder / "MicroLens-50k_covers.zip") as archive:
        assert set(archive.namelist()) == {f"MicroLens-50k_covers/{item}.jpg" for item in ids}


def test_hm_is_in_the_true_format(made_samples):
    folder, truth = made_samples["hm"], facts(made_samples["hm"])
    lines = (folder / "transactions_train.csv").read_text().splitlines()
    assert lines[0] == "t_dat,customer_id,article_id,price,sales_channel_id"
    rows = [line.split(",") for line in lines[1:]]
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert {len(row[1]) for row in rows} == {64}
    assert all(len(row[2]) == 10 and row[2][0] == "0" for row in rows)
    twins = 1 - len(set(lines)) / len(lines)
    assert 0.06 < twins < 0.12
    pairs = {(row[1], row[2]) for row in rows}
    assert len(pairs) < len(set(lines)) - 1  # repeats on other days
    with open(folder / "articles.csv", encoding="utf-8", newline="") as file:
        articles = list(csv.DictReader(file))
    assert len(articles[0]) == 25
    assert any("," in article["detail_desc"] for article in articles)
    assert any('"' in article["detail_desc"] for article in articles)
    assert sum(article["detail_desc"] == "" for article in articles) == 9
    sold = {row[2] for row in rows}
    assert len(sold) + truth["planted"]["articles never sold"] == len(articles)
    pictures = {path.stem for path in folder.glob("images_128_128/*/*.jpg")}
    assert all(path.parent.name == path.stem[:3] for path in folder.glob("images_128_128/*/*.jpg"))
    assert len(sold - pictures) == truth["planted"]["articles without an image"] == 3


def test_the_other_image_folder_of_hm(tmp_path):
    sample.generate("hm", tmp_path / "x", users=60, items=50, image_folder="images")
    assert list((tmp_path / "x" / "images").glob("0??/0*.jpg"))


def test_main_says_what_was_planted(tmp_path, capsys):
    arguments = ["hm", f"--out={tmp_path / 'x'}", "--users=60", "--items=50"]
    assert sample.main(arguments) == 0
    out = capsys.readouterr().out
    for word in ("exact duplicate rows", "articles without an image", "5-core", "subjects"):
        assert word in out
    assert sample.main(arguments) == 0
    assert "is there already, the same; nothing done" in capsys.readouterr().out
    assert sample.main([*arguments, "--seed=4"]) == 2
    assert "is there already; choose another folder" in capsys.readouterr().err
    next((tmp_path / "x").glob("images_128_128/*/*.jpg")).unlink()
    assert sample.main(arguments) == 2
    assert sample.main([*arguments, "--force", "--seed=4"]) == 0
    assert facts(tmp_path / "x")["options"]["seed"] == 4


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--users=3"], "--users is 3; wanted 20 to 100000"),
        (["--items=1"], "--items is 1; wanted 40 to 100000"),
        (["--users=90000", "--items=90000"], "at most 50 million"),
        (["--seed=-1"], "--seed is -1; wanted a whole number from 0"),
        (["--packing=txt"], "--packing is for tmall, not hm"),
    ],
)
def test_main_refuses(flags, message, tmp_path, capsys):
    assert sample.main(["hm", f"--out={tmp_path / 'x'}", *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_an_unknown_data_set(tmp_path):
    with pytest.raises(UserError, match="there is no sample of 'amazon'; known: tmall, microl"):
        sample.generate("amazon", tmp_path / "x")
