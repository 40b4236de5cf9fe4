"""Does training read held-out rows? Asked of any model, on any data set.

The model is trained for a few batches: with the validation and test rows as they are, twice, with
others in their place, and with next to none. What training may read is the same each time, so
losses, weights and scores must be equal to the bit. Each training has a copy of the data folder and
a cache of its own, so what a model reads of the folder itself, or writes there and reads later, is
seen as well. It runs on the CPU with one thread, where equal work gives equal numbers.
"""

import csv
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ld4mrec.config.configuration import Config
from ld4mrec.data.features import data_folder
from ld4mrec.data.interactions import inter_path
from ld4mrec.errors import RunError
from ld4mrec.files import link_or_copy
from ld4mrec.plugins import sources
from ld4mrec.plugins.data_view import private_data_view
from ld4mrec.runs.opening import open_model
from ld4mrec.runs.request import shims_for
from ld4mrec.terminal import say
from ld4mrec.training import randomness
from ld4mrec.training.trainer import Trainer

STEPS = 12  # batches of each training
SCORED = 64  # users
SCORES = "the scores"
WORLDS = {
    "given": "with the data as they are",
    "again": "with the same data again",
    "replaced": "with other validation and test rows",
    "removed": "without validation and test rows",
}
ROUNDS = 50  # of drawing items for held-out rows
AUDITED = {"use_gpu": False, "threads": 1}


def audit(
    source: sources.ModelSource,
    dataset: str,
    overrides: dict,
    folder: Path,
    steps: int = STEPS,
    report: Callable[[str], object] = lambda text: None,
) -> str | None:
    """None if training is the same whatever is held out, else where it first differs, in words.

    folder: empty, for the copies of the data. overrides: {key: value} of the configuration.
    report: called before each training. Raises UserError as a run would, and RunError for a model
    whose numbers a seed does not fix.
    """
    config = sources.config_of(source, dataset, overrides | AUDITED).points()[0]
    randomness.set_threads(config["threads"])
    found = {}
    for world, how in WORLDS.items():
        report(f"{steps} batches {how}")
        made = folder / world / "data"
        write_world(config, world, made / config["dataset"])
        keys = {"data_path": f"{made}/", "cache_dir": str(folder / world / "cache")}
        found[world] = trace(source, config.replace(keys), steps)
        where = differing(found["given"], found[world])
        if world == "again" and where == SCORES:  # random ones say nothing
            found["given"].pop()
            where = None
        if where:
            if world == "again":
                raise RunError(
                    f"{config['model']} gives other numbers for the same data and seed ({where}), "
                    "so it cannot be told whether training reads held-out rows"
                )
            what = "scoring" if where == SCORES else "training"
            return f"{what} reads held-out rows: {how}, {where} differ"
    return None


def differing(marks: list[tuple[str, bytes]], others: list[tuple[str, bytes]]) -> str | None:
    """What first differs between two traces; None: nothing."""
    pairs = zip(marks, others, strict=False)  # without scores that are random
    return next((what for (what, one), (_, other) in pairs if one != other), None)


def audited(label: str, source: sources.ModelSource, dataset: str, overrides: dict) -> bool:
    """Audit a model in a temporary folder and say what was found; whether all is well."""

    def progress(what):
        say(f"{label}: {what}")

    with tempfile.TemporaryDirectory(prefix="audit-") as folder:
        where = audit(source, dataset, overrides, Path(folder), report=progress)
    same = f"no leak: losses of {STEPS} batches, weights and scores are the same each time"
    say(f"{label}: {where or same}")
    return where is None


def trace(source: sources.ModelSource, config: Config, steps: int) -> list[tuple[str, bytes]]:
    """[(what, its bytes)] of a short training: weights, losses of the batches, weights, scores."""
    model_class = sources.load_model_class(source)
    if not source.in_tree:
        view = private_data_view(data_folder(config), config["cache_dir"], "audit")
        config = config.replace({"data_path": f"{view.parent}/"})
    with shims_for(config):
        opened = open_model(config, model_class=model_class)
        model, marks = opened.model, []
        marks.append(("the weights before training", digest(model)))
        if config["req_training"]:
            trainer, done = Trainer(config, model), 0
            while done < steps:
                model.train()
                model.pre_epoch_processing()
                for index, batch in enumerate(opened.train):
                    done += 1
                    losses = trainer.step(batch, index)
                    marks.append((f"the losses of batch {done}", losses.numpy().tobytes()))
                    if done == steps:
                        break
                model.post_epoch_processing()
            marks.append((f"the weights after {done} batches", digest(model)))
        model.eval()
        randomness.init_seed(config["seed"])
        users = torch.from_numpy(np.unique(opened.train.users)[:SCORED])
        with torch.no_grad():
            scores = model.full_sort_predict([users, torch.empty(2, 0, dtype=torch.int64)])
        marks.append((SCORES, scores.numpy().tobytes()))
    return marks


def digest(model: torch.nn.Module) -> bytes:
    """Of all parameters and buffers."""
    found = hashlib.blake2b()
    for name, value in model.state_dict().items():
        found.update(name.encode())
        if torch.is_tensor(value) and value.layout == torch.strided:
            found.update(value.detach().contiguous().view(-1).view(torch.uint8).numpy())
    return found.digest()


def write_world(config: Config, world: str, made: Path) -> None:
    """A copy of the data folder, links but for the interactions. world: of WORLDS.

    Training rows stay as they are and where they are.
    """
    source, interactions = data_folder(config), inter_path(config)
    made.mkdir(parents=True)
    for path in source.iterdir():
        if path.is_file() and path != interactions:
            link_or_copy(path.resolve(), made / path.name)
    separator = config["field_separator"] or "\t"
    frame = pd.read_csv(interactions, sep=separator, quoting=csv.QUOTE_NONE, low_memory=False)
    user, item, label = (
        config[key] for key in ("USER_ID_FIELD", "ITEM_ID_FIELD", "inter_splitting_label")
    )
    if world == "replaced":
        frame[item] = other_items(*(frame[name].to_numpy() for name in (user, item, label)))
    elif world == "removed":
        frame = frame[needed(*(frame[name].to_numpy() for name in (user, item, label)))]
    frame.to_csv(made / interactions.name, sep=separator, index=False, quoting=csv.QUOTE_NONE)


def other_items(users: np.ndarray, items: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The items (N,), of held-out rows in another order, such that no pair occurs twice.

    Items keep how often they are held out. A row for which none fits keeps its item.
    """
    generator = np.random.default_rng(0)
    found, width = items.copy(), items.max() + 1
    for split in np.setdiff1d(np.unique(labels), 0):
        rows = np.flatnonzero(labels == split)
        found[rows] = generator.permutation(items[rows])
        for _ in range(ROUNDS):
            _, first, count = np.unique(
                users * width + found, return_inverse=True, return_counts=True
            )
            bad = rows[count[first[rows]] > 1]
            if not len(bad):
                break
            swapped = np.union1d(bad, generator.choice(rows, min(len(bad), len(rows)), False))
            found[swapped] = generator.permutation(found[swapped])
        else:
            found[rows] = items[rows]
    return found


def needed(users: np.ndarray, items: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which rows (N,) stay: training's, of each other split the first, and those that have the
    largest user or item id where training has not, so that the matrix keeps its shape.
    """
    stays = labels == 0
    for ids in (users, items):
        if not (ids[stays] == ids.max()).any():
            stays[np.argmax(ids)] = True
    for split in np.unique(labels):
        stays[np.argmax(labels == split)] = True
    return stays
