"""The runs behind a comparison: what is there, what is missing and its time, the results."""

import logging
import statistics
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ld4mrec.comparison.entries import Entry, Keys
from ld4mrec.data.interactions import RecDataset, check_there, check_topk, inter_path
from ld4mrec.engines.in_turn import InTurn
from ld4mrec.errors import ConfigError, RunError, UserError, counted
from ld4mrec.runs import results
from ld4mrec.runs.folder import RunFolder
from ld4mrec.runs.opening import open_model
from ld4mrec.runs.request import Request
from ld4mrec.runs.run import Run
from ld4mrec.search.space import take_ranges
from ld4mrec.search.train import plan, run, run_all
from ld4mrec.terminal import quiet
from ld4mrec.training.patience import fewest_epochs
from ld4mrec.training.trainer import Trainer

logger = logging.getLogger(__name__)

NOT_FINISHED = "not finished; the log says why"
TIMED_SECONDS = 5.0  # spent on an entry's steps for the estimate
# keys that say which users, candidates and targets an evaluation has; equal for all or refused
PROTOCOL = (
    *("inter_splitting_label", "filter_out_cod_start_users", "mask_valid_at_test"),
    *("valid_metric", "topk", "metrics"),
)


@dataclass(frozen=True)
class Row:
    """An entry on a data set with its runs, one per seed, in the order of the seeds; a single one
    of a model of ours that is not trained, as no seed changes its numbers.

    keys: {key: value} for all runs; the entry's settings come over them. reason: why runs of it
    cannot be, None if nothing is known against them.
    """

    entry: Entry
    dataset: str
    keys: Keys
    seeds: tuple[int, ...]
    runs: tuple[Run, ...] = ()
    reason: str | None = None

    @property
    def label(self) -> str:
        return self.entry.label

    @property
    def done(self) -> list[Run]:
        """The finished runs."""
        return [run for run in self.runs if run.result]

    @property
    def missing(self) -> list[Run]:
        """The runs that have not ended."""
        return [run for run in self.runs if not run.result and not run.failure]

    @property
    def by_seed(self) -> dict[int, Run]:
        """{seed: its finished run}; a model without chance has one that stands for all seeds."""
        done = self.done
        if len(self.runs) == len(done) == 1 and _without_chance(done[0]):
            return dict.fromkeys(self.seeds, done[0])
        return {run.config["seed"]: run for run in done}

    def values(self, split: str, metric: str) -> list[float]:
        """A metric of each finished run; split: valid or test."""
        return [run.result[split][metric] for run in self.done]

    def mean(self, split: str, metric: str) -> float:
        return statistics.mean(self.values(split, metric))

    def request(self, seeds: Iterable[int]) -> Request:
        """The request whose grid is one point per seed. Raises ConfigError for a real grid."""
        keys = self.keys | self.entry.settings
        points = plan(Request(self.entry.model, self.dataset, keys, plugin=self.entry.plugin))
        if len(points) > 1:
            raise ConfigError(
                f"{self.label}: its yaml means a grid of {len(points)} points; name one of them in "
                "--settings, or give --tune"
            )
        fixed = {name: [value] for name, value in points[0].config.point.items()}
        keys = keys | fixed | {"seed": list(seeds)}
        return Request(self.entry.model, self.dataset, keys, plugin=self.entry.plugin)

    def planned(self, also: Path | None = None) -> "Row":
        """The same with its runs as they are now; `also`: a folder of more runs, only read."""
        runs = plan(self.request(self.seeds), grid=True)
        if _without_chance(runs[0]):
            runs = runs[:1]
        return replace(self, runs=tuple(_lent(run, also) for run in runs))


def _without_chance(run: Run) -> bool:
    """Whether a run is of a model of ours that is computed, not trained: Pop, ItemKNN, EASE."""
    return run.config.ours and not run.config["req_training"]


def _lent(run: Run, also: Path | None) -> Run:
    """The run, from the further folder if only that has its result."""
    if also and not run.result:
        place = Path(also) / run.config["dataset"] / run.config["model"] / run.id
        if (place / "result.json").is_file():
            lent = replace(run, folder=RunFolder(place, run.folder.identity))
            lent = lent.as_found(anew=True)
            return lent if lent.result else run
    return run


def rows_of(
    found: list[Entry], dataset: str, keys: Keys, seeds: Iterable[int], also: Path | None = None
) -> list[Row]:
    """A planned Row for each entry. Raises ConfigError if there is no folder `also`."""
    if also and not Path(also).is_dir():
        raise ConfigError(f"--ledger is {also}, which is no folder; leave it out, or mend the path")
    return [Row(entry, dataset, keys, tuple(seeds)).planned(also) for entry in found]


def train(row: Row, also: Path | None = None, engine: InTurn | None = None) -> Row:
    """The row after training what is missing, unless it has, or then gets, a reason against it."""
    if not row.missing or row.reason:
        return row
    request, reason = _of_missing(row), None
    try:
        how = {"grid": True, "engine": engine, "plugin": request.plugin}
        run(request.model, request.dataset, request.keys, **how)
    except UserError as error:
        logger.error("%s: %s", row.label, error)
        reason = str(error)
    return _with_reason(replace(row, reason=reason).planned(also))


def train_all(rows: list[Row], also: Path | None = None, engine: InTurn | None = None) -> list[Row]:
    """`train` of several rows: an engine with several workers trains runs of all rows at a time."""
    if engine is None or engine.workers == 1:
        return [train(row, also, engine) for row in rows]
    ours = [row for row in rows if not row.entry.plugin]
    run_all([_of_missing(row) for row in ours if row.missing and not row.reason], engine)
    # a third party's model runs among stand-ins, which are the whole process's
    return [
        train(row, also) if row.entry.plugin else _with_reason(row.planned(also)) for row in rows
    ]


def _with_reason(row):
    """The row; if runs of it are missing, with the reason, found by building a model again."""
    if not row.missing or row.reason:
        return row
    if row.entry.plugin:
        return replace(row, reason=NOT_FINISHED)
    try:
        with quiet():
            open_model(row.missing[0].config)
    except UserError as error:
        return replace(row, reason=str(error))
    return replace(row, reason=NOT_FINISHED)


def _of_missing(row: Row) -> Request:
    return row.request([run.config["seed"] for run in row.missing])


def timed(run: Run) -> tuple[float, float, int]:
    """Seconds to build a run's model, and of an epoch with validation, from some of its steps; the
    steps of an epoch.
    """
    splits = RecDataset(run.config).split()
    check_topk(run.config, splits[0].get_item_num())
    started = time.monotonic()
    model, train_data, valid_data, _ = open_model(run.config, splits)
    built = time.monotonic() - started
    trainer = Trainer(run.config, model)
    seconds, steps = 0.0, 0
    if run.config["req_training"]:
        steps = len(train_data)
        model.train()
        model.pre_epoch_processing()
        started, done = time.monotonic(), 0
        for index, batch in enumerate(train_data):
            trainer.step(batch, index).tolist()
            done += 1
            if time.monotonic() - started > TIMED_SECONDS:
                break
        seconds = (time.monotonic() - started) / done * steps
    started = time.monotonic()
    trainer.evaluate(valid_data)
    return built, seconds + (time.monotonic() - started) / run.config["eval_step"], steps


def estimate(groups: dict[str, list[Row]]) -> list[str]:
    """Sentences on the runs that are missing, one per group, and in all; [] if none is missing.

    groups: {name: rows whose runs cost alike}; one run of each is timed. Epochs: those of the
    group's finished runs, else the least that early stopping allows ("at least"). Rows that refuse
    the data or the settings are named.
    """
    lines, total, bound = [], 0.0, False
    for name, group in groups.items():
        refused, cost, missing = Counter(), None, []
        for row in group:
            if row.missing and row.entry.plugin:
                lines.append(
                    f"{row.label}: {counted(len(row.missing), 'run')} of a plugin, not timed"
                )
                continue
            if row.missing and cost is None:
                try:
                    with quiet():
                        cost = timed(row.missing[0])
                except UserError as error:
                    refused[str(error)] += len(row.missing)
                    continue
            missing += row.missing if not row.reason else []
        lines += [
            f"{name}: {counted(n, 'run')} that cannot be: {why}" for why, n in refused.items()
        ]
        if cost is None:
            continue
        built, epoch, steps = cost
        config = missing[0].config
        known = [run.result["epochs"] for row in group for run in row.done]
        least = fewest_epochs(config, steps)
        epochs = statistics.mean(known) if known else least
        about = "about" if known or least == config["epochs"] else "at least"
        bound |= about == "at least"
        total += len(missing) * (built + epochs * epoch)
        what = f"{counted(len(missing), 'run')} of {about} {counted(round(epochs), 'epoch')}"
        text = f"{name}: {what} of {epoch:.2g} s"
        lines.append(f"{text}, {built:.2g} s to build" if built > epoch else text)
    if total:
        took = counted(round(total), "second") if total < 90 else f"{total / 60:.0f} minutes"
        lines.append(f"in all {'at least' if bound else 'about'} {took}")
    return lines


def check_alike(rows: list[Row]) -> None:
    """ConfigError for rows whose runs, finished or not, differ in data, split or masks; DataError
    where the data is not there.
    """
    (first_row, first), *planned = [(row, run) for row in rows for run in row.runs]
    wanted = _protocol(first)
    for row, other in planned:
        for what, value in _protocol(other).items():
            if value != wanted[what]:
                raise ConfigError(
                    f"{row.label} and {first_row.label} do not compare: {what} is {value!r} in "
                    f"{other.folder.path} and {wanted[what]!r} in {first.folder.path}"
                )


def check_protocol(rows: list[Row]) -> None:
    """`check_alike`, and that all were tested on the same users; RunError if no run is finished."""
    check_alike(rows)
    finished = [(row, run) for row in rows for run in row.done]
    if not finished:
        raise RunError("no run of the comparison is finished; see the errors above")
    (first_row, first), *others = finished
    users = per_user(first)["users"]
    for row, other in others:
        if not np.array_equal(per_user(other)["users"], users):
            raise ConfigError(
                f"{row.label} and {first_row.label} were tested on different users: "
                f"{other.folder.path}, {first.folder.path}"
            )


def _protocol(run: Run) -> dict[str, Any]:
    check_there(run.config)
    data = run.folder.identity["data"]
    values = {key: run.config[key] for key in PROTOCOL}
    return values | {"SHA-256 of the interactions": data[inter_path(run.config).name]}


def popularity(rows: list[Row], dataset: str, keys: Keys, trains: bool = True) -> Run:
    """The run of Pop that the rows are held against, evaluated as they are. keys: the host's.
    trains: run it, else it may come back without a result.
    """
    keys = {
        key: value for key, value in take_ranges(keys)[0].items() if not isinstance(value, list)
    }
    keys |= {key: rows[0].runs[0].config[key] for key in PROTOCOL}
    return (run("Pop", dataset, keys) if trains else plan(Request("Pop", dataset, keys)))[0]


def per_user(run: Run) -> dict[str, np.ndarray]:
    """Arrays of per_user.npz of a finished run; DamagedError if they are others."""
    return results.per_user(run.folder, run.result)


def top_items(run: Run) -> tuple[np.ndarray, np.ndarray] | None:
    """(users (n,), items (n, K), -1 behind the last) of a finished run on the test split; None if
    it kept none. DamagedError if they are others.
    """
    has_lists = (run.folder.path / "topk.npz").is_file()
    return results.top_lists(run.folder) if has_lists else None
