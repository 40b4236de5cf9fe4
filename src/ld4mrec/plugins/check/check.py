"""`main.py --check-plugin`: does a model file written for MMRec work here, and what does it use?

A model is trained for a few epochs by the path of every run: in full, a second time, interrupted
and resumed, and with mirror gradient; whether training reads held-out rows is seen, and how long a
step takes. Before that its hooks and its loss are called by hand, so
that a failure has a name; after it, its scores are looked at and compared with those of a model
built anew and given the saved state. All files are written to a temporary folder, a part of which
is the current folder meanwhile. A report is clean if no check failed; a note is worth knowing and
no failure.
"""

import contextlib
import io
import logging
import tempfile
import traceback
from contextlib import ExitStack
from operator import attrgetter
from pathlib import Path

import torch

from common.abstract_recommender import AbstractRecommender
from ld4mrec.config.schema import PATH_KEYS
from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.errors import ConfigError, UserError
from ld4mrec.places import CONFIGS
from ld4mrec.plugins import usage
from ld4mrec.plugins.check.leaks import EPOCHS, STEPS, audit
from ld4mrec.plugins.check.report import FAILED, NOTE, OK, Report, uses_of
from ld4mrec.plugins.check.scores import Wrong, check_scores, close, counted, in_words, predict
from ld4mrec.plugins.check.speed import measure_speed
from ld4mrec.plugins.check.trial import Trial, difference, epochs_of
from ld4mrec.plugins.data_view import in_view
from ld4mrec.plugins.faults import describe
from ld4mrec.plugins.import_roots import show_only
from ld4mrec.plugins.sources import ModelSource
from ld4mrec.runs.request import shims_for
from ld4mrec.terminal import handled_by
from ld4mrec.training import checkpoint, randomness

HOOKS = ("pre_epoch_processing", "post_epoch_processing")
ROWS = ("user", "positive", "negative", "neighbour", "stranger")  # of a batch
CHECKS = (
    *("imports", "configuration", "constructs", "pre-epoch hook", "loss", "short batch"),
    *("post-epoch hook", "trains", "scores", "reloads", "repeats", "leaks", "resumes"),
    *("mirror gradient", "last grid point", "files"),
)
ONLY_TRAINED = ("loss", "short batch", "resumes", "mirror gradient")  # not without training


def check_plugin(
    source: ModelSource,
    dataset: str | None = None,
    overrides: dict | None = None,
    speed: bool = True,
) -> Report:
    """The report on a model.

    dataset: one of the user's instead of the made-up one. overrides: {key: value} of the
    configuration. speed: whether steps are timed. Raises UserError for overrides that have no
    meaning here.
    """
    overrides = dict(overrides or {})
    for key in PATH_KEYS:
        if key in overrides and not (dataset and key == "data_path"):
            raise ConfigError(
                f"--check-plugin keeps its files in a temporary folder; leave out --{key}"
            )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="check-"))).resolve()
        trial = Trial(source, folder, dataset, overrides)
        trial.check_request(overrides)
        (folder / "here").mkdir()
        output = io.StringIO()
        stack.enter_context(contextlib.redirect_stdout(output))
        stack.enter_context(contextlib.redirect_stderr(output))
        stack.enter_context(contextlib.chdir(folder / "here"))
        warnings, handler = {}, logging.Handler(logging.WARNING)
        handler.emit = lambda record: warnings.setdefault(record.getMessage())
        stack.enter_context(handled_by(handler))
        notes = stack.enter_context(usage.noting())
        stack.enter_context(usage.watching())
        stack.callback(show_only, None)
        check = _Check(trial, notes, speed)
        check.run()
        for text in warnings:
            check.report.add(NOTE, "warning", text)
        check.report.output = output.getvalue()
    return check.report


class _Check:
    """The checks of one model, in their order; what one finds, later ones use."""

    def __init__(self, trial, notes, times):
        self.times = times
        self.trial, self.notes, self.source = trial, notes, trial.source
        yaml = f"its yaml {self.source.yaml}" if self.source.yaml else "no yaml"
        self.report = Report(f"{self.source.name}, {self.source.file}, {yaml}")
        self.model = self.whole = self.trained = self.batch = None
        self.seeded = True  # whether a seed fixes the scores
        self.written = self.loss_form = self.speed = ""

    # the order

    def run(self):
        """Carry out all checks and complete the report."""
        if self._step("imports", self._import) and self._step("configuration", self._configure):
            self.trial.read()
            self.report.data = self.trial.data
            with shims_for(self.point):
                if self._step("constructs", self._construct):
                    self._score_untrained()
                    if self._by_hand() and self._step("trains", self._trains):
                        self._afterwards()
                    if len(self.trial.points) > 1:
                        self._step("last grid point", self._last_point)
                    self._step("files", self._left_files)
        without = ONLY_TRAINED if self.trial.points and not self.point["req_training"] else ()
        if len(self.trial.points) < 2:
            without += ("last grid point",)
        tried = {row.name for row in self.report.rows}
        self.report.untried = [name for name in CHECKS if name not in tried.union(without)]
        self._describe()

    def _by_hand(self):
        """Hooks and loss of the first model; whether all is well."""
        self.model.train()
        well = self._step("pre-epoch hook", lambda: self._hook(HOOKS[0]))
        if well and self.point["req_training"]:
            batches = list(self.opened.train)
            well = self._step("loss", lambda: self._loss(batches[0]))
            well = well and self._step("short batch", lambda: self._short_batch(batches))
        return well and self._step("post-epoch hook", lambda: self._hook(HOOKS[1]))

    def _afterwards(self):
        """What a trained model is asked."""
        self._step("scores", self._scores)
        self._step("reloads", self._reloads)
        if self._step("repeats", self._repeats):
            self._step("leaks", self._leaks)
        if self.point["req_training"]:
            self._step("resumes", self._resumes)
            self._step("mirror gradient", self._mirrors)
        if self.times:
            folder = self.trial.folder / "speed"
            self.speed = measure_speed(self.source, self.trial.settings, folder)

    def _step(self, name, action):
        """Carry out a check, whose result is its sentence; whether it was passed."""
        try:
            text = action()
        except (Exception, SystemExit) as error:  # whatever a plugin's code may raise
            text = self._sentence(error).replace(f"{self.trial.folder}/", "")
            self.report.add(FAILED, name, text, "".join(traceback.format_exception(error)))
            return False
        self.report.add(OK, name, text)
        return True

    def _sentence(self, error):
        if isinstance(error, UserError | Wrong):
            return str(error)
        text = describe(error, self.source.file.parent)
        if isinstance(error, FileNotFoundError) and in_view(error.filename):
            return (
                f"it needs a side file {Path(error.filename).name}, which data set "
                f"'{self.trial.dataset}' has not; -d NAME checks it on a data set that has it "
                f"({text})"
            )
        absent = ", ".join(self.notes.get("absent", ()))
        if absent and isinstance(error, TypeError | AttributeError | ValueError | AssertionError):
            text += f" (it reads {absent}: declared in no yaml, so None)"
        return text

    # the checks; each returns its sentence or raises

    def _import(self):
        self.trial.load()
        model_class = self.trial.model_class
        if not (isinstance(model_class, type) and issubclass(model_class, torch.nn.Module)):
            raise Wrong(f"{self.source.name} is no torch module")
        called = ("calculate_loss", "full_sort_predict", *HOOKS)
        missing = [name for name in called if not callable(getattr(model_class, name, None))]
        if missing:
            raise Wrong(f"{self.source.name} has no {', '.join(missing)}, which the host calls")
        return f"class {self.source.name}"

    def _configure(self):
        self.trial.configure()
        self.point = self.trial.point
        at = " ".join(f"{key}={value}" for key, value in self.point.point.items())
        if self.source.yaml is None:
            return f"no yaml: the host's settings, {at}"
        if self.point.has_defaults:
            return f"the defaults: {at}"
        return f"of {counted(len(self.trial.points), 'point')} the first: {at}"

    def _construct(self):
        self.opened = self.trial.build(self.point, "by-hand")
        model = self.opened.model
        self.start = {k: p.detach().clone() for k, p in model.named_parameters()}
        self.size = sum(p.numel() for p in self.start.values())
        if self.point["req_training"] and not self.start:
            raise Wrong("it has no parameter to train; set req_training: False in its yaml")
        outside = [
            f"{path}.{name}".lstrip(".")
            for path, module in model.named_modules()
            for name, value in vars(module).items()
            if checkpoint.is_trained(value)
        ]
        if outside:
            text = f"{', '.join(outside)}: trained, but no optimiser sees it"
            self.report.add(NOTE, "parameters", text)
        self.model = model
        return f"{self.size:,} numbers in {counted(len(self.start), 'parameter')}"

    def _score_untrained(self):
        """A note only: no run asks so early. On a model of its own: it may leave something."""
        model = self.trial.build(self.point, "by-hand").model
        try:
            predict(model, self._eval_batch())
        except Exception as error:
            where = describe(error, self.source.file.parent)
            self.report.add(NOTE, "untrained scores", f"not possible, and not needed: {where}")

    def _hook(self, name):
        answer = getattr(self.model, name)()
        if not self._defines(name):
            return "none"
        return f"{name}() runs" + f", to be logged: {answer}" * (answer is not None)

    def _defines(self, name):
        return getattr(type(self.model), name) is not getattr(AbstractRecommender, name, None)

    def _loss(self, batch, model=None):
        """A loss and its gradients, as the trainer would use them."""
        model, given = model or self.model, batch.clone()
        model.zero_grad()
        loss = model.calculate_loss(batch)
        parts = loss if isinstance(loss, tuple) else (loss,)
        fits = [isinstance(part, torch.Tensor) and part.numel() == 1 for part in parts]
        if not fits or not all(fits):
            raise Wrong(
                f"calculate_loss returned {in_words(loss)}; wanted a tensor with one element or a "
                "tuple of such"
            )
        total = sum(part.reshape(()) for part in parts)
        if not total.isfinite():
            raise Wrong(f"the loss of a batch {tuple(given.shape)} is {[p.item() for p in parts]}")
        if not total.requires_grad:
            raise Wrong("the loss has no gradient, so nothing would be trained")
        total.backward()
        gradients = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
        for name, gradient in gradients.items():
            values = gradient.coalesce().values() if gradient.is_sparse else gradient
            if not values.isfinite().all():
                raise Wrong(f"the gradient of {name} is not finite")
        if self.batch is None:
            self.batch, self.loss_form = given, in_words(loss)
        self.written = self.written or ", written into" * (not batch.equal(given))
        return f"{total.item():.4g}, gradients for {len(gradients)} of {len(self.start)} parameters"

    def _short_batch(self, batches):
        full, last = batches[0].shape[-1], batches[-1].shape[-1]
        if last == full:
            return "every batch of this data set is full"
        return f"{last} instead of {full}: {self._loss(batches[-1])}"

    def _trains(self):
        self.whole, self.trained = self.trial.finish(self.point, "whole")
        if not self.point["req_training"]:
            return "not needed (req_training: False); evaluated"
        losses = [sum(line["loss"]) for line in epochs_of(self.whole)]
        now = dict(self.trained.named_parameters(remove_duplicate=False))
        start = {k: p for k, p in self.start.items() if k in now and now[k].requires_grad}
        still = [name for name, p in start.items() if torch.equal(p, now[name])]
        if len(still) == len(start):
            raise Wrong(f"no parameter moved in {counted(len(losses), 'epoch')}")
        metric = self.point["valid_metric"].lower()
        text = f"{counted(len(losses), 'epoch')}, loss {losses[0]:.4g} to {losses[-1]:.4g}, "
        text += f"best validation {metric} {self.whole.result['valid'][metric]:.4f}"
        return text + f"; never moved: {', '.join(still)}" * bool(still)

    def _eval_batch(self):
        return next(iter(self.opened.valid))

    def _scores(self):
        n_items = self.trial.splits[0].get_item_num()
        text, notes, self.seeded = check_scores(self.trained, self._eval_batch(), n_items)
        for name, note in notes.items():
            self.report.add(NOTE, name, note)
        return text

    def _reloads(self):
        rebuilt = self.trial.build(self.point, self.whole.id).model
        built = checkpoint.as_built(rebuilt)
        _, unsaved = checkpoint.snapshot(self.trained, not self.source.in_tree, built)
        if unsaved:
            held = ", ".join(f"{name} ({_type_of(self.trained, name)})" for name in unsaved)
            raise Wrong(
                f"no checkpoint holds {held}; return it from get_extra_state() as tensors, numbers "
                "and containers. Until then it trains, and --resume refuses"
            )
        saved = checkpoint.load(self.whole.folder.path / "best.pt")["model"]
        checkpoint.restore(rebuilt, saved)
        state = randomness.capture_rng_state()
        theirs = predict(self.trained, self._eval_batch())
        randomness.restore_rng_state(state)
        ours = predict(rebuilt, self._eval_batch())
        if not self.seeded:
            return "a model built anew takes best.pt; its scores, being random, say nothing"
        if not close(ours, theirs):
            raise Wrong(
                "a model built anew and given the saved state scores otherwise: it keeps state "
                "where no checkpoint looks (a module's global, a file)"
            )
        return "a model built anew and given best.pt scores the same"

    def _repeats(self):
        there = ", ".join(self.trial.caches())
        again, _ = self.trial.finish(self.point, "again")
        where = difference(self.whole, again)
        if where:
            raise Wrong(f"a second run of the same seed gives other numbers, {where}")
        return "a second run gives the same numbers" + f", with {there} there" * bool(there)

    def _leaks(self):
        if leaks := audit(self.point, self.trial.splits, self.trial.model_class):
            raise Wrong("; ".join(leaks))
        return (
            f"{EPOCHS} epochs of {STEPS} steps at most give the same losses, weights and scores "
            "with the validation and test rows replaced and removed"
        )

    def _resumes(self):
        if len(epochs_of(self.whole)) < 2:
            return "one epoch only: nothing to resume"
        resumed, _ = self.trial.finish_in_two(self.point, "in-two")
        where = difference(self.whole, resumed)
        if where:
            raise Wrong(f"resumed after an interruption it gives other numbers, {where}")
        return "interrupted in its second epoch and resumed, it gives the numbers of the whole run"

    def _mirrors(self):
        point = self.trial.config(mg=True).points()[0].replace({"epochs": 1})
        self.trial.finish(point, "mirrored")
        own = read_yaml(self.source.yaml).keys() if self.source.yaml else set()
        clash = ", ".join(sorted(own & read_yaml(CONFIGS / "mg.yaml").keys()))
        text = "two losses of one batch are no problem (--mg)"
        return text + f"; mg.yaml overwrites its own {clash}" * bool(clash)

    def _last_point(self):
        point = self.trial.points[-1]
        model, train, *_ = self.trial.build(point, "last-point")
        model.train()
        model.pre_epoch_processing()
        if point["req_training"]:
            self._loss(next(iter(train)), model)
        varied = [k for k, v in point.point.items() if v != self.point.point[k]]
        done = "builds and has a loss" if point["req_training"] else "builds"
        return f"{done}: " + " ".join(f"{key}={point.point[key]}" for key in varied)

    def _left_files(self):
        left = ", ".join(self.trial.left())
        if left:
            raise Wrong(f"it wrote {left}; only its view of the data folder is private")
        here = sorted(path.name for path in Path.cwd().rglob("*") if path.is_file())
        if here:
            text = f"it writes into the current folder: {', '.join(here)}"
            self.report.add(NOTE, "current folder", text)
        caches = ", ".join(self.trial.caches()) or "nothing"
        return f"into its view of the data folder: {caches}"

    def _describe(self):
        """What was noted meanwhile, into the report."""
        self.report.uses = uses = uses_of(self.source.file, self.notes)
        if self.model is not None:
            uses["hooks"] = ", ".join(name for name in HOOKS if self._defines(name))
            learner, rate = self.point["learner"], self.point["learning_rate"]
            text = f"{learner}, learning rate {rate}, {self.size:,} numbers"
            uses["optimiser"] = text if self.point["req_training"] else ""
        if self.batch is not None:
            shape = tuple(self.batch.shape)
            form = ROWS[: shape[0] if len(shape) == 2 else 1]
            uses["batches"] = f"{shape}: {', '.join(form)}{self.written}"
            uses["loss"] = self.loss_form
        if self.speed:
            uses["speed"] = self.speed
        stand_ins = [f"a stand-in for {name}" for name in self.notes.get("stand-in", ())]
        self.report.shims = [*self.notes.get("shim", ()), *stand_ins]


def _type_of(model, name):
    """Of the attribute of a dotted name."""
    try:
        return type(attrgetter(name)(model)).__name__
    except AttributeError:
        return "?"
