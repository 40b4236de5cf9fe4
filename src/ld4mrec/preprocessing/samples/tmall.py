"""A small TMALL download: product file and three log parts, and a folder of pictures."""

import io
import itertools
import tarfile
import zipfile

import numpy as np

from ld4mrec.preprocessing.samples.world import picture

SEPARATOR = "\x01"
# Chinese key words, by subject: dresses, phone cases, tea, toys, cosmetics, furniture
WORDS = (
    ("连衣裙 夏款", "雪纺 长裙 女装", "蕾丝 公主裙 短袖"),
    ("手机壳 保护套", "手机 充电器 数据线", "蓝牙 耳机 手机配件"),
    ("龙井 绿茶 茶叶", "普洱茶 茶饼", "花茶 礼盒 红茶"),
    ("儿童 积木 玩具", "毛绒 玩具 公仔", "遥控 汽车 益智 玩具"),
    ("面膜 补水 保湿", "口红 唇膏 彩妆", "洗面奶 控油 护肤"),
    ("实木 餐桌 椅子", "沙发 客厅 家具", "衣柜 卧室 收纳"),
)
EXTRA_WORDS = ("新款", "包邮", "特价", "正品", "热卖", "2013", "韩版")
ACTIONS = ("click", "collect", "cart", "alipay")
FIRST_SECOND = int(np.datetime64("2013-04-01T00:00:00").astype(int))
SECONDS = 183 * 86_400
LARGEST_ITEM, LARGEST_USER = 8_133_507, 9_774_184
PRODUCT = "tianchi_2014001_rec_tmall_product"
LOG = "tianchi_2014002_rec_tmall_log"
PARTS = ("a", "b", "c")
DUPLICATES, NO_BRAND, NO_IMAGE = 0.056, 0.25, 1 / 3


def write(folder, world, rng, packing="zip"):
    """Write the download; returns what was planted.

    packing: `zip` as today's download, `txt` unpacked, `tar.gz` in three pieces as the older one.
    """
    n_items = len(world.item_kind)
    item_ids = 1 + rng.choice(LARGEST_ITEM, n_items + 1, replace=False)
    item_ids, unknown = item_ids[:-1], item_ids[-1]
    user_ids = 1 + rng.choice(LARGEST_USER, len(world.user_kind), replace=False)
    products, planted = draw_products(world, item_ids, rng)
    parts, counts = draw_log(world, item_ids, user_ids, int(unknown), rng)
    files = {f"{PRODUCT}.txt": products}
    files |= {f"{LOG}_part{part}.txt": text for part, text in zip(PARTS, parts, strict=True)}
    PACKINGS[packing](folder, files)
    hidden = rng.choice(n_items, round(NO_IMAGE * n_items), replace=False)
    (folder / "images").mkdir()
    for item in np.setdiff1d(np.arange(n_items), hidden).tolist():
        path = folder / "images" / f"{item_ids[item]}.jpg"
        path.write_bytes(picture(world.look[item], rng))
    return {
        **counts,
        **planted,
        "items without an image": len(hidden),
        "an item of the log that the product file lacks": str(unknown),
        "ids": {
            "items": item_ids.astype(str).tolist(),
            "users": np.char.add("u", user_ids.astype(str)).tolist(),
        },
    }


def draw_products(world, item_ids, rng):
    """(the product file's text, what is odd in it)."""
    n = len(item_ids)
    titles = []
    for subject in world.subject:
        extra = rng.choice(EXTRA_WORDS, size=3, replace=False).tolist()
        blanks = " " * int(rng.integers(1, 4))
        titles.append(f"{extra[0]}  {WORDS[subject][rng.integers(3)]}{blanks}{extra[1]} ")
    blank, null, quote, twin, short = odd = rng.choice(n, 5, replace=False).tolist()
    titles[blank], titles[null] = " ", "NULL"
    titles[quote] = titles[quote].replace("  ", ' "', 1)
    plain = np.setdiff1d(np.flatnonzero(world.subject == world.subject[twin]), odd)
    same = int(plain[0])
    titles[twin] = titles[same]
    brands = np.where(rng.random(n) < NO_BRAND, 0, rng.integers(1, 90_000, size=n)).tolist()
    lines = []
    for item in rng.permutation(n).tolist():
        url = f"http://img{item % 4 + 1:02d}.example.invalid/{item_ids[item]}.jpg"
        category = f"{world.subject[item] + 10}-{rng.integers(1000, 4000)}"
        brand = f"b{brands[item]}" if brands[item] else ""
        fields = [str(item_ids[item]), titles[item], url, category, brand, f"s{rng.integers(9999)}"]
        if item == short:
            fields = fields[:3]
        lines.append(SEPARATOR.join(fields) + "\n")
    planted = {
        "a title of one blank": str(item_ids[blank]),
        "a title NULL": str(item_ids[null]),
        'a title with a lone "': str(item_ids[quote]),
        "one title under two sellers": [str(item_ids[twin]), str(item_ids[same])],
        "a product line cut short": str(item_ids[short]),
        "products without a brand": brands.count(0),
    }
    return "".join(lines), planted


def draw_log(world, item_ids, user_ids, unknown, rng):
    """(the three parts' texts, counts).

    Every click of the world becomes a purchase, preceded by one to three clicks and now and then
    by cart and collect; one in ten is bought again later. So a quarter of the rows are purchases,
    where the real log has 0.93 %: a small file needs them.
    """
    n = len(world.users)
    bought = FIRST_SECOND + rng.integers(3 * 86_400, SECONDS - 10 * 86_400, size=n)
    rows = [(np.arange(n), np.full(n, 3), bought)]
    again = np.flatnonzero(rng.random(n) < 0.1)
    rows.append((again, np.full(len(again), 3), bought[again] + rng.integers(60, 9 * 86_400)))
    for action, share in ((0, 1.0), (0, 0.6), (0, 0.4), (1, 0.25), (2, 0.3)):
        some = np.flatnonzero(rng.random(n) < share)
        before = rng.integers(30, 2 * 86_400, size=len(some))
        rows.append((some, np.full(len(some), action), bought[some] - before))
    row, action, time = (np.concatenate(column) for column in zip(*rows, strict=True))
    twin = np.flatnonzero(rng.random(len(row)) < DUPLICATES)
    row, action, time = (np.append(column, column[twin]) for column in (row, action, time))
    item, user = item_ids[world.items[row]], user_ids[world.users[row]]
    clock = np.char.replace(time.astype("datetime64[s]").astype(str), "T", " ")
    lines = [
        SEPARATOR.join((str(i), f"u{u}", ACTIONS[a], t)) + "\n"
        for i, u, a, t in zip(item.tolist(), user.tolist(), action.tolist(), clock, strict=True)
    ]
    stray = np.char.replace(str(np.datetime64(FIRST_SECOND + 999, "s")), "T", " ")
    lines.append(SEPARATOR.join((str(unknown), f"u{user_ids[0]}", "alipay", str(stray))) + "\n")
    lines.append(SEPARATOR.join((str(item_ids[0]), f"u{user_ids[0]}", "click")) + "\n")
    lines = [lines[place] for place in rng.permutation(len(lines))]  # times in no order
    cuts = [0, len(lines) // 3, 2 * len(lines) // 3, len(lines)]
    parts = ["".join(lines[a:b]) for a, b in itertools.pairwise(cuts)]
    counts = {"log lines": len(lines), "exact duplicate log rows": len(twin), "short log lines": 1}
    of_action = dict(zip(ACTIONS, np.bincount(action, minlength=4).tolist(), strict=True))
    of_action["alipay"] += 1  # the unknown item's
    return parts, counts | {f"rows of {name}": n for name, n in of_action.items()}


def pack_txt(folder, files):
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def pack_zip(folder, files):
    """Names as today's download has them: log.parta.zip holds log_parta.txt."""
    for name, text in files.items():
        packed = name.replace("_part", ".part").replace(".txt", ".zip")
        with zipfile.ZipFile(folder / packed, "w", zipfile.ZIP_DEFLATED) as archive:
            member = zipfile.ZipInfo(name)  # a fixed date: same bytes
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, text)


def pack_tar(folder, files):
    """The older packing: one archive per table, the log's in three pieces."""
    for table, name, endings in (
        ("product", "Tianchi_2014001_Rec_Tmall_Product.tar.gz", [""]),
        ("log", "Tianchi_2014002_Rec_Tmall_Log.tar.gz", [".001", ".002", ".003"]),
    ):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for member_name, text in files.items():
                if table in member_name:
                    content = text.encode()
                    member = tarfile.TarInfo(member_name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        size = -(-packed.tell() // len(endings))
        packed.seek(0)
        for ending in endings:
            (folder / (name + ending)).write_bytes(packed.read(size))


PACKINGS = {"zip": pack_zip, "txt": pack_txt, "tar.gz": pack_tar}
