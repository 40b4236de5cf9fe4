"""A model on trial for `--check-plugin`: its class, configuration and data, and runs of it in a
temporary folder, by the path of every run, `runs.run.finish`.
"""

import contextlib
import json
import os

import torch

from ld4mrec.config.configuration import Config
from ld4mrec.data.features import data_folder
from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import ConfigError, UserError
from ld4mrec.plugins import sources
from ld4mrec.plugins.check.scores import Wrong
from ld4mrec.plugins.check.toy_data import write_toy_data
from ld4mrec.plugins.data_view import VIEW_FOLDER, private_data_view
from ld4mrec.plugins.import_roots import forget
from ld4mrec.runs.folder import RunFolder
from ld4mrec.runs.identity import data_fingerprint, run_identity
from ld4mrec.runs.model_code import code_fingerprint
from ld4mrec.runs.opening import OpenModel, open_model
from ld4mrec.runs.run import Run, finish
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
    """source: where the model is. folder: a temporary one, absolute. dataset, overrides: as for
    `check_plugin`.

    After `load`, `configure` and `read`: model_class; points (of the grid), point (the first);
    splits. data: what it is tried on, in words.
    """

    def __init__(self, source, folder, dataset, overrides):
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
        self.points = []
        # where a plugin may leave something that is not ours to remove
        self._files = {source.file.parent: _stamps(source.file.parent)}

    def demand(self, overrides):
        """UserError if the configuration is wrong and the model's yaml is not to blame, but the
        overrides or the data set.
        """
        try:
            self.config().points()
        except ConfigError as error:
            self.config(without=overrides, yaml=os.devnull)
            with contextlib.suppress(ConfigError):
                self.config(without=overrides).points()
                raise UserError(str(error)) from error

    def load(self):
        """Import the model, even if it has been imported: what an import does must be seen."""
        if not self.source.in_tree:
            forget(self.source.file.parent)
        self.model_class = sources.load_model_class(self.source)

    def configure(self):
        self.points = self.config().points()
        self.point = self.points[0]
        randomness.set_threads(self.point["threads"] or torch.get_num_threads())
        if self.point["device"].type == "cuda":
            torch.cuda.set_device(self.point["gpu_id"])

    def read(self):
        """Read the data set; UserError if it cannot be used."""
        data = RecDataset(self.point)
        if max(self.point["topk"]) > data.get_item_num():
            raise ConfigError(
                f"topk has {max(self.point['topk'])}, but there are only {data.get_item_num()} "
                "items; lower it with --topk=[...]"
            )
        self.splits = data.split()
        self._files[data_folder(self.point)] = _stamps(data_folder(self.point))
        self._fingerprints = data_fingerprint(self.point), code_fingerprint(self.source)
        sizes = ", ".join(f"{key} {self.point[key]}" for key in (*TOY_SETTINGS, "epochs"))
        device = self.point["device"].type
        self.data += f", {len(self.splits[0])} training rows, on the {device}; {sizes}"

    def config(self, mg=False, without=(), yaml=None):
        theirs, yaml = None, yaml or self.source.yaml or os.devnull
        if not self.source.in_tree:
            theirs = self.source.file.parent.parent / "configs" / "dataset"
        settings = {key: value for key, value in self.settings.items() if key not in without}
        ours = self.source.in_tree
        return Config(self.source.name, self.dataset, settings, mg, yaml, theirs, ours)

    def build(self, point: Config, key: str) -> OpenModel:
        """The model as a run builds it; key: of the view of the data that it sees."""
        if not self.source.in_tree:
            view = private_data_view(data_folder(point), point["cache_dir"], key)
            point = point.replace({"data_path": f"{view.parent}/"})
        return open_model(point, self.splits, self.model_class)

    def finish(self, point, place, folder_class=RunFolder, resume=False):
        """(Run, its model) of a whole run in the folder `place`; Wrong if training diverged."""
        made = []

        def make(config, loader):
            made.append(self.model_class(config, loader))
            return made[-1]

        identity = run_identity(point, *self._fingerprints)
        planned = Run(point, folder_class(self.folder / place, identity))
        ended = finish(planned, make, self.splits, resume, {})
        if ended.failure:
            raise Wrong(ended.failure)
        return ended, made[-1]

    def finish_in_two(self, point, place):
        """The same, interrupted in its second epoch and resumed."""
        with contextlib.suppress(Killed):
            self.finish(point, place, Interrupted)
        return self.finish(point, place, resume=True)

    def caches(self):
        """Names of what the plugin itself wrote into its views of the data folder."""
        views = list((self.folder / "cache" / VIEW_FOLDER).glob("*/*"))
        written = [(view, p) for view in views for p in view.rglob("*") if not p.is_symlink()]
        return sorted({str(p.relative_to(view)) for view, p in written if p.is_file()})

    def left(self):
        """Files that appeared or changed beside the model or in the data folder."""
        return [
            str(path)
            for folder, before in self._files.items()
            for path, stamp in _stamps(folder).items()
            if stamp != before.get(path)
        ]


def epochs_of(one):
    """The lines of a run's metrics.jsonl."""
    text = (one.folder.path / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def difference(one, other):
    """Where the numbers of two finished runs part: 'from epoch 1 on', None if they do not."""
    ours, theirs = epochs_of(one), epochs_of(other)
    if one.config["device"].type == "cuda":
        losses = [torch.tensor([line["loss"] for line in lines]) for lines in (ours, theirs)]
        alike = losses[0].shape == losses[1].shape
        alike = alike and torch.allclose(*losses, rtol=CUDA_TOLERANCE)
        return None if alike else "in the losses"
    for epoch, pair in enumerate(zip(ours, theirs, strict=False)):
        if pair[0] != pair[1]:
            return f"from epoch {epoch} on"
    same = len(ours) == len(theirs) and one.result["test"] == other.result["test"]
    return None if same else "on the test split"


def _stamps(folder):
    """{path: (size, time)} of the files of a folder."""
    found = {path: path.stat() for path in folder.iterdir() if path.is_file()}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}
