"""Does a model read what it is tested on? It is trained in worlds that differ in that only.

Three times for a few steps, from the same seed: with the data set as it is; with the validation and
test rows replaced by others; and with these rows, and every file that is neither interactions nor a
feature, removed. Losses, weights and scores must be the same, bit by bit on the CPU. In the later
worlds other users are scored between the epochs, so that a model that learns from whom it is asked
about is found as well. What is alike in all worlds is looked at itself: feature files that hold the
held-out rows or count them, and graph dictionaries that join what shares no training row.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from common.graph import binary_csr
from ld4mrec.config.configuration import Config
from ld4mrec.data.batches import EvalDataLoader, TrainDataLoader
from ld4mrec.data.features import ID_MAPS, data_folder, modality_files
from ld4mrec.data.interactions import RecDataset, how_to_cut, inter_path
from ld4mrec.errors import RunError
from ld4mrec.files import link_or_copy
from ld4mrec.plugins.check.scores import predict
from ld4mrec.plugins.data_view import private_data_view
from ld4mrec.plugins.graph_dicts import loaded_by, offered
from ld4mrec.runs.opening import build
from ld4mrec.runs.request import Request, configure, open_request, shims_for
from ld4mrec.training import checkpoint, randomness
from ld4mrec.training.trainer import Trainer

EPOCHS, STEPS = 2, 6  # trained in each world; steps of an epoch at most
N_SCORED = 64  # users
AS_IT_IS, REPLACED, REMOVED = WORLDS = ("as it is", "replaced", "removed")
CUDA_TOLERANCE = 1e-3  # a GPU adds up in no fixed order
ALIKE = 0.999  # correlation of a feature with counts of rows that is no chance
FEWEST = 20  # items for which such a correlation says something
Trace = list[tuple[str, object]]


class NotRepeatableError(RunError):
    """A model that gives other numbers each time: it cannot be audited."""


def audit_request(request: Request, tell: Callable[[str], object] = str) -> list[str]:
    """`audit` of a model on a data set, at its defaults or the first point of its grid."""
    source, config = configure(request)
    config = config.points()[0]
    config["threads"] = config["threads"] or torch.get_num_threads()
    with shims_for(config):
        opened = open_request(request, source, config)
        return audit(config, opened.splits, opened.model_class, tell)


def audit(
    config: Config, splits: list[RecDataset], model_class: type, tell: Callable[[str], object] = str
) -> list[str]:
    """A sentence for each leak found, none if there is none.

    config: of one point. splits: the three RecDatasets of the data set as it is. tell: gets a line
    before each part. Raises NotRepeatableError, and whatever the model raises on the data as it is.
    """
    found = []
    tell("looking for held-out rows in the feature files")
    for name, file in modality_files(config).items():
        if Path(file).is_file() and (what := held_out_in(Path(file), splits)):
            found.append(f"{Path(file).name} (feature {name}) {what}")
    with tempfile.TemporaryDirectory(prefix="audit-") as root:
        worlds = _Worlds(Path(root).resolve(), config, splits, model_class)
        traces = {}
        for world in WORLDS:
            rows = "" if world == AS_IT_IS else "the validation and test rows "
            tell(f"training {EPOCHS} epochs of {STEPS} steps at most, {rows}{world}")
            try:
                traces[world] = worlds.train(world)
            except Exception as error:
                if world == AS_IT_IS:
                    raise
                found.append(_refusal(world, error))
        found += worlds.graph_leaks
        for world in traces.keys() - {AS_IT_IS}:
            if where := parting(traces[AS_IT_IS], traces[world]):
                again = parting(traces[AS_IT_IS], worlds.train(AS_IT_IS, "again"))
                if again:
                    raise NotRepeatableError(
                        f"the same data give other numbers each time ({again}), so nothing can be "
                        "said of leaks; draw random numbers from torch, numpy or random only"
                    )
                found.append(f"with the validation and test rows {world}, {where}")
    return sorted(found)


def _refusal(world, error):
    name = getattr(error, "filename", None)
    if isinstance(error, FileNotFoundError) and isinstance(name, str):
        return (
            f"it reads {Path(name).name} from the data folder, which is neither interactions nor "
            "a feature of the data set: whether held-out rows made it cannot be told"
        )
    return (
        f"with the validation and test rows {world} it raises {type(error).__name__}: {error}, so "
        "it reads them"
    )


def parting(trace: Trace, other: Trace) -> str | None:
    """Where two traces part, in words; None if they do not."""
    for (place, value), (_, wanted) in zip(trace, other, strict=False):
        names = [name for name in value if not _same(value[name], wanted.get(name))]
        if names or value.keys() != wanted.keys():
            what = ", ".join(names[:3] or sorted(value.keys() ^ wanted.keys())[:3])
            return f"the first difference is {place}: {what}"
    return None if len(trace) == len(other) else "there are other batches"


def _same(value, wanted):
    if isinstance(value, torch.Tensor) and isinstance(wanted, torch.Tensor):
        alike = value.shape == wanted.shape
        return alike and torch.allclose(value, wanted, rtol=CUDA_TOLERANCE, equal_nan=True)
    return value == wanted


class _Worlds:
    """The data set in its three forms below `root`, and a model trained in each."""

    def __init__(self, root: Path, config: Config, splits: list[RecDataset], model_class: type):
        self.root, self.config, self.splits = root, config, splits
        self.model_class, self.graph_leaks = model_class, []
        train = splits[0].df
        users = train[splits[0].uid_field].to_numpy()
        self.users = np.unique(users)
        most = min(N_SCORED, -(-len(self.users) // 2))  # so that there are others to ask
        users_valid = pd.unique(splits[1].df[splits[1].uid_field])[:most]
        others = np.setdiff1d(self.users, users_valid)[: len(users_valid)]
        self.asked = users_valid, (others if len(others) else users_valid[::-1])
        self.train_matrix = _matrix(splits[0])

    def train(self, world: str, key: str | None = None) -> Trace:
        """What a model computes there: losses of batches, weights of epochs, scores."""
        key = (key or world).replace(" ", "-")
        folder = self._folder(world, key)
        keys = {"cache_dir": f"{self.root / key}/cache", "data_path": f"{folder.parent}/"}
        config = self.config.replace(keys)
        if config.ours:
            return list(self._trained(config, world))
        view = private_data_view(folder, config["cache_dir"], key)
        config = config.replace({"data_path": f"{view.parent}/"})
        with offered(view, self.train_matrix), loaded_by() as graphs:
            trace = list(self._trained(config, world))
        if world == AS_IT_IS:
            for name, graph in graphs.items():
                self.graph_leaks += _leaks_of_graph(name, graph, self.train_matrix)
        return trace

    def _folder(self, world, key):
        """The data folder of a world, made of links and another file of interactions."""
        source = data_folder(self.config)
        folder = self.root / key / "data" / source.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        inter = inter_path(self.config)
        known = {*map(Path, modality_files(self.config).values()), *self._others(source)}
        for path in sorted(source.iterdir()):
            kept = world != REMOVED or path in known or "_graph_dict" in path.name
            if path.is_file() and path != inter and kept:
                link_or_copy(path.resolve(), folder / path.name)
        if world == AS_IT_IS:
            for path in (each for each in source.iterdir() if each.is_dir()):
                (folder / path.name).symlink_to(path.resolve())
            link_or_copy(inter.resolve(), folder / inter.name)
        else:
            self._write_rows(inter, folder / inter.name, world)
        return folder

    def _others(self, source):
        """Files of a data folder in which no interaction is."""
        return {source / name for name in (*ID_MAPS.values(), f"{source.name}.yaml")}

    def _write_rows(self, inter, target, world):
        separator = self.config["field_separator"] or "\t"
        frame = pd.read_csv(inter, dtype=str, keep_default_na=False, **how_to_cut(separator))
        split = self.splits[0]
        held = (frame[split.splitting_label].str.strip() != "0").to_numpy()
        if world == REMOVED:
            frame = frame[~held]
        else:
            frame.loc[held, split.iid_field] = self._other_items(frame, held).astype(str)
        frame.to_csv(target, sep=separator, index=False, quoting=3, lineterminator="\n")

    def _other_items(self, frame, held):
        """For each held-out row another item, drawn anew while the user has it in some split."""
        split, generator = self.splits[0], np.random.default_rng(0)
        users, items = (
            frame[name].astype(np.int64).to_numpy() for name in (split.uid_field, split.iid_field)
        )
        known = np.unique(users * split.item_num + items)
        drawn = generator.integers(split.item_num, size=held.sum())
        for _ in range(20):  # a user who has all items keeps what was drawn
            again = np.flatnonzero(np.isin(users[held] * split.item_num + drawn, known))
            drawn[again] = generator.integers(split.item_num, size=len(again))
        drawn[-1] = split.item_num - 1  # so that the catalogue keeps its size
        return drawn

    def _trained(self, config, world) -> Iterator[tuple[str, dict]]:
        base = self.splits[0]
        train = RecDataset(config, base.df.copy())
        train.user_num, train.item_num = base.user_num, base.item_num
        randomness.init_seed(config["seed"])
        randomness.deterministic(config["deterministic"])
        loader = TrainDataLoader(config, train, batch_size=config["train_batch_size"], shuffle=True)
        model = build(self.model_class, config, loader)
        yield "before the first batch", _weights(model)
        trainer = Trainer(config, model)
        for epoch in range(1, EPOCHS + 1):
            model.train()
            model.pre_epoch_processing()
            if trainer.optimizer:
                for number, batch in enumerate(islice(loader, STEPS)):
                    parts = trainer.step(batch, number)
                    yield f"batch {number + 1} of epoch {epoch}", {"the loss": _kept(parts)}
            model.post_epoch_processing()
            yield f"after epoch {epoch}", _weights(model)
            state = randomness.capture_rng_state()
            self._score(model, config, train, self.asked[world != AS_IT_IS])
            randomness.restore_rng_state(state)
        scores = self._score(model, config, train, self.users[:N_SCORED])
        yield "after training", {"the scores": _kept(scores)}

    def _score(self, model, config, train, users):
        rows = pd.DataFrame({train.uid_field: users, train.iid_field: np.zeros_like(users)})
        loader = EvalDataLoader(config, train.copy(rows), train, batch_size=len(users))
        return predict(model, next(iter(loader)))


def _weights(model):
    """{name: what is kept} of the tensors of a model's state_dict."""
    state = model.state_dict()
    return {name: _kept(value) for name, value in state.items() if torch.is_tensor(value)}


def _kept(tensor):
    """A digest on the CPU, a copy of a GPU's."""
    tensor = tensor.detach()
    if tensor.device.type == "cpu":
        return checkpoint.digest(tensor)
    return tensor.to_dense().cpu().float() if tensor.layout != torch.strided else tensor.cpu()


def _matrix(split):
    users, items = (split.df[name].to_numpy() for name in (split.uid_field, split.iid_field))
    shape = split.get_user_num(), split.get_item_num()
    return binary_csr(sp.coo_matrix((np.ones(len(users)), (users, items)), shape=shape))


def held_out_in(file: Path, splits: list[RecDataset]) -> str | None:
    """What of the held-out rows a feature file (I, F) holds, in words; None if nothing is seen.

    Seen are columns that count rows (all, or the held-out ones), and a column per user that marks
    her held-out items. A dense code of all rows cannot be told from content.
    """
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    train, *held = splits
    if array.ndim != 2 or len(array) != train.item_num or array.dtype.kind not in "fiub":
        return None
    users, items = (
        np.concatenate([each.df[name].to_numpy() for each in held])
        for name in (train.uid_field, train.iid_field)
    )
    if array.shape[1] == train.user_num:
        marked = np.asarray(array[items, users]) != 0
        strangers = np.random.default_rng(0).permutation(users)
        if marked.mean() > 0.5 and (np.asarray(array[items, strangers]) != 0).mean() < 0.25:
            return "marks the users of validation and test rows"
    if train.item_num < FEWEST:
        return None
    counted = np.bincount(items, minlength=train.item_num)
    of_train = np.bincount(train.df[train.iid_field], minlength=train.item_num)
    for what, counts in (("all", counted + of_train), ("validation and test", counted)):
        for scale in (np.asarray, np.log1p):
            likeness = _likeness(array, scale(counts))
            if (likeness > ALIKE).any() and _likeness(scale(of_train)[:, None], scale(counts)) < 1:
                column = int(likeness.argmax())
                if likeness[column] > _likeness(array[:, [column]], scale(of_train))[0]:
                    return f"counts {what} rows of an item in column {column}"
    return None


def _likeness(array, counts):
    """Correlation of each column (I, F) with counts (I,), in size, (F,)."""
    values = np.asarray(array, dtype=np.float64)
    values = values - values.mean(axis=0)
    counts = counts - counts.mean()
    size = np.linalg.norm(values, axis=0) * np.linalg.norm(counts)
    return np.abs(counts @ values) / np.where(size > 0, size, 1)


def _leaks_of_graph(name, graph, train):
    """A sentence if a graph dictionary joins rows that share no training row. Of another form than
    {row: [neighbours, counts]} nothing is said.
    """
    rows = train if name.startswith("user") else train.T.tocsr()
    shared = (rows @ rows.T).tocsr()
    for row, listed in graph.items():
        others = listed[0] if isinstance(listed, list | tuple) and listed else ()
        if not isinstance(others, list | tuple | np.ndarray):
            return []
        joined = set(map(int, others)) - set(shared.indices[slice(*shared.indptr[row : row + 2])])
        if joined:
            kind = "item" if name.startswith("user") else "user"
            return [
                f"{name} joins {row} and {min(joined)}, which share no {kind} in the training "
                "rows: it was made from held-out rows; delete it, and it is made from training rows"
            ]
    return []
