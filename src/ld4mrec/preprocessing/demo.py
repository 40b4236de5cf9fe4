"""A small generated multimodal data set in MMRec's format: tastes planted in clicks and features.

    python preprocessing/demo.py --out data/demo [--users N] [--items N] [--seed 0] [--force]

The generative model. The numbers are the fields of `Options`; U users, I items.
- Item i has a subject s_i out of S and a look l_i out of L, both uniform; its kind is the pair.
  Its exposure is pi_i ~ exp(pop_spread N(0,1)), times late_exposure for a share `late` of the
  items (new arrivals, which few users saw); the sum of pi is 1.
- User u has a favourite subject s_u and a favourite look l_u, both uniform, and makes
  m_u = min_clicks + floor(Exp(extra_clicks)) clicks, at most max_clicks and a quarter of the items.
- A click is a wrong one with probability eps, else it follows the taste; z_u makes the sum 1:
      p(i | u) = eps pi_i + (1 - eps) pi_i exp(a [s_i = s_u] + b [l_i = l_u]) / z_u
  A match in both is worth the product of the two, so no modality tells the whole taste. The m_u
  items of a user are drawn without replacement.
- The text row of i is t_{s_i} + o + N h_i + e_i; its image row is the same for l_i, with centres
  t, o and N of its own. Entries of t are N(0,1); o (entries `offset` N(0,1)) is common to all
  items; N h_i is a nuisance that has nothing to do with taste, in nuisance_rank directions (entries
  of N are `nuisance` N(0,1), of h_i N(0,1)); entries of e_i are `noise` N(0,1).
- Items that nobody clicked are dropped, so that ids have no gaps; timestamps are uniform in 2024.
- The split is MMRec's, random per user: m < 10 clicks give 1 validation and 1 test item, others
  v = floor(0.2 m), of them floor(v / 2) to validation, the rest to test. So some items are rare
  or unseen in training.

What can be reached on the test split, all-ranking (training items masked, validation items not).
The manifest holds these under "reachable", the Recall with its standard error over users:
- popularity     ranks by the number of training clicks: the floor.
- ease           EASE (Steck, WWW 2019), its penalty chosen on validation: what a practical model
                 without content reaches. A mark, not a bound.
- content_blind  the bound for models that ignore the content: the ranking by the posterior mean of
                 p(i | u) given the training clicks, for somebody who is told everything (equations,
                 numbers, every pi_i) but who likes what and which item is of which kind.
                 Found by Gibbs sampling of all favourites and kinds, started at the truth. The
                 truth is itself a draw from that posterior, so a short chain does not understate
                 the bound; one that mixes slowly leans towards the truth and overstates it.
                 Practical models stay far below: started at random, the same sampler does not
                 find the kinds and ends near EASE (0.123 against 0.238, seed 0).
- with_content   the same sampler, which also reads the features and is told t, o, N and the noise:
                 the bound for models that use clicks and content. It is reached from a random
                 start too.
- oracle         ranks by the true p(i | u), with every user's taste told. From with_content to
                 oracle is what short histories hide from any model.
Bounds hold on average over draws of the data; on one data set a ranking can pass its bound by
chance, by about the standard error. Two approximations: the sampler takes clicks for Poisson counts
of rate m_u p(i | u) instead of draws without replacement, and does not use that items without any
click were dropped.

Same options and same numpy give the same bytes. Dense (U, I) throughout, hence a limit on U I.
"""

import argparse
import dataclasses
import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

GENERATOR = "preprocessing/demo.py, version 1"  # a change of the output's bytes changes the number
LARGEST = 20_000_000  # users x items: dense float64 rows of this size still fit a laptop
K = 20
TRAIN, VALIDATION, TEST = 0, 1, 2
YEAR_2024 = (1_704_067_200, 1_735_689_600)  # seconds since 1970, UTC


@dataclasses.dataclass(frozen=True)
class Options:
    """Numbers of the generative model (module docstring). ValueError for one out of its range."""

    users: int = 1800
    items: int = 1000  # before items without any click are dropped
    seed: int = 0
    subjects: int = 8  # S
    looks: int = 8  # L
    subject_strength: float = 2.4  # a
    look_strength: float = 2.4  # b
    wrong_clicks: float = 0.1  # eps
    pop_spread: float = 0.7
    late: float = 0.1
    late_exposure: float = 0.15
    min_clicks: int = 5  # MMRec's 5-core; the split needs 3
    extra_clicks: float = 2.5
    max_clicks: int = 60
    text_size: int = 64
    image_size: int = 96
    offset: float = 0.5
    nuisance_rank: int = 4
    nuisance: float = 0.3
    noise: float = 0.6

    def __post_init__(self):
        ranges = {  # field: lowest, highest
            "users": (50, LARGEST),
            "items": (60, LARGEST),
            "seed": (0, 2**63 - 1),
            "subjects": (1, 30),
            "looks": (1, 30),
            "subject_strength": (0, 10),
            "look_strength": (0, 10),
            "wrong_clicks": (0.001, 1),  # 0 would give the sampler infinite log ratios
            "pop_spread": (0, 3),
            "late": (0, 1),
            "late_exposure": (0.001, 1),
            "min_clicks": (3, 15),
            "extra_clicks": (0, 1000),
            "max_clicks": (15, 10_000),
            "text_size": (1, 4096),
            "image_size": (1, 4096),
            "offset": (0, 100),
            "nuisance_rank": (0, 100),
            "nuisance": (0, 100),
            "noise": (0.01, 100),
        }
        for field in dataclasses.fields(self):
            value, (low, high) = getattr(self, field.name), ranges[field.name]
            allowed = int if field.type is int else (int, float)
            if not isinstance(value, allowed) or isinstance(value, bool):
                wanted = "a whole number" if field.type is int else "a number"
                raise ValueError(f"{field.name} is {value!r}; it must be {wanted}")
            if not low <= value <= high:
                raise ValueError(f"{field.name} is {value}; it must be between {low} and {high}")
        if self.users * self.items > LARGEST:
            raise ValueError(
                f"users x items is {self.users * self.items}; this small data set is worked on "
                f"as a dense matrix of at most {LARGEST}: ask for fewer users or items"
            )


@dataclasses.dataclass
class World:
    """Everything drawn, with the hidden truth. A kind is subject * looks + look, also a user's."""

    options: Options
    user_kind: np.ndarray  # (U,) favourite subject and look
    item_kind: np.ndarray  # (I,)
    exposure: np.ndarray  # (I,) pi, sum 1
    clicks: pd.DataFrame  # userID, itemID, x_label, timestamp
    text: np.ndarray  # (I, F) float32
    image: np.ndarray  # (I, F) float32
    kind_loglik: np.ndarray  # (I, S*L) log p(features of i | kind), up to a constant per item

    def matrix(self, label):
        """(U, I) binary CSR of the clicks with this label."""
        rows = self.clicks[self.clicks["x_label"] == label]
        place = rows["userID"], rows["itemID"]
        shape = len(self.user_kind), len(self.item_kind)
        return sp.csr_matrix((np.ones(len(rows)), place), shape=shape)


def ratios(options, item_kind, exposure):
    """p(i | u) / pi_i for every kind of user and every kind of item: (S*L, S*L)."""
    kinds = np.arange(options.subjects * options.looks)
    subject, look = np.divmod(kinds, options.looks)
    attraction = np.exp(
        options.subject_strength * (subject[:, None] == subject)
        + options.look_strength * (look[:, None] == look)
    )
    mass = np.bincount(item_kind, exposure, len(kinds))  # exposure that each kind of item has
    normaliser = (attraction * mass).sum(1, keepdims=True)  # z_u of each kind of user
    return options.wrong_clicks + (1 - options.wrong_clicks) * attraction / normaliser


def true_probabilities(world):
    """p(i | u): (U, I)."""
    table = ratios(world.options, world.item_kind, world.exposure)
    return table[world.user_kind][:, world.item_kind] * world.exposure


def split_labels(counts, rng):
    """MMRec's random split: labels of the clicks, user by user, `counts` clicks each."""
    users = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(users)) - np.repeat(np.cumsum(counts) - counts, counts)
    from_end = counts[users] - place  # 1 for the last of a user's clicks
    held_out = np.where(counts < 10, 2, counts // 5)
    validation = np.where(counts < 10, 1, held_out // 2)
    test = held_out - validation
    labels = np.where(from_end <= held_out[users], VALIDATION, TRAIN)
    labels[from_end <= test[users]] = TEST
    return labels[np.lexsort((rng.random(len(users)), users))]  # shuffled within each user


def draw_features(options, group, n_groups, size, rng):
    """Rows (I, F) float32 of one modality; their log-likelihood (I, n_groups) under each group."""
    rank, noise = options.nuisance_rank, options.noise
    centres = rng.standard_normal((n_groups, size))
    common = options.offset * rng.standard_normal(size)
    directions = options.nuisance * rng.standard_normal((rank, size))
    weights = rng.standard_normal((len(group), rank))
    # not a BLAS product: its rounding depends on machine and threads, and the bytes would too
    nuisance = (weights[:, :, None] * directions).sum(1)
    rows = centres[group] + common + nuisance + noise * rng.standard_normal((len(group), size))
    covariance = directions.T @ directions + noise**2 * np.eye(size)
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    white_rows, white_centres = (rows - common) @ whiten.T, centres @ whiten.T
    distance = -2 * white_rows @ white_centres.T + (white_centres**2).sum(1)
    return rows.astype(np.float32), -distance / 2


def draw(options):
    """A World and the generator that drew it, to be used further."""
    rng = np.random.default_rng(options.seed)
    n_users, n_items = options.users, options.items
    subject, look = (
        rng.integers(options.subjects, size=n_items),
        rng.integers(options.looks, size=n_items),
    )
    item_kind = subject * options.looks + look
    user_kind = rng.integers(options.subjects * options.looks, size=n_users)
    exposure = np.exp(options.pop_spread * rng.standard_normal(n_items))
    exposure[rng.random(n_items) < options.late] *= options.late_exposure
    exposure /= exposure.sum()
    counts = options.min_clicks + np.floor(rng.exponential(options.extra_clicks, n_users)).astype(
        int
    )
    counts = np.minimum(counts, min(options.max_clicks, n_items // 4))

    log_p = np.log(ratios(options, item_kind, exposure)[user_kind][:, item_kind] * exposure)
    order = np.argsort(-(log_p + rng.gumbel(size=log_p.shape)), axis=1)  # Gumbel top-m: no repeats
    users, place = np.nonzero(np.arange(n_items) < counts[:, None])
    clicked, items = np.unique(order[users, place], return_inverse=True)
    clicks = pd.DataFrame(
        {
            "userID": users,
            "itemID": items.reshape(-1),
            "x_label": split_labels(counts, rng),
            "timestamp": rng.integers(*YEAR_2024, size=len(users)),
        }
    )
    clicks = clicks.sort_values(["userID", "timestamp", "itemID"], ignore_index=True)

    subject, look = subject[clicked], look[clicked]
    text, by_subject = draw_features(options, subject, options.subjects, options.text_size, rng)
    image, by_look = draw_features(options, look, options.looks, options.image_size, rng)
    world = World(
        options=options,
        user_kind=user_kind,
        item_kind=item_kind[clicked],
        exposure=exposure[clicked] / exposure[clicked].sum(),
        clicks=clicks,
        text=text,
        image=image,
        kind_loglik=(by_subject[:, :, None] + by_look[:, None, :]).reshape(len(clicked), -1),
    )
    return world, rng


def recall_ndcg(scores, train, relevant):
    """Recall@20 and NDCG@20 per user, (U,) each; `train` is masked.

    scores: (U, I); train, relevant: (U, I) CSR, every user with a relevant item. The ideal of the
    NDCG fills min(20, relevant items) places.
    """
    scores = np.array(scores, dtype=np.float64)
    scores[train.nonzero()] = -np.inf
    top = np.argsort(-scores, axis=1, kind="stable")[:, :K]  # ties: the lower id first
    hits = np.take_along_axis(relevant.toarray(), top, axis=1)
    n_relevant = np.asarray(relevant.sum(1)).ravel().astype(int)
    discount = 1 / np.log2(np.arange(2, K + 2))
    ideal = np.cumsum(discount)[np.minimum(n_relevant, K) - 1]
    return hits.sum(1) / n_relevant, hits @ discount[: top.shape[1]] / ideal


def ease_scores(train, penalty):
    """EASE: scores (U, I) of the linear item-item model, zero diagonal, that rebuilds `train`."""
    gram = (train.T @ train).toarray()
    gram[np.diag_indices_from(gram)] += penalty
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return train @ weights


def posterior_mean(world, rng, use_features, burn_in=30, kept=60):
    """Posterior mean of p(i | u) given the training clicks, and the features if asked: (U, I).

    Gibbs sampling of all users' and all items' kinds in turn, started at the truth (module
    docstring). One sweep draws from, up to constants,
      log p(kind of u | rest) = sum over the user's items of log p(i | u)
      log p(kind of i | rest) = sum over the item's users of log p(i | u)
                                - sum over all users of m_u p(i | u) + log p(features of i | kind)
    """
    options, exposure = world.options, world.exposure
    train = world.matrix(TRAIN)
    by_item, n_train = train.T.tocsr(), np.asarray(train.sum(1)).ravel()
    user_kind, item_kind = world.user_kind, world.item_kind
    features = world.kind_loglik if use_features else 0.0
    total = np.zeros(train.shape)
    for sweep in range(burn_in + kept):
        table = ratios(options, item_kind, exposure)
        score = train @ np.log(table).T[item_kind]  # (U, S*L)
        user_kind = np.argmax(score + rng.gumbel(size=score.shape), axis=1)
        ratio = table[user_kind]  # (U, S*L)
        expected = exposure[:, None] * (n_train[:, None] * ratio).sum(0)
        score = by_item @ np.log(ratio) - expected + features  # (I, S*L)
        item_kind = np.argmax(score + rng.gumbel(size=score.shape), axis=1)
        if sweep >= burn_in:
            total += ratios(options, item_kind, exposure)[user_kind][:, item_kind]
    return total * exposure / kept


def reachable(world, rng):
    """{ranking: {recall@20, recall@20_stderr, ndcg@20}}, the rankings of the module docstring."""
    train, validation, test = (world.matrix(label) for label in (TRAIN, VALIDATION, TEST))

    def validation_recall(penalty):
        return recall_ndcg(ease_scores(train, penalty), train, validation)[0].mean()

    popularity = np.asarray(train.sum(0))
    rankings = {
        "popularity": np.broadcast_to(popularity, train.shape),
        "ease": ease_scores(train, max((30, 100, 300, 1000), key=validation_recall)),
        "content_blind": posterior_mean(world, rng, use_features=False),
        "with_content": posterior_mean(world, rng, use_features=True),
        "oracle": true_probabilities(world),
    }
    result = {}
    for name, scores in rankings.items():
        recall, ndcg = recall_ndcg(scores, train, test)
        result[name] = {
            f"recall@{K}": round(float(recall.mean()), 4),
            f"recall@{K}_stderr": round(float(recall.std(ddof=1) / math.sqrt(len(recall))), 4),
            f"ndcg@{K}": round(float(ndcg.mean()), 4),
        }
    return result


def counts(world):
    n_users, n_items, n = len(world.user_kind), len(world.item_kind), len(world.clicks)
    label = world.clicks["x_label"]
    in_train = np.asarray(world.matrix(TRAIN).sum(0)).ravel()
    return {
        "users": n_users,
        "items": n_items,
        "items_dropped_without_click": world.options.items - n_items,
        "interactions": n,
        "density": round(n / (n_users * n_items), 6),
        "train": int((label == TRAIN).sum()),
        "validation": int((label == VALIDATION).sum()),
        "test": int((label == TEST).sum()),
        "items_unseen_in_train": int((in_train == 0).sum()),
        "items_with_1_to_4_train_clicks": int(((in_train > 0) & (in_train < 5)).sum()),
    }


def write_mapping(path, prefix, columns, n, rng):
    """Write `n` made-up original ids (a prefix and digits, in no order) beside the integer ids."""
    width = max(6, len(str(10 * n)))
    numbers = rng.choice(10 * n, size=n, replace=False)
    original = [f"{prefix}{number:0{width}d}" for number in numbers]
    frame = pd.DataFrame(dict(zip(columns, (original, range(n)), strict=True)))
    frame.to_csv(path, sep="\t", index=False, lineterminator="\n")


def write(folder, name, options):
    """Draw the data set and write it into `folder`, an existing empty one; returns the manifest."""
    world, rng = draw(options)
    inter = folder / f"{name}.inter"
    world.clicks.to_csv(inter, sep="\t", index=False, lineterminator="\n")
    np.save(folder / "text_feat.npy", world.text)
    np.save(folder / "image_feat.npy", world.image)
    n_users, n_items = len(world.user_kind), len(world.item_kind)
    write_mapping(folder / "u_id_mapping.csv", "u", ("user_id", "userID"), n_users, rng)
    write_mapping(folder / "i_id_mapping.csv", "i", ("item_id", "itemID"), n_items, rng)
    manifest = {
        "generator": GENERATOR,
        "name": name,
        "options": dataclasses.asdict(options),
        "counts": counts(world),
        "features": {"text": list(world.text.shape), "image": list(world.image.shape)},
        "reachable": reachable(world, rng),
        "versions": {"numpy": np.__version__},
        "outputs": {
            path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
            for path in sorted(folder.iterdir())
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def manifest_of(folder):
    """The manifest of a folder that this program made, or None."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        ours = manifest["generator"].split(",")[0] == GENERATOR.split(",")[0]
        complete = manifest["options"].keys() and manifest["outputs"].keys()
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return manifest if ours and complete else None


def difference(folder, name, options):
    """In words, how an existing folder differs from the data set asked for; None if it is that."""
    manifest = manifest_of(folder)
    if manifest is None:
        return f"it has no manifest.json of {GENERATOR.split(',')[0]}"
    wanted = {"generator": GENERATOR, "name": name, **dataclasses.asdict(options)}
    held = {**manifest, **manifest["options"]}
    for key, value in wanted.items():
        if held.get(key) != value:
            return f"its manifest has {key} {held.get(key)!r}, asked for is {value!r}"
    for file, facts in manifest["outputs"].items():
        if not (folder / file).is_file() or sha256(folder / file) != facts["sha256"]:
            return f"its {file} is gone or was changed since"
    return None


def generate(out_dir, *, force=False, **options):
    """Make the data set in `out_dir`, whose last part is its name.

    options: the fields of `Options`. Returns the manifest, and whether the data was made now: a
    folder that holds the same generation is left alone. The files are written into a folder beside
    `out_dir`, which takes its place when complete. Raises ValueError for a bad option and
    FileExistsError for a folder that holds something else; `force` replaces one made here.
    """
    options = Options(**options)
    out = Path(os.path.abspath(out_dir))  # a link keeps its own name
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; --out must name the folder to make")
    occupied = out.is_dir() and any(out.iterdir())
    if occupied and not force:
        problem = difference(out, out.name, options)
        if problem is None:
            return manifest_of(out), False
        raise FileExistsError(
            f"{out} is there already and is not the data set asked for: {problem}; "
            f"choose another folder, or replace a generated one with --force"
        )
    if occupied and manifest_of(out) is None:
        raise FileExistsError(
            f"{out} was not made by this program (it has no manifest.json of it), so --force "
            f"leaves it alone; choose another folder or remove it yourself"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent))
    try:
        new, old = work / "new", work / "old"
        new.mkdir()
        manifest = write(new, out.name, options)
        if occupied:
            os.replace(out, old)  # until the next line there is no `out`: folders cannot be swapped
        try:
            os.replace(new, out)
        except OSError:
            if occupied:
                os.replace(old, out)
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return manifest, True


def summary(manifest):
    """Lines for the terminal: the counts and what can be reached."""
    n = manifest["counts"]
    yield (
        f"{n['users']} users, {n['items']} items, {n['interactions']} interactions "
        f"(density {n['density']:.4f}), split {n['train']} / {n['validation']} / {n['test']}; "
        f"{n['items_unseen_in_train']} items unseen in training, "
        f"{n['items_with_1_to_4_train_clicks']} seen 1 to 4 times"
    )
    meaning = {
        "popularity": "the floor",
        "ease": "EASE, a good practical model that ignores the content",
        "content_blind": "no model that ignores the content gets beyond this on average",
        "with_content": "no model of clicks and content gets beyond this on average",
        "oracle": "ranking by the true probabilities",
    }
    yield f"what can be reached on the test split:\n  {'':14}Recall@20         NDCG@20"
    for name, text in meaning.items():
        one = manifest["reachable"][name]
        recall, error, ndcg = one.values()
        yield f"  {name:14}{recall:.4f} +- {error:.4f}{ndcg:9.4f}  {text}"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--out", required=True, help="folder to make; its last part is the data set's name"
    )
    parser.add_argument("--users", type=int, default=Options.users)
    parser.add_argument("--items", type=int, default=Options.items)
    parser.add_argument("--seed", type=int, default=Options.seed)
    parser.add_argument(
        "--force", action="store_true", help="replace a data set made with other options"
    )
    given = parser.parse_args(arguments)
    try:
        manifest, made = generate(
            given.out, users=given.users, items=given.items, seed=given.seed, force=given.force
        )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        f"{given.out}: "
        + ("made" if made else "is there already, the same generation; nothing done")
    )
    print(*summary(manifest), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
