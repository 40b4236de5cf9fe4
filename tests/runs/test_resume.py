"""An interrupted run that goes on is, file by file, the run that was never interrupted."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

import support
from ld4mrec.errors import DivergedError, RunError
from ld4mrec.runs.folder import RunFolder
from ld4mrec.search.train import run
from ld4mrec.training import checkpoint
from ld4mrec.training.trainer import Trainer

PLUGIN = """
import collections
import random

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn
from torch.nn import functional as F

from common.abstract_recommender import GeneralRecommender


class Noisy(GeneralRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.users = nn.Embedding(self.n_users, 4)
        self.items = nn.Embedding(self.n_items, 4)
        self.dropout = nn.Dropout(0.3)

    def calculate_loss(self, interaction):
        users, pos, neg = interaction
        u, p, n = self.dropout(self.users(users)), self.items(pos), self.items(neg)
        noise = random.gauss(0, 0.1) + np.random.randn() * 0.1 + torch.randn(len(users)) * 0.1
        return F.softplus((u * n).sum(1) - (u * p).sum(1) + noise).mean()

    def full_sort_predict(self, interaction):
        noise = torch.rand(self.n_items) * 1e-3  # evaluation draws too
        return self.users(interaction[0]) @ self.items.weight.T + noise


class Moving(Noisy):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.register_buffer("mean", torch.zeros(4), persistent=False)
        self.calls, self.rate, self.seen = 0, np.float64(0.5), set()
        self.sums = np.zeros((4, 2), dtype=np.float32).T
        self.queue = [torch.zeros(4)]

    def pre_epoch_processing(self):
        self.rate = self.rate * 0.9

    def calculate_loss(self, interaction):
        self.calls += 1
        self.seen.update(interaction[1].tolist())
        batch_mean = self.users(interaction[0]).mean(0).detach()
        self.mean = 0.9 * self.mean + 0.1 * batch_mean
        self.queue = [*self.queue[-3:], batch_mean]
        self.sums += np.outer([1, 2], batch_mean.numpy())
        pull = (self.users.weight - self.mean - torch.stack(self.queue).mean(0)).square().mean()
        weight = float(self.rate) / self.calls + len(self.seen) + float(self.sums.sum())
        return super().calculate_loss(interaction), weight * pull


class Private(Noisy):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.nets = [nn.Linear(4, 1)]
        self.shift = torch.zeros(4, requires_grad=True)
        self.private = torch.optim.Adam([*self.nets[0].parameters(), self.shift], lr=0.01)
        self.steps = 0

    def calculate_loss(self, interaction):
        self.steps += 1
        users = self.users(interaction[0])
        self.private.zero_grad()
        (self.nets[0](users.detach() + self.shift) - 1).square().mean().backward()
        self.private.step()
        extra = self.nets[0](users + self.shift.detach()).mean() / self.steps
        return super().calculate_loss(interaction) + extra

    def get_extra_state(self):
        net, optimizer = self.nets[0].state_dict(), self.private.state_dict()
        return {"net": net, "optimizer": optimizer, "steps": self.steps}

    def set_extra_state(self, state):
        self.nets[0].load_state_dict(state["net"])
        self.private.load_state_dict(state["optimizer"])
        self.steps = state["steps"]


class Cached(Noisy):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.scores = None
        self.bias = nn.Parameter(torch.zeros(self.n_items))
        self.shown = None

    def calculate_loss(self, interaction):
        self.shown = self.items.weight  # one more name for a parameter
        self.scores = self.users.weight @ self.items.weight.T
        self.bias = torch.rand(self.n_items) / 10  # no parameter any more, as MMRec's DualGNN does
        return super().calculate_loss(interaction)

    def full_sort_predict(self, interaction):
        return self.scores[interaction[0]] + self.bias


class Exploding(Noisy):
    def calculate_loss(self, interaction):
        return super().calculate_loss(interaction) * np.inf


class Blind(Noisy):
    # its scores are NaN for odd seeds

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.blind = config["seed"] % 2 == 1

    def full_sort_predict(self, interaction):
        return super().full_sort_predict(interaction) * (np.nan if self.blind else 1)


class Hungry(Noisy):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        if config["seed"] == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")


class Lazy(Noisy):
    def calculate_loss(self, interaction):
        if not hasattr(self, "late"):
            self.late = nn.Dropout(0.1)
        return super().calculate_loss(interaction)


class Sharing(Noisy):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.raw = torch.zeros(self.n_items, 4)
        self.items = nn.Embedding.from_pretrained(self.raw, freeze=False)

    def calculate_loss(self, interaction):
        return super().calculate_loss(interaction) + (self.raw - 1).square().mean().item()


class Bank:
    def __init__(self, n):
        self.rows, self.met = np.zeros((n, 2)), {}
        self.rng = np.random.RandomState(5)
        self.recent = collections.deque(maxlen=2)

    def take(self, items):
        for item in items:
            self.rows[item] += self.rng.rand(2)
            self.met[item] = self.met.get(item, 0) + 1
        self.recent.append(len(items))


class Stateful(Noisy):
    # its own optimisers, schedulers and generators, numpy, containers, an object of its own, a
    # scipy matrix that grows, layers in a plain list

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.nets = [nn.Linear(4, 1), nn.Sequential(nn.Linear(4, 1), nn.BatchNorm1d(1))]
        self.shift = torch.zeros(4, requires_grad=True)
        first = torch.optim.Adam([*self.nets[0].parameters(), self.shift], lr=0.01)
        second = torch.optim.SGD(self.nets[1].parameters(), lr=0.1, momentum=0.9)
        self.private = {"first": first, 2: [second]}
        self.schedulers = [
            torch.optim.lr_scheduler.StepLR(first, 2, 0.5),
            torch.optim.lr_scheduler.MultiStepLR(second, [2, 3]),
            torch.optim.lr_scheduler.ReduceLROnPlateau(second, patience=0),
        ]
        self.noise, self.dice = np.random.default_rng(0), random.Random(3)
        self.generator = torch.Generator().manual_seed(4)
        self.seen, self.times = collections.defaultdict(list), collections.Counter()
        self.bank = Bank(self.n_items)
        self.graph = sp.csr_matrix((self.n_users, self.n_items))
        self.queue = {0: np.zeros(3), 1: [np.ones(2), (np.float32(1), None)]}

    def pre_epoch_processing(self):
        if len(self.seen) % 2 == 0:  # not in every epoch
            grown = sp.random(self.n_users, self.n_items, 0.5, random_state=self.dice.randrange(99))
            self.graph = (self.graph + grown).tocsr()
        self.seen[len(self.seen)].append(self.graph.nnz)

    def post_epoch_processing(self):
        self.schedulers[0].step()
        self.schedulers[1].step()
        self.schedulers[2].step(self.dice.random())

    def calculate_loss(self, interaction):
        users = self.users(interaction[0])
        self.bank.take(interaction[1].tolist())
        self.times.update(interaction[1].tolist())
        self.queue[0] = self.queue[0] + self.noise.random(3)
        drawn = torch.rand(4, generator=self.generator)
        for net, optimizer in zip(self.nets, [self.private["first"], self.private[2][0]]):
            optimizer.zero_grad()
            (net(users.detach() + self.shift * drawn) - 1).square().mean().backward()
            optimizer.step()
        extra = sum(net(users + self.shift.detach()).mean() for net in self.nets)
        scale = 1 + self.bank.rows.mean() + self.queue[0].sum() + sum(self.bank.recent)
        scale += self.graph.sum() + max(self.times.values()) + len(self.bank.met)
        return super().calculate_loss(interaction) + extra * float(scale) * self.dice.random()


class Late(Noisy):
    # an optimiser that no new model has

    def calculate_loss(self, interaction):
        if not hasattr(self, "late"):
            self.late = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        return super().calculate_loss(interaction)


class Hiding(Noisy):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.noise = iter(np.random.default_rng(0).random(1000))

    def calculate_loss(self, interaction):
        return super().calculate_loss(interaction) * next(self.noise)
"""
EPOCHS = 5
BATCHES = 3  # of each epoch: 11 rows in batches of 4
EQUAL = ["best.pt", "per_user.npz", "topk.npz", "metrics.jsonl"]


@pytest.fixture
def world(tmp_path):
    """A function that runs a plugin's model on the toy world in a folder of a name."""
    toy = support.write_toy(tmp_path / "data")
    (tmp_path / "plugin.py").write_text(PLUGIN)

    def settings(name):
        return {
            "data_path": f"{toy.parent}/",
            "cache_dir": str(tmp_path / "cache"),
            "run_dir": str(tmp_path / name),
            "topk": [1, 2, 5],
            "valid_metric": "recall@2",
            "epochs": EPOCHS,
            "train_batch_size": 4,
            "eval_batch_size": 2,
            "learning_rate": 0.05,
            "threads": 1,
            "checkpoint_seconds": 0,
        }

    def go(model, name, resume=False, **overrides):
        one, *_ = run(model, "toy", settings(name) | overrides, resume=resume, plugin=go.plugin)
        return one

    go.folder, go.plugin, go.settings = tmp_path, tmp_path / "plugin.py", settings
    return go


@pytest.fixture
def interrupt(monkeypatch):
    """interrupt(owner, name, n): the n-th call of owner.name (from 1) raises KeyboardInterrupt."""

    def at(owner, name, n):
        true, calls = getattr(owner, name), []

        def counted(*args, **kwargs):
            calls.append(1)
            if len(calls) == n:
                monkeypatch.setattr(owner, name, true)
                raise KeyboardInterrupt
            return true(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    return at


def contents(folder):
    files = {name: (folder / name).read_bytes() for name in EQUAL}
    result = json.loads((folder / "result.json").read_text())
    assert result.pop("seconds").keys() >= {"train", "valid", "test", "checkpoint"}
    assert result.pop("peak_memory")["ram_bytes"] > 0
    assert result.pop("checksum")
    assert result.pop("files").keys() >= {"manifest.json", "config.yaml"}  # they name folders
    return files | {"result.json": result}


def stop_and_go_on(world, interrupt, model, owner, name, n, **overrides):
    interrupt(owner, name, n)
    with pytest.raises(KeyboardInterrupt):
        world(model, "stopped", **overrides)
    assert not (world.folder / "stopped" / "result.json").exists()
    one = world(model, "stopped", resume=True, **overrides)
    assert not one.reused
    return contents(world.folder / "stopped")


@pytest.mark.parametrize("model", ["Noisy", "Moving", "Private", "Cached", "Stateful"])
def test_going_on_equals_never_stopping(world, interrupt, model, caplog):
    world(model, "straight")
    expected = contents(world.folder / "straight")
    assert expected["result.json"]["epochs"] == EPOCHS
    # in the middle of epoch 3: the lines of epochs 0 to 2 and their checkpoint are there
    got = stop_and_go_on(world, interrupt, model, Trainer, "step", 3 * BATCHES + 2)
    assert "going on at epoch 4" in caplog.text
    assert got == expected


PLACES = [
    (Trainer, "step", 1),  # before there is a checkpoint
    (Trainer, "_validate", 2),
    (Trainer, "_checkpoint", 3),  # the line of the epoch is written, its checkpoint is not
    (checkpoint, "save", 4),
    (Trainer, "_finish", 1),  # after the last epoch
    (Trainer, "evaluate", EPOCHS),
]


@pytest.mark.parametrize(("owner", "name", "n"), PLACES, ids=[f"{p[1]}-{p[2]}" for p in PLACES])
def test_wherever_it_was_stopped(world, interrupt, owner, name, n):
    world("Moving", "straight")
    expected = contents(world.folder / "straight")
    assert stop_and_go_on(world, interrupt, "Moving", owner, name, n) == expected


def test_stopped_twice(world, interrupt):
    world("Moving", "straight")
    interrupt(Trainer, "step", BATCHES + 1)
    with pytest.raises(KeyboardInterrupt):
        world("Moving", "stopped")
    interrupt(Trainer, "step", BATCHES + 2)
    with pytest.raises(KeyboardInterrupt):
        world("Moving", "stopped", resume=True)
    world("Moving", "stopped", resume=True)
    assert contents(world.folder / "stopped") == contents(world.folder / "straight")


def test_going_on_after_early_stopping_trains_no_further(world, interrupt):
    rules = {"epochs": 30, "stopping_step": 1, "patience_steps": 0}
    world("Noisy", "straight", **rules)
    expected = contents(world.folder / "straight")
    assert expected["result.json"]["epochs"] < 30
    got = stop_and_go_on(world, interrupt, "Noisy", Trainer, "_finish", 1, **rules)
    assert got == expected


def test_seldom_checkpoints_repeat_what_was_lost(world, interrupt, caplog):
    world("Moving", "straight")
    got = stop_and_go_on(
        world, interrupt, "Moving", Trainer, "step", 3 * BATCHES, checkpoint_seconds=1e6
    )
    assert "no checkpoint in" in caplog.text
    assert "starting at the first epoch" in caplog.text
    assert got == contents(world.folder / "straight")


def test_resume_without_an_earlier_run_starts(world, caplog):
    one = world("Noisy", "new", resume=True)
    assert "no checkpoint in" in caplog.text
    assert one.result["epochs"] == EPOCHS


def test_without_resume_it_starts_afresh(world, interrupt, caplog):
    world("Moving", "straight")
    interrupt(Trainer, "step", 3 * BATCHES + 2)
    with pytest.raises(KeyboardInterrupt):
        world("Moving", "stopped")
    world("Moving", "stopped")
    assert "--resume would have gone on" in caplog.text
    assert "going on at epoch" not in caplog.text
    assert contents(world.folder / "stopped") == contents(world.folder / "straight")


def test_a_finished_run_is_not_repeated(world):
    first = world("Noisy", "done")
    before = {path.name: path.stat().st_mtime_ns for path in first.folder.path.iterdir()}
    again = world("Noisy", "done")
    assert again.reused
    assert again.result == first.result
    assert {path.name: path.stat().st_mtime_ns for path in first.folder.path.iterdir()} == before


def test_what_no_checkpoint_holds_is_named(world, interrupt, caplog):
    straight = world("Hiding", "straight")
    assert (
        "no checkpoint holds noise: the test split is evaluated at each best epoch" in caplog.text
    )
    interrupt(Trainer, "step", 3 * BATCHES + 2)
    with pytest.raises(KeyboardInterrupt):
        world("Hiding", "stopped")
    with pytest.raises(
        RunError, match="cannot be resumed: Hiding keeps state .*, in noise; return"
    ):
        world("Hiding", "stopped", resume=True)
    assert (world.folder / "stopped" / "last.pt").is_file()  # nothing was lost by asking
    assert world("Hiding", "stopped").result["test"] == straight.result["test"]


def test_an_object_made_by_training_is_named(world, interrupt):
    interrupt(Trainer, "step", 3 * BATCHES + 2)
    with pytest.raises(KeyboardInterrupt):
        world("Late", "stopped")
    with pytest.raises(RunError, match="Late keeps state that no checkpoint holds, in late; "):
        world("Late", "stopped", resume=True)


def test_a_damaged_checkpoint_is_named(world, interrupt):
    interrupt(Trainer, "step", 3 * BATCHES + 2)
    with pytest.raises(KeyboardInterrupt):
        world("Noisy", "stopped")
    path = world.folder / "stopped" / "last.pt"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"last\.pt cannot be read .*; delete it to start afresh"):
        world("Noisy", "stopped", resume=True)
    path.unlink()
    assert world("Noisy", "stopped", resume=True).result["epochs"] == EPOCHS


def test_a_killed_process(world):
    world("Moving", "straight")
    script = """
        import json, os, signal, sys
        from common.trainer import Trainer
        from ld4mrec.search.train import run
        step, calls = Trainer.step, []

        def last_step(self, batch, index):
            calls.append(1)
            if len(calls) == 11:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(self, batch, index)

        Trainer.step = last_step
        run("Moving", "toy", json.loads(sys.argv[1]), plugin=sys.argv[2])
    """
    stopped = world.folder / "stopped"
    words = [json.dumps(world.settings("stopped")), str(world.plugin)]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *words],
        env=os.environ | {"PYTHONPATH": str(support.ROOT / "src")},
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert (stopped / "last.pt").is_file()
    assert not (stopped / "result.json").exists()
    world("Moving", "stopped", resume=True)
    assert contents(stopped) == contents(world.folder / "straight")


def test_a_run_that_diverged_says_so_and_why(world):
    with pytest.raises(DivergedError, match="not finite in epoch 1, batch 1"):
        world("Exploding", "run")
    reason = json.loads((world.folder / "run" / "failed.json").read_text())["reason"]
    assert "not finite in epoch 1, batch 1: parts [inf]" in reason
    with pytest.raises(RunError, match=r"all 2 runs of the grid failed; the first: .* not finite"):
        world("Exploding", "grid", seed=[1, 2])


def test_a_grid_goes_on_without_the_points_that_diverged(world, caplog):
    best = world("Blind", "grid", seed=[1, 2])
    assert best.result["seed"] == 2
    assert "Blind scores are NaN" in caplog.text
    reasons = [json.loads(p.read_text()) for p in (world.folder / "grid").glob("*/failed.json")]
    assert len(reasons) == 1
    caplog.clear()
    world("Blind", "grid", seed=[1, 2])
    assert "failed earlier" in caplog.text  # and is not trained again
    assert "epoch 1 |" not in caplog.text


def test_a_grid_goes_on_without_a_point_too_large_for_the_gpu(world, caplog):
    best = world("Hungry", "grid", seed=[1, 2])
    assert best.result["seed"] == 2
    assert "the GPU's memory is too small for Hungry" in caplog.text
    assert len([p for p in (world.folder / "grid").iterdir() if (p / "config.yaml").exists()]) == 1


def test_tensors_that_share_memory_go_on_sharing(world, interrupt):
    world("Sharing", "straight")
    got = stop_and_go_on(world, interrupt, "Sharing", Trainer, "step", 3 * BATCHES + 1)
    assert got == contents(world.folder / "straight")


@pytest.mark.parametrize("name", ["Hiding", "Lazy"])
def test_a_killed_grid_starts_afresh_what_cannot_go_on(world, interrupt, caplog, name):
    straight = world(name, "straight", seed=[1, 2])
    interrupt(Trainer, "step", 3 * BATCHES)
    with pytest.raises(KeyboardInterrupt):
        world(name, "stopped", seed=[1, 2])
    again = world(name, "stopped", seed=[1, 2])
    assert "starting afresh: " in caplog.text
    assert again.result["test"] == straight.result["test"]


def test_a_plugin_without_a_cache_folder_leaves_nothing_behind(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    world("Noisy", "run", cache_dir=None)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "run"])
    assert not (tmp_path.parent / "cache").exists()


def test_a_plugin_does_without_a_cache_folder_that_cannot_be_used(world, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    assert world("Noisy", "run", cache_dir=str(tmp_path / "file")).result
    assert "cache_dir cannot be used" in caplog.text


def test_a_run_that_another_process_trains_is_waited_for(world, monkeypatch, caplog):
    folder = world("Noisy", "run").folder
    (folder.path / "result.json").unlink()
    caplog.set_level("INFO")
    tries, lock = [], RunFolder.lock

    def held_once(self, timeout):
        tries.append(timeout)
        return len(tries) > 1 and lock(self, timeout)

    monkeypatch.setattr(RunFolder, "lock", held_once)
    assert world("Noisy", "run").result
    assert tries == [0, -1]  # the second waits as long as it takes
    assert f"another process is training this run in {folder.path}; waiting" in caplog.text
