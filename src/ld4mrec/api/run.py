"""Training one model, and what a finished run can be asked for."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ld4mrec import checksums
from ld4mrec.api.checks import check, check_path, plain_keys
from ld4mrec.api.data import Data, open_data
from ld4mrec.config.configuration import Config
from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.errors import ConfigError, RunError, UnresumableError, counted
from ld4mrec.report import drawing
from ld4mrec.report.writing import NO_MATPLOTLIB
from ld4mrec.runs.folder import RunFolder, metrics_in, opened
from ld4mrec.search import train as training
from ld4mrec.serving import recommend as serving
from ld4mrec.serving.export import write_export
from ld4mrec.serving.ids import Ids
from ld4mrec.serving.ranking import check_same_lists
from ld4mrec.serving.trained import Trained, check_same_data, find_run
from ld4mrec.serving.trained import open_run as open_trained
from ld4mrec.terminal import quiet_terminal
from ld4mrec.training.trainer import Epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)
OnEpoch = Callable[[Epoch], object]


@dataclass(frozen=True)
class Curve:
    """How a run's training went. frame: a row per epoch trained: epoch (from 1), loss (all parts),
    loss_1, loss_2, ... where there are several, and the validation metrics, NaN where none.
    """

    frame: pd.DataFrame
    metric: str
    best_epoch: int
    title: str

    def plot(self, metric: str | None = None) -> "Axes":
        """Losses and validation by epoch, drawn with matplotlib; the axes of the validation.

        metric: of validation, None for the one that chose the epoch. ConfigError for a metric that
        was not taken; RunError without matplotlib.
        """
        try:
            from matplotlib import pyplot
        except ModuleNotFoundError as error:
            raise RunError(NO_MATPLOTLIB) from error
        metric = metric or self.metric
        if metric not in self.frame:
            known = [name for name in self.frame if "@" in name]
            raise ConfigError(f"the curve has no {metric}; it has {', '.join(known)}")
        _, (losses, values) = pyplot.subplots(
            1, 2, figsize=(drawing.WIDTH, 2.9), layout="constrained"
        )
        losses.plot(self.frame["epoch"], self.frame["loss"])
        there = self.frame[self.frame[metric].notna()]
        values.plot(there["epoch"], there[metric])
        values.axvline(self.best_epoch, linestyle=":", linewidth=1)
        for axes, name in ((losses, "training loss"), (values, f"validation {metric}")):
            axes.set_xlabel("epoch")
            axes.set_title(name, loc="left", size=drawing.LABEL)
        values.figure.suptitle(self.title, size=drawing.LABEL)
        return values

    def __repr__(self) -> str:
        return f"Curve({counted(len(self.frame), 'epoch')}, best {self.best_epoch}: {self.title})"


@dataclass(frozen=True)
class Run:
    """A finished run, in its folder, as the command line makes it."""

    folder: Path

    @cached_property
    def _files(self) -> RunFolder:
        """The folder, whose files are verified when they are read: DamagedError."""
        return opened(self.folder)

    @cached_property
    def result(self) -> dict:
        """What result.json says: metrics, best epoch, seconds, memory."""
        return self._files.result()

    @cached_property
    def config(self) -> dict:
        """Every key of the configuration."""
        self._files.check("config.yaml")
        return read_yaml(self.folder / "config.yaml")

    @property
    def id(self) -> str:
        """The run's id: equal work has the same."""
        return self.result["id"]

    @property
    def model(self) -> str:
        """Class name of the model."""
        return self.result["model"]

    @property
    def seed(self) -> int:
        return self.result["seed"]

    @property
    def data(self) -> Data:
        """The data folder, where it lay when the run was trained."""
        return Data(Path(self.config["data_path"]) / self.result["dataset"])

    @property
    def test(self) -> dict[str, float]:
        """{'recall@20': ...} on the test split, of the weights that were best on validation."""
        return self.result["test"]

    @property
    def valid(self) -> dict[str, float]:
        """The same on validation."""
        return self.result["valid"]

    @property
    def best_epoch(self) -> int:
        """Counted from 1."""
        return self.result["best_epoch"] + 1

    @property
    def curve(self) -> Curve:
        """Losses and validation by epoch."""
        rows = []
        if not (self.folder / "metrics.jsonl").is_file():
            raise RunError(f"{self.folder} has no metrics.jsonl; an archive keeps none")
        self._files.check("metrics.jsonl")
        for line in metrics_in(self.folder):
            parts = line["loss"]
            row = {"epoch": line["epoch"] + 1, "loss": sum(parts) if parts else np.nan}
            if len(parts) > 1:
                row |= {f"loss_{place}": part for place, part in enumerate(parts, 1)}
            rows.append(row | line.get("valid", {}))
        title = f"{self.model} on {self.result['dataset']}, seed {self.seed}"
        metric = self.config["valid_metric"].lower()
        return Curve(pd.DataFrame(rows), metric, self.best_epoch, title)

    def per_user(self) -> pd.DataFrame:
        """Test metrics of each user: a column user (original ids), and one for each metric."""
        found = self._files.read_arrays("per_user.npz")
        users = found.pop("users")
        ids = self._ids("user", int(users.max()) + 1)
        return pd.DataFrame({"user": ids.of(users), **found})

    def _ids(self, kind, at_least):
        data = self.data
        path = data.folder / {"user": "u_id_mapping.csv", "item": "i_id_mapping.csv"}[kind]
        n = at_least
        if path.is_file():
            n = len(pd.read_csv(path, sep="\t", usecols=[1]))
        config = Config("Pop", data.name, data.keys()).points(grid=False)[0]
        manifest = checksums.read_json(self.folder / "manifest.json", "train the run again")
        check_same_data(self.folder, config, manifest.get("id_maps") or {})
        return Ids.read(config, kind, n)

    def recommend(
        self,
        users: Sequence[object] | None = None,
        k: int = 10,
        *,
        history: pd.DataFrame | None = None,
        mask: str = "all",
        skip_unknown: bool = False,
    ) -> pd.DataFrame:
        """The k best items: columns user, rank (from 1), item, score, in original ids.

        users: ids of users of the run, None for all. history: instead, the columns user and item of
        people who were not in the data; LD4MRec and some others fold them in. mask: which items
        that are known of a user are left out: train, train+valid, all, none. skip_unknown: users,
        and items of history, that the run does not know are left out with a warning that counts
        them; without it, UserError. Raises UserError.
        """
        check("k", k, Integral, "a whole number from 1")
        if history is not None:
            check("history", history, pd.DataFrame, "a DataFrame with the columns user and item")
        if users is not None:
            check("users", users, Iterable, "a list of ids")
        if k < 1:
            raise ConfigError(f"k is {k}; wanted at least 1")
        if users is not None and history is not None:
            raise ConfigError("users chooses among the run's users; leave it out with history")
        trained = self._trained
        if history is not None:
            absent = {"user", "item"} - set(history.columns)
            if absent:
                raise ConfigError(
                    f"history has no column {sorted(absent)}; its columns are "
                    f"{list(map(str, history.columns))}"
                )
            table = history[["user", "item"]].astype(str)
            audience = serving.new_users(trained, table, mask, "history", skip_unknown)
        else:
            audience = serving.own_users(
                trained, _numbers(users, trained.users, skip_unknown), mask
            )
        frames = list(serving.lists_of(trained, audience, k))
        return pd.concat(frames, ignore_index=True)

    def export(self, folder: str | Path, mask: str = "all") -> dict:
        """Write arrays, networks and id maps that serve without this code; the manifest of it.

        RunError or DataError where the model or the folder cannot be.
        """
        check_path("folder", folder)
        trained = open_trained(self.folder, {"use_gpu": False} | self.data.keys())
        return write_export(trained, Path(folder), mask)

    @cached_property
    def _trained(self) -> Trained:
        with quiet_terminal():
            trained = open_trained(self.folder, self.data.keys())
            check_same_lists(trained)
        return trained

    def __repr__(self) -> str:
        metric = self.config["valid_metric"].lower()
        test = self.test.get(metric)
        shown = "" if test is None else f", test {metric} {test:.4f}"
        return (
            f"Run({self.model} on {self.result['dataset']}, seed {self.seed}{shown}: {self.folder})"
        )


def _numbers(users, ids: Ids, skip_unknown):
    """Integer ids (n,) of original ones, each once; None for all."""
    if users is None:
        return None
    if isinstance(users, str):
        users = [users]
    users = np.asarray(list(map(str, users)), dtype=object)
    if skip_unknown:
        users = users[ids.known(users, "users")]
    return pd.unique(ids.numbers(users, "users"))


def train(
    model: str,
    data: Data | str | Path,
    *,
    seed: int | None = None,
    on_epoch: OnEpoch | None = None,
    plugin: str | Path | None = None,
    resume: bool = True,
    verbose: bool = True,
    **keys: Any,
) -> Run:
    """Train and evaluate a model, with the best epoch's weights by validation.

    data: a Data, a folder, or the name of one in data/. keys: any key of the configuration, such as
    learning_rate, epochs, runs_dir; hyper-parameters have one value each. seed: None for that of
    the yaml. on_epoch: called with an Epoch after each; what it raises ends the training, which
    goes on with the next call. plugin: a third party's file or folder that holds the model. A run
    that is finished already is taken as it is, whoever made it; an interrupted one goes on with
    `resume`. verbose: a bar of the epochs. Raises UserError.
    """
    check("model", model, str, "the name of a model, such as 'LD4MRec'")
    if on_epoch is not None:
        check("on_epoch", on_epoch, Callable, "a function that takes an Epoch")
    if plugin is not None:
        check_path("plugin", plugin)
    found = open_data(data)
    keys = found.keys() | plain_keys(keys) | ({} if seed is None else {"seed": [seed]})
    plugin = plugin and str(plugin)
    with quiet_terminal(), _bar(model, keys, verbose) as shown:

        def after(epoch):
            shown(epoch)
            if on_epoch:
                on_epoch(epoch)

        def once(resume):
            return training.run(
                model, found.name, keys, resume=resume, plugin=plugin, on_epoch=after
            )

        try:
            ended = once(resume)
        except UnresumableError as error:
            logger.warning("starting afresh: %s", error)
            ended = once(False)
    return Run(ended[0].folder.path)


@contextmanager
def _bar(model: str, keys: dict, verbose: bool) -> Iterator[OnEpoch]:
    """A function that shows an Epoch on a bar; nothing is shown of a run that is not trained."""
    bar = None

    def show(epoch: Epoch) -> None:
        nonlocal bar
        if not verbose:
            return
        if bar is None:
            bar = tqdm(desc=model, unit=" epochs", initial=epoch.epoch, mininterval=0.5)
        if epoch.best is not None:
            state = f"validation {epoch.best:.4f} at epoch {epoch.best_epoch + 1}"
            bar.set_postfix_str(state, refresh=False)
        bar.update()

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


def open_run(folder: str | Path) -> Run:
    """A finished run: its folder, the beginning of its path, or a folder with one run in it.

    RunError if there is none, or more than one.
    """
    check_path("folder", folder)
    return Run(find_run(folder))
