"""A small MicroLens-50k download: pairs, titles and the zip of covers."""

import csv
import zipfile

import numpy as np

from ld4mrec.preprocessing.samples.world import picture

# words of titles, by subject; the real ones are machine translations with tags
WORDS = (
    ("cooking noodles at home", "spicy hot pot recipe", "delicious street food"),
    ("kitten plays with the dog", "cute puppy sleeping", "funny cat video"),
    ("football goal highlights", "basketball dunk of the match", "running training plan"),
    ("makeup tutorial for beginners", "lipstick colour review", "skin care routine"),
    ("guitar cover of an old song", "piano solo on stage", "singing in the street"),
    ("travel to the snow mountain", "sea beach sunset trip", "camping in the forest"),
)
TAGS = ("# daily life", "# recommended", "# record my day", "# hot", "🤣", "❤️")
FIRST_MS, LAST_MS = 1_583_378_629_552, 1_662_984_132_429
LONG = 6_000  # characters of the longest title
PREFIX = "MicroLens-50k"


def write(folder, world, rng):
    """Write the download; returns what was planted."""
    n_users, n_items = len(world.user_kind), len(world.item_kind)
    # 1..I with gaps, as the real ones
    item_ids = np.sort(rng.choice(np.arange(1, n_items + n_items // 8 + 1), n_items, replace=False))
    times = rng.integers(FIRST_MS, LAST_MS, size=len(world.users))
    order = np.lexsort((times, world.users))
    columns = world.users[order] + 1, item_ids[world.items[order]], times[order]
    rows = [f"{user},{item},{time}\r\n" for user, item, time in zip(*columns, strict=True)]
    pairs = folder / f"{PREFIX}_pairs.csv"
    pairs.write_text("user,item,timestamp\r\n" + "".join(rows), encoding="ascii", newline="")
    titles = draw_titles(world, rng)
    with open(folder / f"{PREFIX}_titles.csv", "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("item", "title"))
        out.writerows(zip(item_ids.tolist(), titles, strict=True))
    with zipfile.ZipFile(folder / f"{PREFIX}_covers.zip", "w") as archive:
        for item, look in zip(item_ids.tolist(), world.look, strict=True):
            member = zipfile.ZipInfo(f"{PREFIX}_covers/{item}.jpg")  # a fixed date: same bytes
            archive.writestr(member, picture(look, rng))
    return {
        "rows": len(rows),
        "line ends": "CRLF",
        "gaps in the item ids": int(item_ids[-1] - n_items),
        "a title 'NA'": str(item_ids[0]),
        f"a title of {LONG} characters": str(item_ids[1]),
        "titles with a comma, quoted": sum("," in title for title in titles),
        "ids": {
            "items": item_ids.astype(str).tolist(),
            "users": [str(user + 1) for user in range(n_users)],
        },
    }


def draw_titles(world, rng):
    titles = []
    for subject in world.subject:
        words = WORDS[subject][rng.integers(3)]
        tags = rng.choice(TAGS, size=2, replace=False).tolist()
        comma = "look, " if rng.random() < 0.2 else ""
        titles.append(f"{comma}{words} {tags[0]} {tags[1]}")
    titles[0] = "NA"
    titles[1] = ((titles[1] + " ") * LONG)[:LONG]
    return titles
