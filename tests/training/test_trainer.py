import json
import math
import re
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from common.abstract_recommender import GeneralRecommender
from ld4mrec.data.batches import EvalDataLoader, TrainDataLoader
from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import ConfigError, RunError
from ld4mrec.runs.folder import RunFolder
from ld4mrec.search.train import run
from ld4mrec.training import checkpoint
from ld4mrec.training.randomness import init_seed
from ld4mrec.training.trainer import AbstractTrainer, NonFiniteLossError, Trainer, build_optimizer
from support import TEST, VALID, config_for

GOOD = torch.zeros(5, 7)  # scores that put the user's validation and test items first
for _user, _item in VALID + TEST:
    GOOD[_user, _item] = 1.0
COMMON = {
    "req_training": True,
    "is_multimodal_model": False,
    "epochs": 4,
    "train_batch_size": 100,  # the 11 rows of the toy world in one batch
    "learner": "sgd",
    "learning_rate": 1.0,
    "valid_metric": "recall@2",
    "patience_steps": 0,  # a step an epoch: evaluations alone
}


def world(folder, **overrides):
    """(configuration, the three loaders); the training rows come in file order."""
    config = config_for(folder, **(COMMON | overrides))
    config.ours = False  # as for a third party's model, which may change what it likes
    train, valid, test = RecDataset(config).split()
    loaders = (
        TrainDataLoader(config, train, batch_size=config["train_batch_size"], shuffle=False),
        EvalDataLoader(config, valid, train, batch_size=2),
        EvalDataLoader(config, test, train, batch_size=2),
    )
    return config, loaders


def train(folder, model_class, mg=False, run_folder=None, more=None, **overrides):
    """(trainer after fit, what fit returned). more: configuration values beyond the type checks."""
    config, loaders = world(folder, **overrides)
    for key, value in (more or {}).items():
        config[key] = value
    trainer = Trainer(config, model_class(config, loaders[0]), mg=mg, folder=run_folder)
    return trainer, trainer.fit(*loaders)


def folder_at(path):
    path.mkdir()
    return RunFolder(path, {"config": {"seed": 1}})


class Counting(GeneralRecommender):
    """Its weight counts the optimiser's steps (SGD, rate 1); its scores are always wrong."""

    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        self.weight = nn.Parameter(torch.zeros(1))

    def calculate_loss(self, interaction):
        return -self.weight.sum()

    def full_sort_predict(self, interaction):
        return -GOOD[interaction[0]]


class Square(Counting):
    """(weight - 3)^2."""

    def calculate_loss(self, interaction):
        return (self.weight - 3).square().sum()


# --- patience and selection -----------------------------------------------------------------


def scripted(folder, values, run_folder=None, **overrides):
    """A trainer after fit whose validation metric takes these values, one per evaluation."""
    config, loaders = world(folder, epochs=len(values), **overrides)
    trainer = Trainer(config, Counting(config, loaders[0]), folder=run_folder)
    left = iter(values)
    trainer.evaluate = lambda data: {trainer.valid_metric: next(left)}
    trainer.fit(*loaders)
    return trainer


@pytest.mark.parametrize(
    ("values", "patience", "best", "epochs"),
    [
        ([0.5, 0.4, 0.4, 0.4, 0.4, 0.9], 3, 0, 5),
        ([0.5, 0.5, 0.5, 0.9], 1, 0, 3),  # a tie is no improvement
        ([0.1, 0.0, 0.2, 0.0, 0.3, 0.0, 0.0, 0.9], 1, 4, 7),
        ([0.1, 0.2, 0.3], 0, 2, 3),
        ([0.5, 0.4, 0.9], 0, 0, 2),
        ([0.5, 0.500001, 0.500002, 0.5], 0, 2, 4),  # equal when rounded to four decimals
        ([0.0, 0.0, 0.1], 5, 2, 3),
    ],
)
def test_patience(toy, values, patience, best, epochs):
    trainer = scripted(toy, values, stopping_step=patience)
    assert (trainer.best_epoch, trainer.next_epoch) == (best, epochs)
    assert trainer.patience.best == values[best]
    assert trainer.best_valid == {"recall@2": values[best]}
    assert trainer.model.weight.item() == best + 1  # one step per epoch; the best one's weights


@pytest.mark.parametrize(
    ("keys", "warns"),
    [
        ({"stopping_step": 20, "epochs": 30}, True),  # 22 evaluations of one batch each
        ({"stopping_step": 27, "epochs": 30}, True),
        ({"stopping_step": 28, "epochs": 30}, False),  # patience cannot end it
        ({"stopping_step": 20, "epochs": 200, "eval_step": 5}, False),  # 110 steps
        ({"stopping_step": 4, "epochs": 30, "train_batch_size": 1}, True),  # 6 x 11
        ({"stopping_step": 10, "epochs": 30, "train_batch_size": 1}, False),  # 12 x 11
        ({"stopping_step": 20, "epochs": 30, "req_training": False}, False),
        ({"stopping_step": 20, "epochs": 99, "patience_steps": 80}, True),
        ({"stopping_step": 20, "epochs": 200, "patience_steps": 100}, False),
    ],
)
def test_a_patience_of_few_steps_is_said(toy, caplog, keys, warns):
    train(toy, Counting, **keys)
    found = [r.getMessage() for r in caplog.records if "a smaller train_batch_size" in r.msg]
    assert len(found) == warns
    for text in found:
        n_batches, epochs, steps = map(int, re.findall(r"\d+", text)[:3])
        assert n_batches * epochs == steps < 100


def test_patience_waits_for_steps_too(toy):
    values = [0.5, *[0.4] * 30, 0.9]
    assert scripted(toy, values, stopping_step=3, patience_steps=20).next_epoch == 20
    late = [0.1] * 16 + values  # a third of the steps since the best, at epoch 16
    assert scripted(toy, late, stopping_step=3, patience_steps=20).next_epoch == 24
    often = scripted(toy, values, stopping_step=3, patience_steps=20, train_batch_size=1)
    assert often.next_epoch == 5  # of 11 steps
    untrained = scripted(toy, values, stopping_step=3, patience_steps=20, req_training=False)
    assert untrained.next_epoch == 5


PEAK = 3


class Peaking(Counting):
    """Perfect after its third step, wrong before and afterwards."""

    def score(self, users, weight):
        return GOOD[users] * (1 - 2 * (weight - PEAK).abs().clamp(max=1))

    def full_sort_predict(self, interaction):
        return self.score(interaction[0], self.weight.detach())


class CachedPeaking(Peaking):
    """Scores from a tensor attribute that training leaves, in a submodule."""

    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        self.part = nn.Module()

    def calculate_loss(self, interaction):
        self.part.result = self.weight.detach().clone()
        return super().calculate_loss(interaction)

    def full_sort_predict(self, interaction):
        return self.score(interaction[0], self.part.result)


class BufferPeaking(CachedPeaking):
    """Scores from a non-persistent buffer and a Python number."""

    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        self.register_buffer("steps", torch.zeros(1), persistent=False)
        self.half = 0.0

    def calculate_loss(self, interaction):
        self.steps += 0.5
        self.half += 0.5
        return -self.weight.sum()

    def full_sort_predict(self, interaction):
        return self.score(interaction[0], self.steps + self.half)


class HiddenPeaking(Peaking):
    """Scores from state that no checkpoint holds."""

    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        self.hidden = [iter("ab"), 0]

    def calculate_loss(self, interaction):
        self.hidden[1] += 1
        return super().calculate_loss(interaction)

    def full_sort_predict(self, interaction):
        return self.score(interaction[0], torch.tensor(self.hidden[1]))


PEAKS = [(Peaking, 2), (CachedPeaking, 3), (BufferPeaking, 2), (HiddenPeaking, 2)]


@pytest.mark.parametrize(("model", "best"), PEAKS, ids=lambda x: getattr(x, "__name__", str(x)))
@pytest.mark.parametrize("saved", [True, False], ids=["folder", "no folder"])
def test_test_numbers_are_those_of_the_best_epoch(toy, tmp_path, caplog, model, best, saved):
    run_folder = folder_at(tmp_path / "run") if saved else None
    trainer, (score, valid, test) = train(toy, model, run_folder=run_folder, epochs=6)
    assert trainer.best_epoch == best
    assert score == valid["recall@2"] == 1.0
    assert test == trainer.test.metrics
    assert test["recall@2"] == 1.0  # any other epoch's would be 0
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    named = ["no checkpoint holds hidden: the test split is evaluated at each best epoch"]
    assert warnings == (named if model is HiddenPeaking else [])
    if saved:
        kept = checkpoint.load(run_folder.path / "best.pt")
        assert kept["epoch"] == best
        assert kept["model"]["state_dict"]["weight"].item() == best + 1


class Unloading(Peaking):
    """Keeps unsavable state in its first epoch only: what was tested then must not stay."""

    def pre_epoch_processing(self):
        self.loader = object() if self.weight == 0 else None

    def full_sort_predict(self, interaction):
        return super().full_sort_predict(interaction)


def test_an_early_test_does_not_outlive_its_epoch(toy):
    trainer, (_, _, test) = train(toy, Unloading, epochs=4)
    assert trainer.best_epoch == PEAK - 1
    assert test["recall@2"] == 1.0


def test_what_fit_returns(toy):
    trainer, (score, valid, test) = train(toy, Peaking)
    assert score == valid["recall@2"]
    keys = [f"{metric}@{k}" for metric in ("recall", "ndcg", "precision", "map") for k in (1, 2, 5)]
    assert list(valid) == list(test) == keys
    assert valid is trainer.best_valid
    assert trainer.seconds.keys() == {"train", "valid", "test"}


def test_fit_without_validation_trains_all_epochs(toy, tmp_path):
    config, loaders = world(toy)
    trainer = Trainer(config, Counting(config, loaders[0]), folder=folder_at(tmp_path / "run"))
    assert trainer.fit(loaders[0]) == (None, {}, {})
    assert trainer.model.weight.item() == trainer.next_epoch == 4
    assert (tmp_path / "run" / "last.pt").is_file()


def test_fit_without_test_split(toy):
    config, loaders = world(toy)
    trainer = Trainer(config, Peaking(config, loaders[0]))
    assert trainer.fit(*loaders[:2])[2] == {}
    assert trainer.model.weight.item() == PEAK  # the best weights are back all the same


def test_evaluate_gives_the_metrics_of_the_model_as_it_is(toy):
    config, loaders = world(toy)
    model = Peaking(config, loaders[0])
    trainer = Trainer(config, model)
    assert trainer.evaluate(loaders[1])["recall@2"] == 0
    model.weight.data += PEAK
    assert trainer.evaluate(loaders[1])["recall@2"] == 1


def test_the_interface_of_a_trainer():
    trainer = AbstractTrainer({}, None)
    for method in (trainer.fit, trainer.evaluate):
        with pytest.raises(NotImplementedError):
            method(None)


# --- steps ----------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [[0.96, 50], [1.0, 50], [0.5, 1], [1.1, 3]])
def test_the_schedule(toy, schedule):
    config, loaders = world(toy, learning_rate=0.3, learning_rate_scheduler=schedule)
    model, rates = Counting(config, loaders[0]), []
    trainer = Trainer(config, model)
    (group,) = trainer.optimizer.param_groups
    model.pre_epoch_processing = lambda: rates.append(group["lr"])
    trainer.fit(*loaders)
    a, b = schedule
    assert rates == [0.3 * a ** (epoch / b) for epoch in range(4)]
    assert group["lr"] == 0.3 * a ** (4 / b)


class Steep(Counting):
    def calculate_loss(self, interaction):
        return 10 * self.weight.sum()


def weight_after(toy, model, epochs=1, **options):
    """The weight after the last epoch, whichever was best."""
    config, loaders = world(toy, epochs=epochs, **options.pop("config", {}))
    config.final_config_dict.update(options)
    trainer = Trainer(config, model(config, loaders[0]))
    trainer.fit(loaders[0])
    return trainer.model.weight.item()


def test_clipping(toy):
    assert weight_after(toy, Steep) == -10
    assert weight_after(toy, Steep, clip_grad_norm={"max_norm": 2.0}) == pytest.approx(-2)
    assert weight_after(toy, Steep, clip_grad_norm={"max_norm": 20.0, "norm_type": 1}) == -10
    assert weight_after(toy, Steep, clip_grad_norm={}) == -10


class Resting(Counting):
    """No gradient of its own; starts at 1."""

    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        self.weight.data += 1

    def calculate_loss(self, interaction):
        return 0 * self.weight.sum()


@pytest.mark.parametrize("decay", [0.25, "0.25", "2.5e-1"])
def test_weight_decay(toy, decay):
    assert weight_after(toy, Resting, epochs=2, weight_decay=decay) == (1 - 0.25) ** 2


@pytest.mark.parametrize("decay", [None, 0, 0.0, "", "0"])
def test_no_weight_decay(toy, decay):
    assert weight_after(toy, Resting, epochs=2, weight_decay=decay) == 1


def test_weight_decay_is_coupled(toy):
    """Adam divides what was added to the gradient: the step is the rate, not rate * decay."""
    options = {"config": {"learner": "adam", "learning_rate": 0.01}, "weight_decay": 1e-3}
    assert weight_after(toy, Resting, **options) == pytest.approx(0.99, abs=1e-6)


@pytest.mark.parametrize("decay", ["much", "__import__('os')", [0.1]])
def test_weight_decay_that_is_no_number(toy, decay):
    with pytest.raises(ConfigError, match=r"weight_decay is .*; wanted a number"):
        weight_after(toy, Resting, weight_decay=decay)


LEARNERS = [("Adam", True), ("sgd", True), ("ADAGRAD", True), ("rmsprop", False)]


@pytest.mark.parametrize(("learner", "fused"), LEARNERS)
def test_every_learner_learns(toy, tmp_path, learner, fused):
    run_folder = folder_at(tmp_path / "run")
    overrides = {"learner": learner, "learning_rate": 0.05, "epochs": 30, "stopping_step": 30}
    trainer, _ = train(toy, Square, run_folder=run_folder, **overrides)
    losses = [line["loss"][0] for line in metrics_of(run_folder)]
    assert losses[0] == 9
    assert losses[-1] < 0.8 * losses[0]
    assert losses == sorted(losses, reverse=True)
    assert type(trainer.optimizer).__name__.lower() == learner.lower()
    assert bool(trainer.optimizer.param_groups[0].get("fused")) == fused


class Sparse(Counting):
    """An embedding with sparse gradients, which torch's fused steps refuse."""

    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        self.items = nn.Embedding(self.n_items, 2, sparse=True)

    def calculate_loss(self, interaction):
        return (self.items(interaction[1]) - 1).square().mean()


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("learner", ["sgd", "adagrad"])
def test_sparse_gradients(toy, tmp_path, learner):
    run_folder = folder_at(tmp_path / "run")
    train(toy, Sparse, run_folder=run_folder, learner=learner, learning_rate=0.1)
    losses = [line["loss"][0] for line in metrics_of(run_folder)]
    assert losses[-1] < losses[0]


def test_an_unknown_learner(toy):
    config, loaders = world(toy)
    config["learner"] = "lion"
    with pytest.raises(ConfigError, match="learner is 'lion'; wanted one of adam, sgd, adagrad"):
        build_optimizer(config, Counting(config, loaders[0]))


class Bare(GeneralRecommender):
    pass


def test_nothing_to_train(toy):
    with pytest.raises(ConfigError, match="Bare has no parameter to train; set req_training: Fal"):
        train(toy, Bare)


# --- mirror gradient ------------------------------------------------------------------------


class Mirrored(Counting):
    """s * weight^2 / 2 with s the sum of the batch's users; notes and then spoils its batches."""

    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        self.weight.data += 2
        self.got = []

    def calculate_loss(self, interaction):
        self.got.append(interaction.tolist())
        s = interaction[0].sum().item()
        interaction += 100
        return s * self.weight.square().sum() / 2


MIRROR = {"alpha1": 0.5, "alpha2": 0.25, "beta": 2}


def test_mirror_gradient_by_hand(toy, tmp_path):
    rate, clip, s = 0.1, 0.75, 18  # users 0 0 0 1 1 2 2 2 3 3 4
    # first step: 0.5 * 18 * 2 = 18, unclipped; second: -0.25 * 18 * 0.2 = -0.9, clipped to -0.75
    first = 2 - rate * 0.5 * s * 2
    second = first + rate * clip
    run_folder = folder_at(tmp_path / "run")
    more = MIRROR | {"clip_grad_norm": {"max_norm": clip}}
    overrides = {"epochs": 1, "learning_rate": rate}
    trainer, _ = train(toy, Mirrored, mg=True, run_folder=run_folder, more=more, **overrides)
    assert first == pytest.approx(0.2)
    assert trainer.model.weight.item() == pytest.approx(second, rel=1e-5)
    assert metrics_of(run_folder)[0]["loss"] == [s * 2**2 / 2]  # the first call's, unweighted
    one, other = trainer.model.got
    assert one == other  # the second call got a batch that the model had not written into


def test_mirror_gradient_without_clipping(toy):
    more = MIRROR | {"beta": 1}
    trainer, _ = train(toy, Mirrored, mg=True, more=more, epochs=1, learning_rate=0.01)
    first = 2 - 0.01 * 0.5 * 18 * 2
    assert trainer.model.weight.item() == pytest.approx(first + 0.01 * 0.25 * 18 * first, rel=1e-5)


@pytest.mark.parametrize(("beta", "calls"), [(1, 8), (2, 6), (3, 6), (4, 5), (9, 5)])
def test_every_beta_th_batch_is_mirrored(toy, beta, calls):
    more = MIRROR | {"beta": beta}
    overrides = {"train_batch_size": 3, "epochs": 1, "learning_rate": 1e-4}
    trainer, _ = train(toy, Mirrored, mg=True, more=more, **overrides)
    got = trainer.model.got
    assert len(got) == calls
    twice = [i for i in range(4) if i % beta == 0]
    distinct = [batch for i, batch in enumerate(got) if i == 0 or batch != got[i - 1]]
    assert len(distinct) == 4
    assert [i for i, batch in enumerate(distinct) if got.count(batch) == 2] == twice


def test_without_mg_nothing_is_mirrored(toy):
    trainer, _ = train(toy, Mirrored, more=MIRROR, train_batch_size=3, epochs=1, learning_rate=1e-4)
    assert len(trainer.model.got) == 4


# --- losses ---------------------------------------------------------------------------------


def returning(make):
    """A model whose loss is made from its weight."""

    class Returning(Counting):
        def calculate_loss(self, interaction):
            return make(self.weight)

    return Returning


def test_tuple_losses_are_summed_and_logged_as_parts(toy, tmp_path, caplog):
    caplog.set_level("INFO")
    model = returning(lambda w: (2 * w.sum() + 3, w, w.sum().reshape(1, 1) + 0.5))
    run_folder = folder_at(tmp_path / "run")
    trainer, _ = train(toy, model, run_folder=run_folder, epochs=2)
    assert [line["loss"] for line in metrics_of(run_folder)] == [[3, 0, 0.5], [-5, -4, -3.5]]
    assert "epoch 2 | loss -12.5 (-5 + -4 + -3.5) | validation" in caplog.text
    assert trainer.optimizer.param_groups[0]["params"][0].grad.item() == 4


def test_the_logged_loss_is_the_mean_over_batches(toy, tmp_path):
    run_folder = folder_at(tmp_path / "run")
    train(toy, Counting, run_folder=run_folder, epochs=1, train_batch_size=3)
    assert metrics_of(run_folder)[0]["loss"] == [np.mean([0, -1, -2, -3])]


def test_a_loss_of_one_element(toy):
    for make in (lambda w: -w, lambda w: -w.reshape(1, 1), lambda w: -w.sum(), lambda w: (-w,)):
        assert weight_after(toy, returning(make)) == 1


@pytest.mark.parametrize(
    ("make", "got"),
    [
        (lambda w: [w.sum(), w.sum()], "returned list;"),
        (lambda w: "0.5", "returned str;"),
        (lambda w: 0.5, "returned float;"),
        (lambda w: None, "returned NoneType;"),
        (lambda w: w.expand(3), r"returned \(3,\);"),
        (lambda w: (w, w.expand(3)), r"returned \[\(1,\), \(3,\)\];"),
        (lambda w: (w, 0.5), r"returned \[\(1,\), 'float'\];"),
        (lambda w: w[:0], r"returned \(0,\);"),
    ],
)
def test_what_is_no_loss(toy, make, got):
    with pytest.raises(RunError, match=rf"Returning\.calculate_loss {got} wanted a tensor with"):
        train(toy, returning(make))


def test_loss_tuples_may_differ_in_length(toy, tmp_path):
    class Growing(Counting):
        calls = 0

        def calculate_loss(self, interaction):
            self.calls += 1
            return (self.weight.sum() * 0 + 2.0,) * (1 + self.calls % 2)

    run_folder = folder_at(tmp_path / "run")
    train(toy, Growing, run_folder=run_folder, epochs=1, train_batch_size=3)
    assert metrics_of(run_folder)[0]["loss"] == [2]  # the parts that every batch has


def test_an_empty_tuple_is_no_loss(toy):
    with pytest.raises(RunError, match=r"calculate_loss returned \[\]; wanted"):
        train(toy, returning(lambda w: ()))


@pytest.mark.parametrize(("value", "shown"), [(math.nan, "nan"), (math.inf, "inf")])
def test_a_loss_that_is_not_finite_stops_the_run(toy, value, shown):
    def make(weight):
        steps = round(weight.item() / 2)  # two parts of gradient 1 each
        return -weight.sum(), -weight.sum() * (value if steps == 5 else 1)

    with pytest.raises(
        NonFiniteLossError,
        match=rf"not finite in epoch 2, batch 2: parts \[-10.0, -?{shown}\]; lower learning_rate",
    ):
        train(toy, returning(make), train_batch_size=3)  # four batches per epoch


# --- hooks ----------------------------------------------------------------------------------


def recording():
    """(a model class that notes each call and the mode it came in, its notes)."""
    calls = []  # outside the model, whose attributes go back to the best epoch's

    class Recording(Counting):
        def note(self, name):
            mode = "train" if self.training else "eval"
            calls.append((name, mode, torch.is_grad_enabled()))

        def pre_epoch_processing(self):
            self.note("pre")

        def calculate_loss(self, interaction):
            self.note("loss")
            return super().calculate_loss(interaction)

        def post_epoch_processing(self):
            self.note("post")
            return f"note {len(calls)}"

        def full_sort_predict(self, interaction):
            self.note("score")
            return super().full_sort_predict(interaction)

    return Recording, calls


def test_hooks_order_and_modes(toy, caplog):
    caplog.set_level("INFO")
    model, calls = recording()
    train(toy, model, epochs=2, train_batch_size=6)
    # two batches; three validation users and then four test users in batches of two
    epoch = ["pre", "loss", "loss", "post", "score", "score"]
    assert [name for name, _, _ in calls] == [*epoch, *epoch, "score", "score"]
    assert set(calls) == {
        ("pre", "train", True),
        ("loss", "train", True),
        ("post", "train", True),
        ("score", "eval", False),
    }
    notes = [r.getMessage() for r in caplog.records if r.getMessage().startswith("note")]
    assert notes == ["note 4", "note 10"]


def test_a_post_hook_that_returns_nothing_logs_nothing(toy, caplog):
    caplog.set_level("INFO")
    train(toy, Counting, epochs=1)
    assert [r.getMessage().split(" |")[0] for r in caplog.records if "dataset" not in r.name] == [
        "epoch 1"
    ]


def test_falsy_notes_are_logged(toy, caplog):
    class Zero(Counting):
        def post_epoch_processing(self):
            return 0

    caplog.set_level("INFO")
    train(toy, Zero, epochs=1)
    assert "0" in [r.getMessage() for r in caplog.records]


def test_without_training(toy, tmp_path):
    run_folder, (model, calls) = folder_at(tmp_path / "run"), recording()
    overrides = {"req_training": False, "epochs": 2}
    trainer, (score, _, test) = train(toy, model, run_folder=run_folder, **overrides)
    assert trainer.optimizer is None
    epoch = ["pre", "post", "score", "score"]
    assert [name for name, _, _ in calls] == [*epoch, *epoch, "score", "score"]
    assert score == test["recall@2"] == 0
    assert [line["loss"] for line in metrics_of(run_folder)] == [[], []]
    assert (run_folder.path / "best.pt").is_file()
    assert not (run_folder.path / "last.pt").exists()


@pytest.mark.parametrize(
    ("step", "epochs", "evaluated"),
    [(1, 3, [0, 1, 2]), (2, 5, [1, 3]), (9, 3, [2]), (3, 3, [2])],
)
def test_validation_every_so_many_epochs(toy, tmp_path, step, epochs, evaluated):
    run_folder = folder_at(tmp_path / "run")
    trainer, _ = train(toy, Counting, run_folder=run_folder, eval_step=step, epochs=epochs)
    lines = metrics_of(run_folder)
    assert [line["epoch"] for line in lines] == list(range(epochs))
    assert [line["epoch"] for line in lines if "valid" in line] == evaluated
    assert trainer.best_epoch == evaluated[0]


def test_patience_counts_evaluations(toy, tmp_path):
    run_folder = folder_at(tmp_path / "run")
    train(toy, Counting, run_folder=run_folder, eval_step=2, epochs=20, stopping_step=1)
    assert len(metrics_of(run_folder)) == 6  # best at the first, two more bring nothing


# --- what is written ------------------------------------------------------------------------


def metrics_of(run_folder):
    text = (run_folder.path / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_metrics_lines(toy, tmp_path):
    run_folder = folder_at(tmp_path / "run")
    trainer, _ = train(toy, Peaking, run_folder=run_folder)
    lines = metrics_of(run_folder)
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
    assert [line["loss"] for line in lines] == [[0], [-1], [-2], [-3]]
    assert [line["valid"]["recall@2"] for line in lines] == [0, 0, 1, 0]
    assert lines[2]["valid"] == trainer.best_valid
    assert all(line.keys() == {"epoch", "loss", "valid", "crc32"} for line in lines)


def test_metrics_are_not_rounded(toy, tmp_path):
    class Third(Counting):
        def full_sort_predict(self, interaction):
            return GOOD[interaction[0]] * torch.where(interaction[0] == 0, 1, -1)[:, None]

    run_folder = folder_at(tmp_path / "run")
    _, returned = train(toy, Third, run_folder=run_folder)
    (written, *_) = metrics_of(run_folder)
    assert returned[0] == returned[1]["recall@2"] == written["valid"]["recall@2"] == 1 / 3


def test_no_file_without_a_folder(toy, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = sorted(tmp_path.rglob("*"))
    train(toy, Peaking, tensorboard=True, checkpoint_seconds=0)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("seconds", "written"), [(0, 4), (1e6, 1)])
def test_checkpoints_are_as_frequent_as_wanted(toy, tmp_path, monkeypatch, seconds, written):
    saved = []
    true = checkpoint.save

    def save(path, value):
        saved.append((path.name, value.get("next_epoch")))
        true(path, value)

    monkeypatch.setattr(checkpoint, "save", save)
    train(toy, Counting, run_folder=folder_at(tmp_path / "run"), checkpoint_seconds=seconds)
    epochs = [1, 2, 3, 4][-written:]  # the last one always
    assert saved == [*(("last.pt", epoch) for epoch in epochs), ("best.pt", None)]


def test_tensorboard_that_is_not_installed(toy, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match="tensorboard: True needs the package tensorboard: pip"):
        train(toy, Counting, run_folder=folder_at(tmp_path / "run"), tensorboard=True)


def test_tensorboard_gets_losses_and_metrics(toy, tmp_path, monkeypatch):
    got = []

    class Writer:
        def __init__(self, path):
            assert path == tmp_path / "run" / "tensorboard"

        def add_scalar(self, name, value, epoch):
            got.append((name, value, epoch))

        def close(self):
            got.append("closed")

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, module.__name__, module)
    train(toy, Peaking, run_folder=folder_at(tmp_path / "run"), tensorboard=True)
    assert {("loss/0", -1.0, 1), ("recall@2", 1.0, 2), ("ndcg@1", 0.0, 3)} <= set(got)
    assert got[-1] == "closed"


def test_a_cut_off_beyond_the_catalogue_is_refused_before_anything_is_written(toy, tmp_path):
    settings = {"data_path": f"{toy.parent}/", "run_dir": str(tmp_path / "run"), "threads": 1}
    settings |= {"topk": [1, 8], "valid_metric": "recall@8"}
    with pytest.raises(ConfigError, match="topk has 8, but there are only 7 items; lower it"):
        run("Pop", "toy", settings)
    assert not (tmp_path / "run").exists()
    settings |= {"topk": [1, 7], "valid_metric": "recall@7"}
    (finished,) = run("Pop", "toy", settings)
    assert finished.result["valid"]["recall@7"] == 1  # everything is shown


# --- all of it ------------------------------------------------------------------------------


class Factors(GeneralRecommender):
    def __init__(self, config, dataloader):
        super().__init__(config, dataloader)
        self.users = nn.Embedding(self.n_users, 16)
        self.items = nn.Embedding(self.n_items, 16)
        nn.init.normal_(self.users.weight, std=0.1)
        nn.init.normal_(self.items.weight, std=0.1)

    def calculate_loss(self, interaction):
        users, positive, negative = interaction
        u = self.users(users)
        gain = (u * (self.items(positive) - self.items(negative))).sum(-1)
        return -nn.functional.logsigmoid(gain).mean()

    def full_sort_predict(self, interaction):
        return self.users(interaction[0]) @ self.items.weight.T


@pytest.mark.parametrize("mg", [False, True])
def test_it_learns(blocks, mg):
    """Four kinds of items: a user likes 10 of 40, 5 of them in training; chance Recall@5 is 1/7."""
    init_seed(0)
    overrides = {"learner": "adam", "learning_rate": 0.03, "epochs": 25, "train_batch_size": 64}
    overrides |= {"use_neg_sampling": True, "valid_metric": "recall@5", "stopping_step": 25}
    trainer, (_, _, test) = train(blocks, Factors, mg=mg, more=MIRROR, **overrides)
    assert test["recall@5"] > 0.5
    assert trainer.best_epoch > 0
