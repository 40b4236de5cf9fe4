"""TMALL: how its raw files in each packing, and each of their defects, are treated."""

import gzip
import io
import zipfile

import numpy as np
import pandas as pd
import pytest

from ld4mrec.errors import UserError
from ld4mrec.preprocessing import sample, tmall, tmall_files
from ld4mrec.preprocessing.steps.raw import RawError
from ld4mrec.preprocessing.tmall_files import find_table

NO_WINDOW = (None, None)
LOG = "tianchi_2014002_rec_tmall_log"


def log_file(folder, lines, name=f"{LOG}_parta.txt"):
    path = folder / name
    path.write_bytes(b"".join(line.replace("|", "\x01").encode() + b"\n" for line in lines))
    return path


def products(folder, lines, name="tianchi_2014001_rec_tmall_product.txt"):
    return log_file(folder, lines, name)


def read(folder, actions=("alipay",), window=NO_WINDOW, share=0.0, parts="a", **sampling):
    files = find_table(folder, "log", parts)
    return tmall.read_log(files, list(actions), window, share, **sampling)


def pairs(log):
    """{(user, item): time as text}"""
    rows = zip(*(column.tolist() for column in log["columns"]), strict=True)
    return {(u, i): str(np.datetime64(t, "s")).replace("T", " ") for u, i, t in rows}


def frame_of(folder):
    """The sample's log by pandas: whole lines only."""
    parts = []
    for path in sorted(folder.glob("*log.part?.zip")):
        with zipfile.ZipFile(path) as archive:
            text = archive.read(archive.namelist()[0])
        options = {"sep": "\x01", "header": None, "quoting": 3, "dtype": str}
        names = ["item", "user", "action", "time"]
        parts.append(pd.read_csv(io.BytesIO(text), names=names, **options))
    return pd.concat(parts).dropna()


@pytest.mark.parametrize("actions", [["alipay"], ["cart", "collect"], list(tmall.ACTIONS)])
def test_rows_of_the_sample_equal_pandas(made_samples, actions):
    log = read(made_samples["tmall"], actions, share=0.01, parts="abc")
    frame = frame_of(made_samples["tmall"])
    assert log["rows"] == len(frame)
    frame = frame[frame["action"].isin(actions)]
    assert log["chosen"] == log["inside"] == len(frame)
    wanted = frame.groupby(["user", "item"])["time"].min()
    assert pairs(log) == {(int(user[1:]), int(item)): time for (user, item), time in wanted.items()}


@pytest.mark.parametrize("packing", ["txt", "tar.gz"])
def test_every_packing_gives_the_same(packing, made_samples, tmp_path):
    sample.generate("tmall", tmp_path / "x", packing=packing)
    one = read(tmp_path / "x", share=0.01, parts="abc")
    other = read(made_samples["tmall"], share=0.01, parts="abc")
    assert pairs(one) == pairs(other)
    assert one["rows"] == other["rows"]
    assert sum(facts["bad"] for facts in one["lines"].values()) == 1
    files = [path for path in (tmp_path / "x").iterdir() if "log" in path.name.lower()]
    assert sorted(record["file"] for record in one["records"]) == sorted(p.name for p in files)
    assert all(
        record["sha256"]
        == tmall_files.HashedFile([tmp_path / "x" / record["file"]]).finish()[0]["sha256"]
        for record in one["records"]
    )
    wanted = np.array(list({item for _, item in pairs(one)}))
    read_one, read_other = (
        tmall.read_products(folder, wanted, 0.01)[0]
        for folder in (tmp_path / "x", made_samples["tmall"])
    )
    assert read_one == read_other


def test_the_earliest_time_of_the_chosen_actions_counts(tmp_path):
    log_file(
        tmp_path,
        [
            "7|u3|alipay|2013-06-02 00:00:00",
            "7|u3|cart|2013-06-01 00:00:01",
            "7|u3|click|2013-05-01 00:00:00",
            "7|u3|alipay|2013-06-02 00:00:00",
        ],
    )
    assert pairs(read(tmp_path)) == {(3, 7): "2013-06-02 00:00:00"}
    assert pairs(read(tmp_path, ["alipay", "cart"])) == {(3, 7): "2013-06-01 00:00:01"}


def test_the_window(tmp_path):
    log_file(tmp_path, [f"{day}|u1|alipay|2013-06-0{day} 00:00:00" for day in (1, 2, 3)])
    window = tuple(int(np.datetime64(f"2013-06-0{day}", "s").astype(int)) for day in (2, 3))
    log = read(tmp_path, window=window)
    assert sorted(pairs(log)) == [(1, 2)]
    assert (log["chosen"], log["inside"]) == (3, 1)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("7|u3|click", "not 4 fields"),
        ("7|u3|alipay|2013-06-02 00:00:00|x", "not 4 fields"),
        ("7|u3|refund|2013-06-02 00:00:00", "unknown action"),
        ("7|u3||2013-06-02 00:00:00", "unknown action"),
        ("7|u3|alipay|2013-06-31 00:00:00", "item id, user id or time"),
        ("7|u3|alipay|02.06.2013", "item id, user id or time"),
        ("7|x3|alipay|2013-06-02 00:00:00", "item id, user id or time"),
        ("7|u|alipay|2013-06-02 00:00:00", "item id, user id or time"),
        ("-7|u3|alipay|2013-06-02 00:00:00", "item id, user id or time"),
        ("99999999999|u3|alipay|2013-06-02 00:00:00", "item id, user id or time"),
    ],
)
def test_lines_that_cannot_be_used(tmp_path, line, why):
    good = "7|u3|alipay|2013-06-02 00:00:00"
    log_file(tmp_path, [good, line, good])
    (facts,) = read(tmp_path, share=0.5)["lines"].values()
    assert (facts["lines"], facts["bad"]) == (3, 1)
    assert facts["first"][0].startswith(f"line 2: {why}")
    with pytest.raises(RawError, match=f"parta.txt: 1 of 3 lines cannot be used .*line 2: {why}"):
        read(tmp_path, share=0.1)


def test_unknown_items_of_the_log_stay(download):
    it = download("tmall")
    assert it.prepare("--k-core=1")[0] == 0
    items = pd.read_csv(it.out / "i_id_mapping.csv", sep="\t", dtype=str)["item_id"]
    unknown = it.planted["an item of the log that the product file lacks"]
    assert unknown in set(items)
    assert it.steps()["1-core"]["items"] == 301
    data_set = tmall.TMALL()
    options = tmall_options(it)
    texts, _ = data_set.texts(options, [unknown], report_of([]))
    assert texts == [None]


def tmall_options(it, **more):
    class Options:
        raw, max_bad_lines, images, urls = str(it.raw), 0.01, None, None

    for name, value in more.items():
        setattr(Options, name, value)
    return Options


def report_of(lines):
    class Report:
        def lines_left_out(self, bad):
            lines.append(bad)

        def say(self, line):
            lines.append(line)

    return Report()


def test_planted_titles_of_the_sample(download):
    it, lines = download("tmall"), []
    names = ("a title of one blank", "a title NULL", "a product line cut short")
    items = [it.planted[name] for name in names]
    quoted = it.planted['a title with a lone "']
    twins = it.planted["one title under two sellers"]
    texts, records = tmall.TMALL().texts(
        tmall_options(it), [*items, quoted, *twins], report_of(lines)
    )
    assert texts[:3] == [None, None, None]
    assert '"' in texts[3]
    assert texts[4] == texts[5]
    assert all("  " not in text and text == text.strip() for text in texts[3:])
    assert [bad.bad for bad in lines] == [1]
    assert records[0]["file"] == "tianchi_2014001_rec_tmall_product.zip"


def test_products(tmp_path):
    products(
        tmp_path,
        [
            '6963038|夏款 洋装   "孕妇装 |http://x/1.jpg|16-2787|b26844|s78718',
            "2| |http://x/2.jpg|1-2||s1",
            "3|NULL||1-2||s1",
            "4|not wanted|http://x/4.jpg|1-2||s1",
        ],
    )
    got, (bad,), _ = tmall.read_products(tmp_path, np.array([6963038, 2, 3, 9]), 0)
    assert got == {
        "6963038": ('夏款 洋装 "孕妇装', "http://x/1.jpg"),
        "2": (None, "http://x/2.jpg"),
        "3": (None, ""),
    }
    assert (bad.lines, bad.bad) == (4, 0)


def test_a_title_that_is_no_utf8(tmp_path):
    path = products(tmp_path, ["1|good|u|c|b|s"])
    path.write_bytes(path.read_bytes() + b"2\x01caf\xe9\x01u\x01c\x01b\x01s\n")
    with pytest.raises(RawError, match="line 2: bytes that are no UTF-8"):
        tmall.read_products(tmp_path, np.array([1, 2]), 0.1)
    got, (bad,), _ = tmall.read_products(tmp_path, np.array([1, 2]), 0.5)
    assert set(got) == {"1"}
    assert bad.bad == 1


SAMPLE_LOG = (
    "item_id,user_id,action,vtime\ni314,u39,alipay,2014/9/1 8:05\ni7,u39,click,2014/9/1 8:06\n"
)
SAMPLE_PRODUCT = (
    'item_id,title,pict_url,category,brand_id,seller_id\ni314,夏款 "洋装,http://x,1-2,b1,s1\n'
)


@pytest.mark.parametrize("encoding", ["gbk", "utf-8"])
def test_the_small_official_samples(tmp_path, encoding):
    name = f"(sample)sam_{LOG}.csv"
    (tmp_path / name).write_bytes(SAMPLE_LOG.encode(encoding))
    log = read(tmp_path)
    assert pairs(log) == {(39, 314): "2014-09-01 08:05:00"}
    assert (log["rows"], log["chosen"]) == (2, 1)
    product = tmp_path / "(sample)sam_tianchi_2014001_rec_tmall_product.csv"
    product.write_bytes(SAMPLE_PRODUCT.replace('"', "").encode(encoding))
    got, _, _ = tmall.read_products(tmp_path, np.array([314]), 0)
    assert got == {"314": ("夏款 洋装", "http://x")}


def test_a_bad_line_of_the_small_sample(tmp_path):
    text = SAMPLE_LOG + "i9,u1,alipay,yesterday\n"
    (tmp_path / f"sam_{LOG}.csv").write_text(text)
    with pytest.raises(RawError, match="line 4: a field: 'i9,u1,alipay,yesterday'"):
        read(tmp_path)


def test_a_file_of_another_format(tmp_path):
    log_file(tmp_path, ["a,b,c,d"])
    with pytest.raises(RawError, match="has no byte 0x01 between its fields"):
        read(tmp_path)


def test_files_that_are_absent(tmp_path, made_samples):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(RawError, match=r"no log file .*; it holds holiday.jpg"):
        find_table(tmp_path, "log", "abc")
    with pytest.raises(RawError, match="no product file"):
        find_table(tmp_path, "product")
    log_file(tmp_path, [])
    with pytest.raises(
        RawError, match=r"parts \['a'\] of the log, \['b', 'c'\] is absent.*parts a"
    ):
        find_table(tmp_path, "log", "abc")
    assert [file.part for file in find_table(made_samples["tmall"], "log", "ca")] == ["a", "c"]


def test_unpacked_parts_come_before_packed_ones(tmp_path):
    log_file(tmp_path, [])
    (tmp_path / f"{LOG}.parta.zip").write_bytes(b"")
    (packed,) = find_table(tmp_path, "log", "a")
    assert packed.paths[0].suffix == ".txt"
    (tmp_path / f"{LOG.upper()}_PARTA.TXT").write_bytes(b"")
    with pytest.raises(RawError, match="the same log table twice"):
        find_table(tmp_path, "log", "a")


def test_a_missing_piece_of_the_archive(tmp_path):
    sample.generate("tmall", tmp_path / "x", packing="tar.gz", users=60, items=60)
    (tmp_path / "x" / "Tianchi_2014002_Rec_Tmall_Log.tar.gz.002").unlink()
    with pytest.raises(RawError, match="pieces of the archive are absent"):
        find_table(tmp_path / "x", "log", "abc")


def test_damaged_packings(tmp_path):
    path = tmp_path / f"{LOG}.parta.zip"
    path.write_bytes(b"no zip")
    with pytest.raises(RawError, match="parta.zip is damaged or incomplete"):
        read(tmp_path)
    path.unlink()
    content = gzip.compress(b"x" * 5000)[:-20]
    (tmp_path / "Tianchi_2014002_Rec_Tmall_Log.tar.gz").write_bytes(content)
    with pytest.raises(RawError, match="Log.tar.gz is damaged or incomplete"):
        read(tmp_path)
    (tmp_path / "Tianchi_2014002_Rec_Tmall_Log.tar.gz").unlink()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.md", "x")
    with pytest.raises(RawError, match="should pack one data file; 0 of its members fit"):
        read(tmp_path)


def test_damage_that_only_the_checksum_of_a_tar_gz_shows(tmp_path):
    sample.generate("tmall", tmp_path, packing="tar.gz", users=60, items=60)
    last = tmp_path / "Tianchi_2014002_Rec_Tmall_Log.tar.gz.003"
    content = bytearray(last.read_bytes())
    content[-6] ^= 1  # of the CRC, before four bytes of the size
    last.write_bytes(content)
    with pytest.raises(RawError, match=r"Log.tar.gz.001 is damaged .*CRC check failed"):
        read(tmp_path, share=0.01, parts="abc")


def test_click_needs_users(download):
    it = download("tmall")
    status, _, err = it.prepare("--action=click,alipay")
    assert status == 2
    assert "--action click needs --users N: this log has about 1" in err
    assert not it.out.exists()


def test_click_samples_users_while_reading(download):
    it = download("tmall")
    assert it.prepare("--action=click,alipay", "--users=120", "--k-core=1")[0] == 0
    sampled = pd.read_csv(it.out / "u_id_mapping.csv", sep="\t")["user_id"]
    assert len(sampled) == 120
    everyone = read(it.raw, ["click", "alipay"], share=0.01, parts="abc")
    some = read(it.raw, ["click", "alipay"], share=0.01, parts="abc", most_users=120, seed=0)
    mine = {int(user[1:]) for user in sampled}
    assert pairs(some) == {pair: t for pair, t in pairs(everyone).items() if pair[0] in mine}


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--action=alipai", "--action alipai: no such action. Did you mean 'alipay'?"),
        ("--action=", "--action : no such action. Known: alipay, cart, click, collect."),
        ("--log-parts=abcd", "['d'] is absent"),
    ],
)
def test_refused_options(flag, message, download):
    status, _, err = download("tmall").prepare(flag)
    assert status == 2
    assert message in err


def test_the_filtered_log_is_kept_and_reused(download):
    it = download("tmall")
    assert it.prepare()[0] == 0
    first = it.manifest()
    status, out, _ = it.prepare("--force", "--split=temporal")
    assert (status, "as an earlier run kept them" in out) == (0, True)
    second = it.manifest()
    assert (second["steps"], second["sources"], second["lines"]) == (
        first["steps"],
        first["sources"],
        first["lines"],
    )
    for flags in (["--no-resume"], ["--action=cart,alipay"], ["--from=2013-05-01"]):
        assert "as an earlier run kept them" not in it.prepare("--force", *flags)[1]
    for path in (it.out.parent / "store" / "logs").iterdir():
        path.write_bytes(b"damaged")
    status, out, _ = it.prepare("--force")
    assert (status, "cannot be read" in out) == (0, True)
    assert it.manifest()["steps"] == first["steps"]


def test_urls_of_the_chosen_items(download):
    it = download("tmall")
    assert it.prepare(f"--urls={it.out.parent / 'urls.tsv'}")[0] == 0
    table = pd.read_csv(it.out.parent / "urls.tsv", sep="\t", dtype=str)
    items = pd.read_csv(it.out / "i_id_mapping.csv", sep="\t", dtype=str)["item_id"]
    assert set(table["item_id"]) == set(items) - {it.planted["a product line cut short"]}
    assert (table["url"].str.split("/").str[-1] == table["item_id"] + ".jpg").all()


def test_counts_of_the_steps(download):
    it = download("tmall")
    status, out, _ = it.prepare()
    assert status == 0
    steps = it.steps()
    assert steps["rows of the log"]["interactions"] == it.planted["log lines"] - 1
    assert steps["rows of alipay"]["interactions"] >= it.planted["rows of alipay"]
    assert {k: steps["5-core"][k] for k in ("users", "items", "interactions")} == it.truth["5-core"]
    assert "13,114     7,840       153,352" in out
    users = pd.read_csv(it.out / "u_id_mapping.csv", sep="\t")["user_id"]
    assert users.str.fullmatch(r"u\d+").all()


def test_unknown_action_is_a_user_error():
    class Options:
        action, users, urls, no_features = "buy", None, None, True

    with pytest.raises(UserError, match="--action buy: no such action. Known"):
        tmall.TMALL().check(Options)


def test_a_small_sample_does_not_come_before_the_real_product_file(tmp_path):
    (tmp_path / "(sample)sam_tianchi_2014001_rec_tmall_product.csv").write_text(SAMPLE_PRODUCT)
    path = tmp_path / "tianchi_2014001_rec_tmall_product.zip"
    path.write_bytes(b"")
    (found,) = tmall_files.find_table(tmp_path, "product")
    assert found.paths == (path,)


def test_a_small_sample_with_byte_order_mark(tmp_path):
    (tmp_path / f"sam_{LOG}.csv").write_text(SAMPLE_LOG, encoding="utf-8-sig")
    assert pairs(read(tmp_path)) == {(39, 314): "2014-09-01 08:05:00"}


def test_log_parts_are_letters_each_once(download):
    it = download("tmall")
    it.prepare("--log-parts=Aab")
    assert len(it.manifest()["sources"]) == 2
    assert "--log-parts is 'a,b'; wanted letters" in it.prepare("--force", "--log-parts=a,b")[2]


def test_a_log_cut_short_is_told_before_the_reading(download):
    it = download("tmall")
    path = next(it.raw.glob("*partc*.zip"))
    path.write_bytes(path.read_bytes()[:-30])
    status, out, err = it.prepare()
    assert (status, out) == (2, "")
    assert f"{path.name} is damaged or incomplete" in err


def test_zips_unpacked_each_into_its_folder_are_found(download):
    it = download("tmall")
    status, expected, _ = it.prepare("--dry-run")
    assert status == 0
    for path in list(it.raw.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(it.raw / path.stem)
        path.unlink()
        (it.raw / f"._{path.name}").write_bytes(b"mac")
    status, out, _ = it.prepare("--dry-run")
    assert status == 0
    counts = [text[text.index("step  ") :].splitlines()[1:] for text in (expected, out)]
    assert counts[0] == counts[1]
