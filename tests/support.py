"""Small data sets and configurations for tests."""

import json
from pathlib import Path

import numpy as np

from ld4mrec.config.configuration import Config

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"  # real data, where it is at hand

# COMMON toy world: five users, seven items, item 6 only in the test split.
TRAIN = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 3), (2, 0), (2, 3), (2, 4), (3, 2), (3, 5), (4, 5)]
VALID = [(0, 3), (1, 0), (2, 1)]
TEST = [(0, 4), (1, 2), (3, 6), (4, 0)]


def write_inter(folder, rows, name=None, header="userID\titemID\tx_label"):
    """Write `<folder>/<name>.inter` from rows of values; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name or folder.name}.inter"
    lines = [header, *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_toy(parent, name="toy", features=True):
    """The toy world as data folder `<parent>/<name>`, features text (7, 5), image (7, 6)."""
    folder = parent / name
    rows = [(u, i, label) for label, split in enumerate((TRAIN, VALID, TEST)) for u, i in split]
    write_inter(folder, rows)
    if features:
        generator = np.random.default_rng(0)
        np.save(folder / "text_feat.npy", generator.random((7, 5)).astype(np.float32))
        np.save(folder / "image_feat.npy", generator.random((7, 6)).astype(np.float32))
    return folder


def write_block_world(parent, name="blocks", users=60, items=40, kinds=4, seed=0):
    """A learnable world: each user likes one kind of item; text features show the kind, image
    features are noise.
    """
    generator = np.random.default_rng(seed)
    kind = np.arange(items) % kinds
    rows = []
    for user in range(users):
        mine = generator.permutation(np.flatnonzero(kind == user % kinds))[:8]
        rows += [
            (user, item, label) for item, label in zip(mine, [0] * 5 + [1] + [2] * 2, strict=True)
        ]
    seen = {item for _, item, _ in rows}
    rows += [(item % users, item, 0) for item in range(items) if item not in seen]
    folder = parent / name
    write_inter(folder, sorted(set(rows)))
    text = np.eye(kinds)[kind] + 0.1 * generator.standard_normal((items, kinds))
    np.save(folder / "text_feat.npy", text.astype(np.float32))
    np.save(folder / "image_feat.npy", generator.standard_normal((items, 6)).astype(np.float32))
    return folder


def config_for(folder, model="Pop", **overrides):
    """The configuration of one run of `model` on a data folder."""
    common = {
        "data_path": f"{folder.parent}/",
        "topk": [1, 2, 5],
        "valid_metric": "recall@5",
        "threads": 1,
    }
    return Config(model, folder.name, common | {"cache_dir": None} | overrides).points(grid=False)[
        0
    ]


def without_checksums(folder):
    """Make a finished run's folder one of before there were checksums."""
    for name in ("manifest.json", "result.json"):
        value = json.loads((folder / name).read_text())
        for key in ("checksum", "files", "id_maps"):
            value.pop(key, None)
        (folder / name).write_text(json.dumps(value))
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    texts = [json.dumps({k: v for k, v in line.items() if k != "crc32"}) for line in lines]
    (folder / "metrics.jsonl").write_text("".join(f"{text}\n" for text in texts))


def change_json(path, change):
    """Change the object in a JSON file of ours by a function, as another program would."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
