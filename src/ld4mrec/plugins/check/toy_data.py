"""A small made-up data set for `--check-plugin`: interactions, two feature files and a yaml."""

from pathlib import Path

import numpy as np

N_USERS, N_ITEMS, N_KINDS = 50, 60, 4
NEVER_TRAINED = N_ITEMS - 1  # an item that only the test split has, as real data sets have some
YAML = """# as the yamls of MMRec's data sets
vision_feature_file: image_feat.npy
text_feature_file: text_feat.npy
user_graph_dict_file: user_graph_dict.npy
"""


def write_toy_data(parent: Path, name: str = "toy") -> str:
    """Write the folder <parent>/<name>; one sentence that says what it is.

    Users like one kind of item each. Text features (60, 12) show the kind, image features (60, 16)
    are noise. Graphs of users and items (user_graph_dict.npy) are made when they are asked for.
    """
    generator = np.random.default_rng(0)
    kind = np.arange(N_ITEMS) % N_KINDS
    rows = []
    for user in range(N_USERS):
        liked = np.flatnonzero((kind == user % N_KINDS) & (np.arange(N_ITEMS) != NEVER_TRAINED))
        labels = [0] * 5 + [1, 2, 2]
        chosen = generator.permutation(liked)[: len(labels)]
        rows += [(user, item, label) for item, label in zip(chosen, labels, strict=True)]
    trained = {item for _, item, label in rows if label == 0}
    pairs = {(user, item) for user, item, _ in rows}
    left = [item for item in range(N_ITEMS) if item not in trained and item != NEVER_TRAINED]
    rows += [(next(u for u in range(N_USERS) if (u, item) not in pairs), item, 0) for item in left]
    rows.append((N_KINDS - 1, NEVER_TRAINED, 2))
    folder = parent / name
    folder.mkdir(parents=True)
    lines = ["userID\titemID\tx_label", *(f"{u}\t{i}\t{label}" for u, i, label in rows)]
    (folder / f"{name}.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / f"{name}.yaml").write_text(YAML, encoding="utf-8")
    text = np.concatenate([np.eye(N_KINDS)[kind]] * 3, axis=1)
    text += 0.1 * generator.standard_normal(text.shape)
    image = generator.random((N_ITEMS, 16))
    np.save(folder / "text_feat.npy", text.astype(np.float32))
    np.save(folder / "image_feat.npy", image.astype(np.float32))
    return (
        f"a made-up set of {N_USERS} users and {N_ITEMS} items (item {NEVER_TRAINED} has no "
        f"training row), text features {text.shape}, image features {image.shape}"
    )


def write_large_data(parent: Path, name: str = "large") -> str:
    """Write the folder <parent>/<name>, of tiktok's size and without meaning, to time steps on; one
    sentence that says what it is.
    """
    users, items, rows = 9_308, 6_710, 68_722
    user = np.sort(np.arange(rows) % users)
    number = np.arange(rows) - np.searchsorted(user, user)  # of a user's rows
    item = (user * 7 + number * (1 + user % 97)) % items
    label = np.select([number == 5, number >= 6], [1, 2], 0)
    folder = parent / name
    folder.mkdir(parents=True)
    table = np.stack([user, item, label], 1)
    header = "userID\titemID\tx_label"
    np.savetxt(folder / f"{name}.inter", table, "%d", "\t", header=header, comments="")
    (folder / f"{name}.yaml").write_text(YAML, encoding="utf-8")
    generator = np.random.default_rng(0)
    for modality in ("text", "image"):
        noise = generator.standard_normal((items, 64), dtype=np.float32)
        np.save(folder / f"{modality}_feat.npy", noise)
    return f"{users:,} users, {items:,} items, {(label == 0).sum():,} training rows"
