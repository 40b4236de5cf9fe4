"""A small H&M download: transactions_train.csv, articles.csv and pictures."""

import csv

import numpy as np

from ld4mrec.preprocessing.samples.world import picture

# product type, product group, words for the name and for the description
GARMENTS = (
    ("Dress", "Garment Full body", ("Summer", "Midi", "Wrap"), "dress with a flared skirt"),
    ("Trousers", "Garment Lower body", ("Slim", "Cargo", "Wide"), "trousers with side pockets"),
    ("Sneakers", "Shoes", ("Canvas", "Running", "Court"), "sneakers with rubber soles"),
    ("Earring", "Accessories", ("Hoop", "Pearl", "Drop"), "metal earrings with a clasp"),
    ("Bikini top", "Swimwear", ("Padded", "Bandeau", "Halter"), "lined bikini top for the beach"),
    ("Sweater", "Garment Upper body", ("Knitted", "Wool", "Cable"), "warm sweater in soft wool"),
)
DEPARTMENTS = ("Under-, Nightwear", "Jersey Basic", "Divided Projects")
COLOURS = ("Black", "White", "Dark Blue", "Light Pink", "Beige")
HEADER_LINE = (
    "article_id,product_code,prod_name,product_type_no,product_type_name,product_group_name,"
    "graphical_appearance_no,graphical_appearance_name,colour_group_code,colour_group_name,"
    "perceived_colour_value_id,perceived_colour_value_name,perceived_colour_master_id,"
    "perceived_colour_master_name,department_no,department_name,index_code,index_name,"
    "index_group_no,index_group_name,section_no,section_name,garment_group_no,"
    "garment_group_name,detail_desc"
)
HEADER = HEADER_LINE.split(",")
IMAGE_FOLDERS = ("images", "images_128_128")
FIRST_ARTICLE, ARTICLE_SPAN = 108_775_015, 850_685_989
FIRST_DAY, DAYS = np.datetime64("2018-09-20"), 734
DUPLICATES, REPEATS = 0.10, 0.15  # of the purchases: further rows of the same day, of another day
NEVER_SOLD, NO_IMAGE, NO_DESCRIPTION = 0.03, 0.01, 0.03  # shares of the articles


def write(folder, world, rng, image_folder="images_128_128"):
    """Write the download; returns what was planted."""
    n_sold = len(world.item_kind)
    n_unsold = max(1, round(NEVER_SOLD * n_sold))
    # ten digits, the first a zero, as the competition's
    numbers = FIRST_ARTICLE + rng.choice(ARTICLE_SPAN, n_sold + n_unsold, replace=False)
    articles = np.char.zfill(numbers.astype(str), 10)
    customers = np.array([rng.bytes(32).hex() for _ in world.user_kind])
    subject = np.append(world.subject, rng.integers(len(GARMENTS), size=n_unsold))
    look = np.append(world.look, rng.integers(6, size=n_unsold))
    bare = rng.choice(n_sold, max(1, round(NO_DESCRIPTION * n_sold)), replace=False)
    write_articles(folder / "articles.csv", articles, subject, set(bare.tolist()), rng)
    path = folder / "transactions_train.csv"
    rows, twins = write_transactions(path, world, customers, articles, rng)
    hidden = set(rng.choice(n_sold, max(1, round(NO_IMAGE * n_sold)), replace=False).tolist())
    for item, article in enumerate(articles.tolist()):
        if item not in hidden:
            path = folder / image_folder / article[:3] / f"{article}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(look[item], rng))
    return {
        "rows": rows,
        "exact duplicate rows": twins,
        "articles": len(articles),
        "articles never sold": n_unsold,
        "articles without an image": len(hidden),
        "articles without a description": len(bare),
        "ids": {"items": articles[:n_sold].tolist(), "users": customers.tolist()},
    }


def write_articles(path, articles, subject, bare, rng):
    with open(path, "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(HEADER)
        for item, (article, kind) in enumerate(zip(articles.tolist(), subject, strict=True)):
            garment, group, words, description = GARMENTS[kind]
            department = DEPARTMENTS[rng.integers(len(DEPARTMENTS))]
            colour = int(rng.integers(len(COLOURS)))
            values = {
                "article_id": article,
                "product_code": article[:7],
                "prod_name": f"{words[rng.integers(len(words))]} {garment.lower()}",
                "product_type_name": garment,
                "product_group_name": group,
                "graphical_appearance_name": "Solid",
                "colour_group_code": f"{colour:02d}",
                "colour_group_name": COLOURS[colour],
                "department_name": department,
                "section_name": "Womens Everyday Basics",
                "garment_group_name": group,
                "detail_desc": "" if item in bare else f'A "classic", {description}.',
            }
            out.writerow([values.get(name, "1") for name in HEADER])


def write_transactions(path, world, customers, articles, rng):
    """Rows sorted by day; returns how many, and how many repeat another row exactly."""
    n = len(world.users)
    day = rng.integers(DAYS, size=n)
    twin = np.flatnonzero(rng.random(n) < DUPLICATES)
    again = np.flatnonzero(rng.random(n) < REPEATS)
    row = np.concatenate([np.arange(n), twin, again])
    later = np.minimum(day[again] + rng.integers(1, 200, size=len(again)), DAYS - 1)
    days = np.concatenate([day, day[twin], later])
    price = np.char.mod("%.18g", rng.gamma(2, 0.014, size=n))
    channel = rng.integers(1, 3, size=n)
    order = np.lexsort((world.users[row], days))
    row, days = row[order], days[order]
    dates = (FIRST_DAY + days).astype(str)
    ids = customers[world.users[row]], articles[world.items[row]]
    columns = dates, *ids, price[row], channel[row].astype(str)
    lines = [",".join(line) for line in zip(*columns, strict=True)]
    text = "\n".join(["t_dat,customer_id,article_id,price,sales_channel_id", *lines, ""])
    path.write_text(text, encoding="utf-8", newline="\n")
    return len(lines), len(lines) - len(set(lines))
