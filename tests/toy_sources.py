"""Small files of interactions in each form that preparing one's own data reads."""

import gzip
import json
import zipfile

import numpy as np
import pandas as pd
import scipy.sparse as sp

USERS, ITEMS, DAY = 12, 15, 86_400
FIRST_DAY = 1_600_000_000


def interactions():
    """(user, item, rating, seconds): everybody has 6 of 15 items."""
    generator = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        for place, item in enumerate(generator.permutation(ITEMS)[:6]):
            rows.append((user, int(item), 1 + (user + place) % 5, FIRST_DAY + place * DAY + user))
    return rows


NAMED = [(f"ann {user}@example.org", f"00{item}é", r, t) for user, item, r, t in interactions()]
NUMBERED = [(str(user), str(item), r, t) for user, item, r, t in interactions()]


def text(rows, separator=",", header=("user", "item", "rating", "time")):
    lines = [header, *rows] if header else rows
    return "".join(separator.join(map(str, row)) + "\n" for row in lines)


def csv_file(folder):
    (folder / "ratings.csv").write_text(text(NAMED), encoding="utf-8-sig")
    return ["--interactions", folder / "ratings.csv"], NAMED


def tsv_without_header(folder):
    (folder / "rows.tsv").write_text(text(NAMED, "\t", None), encoding="utf-8")
    return ["--interactions", folder / "rows.tsv", "--columns=1,2,3,4"], NAMED


def packed_by_gzip(folder):
    path = folder / "ratings.csv.gz"
    path.write_bytes(gzip.compress(text(NAMED, ";").encode()))
    return ["--interactions", path], NAMED


def packed_by_zip(folder):
    path = folder / "ratings.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inner/ratings.csv", text(NAMED, "|"))
    return ["--interactions", path], NAMED


def parquet_file(folder):
    frame = pd.DataFrame(NAMED, columns=["customer", "sku", "stars", "date"])
    frame["date"] = pd.to_datetime(frame["date"], unit="s")
    frame.to_parquet(folder / "rows.parquet")
    return ["--interactions", folder / "rows.parquet"], NAMED


def json_lines(folder):
    rows = [dict(zip(("uid", "iid", "rating", "ts"), row, strict=True)) for row in NAMED]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = "--columns=user=uid,item=iid,rating=rating,time=ts"
    return ["--interactions", folder / "rows.jsonl", columns], NAMED


def recbole(folder):
    header = ("user_id:token", "item_id:token", "rating:float", "timestamp:float")
    (folder / "set.inter").write_text(text(NAMED, "\t", header), encoding="utf-8")
    names = [(item, f"Name of {item}") for item in sorted({row[1] for row in NAMED})]
    items = text(names, "\t", ("item_id:token", "title:token_seq"))
    (folder / "set.item").write_text(items, encoding="utf-8")
    return ["--interactions", folder, "--no-features"], NAMED


def lightgcn(folder):
    for part, places in (("train", (0, 1, 2, 3)), ("test", (4, 5))):
        lines = []
        for user in range(USERS):
            mine = [row for row in NUMBERED if row[0] == str(user)]
            lines.append(" ".join([str(user), *(mine[place][1] for place in places)]))
        (folder / f"{part}.txt").write_text("\n".join(lines) + "\n")
    return ["--interactions", folder], NUMBERED


def parts_of(rows):
    """Rows by part: each user's last two for test and validation."""
    places = {"train": (0, 1, 2, 3), "val": (4,), "test": (5,)}
    return {
        part: [row for user in range(USERS) for row in _some(rows, user, wanted)]
        for part, wanted in places.items()
    }


def _some(rows, user, places):
    mine = rows[6 * user : 6 * user + 6]
    return [mine[place] for place in places]


def features(folder):
    rows = np.arange(ITEMS * 3, dtype=np.float32).reshape(ITEMS, 3)
    np.save(folder / "image_feat.npy", rows)
    np.save(folder / "audio_feat.npy", -rows)


def mmssl(folder):
    for part, rows in parts_of(NUMBERED).items():
        lists = {}
        for user, item, *_ in rows:
            lists.setdefault(user, []).append(int(item))
        (folder / f"{part}.json").write_text(json.dumps(lists))
    features(folder)
    return ["--interactions", folder], NUMBERED


def diffmm(folder):
    for part, rows in parts_of(NUMBERED).items():
        users, items = ([int(row[side]) for row in rows] for side in (0, 1))
        matrix = sp.coo_matrix((np.ones(len(rows)), (users, items)), shape=(USERS, ITEMS))
        name = {"train": "trn", "val": "val", "test": "tst"}[part]
        sp.save_npz(folder / f"{name}Mat.npz", matrix)
    features(folder)
    return ["--interactions", folder], NUMBERED


def mmrec(folder):
    labels = {"train": 0, "val": 1, "test": 2}
    parts = parts_of(NUMBERED).items()
    rows = [(*row, labels[part]) for part, some in parts for row in some]
    header = ("userID", "itemID", "rating", "timestamp", "x_label")
    (folder / "toy.inter").write_text(text(rows, "\t", header))
    features(folder)
    return ["--interactions", folder], NUMBERED


def amazon_2018(folder):
    rows = [
        {"overall": float(r), "verified": True, "reviewerID": user, "asin": item, "style": {"a": 1}}
        | {"reviewText": 'so "good", really', "unixReviewTime": time}
        for user, item, r, time in NAMED
    ]
    content = "\n".join(map(json.dumps, rows)).encode()
    (folder / "Some.json.gz").write_bytes(gzip.compress(content))
    return ["--interactions", folder / "Some.json.gz"], NAMED


def amazon_2018_ratings_only(folder):
    rows = [(item, user, float(r), time) for user, item, r, time in NAMED]
    (folder / "Some.csv").write_text(text(rows, header=None), encoding="utf-8")
    return ["--interactions", folder / "Some.csv", "--format=amazon2018"], NAMED


def amazon_2023(folder):
    rows = [
        {"rating": float(r), "title": "t", "text": "x", "images": [], "asin": f"{item}-red"}
        | {"parent_asin": item, "user_id": user, "timestamp": 1000 * time, "helpful_vote": 0}
        for user, item, r, time in NAMED
    ]
    (folder / "Some.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return ["--interactions", folder / "Some.jsonl"], NAMED


def amazon_2023_csv(folder):
    header = ("user_id", "parent_asin", "rating", "timestamp")
    rows = [(user, item, float(r), 1000 * time) for user, item, r, time in NAMED]
    (folder / "Some.csv").write_text(text(rows, header=header), encoding="utf-8")
    return ["--interactions", folder / "Some.csv"], NAMED


def movielens_csv(folder):
    header = ("userId", "movieId", "rating", "timestamp")
    (folder / "ratings.csv").write_text(text(NUMBERED, header=header))
    return ["--interactions", folder], NUMBERED


def movielens_1m(folder):
    (folder / "ratings.dat").write_text(text(NUMBERED, "::", None))
    films = [(item, f"Amélie {item} (2001)", "Comedy|Drama") for item in range(ITEMS)]
    (folder / "movies.dat").write_text(text(films, "::", None), encoding="latin-1")
    return ["--interactions", folder, "--no-features"], NUMBERED


def movielens_100k(folder):
    (folder / "u.data").write_text(text(NUMBERED, "\t", None))
    return ["--interactions", folder], NUMBERED


WRITERS = (
    csv_file,
    tsv_without_header,
    packed_by_gzip,
    packed_by_zip,
    parquet_file,
    json_lines,
    recbole,
    lightgcn,
    mmssl,
    diffmm,
    mmrec,
    amazon_2018,
    amazon_2018_ratings_only,
    amazon_2023,
    amazon_2023_csv,
    movielens_csv,
    movielens_1m,
    movielens_100k,
)
