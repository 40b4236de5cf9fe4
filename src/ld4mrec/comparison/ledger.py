"""The runs behind a comparison: what is there, what is missing and its time, the results."""

import logging
import statistics
import time
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ld4mrec.comparison.entries import Entry
from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import ConfigError, RunError, UserError
from ld4mrec.plugins import sources
from ld4mrec.runs.folder import RunFolder
from ld4mrec.runs.one_run import build, make_loaders
from ld4mrec.runs.request import Request
from ld4mrec.search.proposals import take_ranges
from ld4mrec.search.train import plan, run, run_all
from ld4mrec.terminal import quiet
from ld4mrec.training.trainer import Trainer

logger = logging.getLogger(__name__)

TIMED_SECONDS = 5.0  # spent on an entry's steps for the estimate
# keys that say which users, candidates and targets an evaluation has; equal for all or refused
PROTOCOL = (
    *("inter_splitting_label", "filter_out_cod_start_users", "mask_valid_at_test"),
    *("valid_metric", "topk", "metrics"),
)


@dataclass
class Row:
    """An entry with its runs, one per seed, in the order of the seeds. reason: why runs of it
    cannot be, None if nothing is known against them.
    """

    entry: Entry
    runs: list = field(default_factory=list)
    reason: str | None = None

    @property
    def label(self):
        return self.entry.label

    @property
    def done(self):
        """The finished runs."""
        return [one for one in self.runs if one.result]

    @property
    def missing(self):
        """The runs that have not ended."""
        return [one for one in self.runs if not one.result and not one.failure]

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
    """Train what is missing of a row, unless it has a reason against it; a stopped run goes on.
    Failed seeds stay in `row.runs`; a row that refuses its data or settings gets a reason.

    engine: who trains (ld4mrec.engines.in_turn), None: this process.
    """
    if not row.missing or row.reason:
        return
    changes = _grid(row.entry, keys, dataset, _seeds(row.missing))
    try:
        run(row.entry.model, dataset, changes, grid=True, engine=engine)
    except UserError as error:
        logger.error("%s: %s", row.label, error)
        row.reason = str(error)
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
            Request(row.entry.model, dataset, _grid(row.entry, keys, dataset, _seeds(row.missing)))
            for row, dataset, keys, _ in places
            if row.missing and not row.reason
        ],
        engine,
    )
    for row, dataset, keys, seeds in places:
        row.runs = _planned(row.entry, dataset, keys, seeds, also)


def _seeds(runs):
    return [one.config["seed"] for one in runs]


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


def timed(one):
    """Seconds of building a run's model, and of an epoch with its validation, from some seconds of
    steps; nothing is kept.
    """
    source = sources.find_model(one.config["model"])
    train_data, valid_data, _ = make_loaders(one.config, RecDataset(one.config).split())
    started = time.monotonic()
    model = build(sources.load_model_class(source), one.config, train_data)
    built = time.monotonic() - started
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
    return built, seconds + (time.monotonic() - started) / one.config["eval_step"]


def estimate(groups):
    """Sentences on the runs that are missing, one per group, and in all; [] if none is missing.

    groups: {name: rows whose runs cost alike}; one run of each is timed, by some steps. The number
    of epochs is that of the group's finished runs, or, where there are none, the least that early
    stopping allows: then the estimate says "at least". A row that refuses the data or its settings
    is named, and keeps the reason.
    """
    lines, total, bound = [], 0.0, False
    for name, group in groups.items():
        refused, found = Counter(), None
        for row in group:
            if row.missing and found is None:
                try:
                    with quiet():
                        found = timed(row.missing[0])
                except UserError as error:
                    row.reason = str(error)
                    refused[row.reason] += len(row.missing)
        lines += [f"{name}: {n} runs that cannot be: {why}" for why, n in refused.items()]
        if found is None:
            continue
        built, epoch = found
        missing = [one for row in group if not row.reason for one in row.missing]
        config = missing[0].config
        known = [one.result["epochs"] for row in group for one in row.done]
        least = min(config["epochs"], (config["stopping_step"] + 2) * config["eval_step"])
        epochs = statistics.mean(known) if known else least
        about = "about" if known or least == config["epochs"] else "at least"
        bound |= about == "at least"
        total += len(missing) * (built + epochs * epoch)
        text = f"{name}: {len(missing)} runs of {about} {epochs:.0f} epochs of {epoch:.2g} s"
        lines.append(f"{text}, {built:.2g} s to build" if built > epoch else text)
    if total:
        took = f"{total:.0f} seconds" if total < 90 else f"{total / 60:.0f} minutes"
        lines.append(f"in all {'at least' if bound else 'about'} {took}")
    return lines


def check_alike(rows):
    """Refuse, with ConfigError, rows whose runs, finished or not, differ in data, split or masks.

    So it costs nothing to find out: this can be asked before anything is trained.
    """
    planned = [(row, one) for row in rows for one in row.runs]
    first_row, first = planned[0]
    for row, one in planned[1:]:
        for what, mine, theirs in _protocol(one, first):
            if mine != theirs:
                raise ConfigError(
                    f"{row.label} and {first_row.label} do not compare: {what} is {mine!r} in "
                    f"{one.folder.path} and {theirs!r} in {first.folder.path}"
                )


def check_protocol(rows):
    """`check_alike`, and refuse finished runs that were tested on different users; RunError if no
    run is finished.
    """
    check_alike(rows)
    finished = [(row, one) for row in rows for one in row.done]
    if not finished:
        raise RunError("no run of the comparison is finished; see the errors above")
    first_row, first = finished[0]
    expected_users = per_user(first)["users"]
    for row, one in finished[1:]:
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


def popularity(rows, dataset, keys, trains=True):
    """The run of Pop that the rows are held against, evaluated as they are; keys: the host's.

    trains: run it if it is not there; else it may come back without a result. Axes of a search are
    no settings of Pop's, and left out.
    """
    points = take_ranges(keys)[0]
    keys = {key: value for key, value in points.items() if not isinstance(value, list)}
    keys |= {key: rows[0].runs[0].config[key] for key in PROTOCOL}
    (found,) = (run if trains else plan)("Pop", dataset, keys)
    return found


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
