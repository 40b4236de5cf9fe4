"""Configuration, data, loaders, training, evaluation: what a plugin's contract asks for."""

import itertools
import random
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
import yaml


class Config(dict):
    """Later files win; a key that nobody set is None."""

    def __getitem__(self, key):
        return self.get(key)


def read_config(model, dataset, changes):
    config, axes = Config(), []
    for path in ("overall.yaml", f"dataset/{dataset}.yaml", f"model/{model}.yaml"):
        with open(Path("configs") / path, encoding="utf-8") as file:
            read = yaml.safe_load(file) or {}
        axes += read.get("hyper_parameters", [])
        config.update(read)
    config.update(changes)
    config.update(model=model, dataset=dataset, device=torch.device("cpu"))
    return config, axes


def grid(config, axes):
    values = [config[axis] if isinstance(config[axis], list) else [config[axis]] for axis in axes]
    for point in itertools.product(*values):
        yield Config(config, **dict(zip(axes, point, strict=True)))


class RecDataset:
    def __init__(self, config):
        path = Path(config["data_path"]) / config["dataset"] / config["inter_file_name"]
        with open(path, encoding="utf-8") as file:
            header = file.readline().rstrip("\n").split(config["field_separator"])
            rows = np.loadtxt(file, dtype=np.int64, delimiter=config["field_separator"])
        fields = ("USER_ID_FIELD", "ITEM_ID_FIELD", "inter_splitting_label")
        self.users, self.items, self.label = (rows[:, header.index(config[f])] for f in fields)

    def get_user_num(self):
        return int(self.users.max()) + 1

    def get_item_num(self):
        return int(self.items.max()) + 1

    def matrix(self, label):
        rows = self.label == label
        shape = (self.get_user_num(), self.get_item_num())
        return sp.coo_matrix((np.ones(rows.sum()), (self.users[rows], self.items[rows])), shape)


class TrainDataLoader:
    """Batches of user ids: use_neg_sampling and use_full_sampling True. The order is drawn as our
    own host draws it, so that a test can compare numbers; MMRec's comes from another stream."""

    def __init__(self, config, dataset):
        assert config["use_neg_sampling"]
        assert config["use_full_sampling"]
        self.dataset, self.batch_size = dataset, config["train_batch_size"]
        self.all_uids = np.unique(dataset.matrix(0).row)
        self.generator = np.random.default_rng(config["seed"])

    def inter_matrix(self, form="coo", value_field=None):
        matrix = self.dataset.matrix(0)
        if form not in ("coo", "csr"):
            raise NotImplementedError(form)
        return matrix if form == "coo" else matrix.tocsr()

    def __iter__(self):
        users = self.generator.permutation(self.all_uids)
        for start in range(0, len(users), self.batch_size):
            yield torch.from_numpy(users[start : start + self.batch_size])


def recall(model, config, data, label, k=20):
    """Mean Recall@k of one split, training items masked by writing into the scores."""
    seen, wanted = data.matrix(0).tocsr(), data.matrix(label).tocsr()
    users = np.flatnonzero((wanted.getnnz(1) > 0) & (seen.getnnz(1) > 0))
    model.eval()
    values = []
    with torch.no_grad():
        for start in range(0, len(users), config["eval_batch_size"]):
            block = users[start : start + config["eval_batch_size"]]
            mask = torch.from_numpy(np.stack(seen[block].nonzero()))
            scores = model.full_sort_predict([torch.from_numpy(block), mask])
            scores[mask[0], mask[1]] = -1e10
            top = scores.topk(k).indices.numpy()
            hits = wanted[block].toarray()[np.arange(len(block))[:, None], top].sum(1)
            values.append(hits / wanted[block].getnnz(1))
    return float(np.concatenate(values).mean())


def train(model_class, config):
    """One run: (best validation Recall@20, the test value of that epoch, the losses' sums)."""
    random.seed(config["seed"])
    np.random.seed(config["seed"])  # noqa: NPY002
    torch.manual_seed(config["seed"])
    data = RecDataset(config)
    loader = TrainDataLoader(config, data)
    model = model_class(config, loader).to(config["device"])
    rate, decay = config["learning_rate"], config["weight_decay"]
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, weight_decay=decay)
    best, bad, losses = (-1.0, -1.0), 0, []
    for _ in range(config["epochs"]):
        model.train()
        model.pre_epoch_processing()
        total = 0.0
        for batch in loader:
            optimizer.zero_grad()
            loss = model.calculate_loss(batch)
            loss = sum(loss) if isinstance(loss, tuple) else loss
            total += loss.item()
            loss.backward()
            optimizer.step()
        model.post_epoch_processing()
        losses.append(total)
        value = round(recall(model, config, data, 1), 4)
        if value > best[0]:
            best, bad = (value, recall(model, config, data, 2)), 0
        else:
            bad += 1
        if bad > config["stopping_step"]:
            break
    return *best, losses
