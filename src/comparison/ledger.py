"""The runs behind a comparison: what is there, what is missing and its time, the results."""

import logging
import statistics
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.trainer import Trainer
from comparison.entries import Entry
from utils import plugins
from utils.dataset import RecDataset
from utils.errors import ConfigError, RunError
from utils.logger import quiet
from utils.one_run import build, make_loaders
from utils.run_folder import RunFolder
from utils.runs import Request, plan, run, run_all

logger = logging.getLogger(__name__)

TIMED_SECONDS = 5.0  # spent on an entry's steps for the estimate
# keys that say which users, candidates and targets an evaluation has; equal for all or refused
PROTOCOL = (
    *("inter_splitting_label", "filter_out_cod_start_users", "mask_valid_at_test"),
    *("valid_metric", "topk", "metrics"),
)


@dataclass
class Row:
    """An entry with its runs, one per seed, in the order of the seeds."""

    entry: Entry
    runs: list = field(default_factory=list)

    @property
    def label(self):
        return self.entry.label

    @property
    def done(self):
        """The finished runs."""
        return [one for one in self.runs if one.result]

    def values(self, split, metric):
        """A metric of each finished run; split: valid or test."""
        return [one.result[split][metric] for one in self.done]

    def mean(self, split, metric):
        return statistics.mean(self.values(split, metric))


def rows_of(found, dataset, keys, seeds, also=None):
    """A Row for each entry with its runs as they are now; nothing is trained.

    also: a further folder like runs_dir, only read, for finished runs that runs_dir has not.
    Raises ConfigError if there is no such folder.
    """
    if also and not Path(also).is_dir():
        raise ConfigError(f"--ledger is {also}, which is no folder; leave it out, or mend the path")
    return [Row(entry, _planned(entry, dataset, keys, seeds, also)) for entry in found]


def train(row, dataset, keys, seeds, also=None, engine=None):
    """Train what is missing of a row; a stopped run goes on. Failed seeds stay in `row.runs`.

    engine: who trains (utils.engine), None: this process.
    """
    missing = _missing(row)
    if not missing:
        return
    changes = _grid(row.entry, keys, dataset, missing)
    try:
        run(row.entry.model, dataset, changes, grid=True, engine=engine)
    except RunError as error:  # all of them failed
        logger.error("%s: %s", row.label, error)
    row.runs = _planned(row.entry, dataset, keys, seeds, also)


def train_all(rows, dataset, keys, seeds, also=None, engine=None):
    """`train` of several rows: an engine with several workers trains runs of all rows at a time."""
    train_together([(row, dataset, keys, seeds) for row in rows], also, engine)


def train_together(places, also=None, engine=None):
    """The same of rows with data sets of their own: places has (row, dataset, keys, seeds)."""
    if engine is None or engine.workers == 1:
        for place in places:
            train(*place, also, engine)
        return
    run_all(
        [
            Request(row.entry.model, dataset, _grid(row.entry, keys, dataset, missing))
            for row, dataset, keys, _ in places
            if (missing := _missing(row))
        ],
        engine,
    )
    for row, dataset, keys, seeds in places:
        row.runs = _planned(row.entry, dataset, keys, seeds, also)


def _missing(row):
    """Seeds of a row's runs that have not ended."""
    return [one.config["seed"] for one in row.runs if not one.result and not one.failure]


def _planned(entry, dataset, keys, seeds, also):
    runs = plan(entry.model, dataset, _grid(entry, keys, dataset, seeds), grid=True)
    for one in runs:
        if also and not one.result:
            place = Path(also) / dataset / entry.model / one.folder.id
            if (place / "result.json").is_file():
                one.folder = RunFolder(place, one.folder.identity)
                one.result, one.failure = one.folder.result(), None
    return runs


def _grid(entry, keys, dataset, seeds):
    """Overrides under which the model's grid is one point per seed."""
    points = plan(entry.model, dataset, keys | entry.settings)
    if len(points) > 1:
        raise ConfigError(
            f"{entry.label}: its yaml means a grid of {len(points)} points; name one of them in "
            "--settings, or give --tune"
        )
    fixed = {name: [value] for name, value in points[0].config.point.items() if name != "seed"}
    return keys | entry.settings | fixed | {"seed": list(seeds)}


def seconds_per_epoch(one):
    """Training and validation seconds of an epoch, from some seconds of steps; nothing is kept."""
    source = plugins.find_model(one.config["model"])
    train_data, valid_data, _ = make_loaders(one.config, RecDataset(one.config).split())
    model = build(plugins.load_model_class(source), one.config, train_data)
    trainer = Trainer(one.config, model)
    seconds = 0.0
    if one.config["req_training"]:
        model.train()
        model.pre_epoch_processing()
        started, done = time.monotonic(), 0
        for index, batch in enumerate(train_data):
            trainer.step(batch, index).tolist()
            done += 1
            if time.monotonic() - started > TIMED_SECONDS:
                break
        seconds = (time.monotonic() - started) / done * len(train_data)
    started = time.monotonic()
    trainer.evaluate(valid_data)
    return seconds + (time.monotonic() - started) / one.config["eval_step"]


def estimate(rows):
    """Sentences on the runs that are missing, one per row, and in all; [] if none is missing.

    The number of epochs is that of the row's finished runs, or, where there are none, the least
    that early stopping allows: then the estimate says "at least".
    """
    lines, total, bound = [], 0.0, False
    for row in rows:
        missing = [one for one in row.runs if not one.result and not one.failure]
        if not missing:
            continue
        config = missing[0].config
        with quiet():
            epoch = seconds_per_epoch(missing[0])
        known = [one.result["epochs"] for one in row.done]
        least = min(config["epochs"], (config["stopping_step"] + 2) * config["eval_step"])
        epochs = statistics.mean(known) if known else least
        bound |= not known
        total += len(missing) * epochs * epoch
        lines.append(
            f"{row.label}: {len(missing)} runs of {'about' if known else 'at least'} {epochs:.0f} "
            f"epochs of {epoch:.2g} s"
        )
    if lines:
        lines.append(f"in all {'at least' if bound else 'about'} {total / 60:.0f} minutes")
    return lines


def check_protocol(rows):
    """Refuse, with ConfigError, rows that were not evaluated alike: data, split, masks, users."""
    finished = [(row, one) for row in rows for one in row.done]
    if not finished:
        raise RunError("no run of the comparison is finished; see the errors above")
    first_row, first = finished[0]
    expected_users = per_user(first)["users"]
    for row, one in finished[1:]:
        for what, mine, theirs in _protocol(one, first):
            if mine != theirs:
                raise ConfigError(
                    f"{row.label} and {first_row.label} do not compare: {what} is {mine!r} in "
                    f"{one.folder.path} and {theirs!r} in {first.folder.path}"
                )
        if not np.array_equal(per_user(one)["users"], expected_users):
            raise ConfigError(
                f"{row.label} and {first_row.label} were tested on different users: "
                f"{one.folder.path}, {first.folder.path}"
            )


def _protocol(one, other):
    for key in PROTOCOL:
        yield key, one.config[key], other.config[key]
    name = "SHA-256 of the interactions"
    yield name, _interactions(one), _interactions(other)


def _interactions(one):
    """Digest of the interaction file in the run's identity."""
    data = one.folder.identity["data"]
    return next(digest for name, digest in data.items() if not name.endswith(".npy"))


def per_user(one):
    """Arrays of per_user.npz of a finished run."""
    return _arrays(one, "per_user.npz")


def top_items(one):
    """(users (n,), items (n, K)) of a finished run on the test split; None if it kept none."""
    if not (one.folder.path / "topk.npz").is_file():
        return None
    arrays = _arrays(one, "topk.npz")
    return arrays["users"], arrays["items"]


def _arrays(one, name):
    path = one.folder.path / name
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(
            f"{path} is absent or damaged ({error}); delete {path.parent} to train the run again"
        ) from error
