"""The flow that the commands share: options, steps, splits, refusals, what a run leaves."""

import errno
import json
import shutil
import subprocess
import sys
import zipfile
from argparse import Namespace

import numpy as np
import pandas as pd
import pytest

import support
from ld4mrec.data.counts import TABLE_1
from ld4mrec.files import sha256
from ld4mrec.preprocessing import hm
from ld4mrec.preprocessing.steps import command
from ld4mrec.preprocessing.steps.options import parser_of

FILES = {"u_id_mapping.csv", "i_id_mapping.csv", "manifest.json"}


def table(folder):
    return pd.read_csv(folder / f"{folder.name}.inter", sep="\t")


def originals(folder):
    """{(user, item, label, time)} with original ids."""
    rows = table(folder)
    for side in "ui":
        names = ["user_id", "userID"] if side == "u" else ["item_id", "itemID"]
        mapping = pd.read_csv(folder / f"{side}_id_mapping.csv", sep="\t", dtype={names[0]: str})
        assert list(mapping) == names
        assert mapping[names[1]].tolist() == list(range(len(mapping)))
        assert mapping[names[0]].is_unique
        assert set(rows[names[1]]) == set(mapping[names[1]])  # no gaps
        rows[names[1]] = mapping[names[0]].to_numpy()[rows[names[1]]]
    return set(rows.itertuples(index=False, name=None))


@pytest.mark.parametrize("name", ["tmall", "microlens", "hm"])
def test_a_data_folder_is_complete(name, download):
    it = download(name)
    assert it.prepare()[0] == 0
    assert {path.name for path in it.out.iterdir()} == FILES | {f"{name}.inter"}
    rows, manifest = table(it.out), it.manifest()
    assert list(rows) == ["userID", "itemID", "x_label", "timestamp"]
    assert not rows.duplicated(["userID", "itemID"]).any()
    assert rows.groupby("userID").size().min() >= 5
    assert rows.groupby("itemID").size().min() >= 5
    counts = rows["userID"].nunique(), rows["itemID"].nunique(), len(rows)
    last = manifest["steps"][-1]
    assert counts == (last["users"], last["items"], last["interactions"])
    assert last["density"] == pytest.approx(counts[2] / (counts[0] * counts[1]))
    assert manifest["core_rounds"][-1] == dict(
        zip(("users", "items", "interactions"), counts, strict=True)
    )
    parts = [manifest["split"][part] for part in ("train", "validation", "test")]
    assert parts == np.bincount(rows["x_label"]).tolist()
    assert manifest["published"] == TABLE_1[name]._asdict()
    for file, facts in manifest["outputs"].items():
        assert facts["sha256"] == sha256(it.out / file)
    for source in manifest["sources"]:
        assert source["sha256"] == sha256(it.raw / source["file"])
        assert source["bytes"] == (it.raw / source["file"]).stat().st_size
    assert len(originals(it.out)) == len(rows)


def test_the_paper_stands_beside_ours(download):
    out = download("hm").prepare()[1]
    assert "the paper's Table 1" in out
    assert 'The paper speaks of a "10-core". For Microlens and H&M that cannot be' in out
    assert "was never published" in out


def test_same_options_same_bytes_whatever_the_order_of_the_rows(download):
    it = download("hm")
    it.prepare()
    before = {file: sha256(it.out / file) for file in it.manifest()["outputs"]}
    path = it.raw / hm.TRANSACTIONS
    header, *lines = path.read_text().splitlines(keepends=True)
    np.random.default_rng(0).shuffle(lines)
    path.write_text(header + "".join(lines))
    it.prepare("--force")
    assert {file: sha256(it.out / file) for file in before} == before
    it.prepare("--force", "--seed=1")
    after = {file: sha256(it.out / file) for file in before}
    assert after["hm.inter"] != before["hm.inter"]  # another split
    assert after["u_id_mapping.csv"] == before["u_id_mapping.csv"]


@pytest.mark.parametrize("split", ["mmrec", "temporal", "leave-one-out"])
def test_splits_by_name(split, download):
    it = download("microlens")
    assert it.prepare(f"--split={split}")[0] == 0
    rows = table(it.out)
    assert it.manifest()["split"]["rule"] == split
    if split == "temporal":
        bounds = rows.groupby("x_label")["timestamp"].agg(["min", "max"])
        assert bounds["max"][0] < bounds["min"][1]
        assert bounds["max"][1] < bounds["min"][2]
    elif split == "leave-one-out":
        assert (rows[rows["x_label"] == 2].groupby("userID").size() == 1).all()
        assert rows.groupby("userID")["x_label"].agg(lambda x: list(x)[-2:] == [1, 2]).all()


def test_rows_that_training_never_shows_are_told(download):
    status, out, _ = download("microlens").prepare(
        "--split=temporal", "--to=2021-01-01", "--k-core=1"
    )
    assert status == 0
    assert "training never shows" in out
    assert "(the host drops these)" in out


def test_users_and_target_users(download):
    it = download("microlens")
    it.prepare("--users=200", "--k-core=1")
    small = {row[0] for row in originals(it.out)}
    assert len(small) == 200
    it.prepare("--force", "--users=300", "--k-core=1")
    assert small < {row[0] for row in originals(it.out)}
    status, out, _ = it.prepare("--force", "--target-users=150")
    assert status == 0
    assert it.steps()["5-core"]["users"] == pytest.approx(150, abs=1.5)
    assert "searching the sample of users whose 5-core has 150 users" in out


def test_size_paper_is_too_large_for_the_sample(download):
    status, _, err = download("hm").prepare("--size=paper")
    assert status == 2
    assert "no sample of users has a 5-core of 43529 users within 1%" in err


def test_window(download):
    it = download("hm")
    assert it.prepare("--from=2019-01-01", "--to=2019-07-01", "--k-core=1")[0] == 0
    days = pd.to_datetime(table(it.out)["timestamp"], unit="s")
    assert days.min() >= pd.Timestamp("2019-01-01")
    assert days.max() < pd.Timestamp("2019-07-01")
    assert it.manifest()["options"]["since"] == "2019-01-01"
    assert "rows in the window" in it.steps()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--k-core=0"], "--k-core is 0; wanted a whole number from 1"),
        (["--users=0"], "--users is 0; wanted a whole number from 1"),
        (["--users=99999"], "--users 99999: the data has 500 users at this step"),
        (["--target-users=-1"], "--target-users is -1"),
        (["--seed=-1"], "--seed is -1"),
        (["--from=2019-13-01"], "--from is '2019-13-01'; wanted a date YYYY-MM-DD"),
        (["--to=yesterday"], "--to is 'yesterday'; wanted a date YYYY-MM-DD"),
        (["--from=2019-02-01", "--to=2019-02-01"], "--from 2019-02-01 is not before --to"),
        (["--max-bad-lines=2"], "--max-bad-lines is 2.0; wanted a share from 0 to 1"),
        (["--size=paper", "--target-users=7"], "--size and --target-users both set"),
        (["--k-core=99"], "nothing is left after step '99-core"),
        (["--from=2030-01-01"], "nothing is left after step 'rows in the window'"),
    ],
)
def test_refused_options(flags, message, download):
    it = download("hm")
    status, _, err = it.prepare(*flags)
    assert status == 2
    assert message in err
    assert err.startswith("error: ")
    assert not it.out.exists()


def test_an_empty_result_shows_the_counts_before(download):
    err = download("hm").prepare("--k-core=99")[2]
    assert "use a smaller --k-core, more users, or a longer window" in err
    assert "distinct (user, item), earliest day" in err
    assert "4,726" in err


def test_unknown_options_are_refused(download, capsys):
    it = download("hm")
    for flag in ("--k-cor=3", "--split=random"):
        with pytest.raises(SystemExit):
            it.prepare(flag)
        assert flag.partition("=")[2] in capsys.readouterr().err


def test_absent_files(download):
    it = download("hm")
    (it.raw / hm.TRANSACTIONS).unlink()
    status, _, err = it.prepare()
    assert status == 2
    assert "has no transactions_train.csv (nor transactions_train.csv.zip, nor a zip with" in err
    assert "it holds articles.csv" in err
    shutil.rmtree(it.raw)
    assert "does not exist; it must name the folder of the download" in it.prepare()[2]
    it.raw.write_text("")
    assert "is a file; it must name the folder" in it.prepare()[2]


def test_a_full_disk_leaves_nothing(download, monkeypatch):
    it = download("hm")

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(command.writing, "write_table", full)
    status, _, err = it.prepare()
    assert status == 2
    assert "the disk that holds" in err
    assert "is full; nothing was left there" in err
    assert not list(it.out.parent.iterdir())


def test_a_full_disk_of_the_store(download, monkeypatch):
    from ld4mrec.preprocessing import tmall

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tmall.np, "savez", full)
    it = download("tmall")
    status, _, err = it.prepare()
    assert status == 2
    assert "The disk is full; --store is" in err
    assert not it.out.exists()


def test_interrupted(download, monkeypatch):
    it = download("hm")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(command.splits, "split", interrupted)
    status, _, err = it.prepare()
    assert (status, "interrupted" in err) == (130, True)
    assert not it.out.exists()


def test_dry_run_writes_nothing(download):
    for name in ("tmall", "hm"):
        it = download(name)
        before = sorted(it.out.parent.parent.rglob("*"))
        status, out, _ = it.prepare("--dry-run")
        assert status == 0
        assert "5-core" in out
        assert "interactions and mappings: about 0." in out
        assert "nothing was written (--dry-run)" in out
        assert sorted(it.out.parent.parent.rglob("*")) == before
        shutil.rmtree(it.raw)


def test_dry_run_estimates_the_encoding(download):
    status, out, _ = download("hm").prepare("--dry-run", features=True)
    assert status == 0
    assert "image" in out.split("interactions and mappings")[1]


def test_an_occupied_folder_is_refused_before_reading(download):
    it = download("hm")
    it.prepare()
    status, out, err = it.prepare()
    assert status == 2
    assert "is there already; choose another folder, or replace it with --force" in err
    assert "rows of purchases" not in out


def test_no_images_at_all(download):
    it = download("hm")
    shutil.rmtree(it.raw / "images_128_128")
    status, out, err = it.prepare(features=True)
    assert status == 2
    assert "no images in" in err
    assert "--image-encoder none goes on without" in err
    assert "rows of purchases" not in out  # told before the reading
    assert not it.out.exists()


@pytest.mark.parametrize(
    ("name", "file"),
    [("hm", hm.ARTICLES), ("microlens", "MicroLens-50k_titles.csv")]
    + [("tmall", "tianchi_2014001_rec_tmall_product.zip")],
)
def test_absent_texts_are_told_before_the_reading(name, file, download):
    it = download(name)
    (it.raw / file).unlink()
    status, out, err = it.prepare(features=True)
    assert (status, out) == (2, "")
    assert "has no" in err
    assert "--text-encoder none goes on without texts" in err
    assert it.prepare()[0] == 0  # not needed without features


def test_images_of_another_data_set(download):
    it = download("hm")
    wrong = it.raw / "covers"
    wrong.mkdir()
    (wrong / "1.jpg").write_bytes(b"")
    status, _, err = it.prepare(f"--images={wrong}", features=True)
    assert status == 2
    assert "has an image for 0 of 285 items; looked for" in err
    assert "Is it the folder of another data set?" in err


def test_own_vectors_by_item_id(download):
    it = download("hm")
    it.prepare()
    items = pd.read_csv(it.out / "i_id_mapping.csv", sep="\t", dtype=str)["item_id"]
    vectors = np.random.default_rng(0).random((len(items), 5)).astype(np.float32)
    order = np.random.default_rng(1).permutation(len(items))
    path = it.out.parent / "mine.npz"
    np.savez(path, ids=items.to_numpy(dtype="U10")[order], vectors=vectors[order])
    flags = [f"--text-encoder=file:{path}", "--image-encoder=none", "--force"]
    assert it.prepare(*flags, features=True)[0] == 0
    assert np.array_equal(np.load(it.out / "text_feat.npy"), vectors)  # row r is item r's
    assert "text" in it.manifest()["features"]
    assert "text_feat.npy" in it.manifest()["outputs"]


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit):
        hm.main(["--help"])
    out = capsys.readouterr().out
    assert "docs/data.md" in out
    for action in parser_of(hm.HM())._actions:
        assert action.help


def test_as_a_program_from_another_folder(download, tmp_path):
    it = download("hm")
    script = support.ROOT / "preprocessing" / "hm.py"
    arguments = ["--raw=raw", "--out=made/hm", "--no-features", "--store=store"]
    done = subprocess.run(
        [sys.executable, str(script), *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "made/hm/manifest.json").read_text())["name"] == it.name


@pytest.mark.parametrize("date", ["", "NaT", "nan", "2018-02-30", "20180201"])
def test_what_is_no_date(date, download):
    status, _, err = download("hm").prepare(f"--from={date}")
    assert status == 2
    assert f"--from is '{date}'; wanted a date YYYY-MM-DD" in err


@pytest.mark.parametrize(
    "flag",
    [
        "--urls={}/urls.tsv",
        "--store={}/store",
        "--images={}/images",
        "--text-encoder=file:{}/a.npz",
    ],
)
def test_nothing_that_is_needed_may_lie_in_the_folder_to_make(flag, download):
    it = download("tmall")
    status, _, err = it.prepare(flag.format(it.out))
    assert status == 2
    assert f"lies in {it.out}, the folder to make" in err
    assert not it.out.exists()


def test_a_raw_folder_within_the_folder_to_replace_stays(download):
    it = download("hm")
    it.prepare()
    it.raw = it.raw.rename(it.out / "raw")
    status, _, err = it.prepare("--force")
    assert status == 2
    assert "--raw: " in err
    assert (it.raw / hm.TRANSACTIONS).is_file()


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("/home/somebody/raw", "raw"),
        ("raw/here", "raw/here"),
        ("file:/home/somebody/v.csv", "file:v.csv"),
        ("file:v.csv", "file:v.csv"),
        ("clip/model", "clip/model"),
        (None, None),
        (3, 3),
        (["a"], ["a"]),
    ],
)
def test_a_manifest_does_not_tell_where_somebody_keeps_things(value, kept):
    assert command.plain(Namespace(raw=value, force=True)) == {"raw": kept}


def test_items_without_content_are_left_out_before_the_core_where_that_is_asked_for(download):
    it = download("hm")
    articles = pd.read_csv(it.raw / hm.ARTICLES, dtype=str)
    pictures = list((it.raw / "images_128_128").rglob("*.jpg"))
    gone = {path.stem for path in pictures[:40]}
    for path in pictures[:40]:
        path.unlink()
    articles[articles["article_id"] > "0300000000"].to_csv(it.raw / hm.ARTICLES, index=False)
    flags = ["--k-core=1", "--dry-run", "--require=image,text"]
    status, out, err = it.prepare(*flags, features=True)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("rows of items with image"))
    assert lines[place + 1].startswith("rows of items with text")
    assert lines[place + 2].startswith("1-core")
    sold = set(pd.read_csv(it.raw / hm.TRANSACTIONS, dtype=str)["article_id"].str.zfill(10))
    never = {path.stem for path in pictures} - gone
    assert int(lines[place].split()[6]) == len(sold & never)
    with_text = set(articles["article_id"][articles["article_id"] > "0300000000"])
    assert int(lines[place + 1].split()[6]) == len(sold & never & with_text)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--require=images"], "there is no images; wanted some of text, image"),
        (["--require=image", "--no-features"], "--require image: no image is read"),
        (["--require=text", "--text-encoder=none"], "--require text: no text is read"),
    ],
)
def test_what_cannot_be_required_is_refused(download, flags, message):
    status, _, err = download("hm").prepare(*flags, features=True)
    assert status == 2
    assert message in err


@pytest.mark.parametrize(
    ("name", "text"), [("x.npy", "should end in"), ("x.parquet", "should end")]
)
def test_own_vectors_of_another_form_are_refused_before_the_reading(download, name, text):
    it = download("hm")
    (it.raw / name).write_bytes(b"x")
    flags = [f"--text-encoder=file:{it.raw / name}", "--image-encoder=none", "--dry-run"]
    status, out, err = it.prepare(*flags, features=True)
    assert (status, out) == (2, "")
    assert text in err


def test_an_encoder_folder_without_a_model_type_is_refused_before_the_reading(download, tmp_path):
    pytest.importorskip("transformers")
    (folder := tmp_path / "tower").mkdir()
    (folder / "config.json").write_text('{"hidden_size": 8}')
    flags = [f"--image-encoder={folder}", "--text-encoder=none", "--dry-run"]
    status, out, err = download("hm").prepare(*flags, features=True)
    assert (status, out) == (2, "")
    assert "cannot be an encoder: its config.json has no model_type" in err


@pytest.mark.parametrize("packed", ["one zip", "a folder down", "a zip a folder down"])
def test_files_are_found_where_downloads_and_unpackers_put_them(download, packed):
    """Kaggle's one zip of everything; what Windows unpacks into a folder; macOS' ._ files."""
    it = download("hm")
    status, expected, _ = it.prepare("--dry-run", "--text-encoder=none", features=True)
    assert status == 0
    files = [path for path in it.raw.rglob("*") if path.is_file() and path.suffix != ".json"]
    inner = it.raw / "h-and-m-personalized-fashion-recommendations"
    if "zip" in packed:
        place = inner.with_suffix(".zip") if packed == "one zip" else inner / "all.zip"
        place.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(place, "w") as archive:
            for path in files:
                archive.write(path, path.relative_to(it.raw))
                archive.writestr(f"__MACOSX/._{path.name}", b"mac")
            archive.writestr(f"._{hm.TRANSACTIONS}", b"mac")
    else:
        inner.mkdir()
        for name in (hm.TRANSACTIONS, hm.ARTICLES, "images_128_128"):
            shutil.copytree(it.raw / name, inner / name) if "im" in name else shutil.copy(
                it.raw / name, inner
            )
        (inner / f"._{hm.TRANSACTIONS}").write_bytes(b"mac")
    for path in files:
        path.unlink()
    shutil.rmtree(it.raw / "images_128_128")
    (it.raw / f"._{hm.TRANSACTIONS}").write_bytes(b"mac")
    status, out, err = it.prepare("--dry-run", "--text-encoder=none", features=True)
    assert (status, err) == (0, "")
    assert out == expected


def damage_member(archive, name, how):
    """Pack members of a zip anew, one with a bit flipped where only its checksum can tell; a
    stored one in its last digit but one, a packed one within its compressed bytes.
    """
    with zipfile.ZipFile(archive) as zipped:
        held = {member: zipped.read(member) for member in zipped.namelist()}
    with zipfile.ZipFile(archive, "w", how) as zipped:
        for member, content in held.items():
            zipped.writestr(member, content)
        place = zipped.getinfo(name).header_offset + 30 + len(name)
        size = zipped.getinfo(name).compress_size
    content = bytearray(archive.read_bytes())
    if how == zipfile.ZIP_STORED:
        digits = [at for at in range(place, place + size) if chr(content[at]).isdigit()]
        content[digits[-2]] ^= 1  # another digit
    else:
        content[place + size // 2] ^= 16
    archive.write_bytes(content)


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "zip"])
@pytest.mark.parametrize("name", ["tmall log", "tmall product", "hm", "microlens covers"])
def test_a_damaged_member_of_a_zip_is_named(download, name, how):
    it = download(name.split()[0])
    if name == "hm":
        archive, member = it.raw / "all.zip", f"h-and-m/{hm.TRANSACTIONS}"
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.write(it.raw / hm.TRANSACTIONS, member)
            zipped.write(it.raw / hm.ARTICLES, f"h-and-m/{hm.ARTICLES}")
        (it.raw / hm.TRANSACTIONS).unlink()
    else:
        pattern = {"log": "*log.partb.zip", "product": "*product.zip", "covers": "*covers.zip"}
        archive = next(it.raw.glob(pattern[name.split()[1]]))
        with zipfile.ZipFile(archive) as zipped:
            member = next(n for n in zipped.namelist() if not n.endswith("/"))
    damage_member(archive, member, how)
    flags = ["--max-broken=0", "--max-bad-lines=0.5", "--batch-size=64"]
    flags += ["--text-encoder=none"] if "covers" in name else ["--image-encoder=none"]
    status, _, err = it.prepare(*flags, features=name not in ("hm", "tmall log"))
    assert status == 2
    assert str(archive) in err
    assert "Traceback" not in err
    if how == zipfile.ZIP_STORED:
        assert f"Bad CRC-32 for file '{member}'" in err
    if name == "hm":
        assert f"all.zip:{member} is damaged or incomplete" in err
    if "covers" in name:
        assert f"covers.zip:{member}: cannot be read from the zip" in err
    assert not it.out.exists()


def test_misspelt_text_fields_are_told_before_the_reading(download):
    status, out, err = download("hm").prepare("--text-fields=prod_nam", features=True)
    assert (status, out) == (2, "")
    assert "has no column 'prod_nam'. Did you mean 'prod_name'?" in err
