"""A model on trial for `--check-plugin`: its class, configuration, data, and runs by `finish`."""

import contextlib
import functools
import json
import os
from dataclasses import replace
from pathlib import Path

import torch

from ld4mrec.config.configuration import Config
from ld4mrec.data.features import data_folder
from ld4mrec.data.interactions import RecDataset, check_topk
from ld4mrec.errors import ConfigError, UserError, counted
from ld4mrec.plugins import sources
from ld4mrec.plugins.check.scores import Wrong
from ld4mrec.plugins.check.toy_data import write_toy_data
from ld4mrec.plugins.data_view import VIEW_FOLDER
from ld4mrec.plugins.import_roots import forget
from ld4mrec.runs.folder import RunFolder
from ld4mrec.runs.identity import data_fingerprint, run_identity
from ld4mrec.runs.model_code import code_fingerprint
from ld4mrec.runs.opening import OpenModel, open_model
from ld4mrec.runs.run import Run, finish, own_view
from ld4mrec.training import randomness

# Small batches make several, the last one short; one thread: the same numbers each time.
SETTINGS = {"epochs": 3, "eval_step": 1, "checkpoint_seconds": 0, "threads": 1, "keep_last": True}
TOY_SETTINGS = {"train_batch_size": 32, "eval_batch_size": 32}
CUDA_TOLERANCE = 1e-3  # of losses; on the CPU they are equal, a GPU adds up in no fixed order


class Killed(BaseException):
    """Stands for a process that ended in the middle of a run."""


class Interrupted(RunFolder):
    """The folder of a run whose process ends in its second epoch."""

    def append_metrics(self, line):
        if line["epoch"] == 1:
            raise Killed
        super().append_metrics(line)


class Trial:
    """folder: a temporary one, absolute. The rest: as for `check_plugin`.

    After `load`, `configure` and `read`: model_class; points (of the grid), point (the first);
    splits. data: what it is tried on, in words.
    """

    def __init__(
        self, source: sources.ModelSource, folder: Path, dataset: str | None, overrides: dict
    ):
        self.source, self.folder = source, folder
        self.dataset = dataset or "toy"
        self.data = f"data set '{dataset}'"
        self.settings = SETTINGS | ({} if dataset else TOY_SETTINGS) | overrides
        self.settings["cache_dir"] = str(folder / "cache")
        if dataset is None:
            self.data = write_toy_data(folder / "data")
            self.settings["data_path"] = str(folder / "data")
        elif "data_path" in overrides:  # before the current folder changes
            self.settings["data_path"] = os.path.abspath(overrides["data_path"])
        self.points, self.undo = [], contextlib.ExitStack()
        # where a plugin may leave something that is not ours to remove
        self._files = {source.file.parent: _stamps(source.file.parent)}

    def check_request(self, overrides: dict) -> None:
        """UserError if the overrides or the data set are wrong, rather than the model's yaml."""
        try:
            self.config().points()
        except ConfigError as error:
            self.config(without=overrides, source=replace(self.source, yaml=None))
            with contextlib.suppress(ConfigError):
                self.config(without=overrides).points()
                raise UserError(str(error)) from error

    def load(self) -> None:
        """Import the model, even if it has been imported: what an import does must be seen."""
        if not self.source.in_tree:
            forget(self.source.file.parent)
        self.model_class = sources.load_model_class(self.source)

    def configure(self) -> None:
        self.points = self.config().points()
        self.point = self.points[0]
        randomness.set_threads(self.point["threads"] or torch.get_num_threads())
        if self.point["device"].type == "cuda":
            torch.cuda.set_device(self.point["gpu_id"])

    def read(self) -> None:
        """Read the data set; UserError if it cannot be used."""
        data = RecDataset(self.point)
        check_topk(self.point, data.get_item_num())
        self.splits = data.split()
        self._files[data_folder(self.point)] = _stamps(data_folder(self.point))
        self._fingerprints = data_fingerprint(self.point), code_fingerprint(self.source)
        sizes = ", ".join(f"{key} {self.point[key]}" for key in (*TOY_SETTINGS, "epochs"))
        device = self.point["device"].type
        self.data += f", {counted(len(self.splits[0]), 'training row')}, on the {device}; {sizes}"

    def config(self, mg=False, without=(), source=None) -> Config:
        settings = {key: value for key, value in self.settings.items() if key not in without}
        return sources.config_of(source or self.source, self.dataset, settings, mg)

    def build(self, point: Config, key: str) -> OpenModel:
        """The model as a run builds it; key: of the view of the data that it sees, until `undo`."""
        point = self.undo.enter_context(own_view(point, key, self.splits[0]))
        return open_model(point, self.splits, self.model_class)

    def finish(
        self, point: Config, place: str, folder_class=RunFolder, resume=False
    ) -> tuple[Run, torch.nn.Module]:
        """(Run, its model) of a whole run in the folder `place`; Wrong if training diverged."""
        made = []

        @functools.wraps(self.model_class, updated=())  # the host looks at its arguments
        def make(*args, **more):
            made.append(self.model_class(*args, **more))
            return made[-1]

        identity = run_identity(point, *self._fingerprints)
        planned = Run(point, folder_class(self.folder / place, identity))
        ended = finish(planned, make, self.splits, resume, {})
        if ended.failure:
            raise Wrong(ended.failure)
        return ended, made[-1]

    def finish_in_two(self, point: Config, place: str) -> tuple[Run, torch.nn.Module]:
        """The same, interrupted in its second epoch and resumed."""
        with contextlib.suppress(Killed):
            self.finish(point, place, Interrupted)
        return self.finish(point, place, resume=True)

    def caches(self) -> list[str]:
        """Names of what the plugin itself wrote into its views of the data folder."""
        views = list((self.folder / "cache" / VIEW_FOLDER).glob("*/*"))
        written = [(view, p) for view in views for p in view.rglob("*") if not p.is_symlink()]
        return sorted({str(p.relative_to(view)) for view, p in written if p.is_file()})

    def left(self) -> list[str]:
        """Files that appeared or changed beside the model or in the data folder."""
        return [
            str(path)
            for folder, before in self._files.items()
            for path, stamp in _stamps(folder).items()
            if stamp != before.get(path)
        ]


def epochs_of(run: Run) -> list[dict]:
    """The lines of a run's metrics.jsonl."""
    text = (run.folder.path / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def difference(run: Run, other: Run) -> str | None:
    """Where the numbers of two finished runs part: 'from epoch 1 on', None if they do not."""
    lines, others = epochs_of(run), epochs_of(other)
    if run.config["device"].type == "cuda":
        losses, wanted = (torch.tensor([line["loss"] for line in of]) for of in (lines, others))
        alike = losses.shape == wanted.shape
        alike = alike and torch.allclose(losses, wanted, rtol=CUDA_TOLERANCE)
        return None if alike else "in the losses"
    for epoch, (line, wanted) in enumerate(zip(lines, others, strict=False)):
        if line != wanted:
            return f"from epoch {epoch} on"
    same = len(lines) == len(others) and run.result["test"] == other.result["test"]
    return None if same else "on the test split"


def _stamps(folder):
    """{path: (size, time)} of the files of a folder."""
    found = {path: path.stat() for path in folder.iterdir() if path.is_file()}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}
