"""Training: epochs, early stopping on validation, the best weights back before the test numbers."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adagrad, Adam, Optimizer, RMSprop

from ld4mrec.config.configuration import Config
from ld4mrec.config.schema import LEARNERS
from ld4mrec.errors import (
    ConfigError,
    DamagedError,
    DivergedError,
    RunError,
    UnresumableError,
    UserError,
    counted,
)
from ld4mrec.evaluation.evaluator import TopKEvaluator
from ld4mrec.progress import progress
from ld4mrec.training import checkpoint, randomness
from ld4mrec.training.patience import FEW_STEPS, Patience, fewest_epochs, least_steps

OPTIMIZERS = dict(zip(LEARNERS, (Adam, SGD, Adagrad, RMSprop), strict=True))
FUSED = {"adam": ("cpu", "cuda"), "sgd": ("cpu", "cuda"), "adagrad": ("cpu",)}  # kernels of torch


class NonFiniteLossError(DivergedError):
    """The training loss became NaN or infinite."""


class StoppedEarly(RunError):
    """Whoever asked for the training has stopped it; its checkpoint is there to go on from."""


class Epoch(NamedTuple):
    """What an epoch brought.

    epoch: counted from 0. loss: the mean over its batches of each part, [] where nothing is trained
    by gradient. valid: the validation metrics, {} where the epoch was not validated. best: the best
    value of valid_metric so far, at best_epoch; None before the first. seconds: it took.
    """

    epoch: int
    loss: list[float]
    valid: dict[str, float]
    best: float | None
    best_epoch: int | None
    seconds: float


class AbstractTrainer:
    """What MMRec calls a trainer: an object with `fit` and `evaluate`."""

    def __init__(self, config, model):
        self.config = config
        self.model = model

    def fit(self, train_data):
        raise NotImplementedError

    def evaluate(self, eval_data):
        raise NotImplementedError


class Trainer(AbstractTrainer):
    """Trains one model. mg: with mirror gradient. folder: the RunFolder for metrics and
    checkpoints, None for neither. on_epoch: called with the Epoch after each.

    After `fit`: next_epoch (how many were trained), steps (of the optimiser), best_epoch (counted
    from 0), best_valid (its validation metrics), test (its Evaluation on the test split), seconds
    per phase.
    """

    def __init__(
        self,
        config: Config,
        model: nn.Module,
        mg: bool = False,
        folder=None,
        on_epoch: Callable[[Epoch], object] | None = None,
    ):
        super().__init__(config, model)
        self.on_epoch = on_epoch
        self.logger = logging.getLogger(__name__)
        self.folder = folder
        self.mirror = [config["alpha1"], config["alpha2"], config["beta"]] if mg else None
        # a model of ours that is computed is the same after every epoch; a plugin's may not be
        once = not config["req_training"] and getattr(config, "ours", True)
        self.epochs = 1 if once else config["epochs"]
        self.eval_step = min(config["eval_step"], self.epochs)
        self.valid_metric = config["valid_metric"].lower()
        self.clip = config["clip_grad_norm"]
        self.evaluator = TopKEvaluator(config)
        self.optimizer = build_optimizer(config, model) if config["req_training"] else None
        groups = self.optimizer.param_groups if self.optimizer else []
        self.base_rates = [group["lr"] for group in groups]
        self.next_epoch = 0
        self.patience = Patience(config["stopping_step"], least_steps=least_steps(config))
        self.steps = 0  # of the optimiser, in all
        self.best_epoch, self.best_valid, self.best_model = None, {}, None
        self.unsaved = []  # attributes of the model that no checkpoint holds
        self._built = None if config.ours else checkpoint.as_built(model)
        self.test = None
        self.seconds = Counter()
        self._written = time.monotonic()
        self._warned = False
        self._tensorboard = _tensorboard(folder) if config["tensorboard"] and folder else None

    @property
    def is_over(self) -> bool:
        """Whether no further epoch will be trained."""
        return self.next_epoch >= self.epochs or self.patience.is_over

    def fit(
        self,
        train_data,
        valid_data=None,
        test_data=None,
        saved=False,
        verbose=True,
        resume=False,
        stop=None,
    ):
        """Train with early stopping, restore the best weights, evaluate the test split.

        resume: go on from the folder's last.pt. stop: called after each epoch but the last; a
        sentence from it ends the training there. saved, verbose: taken for MMRec's signature.
        Returns (best validation score, its metrics, the test metrics of that epoch's weights).
        Raises NonFiniteLossError naming epoch, batch and loss parts; StoppedEarly with the sentence
        of `stop`, once the epoch's checkpoint is written.
        """
        if resume:
            self._resume(train_data)
        elif valid_data is not None:
            self._warn_of_few_steps(len(train_data))
        while not self.is_over:
            epoch, started = self.next_epoch, time.monotonic()
            with self._timed("train"):
                losses = self._train_epoch(train_data, epoch)
                self._set_learning_rate(epoch + 1)
                note = self.model.post_epoch_processing()
            if note is not None:
                self.logger.info("%s", note)
            line = {"epoch": epoch, "loss": losses}
            if (epoch + 1) % self.eval_step == 0 and valid_data is not None:
                line["valid"] = self._validate(epoch, valid_data, test_data)
            seconds = time.monotonic() - started
            self._report(line, seconds)
            self.next_epoch = epoch + 1
            reason = stop() if stop and self.optimizer and not self.is_over else None
            self._checkpoint(train_data, due=bool(reason))
            if self.on_epoch:
                best = None if self.best_epoch is None else self.patience.best
                valid = dict(line.get("valid", {}))
                self.on_epoch(Epoch(epoch, losses, valid, best, self.best_epoch, seconds))
            if reason:
                raise StoppedEarly(reason)
        if self._tensorboard:
            self._tensorboard.close()
        if valid_data is None:
            return None, {}, {}
        return self.patience.best, self.best_valid, self._finish(test_data)

    def evaluate(self, eval_data, is_test=False, idx=0) -> dict[str, float]:
        """Metrics of the model as it is now on a split, {'recall@20': mean, ...}."""
        return self.evaluator.evaluate(self.model, eval_data).metrics

    def _train_epoch(self, train_data, epoch):
        """One epoch; the mean over its batches of each part of the loss, [] without training."""
        self.model.train()
        self.model.pre_epoch_processing()
        if self.optimizer is None:
            return []
        # reading a loss waits for the GPU
        check_every = 1 if self.config["device"].type == "cpu" else 50
        parts, checked, n_batches = [], 0, len(train_data)
        for index, batch in enumerate(progress(train_data, f"epoch {epoch + 1}", n_batches)):
            parts.append(self.step(batch, index))
            self.steps += 1
            if (index + 1) % check_every == 0 or index + 1 == n_batches:
                _check_finite(parts[checked:], epoch, checked)
                checked = len(parts)
        shared = min(map(len, parts))  # a model may return more parts in some batches
        return torch.stack([losses[:shared] for losses in parts]).double().mean(dim=0).tolist()

    def step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        """One optimiser step, or two with mirror gradient; the (first) loss's parts, (parts,)."""
        if self.mirror is None or index % self.mirror[2]:
            return self._descend(batch)
        alpha1, alpha2, _ = self.mirror
        again = batch.clone()  # before the model may write into it
        parts = self._descend(batch, alpha1, clip=False)
        self._descend(again, -alpha2)
        return parts

    def _descend(self, batch, weight=1.0, clip=True):
        self.optimizer.zero_grad()
        parts = _loss_parts(self.model.calculate_loss(batch), self.model)
        loss = sum(parts[1:], start=parts[0])
        values = torch.stack([part.detach() for part in parts])  # a part may be a view of a weight
        (loss if weight == 1.0 else weight * loss).backward()
        if clip and self.clip:
            clip_grad_norm_(self.model.parameters(), **self.clip)
        self.optimizer.step()
        return values

    def _set_learning_rate(self, epoch):
        """MMRec's schedule: the first rate times a ** (epoch / b)."""
        a, b = self.config["learning_rate_scheduler"]
        if self.optimizer is not None:
            for group, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
                group["lr"] = rate * a ** (epoch / b)

    def _validate(self, epoch, valid_data, test_data):
        """Validation metrics; keeps the model if they are the best so far."""
        with self._timed("valid"):
            metrics = self.evaluate(valid_data)
        steps = self.steps - self.patience.steps
        if self.patience.improves(metrics[self.valid_metric], steps):
            self.best_epoch, self.best_valid = epoch, metrics
            self.best_model, self.unsaved = self._snapshot()
            self.test = None
            if self.unsaved and test_data is not None:
                # what cannot be restored must be tested while the model is as it is at its best
                self._warn()
                with self._timed("test"):
                    self.test = self.evaluator.evaluate(self.model, test_data)
        return metrics

    def _finish(self, test_data):
        """Restore the best epoch's model and evaluate the test split."""
        checkpoint.restore(self.model, self.best_model, self._built)
        if self.folder:
            best = {"epoch": self.best_epoch, "model": self.best_model}
            checkpoint.save(self.folder.path / "best.pt", best)
        if test_data is not None and self.test is None:
            with self._timed("test"):
                self.test = self.evaluator.evaluate(self.model, test_data)
        return self.test.metrics if self.test else {}

    def _snapshot(self):
        return checkpoint.snapshot(self.model, not self.config.ours, self._built)

    def _checkpoint(self, train_data, due):
        if self.folder is None or self.optimizer is None:
            return
        due = due or self.is_over
        if not due and time.monotonic() - self._written < self.config["checkpoint_seconds"]:
            return
        with self._timed("checkpoint"):
            model = self.best_model
            if self.best_epoch != self.next_epoch - 1:
                model, self.unsaved = self._snapshot()
            state = {
                "next_epoch": self.next_epoch,
                "model": model,
                "unsaved": self.unsaved,
                "best": [self.best_epoch, self.best_valid, self.best_model],
                "patience": self.patience.state(),
                "steps": self.steps,
                "optimizer": self.optimizer.state_dict(),
                "base_rates": self.base_rates,
                "random": randomness.capture_rng_state(),
                "loader": train_data.state(),
                "seconds": dict(self.seconds),
            }
            checkpoint.save(self.folder.path / "last.pt", state)
        self._written = time.monotonic()

    def _resume(self, train_data):
        path = self.folder.path / "last.pt"
        saved = checkpoint.load(path)
        if isinstance(saved, dict) and saved.get("unsaved"):
            raise UnresumableError(
                f"{path} cannot be resumed: {type(self.model).__name__} keeps state that no "
                f"checkpoint holds, in {', '.join(saved['unsaved'])}; return it from "
                "get_extra_state() as tensors, numbers and containers, or run again without "
                "--resume"
            )
        try:
            self._take(saved, path, train_data)
        except UserError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise DamagedError(
                f"{path} holds no checkpoint of this run ({error!r}); delete it to start afresh"
            ) from error
        self.logger.info("going on at epoch %d", self.next_epoch + 1)

    def _take(self, saved, path, train_data):
        """Put back what `_checkpoint` saved."""
        try:
            checkpoint.restore(self.model, saved["model"])
        except RunError as error:
            raise UnresumableError(f"{path}: {error}") from error
        self.optimizer.load_state_dict(saved["optimizer"])
        self.base_rates = saved["base_rates"]
        self.next_epoch = saved["next_epoch"]
        self.best_epoch, self.best_valid, self.best_model = saved["best"]
        self.patience.load(saved["patience"])
        self.steps = saved["steps"]
        self.seconds = Counter(saved["seconds"])
        self.folder.keep_metrics(up_to_epoch=self.next_epoch - 1)
        train_data.load_state(saved["loader"])
        randomness.restore_rng_state(saved["random"])

    def _report(self, line, seconds):
        if self.folder:
            self.folder.append_metrics(line)
        losses, valid = line["loss"], line.get("valid", {})
        text = f"epoch {line['epoch'] + 1}"
        if losses:
            text += f" | loss {sum(losses):.5g}"
        short = text  # for a narrow terminal
        text += f" ({' + '.join(f'{loss:.5g}' for loss in losses)})" * (len(losses) > 1)
        if valid:
            keys = dict.fromkeys((self.valid_metric, "recall@10", "ndcg@20"))
            values = [f"{key} {valid[key]:.4f}" for key in keys if key in valid]
            best = f" | best {self.patience.best:.4f} at {self.best_epoch + 1}"
            text += f" | validation {' '.join(values)}{best}"
            short += f" | {values[0]}{best}"
        short += f" | {seconds:.1f} s"
        self.logger.info("%s | %.1f s", text, seconds, extra={"short": short})
        if self._tensorboard:
            named = {f"loss/{part}": loss for part, loss in enumerate(losses)} | valid
            for name, value in named.items():
                self._tensorboard.add_scalar(name, value, line["epoch"])

    def _warn_of_few_steps(self, n_batches):
        """Say so where patience may end before much is learned."""
        epochs = fewest_epochs(self.config, n_batches)
        steps = epochs * n_batches
        if self.optimizer and epochs < self.epochs and steps < FEW_STEPS:
            self.logger.warning(
                "an epoch is %s, and patience may end training after %s: %s of the optimiser; a "
                "smaller train_batch_size (now %d) or a longer patience "
                "(patience_steps, now %d, stopping_step, now %d) gives it more",
                *(
                    counted(n_batches, "batch", "batches"),
                    counted(epochs, "epoch"),
                    counted(steps, "step"),
                ),
                self.config["train_batch_size"],
                *(self.config["patience_steps"], self.config["stopping_step"]),
            )

    def _warn(self):
        if not self._warned:
            self.logger.warning(
                "no checkpoint holds %s: the test split is evaluated at each best epoch",
                ", ".join(self.unsaved),
            )
        self._warned = True

    @contextmanager
    def _timed(self, phase):
        started = time.monotonic()
        yield
        self.seconds[phase] += time.monotonic() - started


def build_optimizer(config: Config, model: nn.Module) -> Optimizer:
    """The optimiser config['learner'] over all parameters, fused where torch offers it.

    weight_decay is coupled: added to the gradient. Raises ConfigError for another learner or no
    parameter.
    """
    learner, parameters = config["learner"].lower(), list(model.parameters())
    if learner not in OPTIMIZERS:
        raise ConfigError(f"learner is '{config['learner']}'; wanted one of {', '.join(LEARNERS)}")
    if not parameters:
        raise ConfigError(
            f"{type(model).__name__} has no parameter to train; set req_training: False in its yaml"
        )
    try:
        decay = float(config["weight_decay"] or 0)  # MMRec's yamls may hold it as text
    except (TypeError, ValueError) as error:
        raise ConfigError(f"weight_decay is {config['weight_decay']!r}; wanted a number") from error
    devices = FUSED.get(learner, ())
    plain = all(p.is_floating_point() and p.device.type in devices for p in parameters)
    sparse = any(getattr(module, "sparse", False) for module in model.modules())  # nn.Embedding's
    fused = {"fused": True} if plain and not sparse else {}
    return OPTIMIZERS[learner](parameters, lr=config["learning_rate"], weight_decay=decay, **fused)


def _loss_parts(loss, model):
    """The loss as a list of 0-d tensors; RunError if calculate_loss returned something else."""
    parts = loss if isinstance(loss, tuple) else (loss,)
    tensors = [isinstance(part, torch.Tensor) for part in parts]
    if not parts or not all(tensors) or any(part.numel() != 1 for part in parts):
        got = [
            tuple(part.shape) if is_tensor else type(part).__name__
            for part, is_tensor in zip(parts, tensors, strict=True)
        ]
        raise RunError(
            f"{type(model).__name__}.calculate_loss returned "
            f"{got if isinstance(loss, tuple) else got[0]}; wanted a tensor with one element or a "
            "tuple of such"
        )
    return [part.reshape(()) for part in parts]


def _check_finite(parts, epoch, first_batch):
    """parts: a (parts,) tensor for each batch from `first_batch` on."""
    if torch.cat(parts).isfinite().all():
        return
    bad = next(i for i, losses in enumerate(parts) if not losses.isfinite().all())
    raise NonFiniteLossError(
        f"the loss is not finite in epoch {epoch + 1}, batch {first_batch + bad + 1}: parts "
        f"{parts[bad].tolist()}; lower learning_rate, set clip_grad_norm, or look at the features"
    )


def _tensorboard(folder):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "tensorboard: True needs the package tensorboard: pip install '.[tensorboard]'"
        ) from error
    return SummaryWriter(folder.path / "tensorboard")
