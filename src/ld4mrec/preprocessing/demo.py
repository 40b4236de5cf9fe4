"""A small generated multimodal data set in MMRec's format: tastes planted in clicks and features.

    python preprocessing/demo.py --out data/demo [--users N] [--items N] [--seed 0] [--force]

Clicks are those of the samples' world (samples/world.py): an item has a subject and a look, a user
likes one of each, and p(i | u) is known. A match in both is worth the product of the two, so no
modality tells the whole taste. The text row of item i is t_{s_i} + o + N h_i + e_i, s_i its
subject; its image row is the same for its look, with t, o and N of its own. Entries of t, h_i are
N(0,1), of o OFFSET N(0,1), common to all items, of e_i NOISE N(0,1). N h_i has nothing to do with
taste: entries of N (F, NUISANCE_RANK) are NUISANCE N(0,1). Items that nobody clicked are dropped;
timestamps are uniform in 2024; the split is MMRec's, random per user.

The manifest's "reachable" holds Recall@20 and NDCG@20 on the test split, all-ranking, training
items masked, of five rankings:
- popularity     by the number of training clicks: the floor.
- ease           EASE, its penalty chosen on validation: a practical model without content.
- content_blind  the bound for models that ignore the content: the posterior mean of p(i | u) given
                 the training clicks, where everything is known but who likes what and which item is
                 of which kind. By Gibbs sampling of favourites and kinds, started at the truth: the
                 truth is a draw from that posterior, so a short chain does not understate the
                 bound, and one that mixes slowly overstates it.
- with_content   the same, which also reads the features and knows t, o, N and the noise: the bound
                 for models that use clicks and content.
- oracle         by the true p(i | u). What lies between is what short histories hide.
Bounds hold on average over draws of the data; on one draw a ranking can pass its bound by about the
standard error. Two approximations: the sampler takes clicks for Poisson counts of rate
m_u p(i | u), m_u the user's clicks, not draws without replacement, and does not use that items
without any click were dropped.

Same options and same numpy give the same bytes. Dense (U, I) throughout, hence a limit on U I.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

from common.item_regression import item_weights
from ld4mrec.data.splits import NAMES, TEST, TRAIN, VALIDATION, mmrec
from ld4mrec.errors import UserError
from ld4mrec.evaluation import metrics
from ld4mrec.preprocessing.samples import world as worlds
from ld4mrec.preprocessing.samples.world import KINDS, LOOKS, SUBJECTS, click_odds
from ld4mrec.preprocessing.steps import generated, writing
from ld4mrec.preprocessing.steps.interactions import Ids, Interactions

GENERATOR = "preprocessing/demo.py, version 2"  # a change of the output's bytes changes the number
USERS, ITEMS = 1800, 1000  # items before those without any click are dropped
LARGEST = 20_000_000  # users x items: dense float64 rows of this size still fit a laptop
FEWEST_CLICKS, EXTRA_CLICKS = 5, 2.5  # the fewest as in a 5-core
POP_SPREAD = 0.7
SIZES = {"text": 64, "image": 96}
OFFSET, NUISANCE_RANK, NUISANCE, NOISE = 0.5, 4, 0.3, 0.6
K = 20
YEAR_2024 = (1_704_067_200, 1_735_689_600)  # seconds since 1970, UTC


@dataclass
class Demo:
    """Everything drawn, with the hidden truth.

    world: with the items without clicks. interactions: renumbered; row r below is itemID r.
    labels: (N,). kind_loglik: (I, KINDS) log p(features of i | kind), up to a constant per item.
    """

    world: worlds.World
    interactions: Interactions
    labels: np.ndarray
    item_kind: np.ndarray  # (I,)
    exposure: np.ndarray  # (I,), sum 1
    features: dict[str, np.ndarray]  # (I, F) float32
    kind_loglik: np.ndarray

    def matrix(self, label: int) -> sp.csr_matrix:
        """(U, I) binary CSR of the clicks with this label."""
        rows = self.interactions.take(self.labels == label)
        shape = len(self.world.user_kind), len(self.item_kind)
        return sp.csr_matrix((np.ones(len(rows)), (rows.users, rows.items)), shape=shape)


def draw_features(
    group: np.ndarray, n_groups: int, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (I, F) float32 of one modality; their log-likelihood (I, n_groups) under each group."""
    centres = rng.standard_normal((n_groups, size))
    common = OFFSET * rng.standard_normal(size)
    directions = NUISANCE * rng.standard_normal((NUISANCE_RANK, size))
    weights = rng.standard_normal((len(group), NUISANCE_RANK))
    # not a BLAS product: its rounding depends on machine and threads, and the bytes would too
    nuisance = (weights[:, :, None] * directions).sum(1)
    rows = centres[group] + common + nuisance + NOISE * rng.standard_normal((len(group), size))
    covariance = directions.T @ directions + NOISE**2 * np.eye(size)
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    white_rows, white_centres = (rows - common) @ whiten.T, centres @ whiten.T
    distance = -2 * white_rows @ white_centres.T + (white_centres**2).sum(1)
    return rows.astype(np.float32), -distance / 2


def draw(users: int, items: int, seed: int) -> tuple[Demo, np.random.Generator]:
    """The data set, and the generator that drew it, to be used further."""
    rng = np.random.default_rng(seed)
    world = worlds.draw_world(users, items, rng, FEWEST_CLICKS, EXTRA_CLICKS, POP_SPREAD)
    ids = Ids(np.arange(users), "u", digits=6), Ids(np.arange(items), "i", digits=6)
    times = rng.integers(*YEAR_2024, size=len(world.users))
    clicks = Interactions(world.users, world.items, times, *ids).renumbered()
    clicked = clicks.item_ids.values
    item_kind = world.item_kind[clicked]
    subject, look = np.divmod(item_kind, LOOKS)
    text, by_subject = draw_features(subject, SUBJECTS, SIZES["text"], rng)
    image, by_look = draw_features(look, LOOKS, SIZES["image"], rng)
    made = Demo(
        world=world,
        interactions=clicks,
        labels=mmrec(clicks.users, clicks.items, clicks.times, rng),
        item_kind=item_kind,
        exposure=world.exposure[clicked] / world.exposure[clicked].sum(),
        features={"text": text, "image": image},
        kind_loglik=(by_subject[:, :, None] + by_look[:, None, :]).reshape(len(clicked), KINDS),
    )
    return made, rng


def true_probabilities(made: Demo) -> np.ndarray:
    """p(i | u): (U, I)."""
    odds = click_odds(made.item_kind, made.exposure)
    return odds[made.world.user_kind][:, made.item_kind] * made.exposure


def recall_ndcg(
    scores: np.ndarray, train: sp.csr_matrix, relevant: sp.csr_matrix
) -> tuple[np.ndarray, np.ndarray]:
    """Recall@20 and NDCG@20 per user, (U,) each; `train` is masked.

    scores: (U, I); train, relevant: (U, I) CSR, every user with a relevant item.
    """
    scores = np.array(scores, dtype=np.float64)
    scores[train.nonzero()] = -np.inf
    top = np.argsort(-scores, axis=1, kind="stable")[:, :K]  # ties: the lower id first
    hits = np.take_along_axis(relevant.toarray(), top, axis=1) > 0
    n_relevant = relevant.getnnz(axis=1)
    return metrics.recall(hits, n_relevant)[:, -1], metrics.ndcg(hits, n_relevant)[:, -1]


def ease_scores(train: sp.csr_matrix, penalty: float) -> np.ndarray:
    """EASE's scores (U, I)."""
    return train @ item_weights(torch.from_numpy((train.T @ train).toarray()), penalty).numpy()


def posterior_mean(
    made: Demo, rng: np.random.Generator, use_features: bool, burn_in: int = 30, kept: int = 60
) -> np.ndarray:
    """Posterior mean of p(i | u) given the training clicks, and the features if asked: (U, I).

    Gibbs sampling of all users' and all items' kinds in turn, started at the truth (module
    docstring). One sweep draws from, up to constants,
      log p(kind of u | rest) = sum over the user's items of log p(i | u)
      log p(kind of i | rest) = sum over the item's users of log p(i | u)
                                - sum over all users of m_u p(i | u) + log p(features of i | kind)
    """
    exposure, train = made.exposure, made.matrix(TRAIN)
    by_item, n_train = train.T.tocsr(), train.getnnz(axis=1)
    user_kind, item_kind = made.world.user_kind, made.item_kind
    features = made.kind_loglik if use_features else 0.0
    total = np.zeros(train.shape)
    for sweep in range(burn_in + kept):
        odds = click_odds(item_kind, exposure)
        score = train @ np.log(odds).T[item_kind]  # (U, KINDS)
        user_kind = np.argmax(score + rng.gumbel(size=score.shape), axis=1)
        of_user = odds[user_kind]  # (U, KINDS)
        expected = exposure[:, None] * (n_train[:, None] * of_user).sum(0)
        score = by_item @ np.log(of_user) - expected + features  # (I, KINDS)
        item_kind = np.argmax(score + rng.gumbel(size=score.shape), axis=1)
        if sweep >= burn_in:
            total += click_odds(item_kind, exposure)[user_kind][:, item_kind]
    return total * exposure / kept


def reachable(made: Demo, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """{ranking: {recall@20, recall@20_stderr, ndcg@20}}, the rankings of the module docstring."""
    train, validation, test = (made.matrix(label) for label in (TRAIN, VALIDATION, TEST))

    def validation_recall(penalty):
        return recall_ndcg(ease_scores(train, penalty), train, validation)[0].mean()

    rankings = {
        "popularity": np.broadcast_to(train.getnnz(axis=0), train.shape),
        "ease": ease_scores(train, max((30, 100, 300, 1000), key=validation_recall)),
        "content_blind": posterior_mean(made, rng, use_features=False),
        "with_content": posterior_mean(made, rng, use_features=True),
        "oracle": true_probabilities(made),
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


def counts(made: Demo) -> dict[str, int | float]:
    """Sizes of data set and split for the manifest."""
    total, in_train = made.interactions.counts(), made.matrix(TRAIN).getnnz(axis=0)
    return {
        **total._asdict(),
        "items_dropped_without_click": len(made.world.item_kind) - total.items,
        "density": round(total.density, 6),
        **dict(zip(NAMES, np.bincount(made.labels, minlength=3).tolist(), strict=True)),
        "items_unseen_in_train": int((in_train == 0).sum()),
        "items_with_1_to_4_train_clicks": int(((in_train > 0) & (in_train < 5)).sum()),
    }


def generate(
    out: str | Path, users: int = USERS, items: int = ITEMS, seed: int = 0, force: bool = False
) -> tuple[dict, bool]:
    """Make the data set in `out`, whose last part is its name; returns as generated.made_once.

    UserError for a bad option; for a folder that is there see generated.made_once.
    """
    if users * items > LARGEST:
        raise UserError(
            f"users x items is {users * items}; this small data set is worked on as a dense matrix "
            f"of at most {LARGEST}: ask for fewer users or items"
        )
    options = {"users": users, "items": items, "seed": seed}
    name = Path(os.path.abspath(out)).name  # a link keeps its own name

    def make(folder):
        made, rng = draw(users, items, seed)
        writing.write_interactions(folder, name, made.interactions, made.labels)
        for modality, rows in made.features.items():
            np.save(folder / f"{modality}_feat.npy", rows, allow_pickle=False)
        return {
            "counts": counts(made),
            "features": {modality: list(rows.shape) for modality, rows in made.features.items()},
            "reachable": reachable(made, rng),
            "versions": {"numpy": np.__version__},
        }

    asked = {"generator": GENERATOR, "name": name, "options": options}
    return generated.made_once(out, asked, force, make)


def summary(manifest: dict) -> Iterator[str]:
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
        recall, error, ndcg = manifest["reachable"][name].values()
        yield f"  {name:14}{recall:.4f} +- {error:.4f}{ndcg:9.4f}  {text}"


def main(arguments: list[str] | None = None, prog: str = "demo.py") -> int:
    parser = generated.parser_of(prog, __doc__.splitlines()[0], USERS, ITEMS)
    return generated.run(generate, summary, parser.parse_args(arguments))
