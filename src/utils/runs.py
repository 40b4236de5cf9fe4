"""Runs: one model on one data set, once or over its grid, each in its folder of the ledger."""

import logging
import resource
import sys
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from common.trainer import NonFiniteLossError, Trainer
from utils import files, plugins, seeding
from utils.configurator import Config
from utils.dataloader import EvalDataLoader, TrainDataLoader
from utils.dataset import RecDataset
from utils.errors import ConfigError, RunError, UserError
from utils.features import data_folder
from utils.logger import init_logger, log_to
from utils.run_folder import RunFolder, data_fingerprint, run_id, run_identity
from utils.shims import plugin_shims

logger = logging.getLogger(__name__)


@dataclass
class Run:
    """One point of a grid. result: what result.json holds, None if the run failed; failure: why."""

    config: Config
    folder: RunFolder
    result: dict | None = None
    failure: str | None = None
    reused: bool = False


def run(model, dataset, overrides=None, *, grid=None, resume=False, mg=False, plugin=None):
    """Train and evaluate a model; the Runs, the winner first for a grid.

    overrides: {key: value}, as on the command line. grid: True searches the lists of the hyper-
    parameters, None does what the model's yaml means (see utils.configurator). resume: go on with
    an interrupted single run (a grid always does). plugin: a .py file or folder of a third party
    that holds the model. The winner is chosen by validation alone. Finished runs are not repeated.
    Raises UserError for what the user can mend.
    """
    init_logger()
    source = plugins.find_model(model, plugin)
    model_yaml = source.yaml or source.file.with_suffix(".yaml")  # where it would be
    config = Config(source.name, dataset, overrides, mg=mg, model_yaml=model_yaml)
    if source.yaml is None:
        logger.info("no yaml for %s: overall and data set settings only", source.name)
    points = config.points(grid)
    with nullcontext() if config.native else plugin_shims(config["device"]):
        return _run_points(points, source, resume)


def _run_points(points, source, resume):
    started = time.monotonic()
    seeding.set_threads(points[0]["threads"] or None)
    for config in points:
        config["threads"] = torch.get_num_threads()
    if points[0]["device"].type == "cuda":
        torch.cuda.set_device(points[0]["gpu_id"])
    model_class = plugins.load_model_class(source)
    data = RecDataset(points[0])
    splits = data.split()
    _demand_items(points, data)
    logger.info(
        "%s\ntrain %s", data, " / ".join(f"{name} {len(part)}" for name, part in _named(splits))
    )
    fingerprint, code = data_fingerprint(points[0]), files.sha256(source.file)
    identities = [run_identity(config, fingerprint, code) for config in points]
    runs = [
        Run(config, RunFolder(_place(config, identity, len(points) > 1), identity))
        for config, identity in zip(points, identities, strict=True)
    ]
    seconds = {"start": time.monotonic() - started}
    if len(runs) == 1:
        _only(runs[0], model_class, splits, resume, seconds)
        return runs
    return _grid(runs, model_class, splits, seconds)


def _demand_items(points, data):
    """ConfigError for a cut-off beyond the catalogue, before anything is trained or written."""
    for config in points:
        if max(config["topk"]) > data.get_item_num():
            raise ConfigError(
                f"topk has {max(config['topk'])}, but there are only {data.get_item_num()} items; "
                "lower it"
            )


def _named(splits):
    return zip(("", "validation", "test"), splits, strict=True)


def _place(config, identity, many):
    """The run's folder: in the ledger, or where --run_dir says."""
    if config["run_dir"] is None:
        return Path(config["runs_dir"]) / config["dataset"] / config["model"] / run_id(identity)
    return Path(config["run_dir"]) / run_id(identity) if many else Path(config["run_dir"])


def _only(one, model_class, splits, resume, seconds):
    if not one.folder.lock(timeout=0):
        raise RunError(
            f"another process is training this run in {one.folder.path}; wait for it or choose "
            "--run_dir"
        )
    try:
        _finish(one, model_class, splits, resume, seconds)
    finally:
        one.folder.unlock()
    if one.failure:
        raise NonFiniteLossError(one.failure)


def _grid(runs, model_class, splits, seconds):
    """All runs, those that another process holds last; the table, the winner first."""
    done = sum(1 for one in runs if one.folder.result())
    logger.info("grid of %d runs, %d of them finished", len(runs), done)
    waiting, busy, trained, started = list(runs), [], 0, time.monotonic()
    while waiting or busy:
        patience = 0 if waiting else 10  # what another process holds comes last
        one = (waiting or busy).pop(0)
        if not one.folder.lock(timeout=patience):
            logger.info("another process is training %s", one.folder.id)
            busy.append(one)
            continue
        try:
            _finish(one, model_class, splits, True, seconds)
        finally:
            one.folder.unlock()
        trained += not one.reused
        left = len(waiting) + len(busy)
        if left and not one.reused:
            minutes = left * (time.monotonic() - started) / trained / 60
            logger.info("%d runs left, about %.0f minutes at this pace", left, minutes)
    return _ranked(runs)


def _ranked(runs):
    """Runs by validation, the best first, the earlier of equals first, the failed last; logs the
    table.
    """
    metric = runs[0].config["valid_metric"].lower()
    sign = -1 if runs[0].config["valid_metric_bigger"] else 1
    finished = sorted(
        (one for one in runs if one.result), key=lambda one: sign * one.result["valid"][metric]
    )
    if not finished:
        raise RunError(f"all {len(runs)} runs of the grid failed; the first: {runs[0].failure}")
    varied = [
        name
        for name in runs[0].config.point
        if len({str(one.config.point[name]) for one in runs}) > 1
    ]
    lines = [f"{'validation':>10} {'test':>7}  {metric} (the test value decides nothing)"]
    for one in finished:
        point = " ".join(f"{name}={one.config.point[name]}" for name in varied)
        lines.append(
            f"{one.result['valid'][metric]:10.4f} {one.result['test'][metric]:7.4f}  {point}  "
            f"{one.folder.id}"
        )
    failed = [one for one in runs if not one.result]
    lines += [f"{'failed':>10} {'':7}  {one.folder.id}: {one.failure}" for one in failed]
    best = finished[0]
    winner = " ".join(f"{name}={best.config.point[name]}" for name in varied)
    lines.append(f"winner by validation {metric}: {winner}  {best.folder.path}")
    logger.info("%s", "\n".join(lines))
    return finished + failed


def _finish(one, model_class, splits, resume, seconds):
    """Bring a run to its end: reuse it, go on with it or train it. The run's lock is held."""
    one.result = one.folder.result()
    if one.result:
        one.reused = True
        logger.info("finished earlier: %s", one.folder.path)
        return
    go_on = (one.folder.path / "last.pt").is_file()
    if go_on and not resume:
        logger.info(
            "starting afresh: --resume would have continued the interrupted run in %s",
            one.folder.path,
        )
    if resume and not go_on:
        logger.info("no checkpoint in %s: starting at the first epoch", one.folder.path)
    go_on = go_on and resume
    one.folder.start(one.config, fresh=not go_on)
    with log_to(one.folder.path / "log.txt"):
        point = " ".join(f"{k}={v}" for k, v in one.config.point.items())
        logger.info(
            "run %s: %s on %s, %s",
            one.folder.path,
            one.config["model"],
            one.config["dataset"],
            point,
        )
        try:
            one.result = _train(one, model_class, splits, go_on, dict(seconds))
        except NonFiniteLossError as error:
            one.failure = str(error)
            files.write_json(one.folder.path / "failed.json", {"reason": one.failure})
            logger.error("%s", error)
        except UserError:
            one.folder.discard_if_empty()
            raise


def _train(one, model_class, splits, resume, seconds):
    """Build, train, evaluate, write; what result.json holds."""
    config, folder = one.config, one.folder
    _reset_peak_memory(config["device"])
    started = time.monotonic()
    train, valid, test = _loaders(config, splits, folder.id)
    seconds["loaders"] = time.monotonic() - started
    started = time.monotonic()
    model = _build(model_class, config, train)
    seconds["model"] = time.monotonic() - started
    logger.info("%s, built in %.1f s", _size(model), seconds["model"])
    trainer = Trainer(config, model, mg=config.mg, folder=folder)
    trainer.fit(train, valid, test, resume=resume)
    result = {
        "id": folder.id,
        "model": config["model"],
        "dataset": config["dataset"],
        "seed": config["seed"],
        "best_epoch": trainer.best_epoch,
        "epochs": trainer.next_epoch,
        "valid": trainer.best_valid,
        "test": trainer.test.metrics,
        "mask_valid_at_test": config["mask_valid_at_test"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": seconds | dict(trainer.seconds),
        "peak_memory": _peak_memory(config["device"]),
    }
    folder.write_arrays("per_user.npz", users=trainer.test.users, **trainer.test.per_user)
    if config["save_recommended_topk"]:
        folder.write_arrays("topk.npz", users=trainer.test.users, items=trainer.test.items)
    if not config["keep_last"]:
        (folder.path / "last.pt").unlink(missing_ok=True)
    files.write_json(folder.path / "result.json", result)
    return result


def _loaders(config, splits, key):
    """Seeds everything, then builds the three loaders of a run."""
    seeding.init_seed(config["seed"])
    seeding.deterministic(config["deterministic"])
    train, valid, test = splits
    if (
        not config.native
    ):  # a plugin may write beside the data: it sees links in a folder of its own
        view = plugins.private_data_view(
            data_folder(config), config["cache_dir"] or "../cache", key
        )
        config["data_path"] = f"{view.parent}/"
    for split in splits:
        split.config = config
    users = config["eval_batch_size"]
    also = (valid,) if config["mask_valid_at_test"] else ()
    return (
        TrainDataLoader(config, train, batch_size=config["train_batch_size"], shuffle=True),
        EvalDataLoader(config, valid, train, batch_size=users),
        EvalDataLoader(config, test, train, batch_size=users, mask_also=also),
    )


def _build(model_class, config, train):
    """The model on its device. A value that it refuses is the user's to mend."""
    try:
        return model_class(config, train).to(config["device"])
    except UserError:
        raise
    except ValueError as error:
        if not config.native:
            raise
        raise ConfigError(f"{config['model']}: {error}") from error


def _size(model):
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return f"{type(model).__name__}: {trainable:,} trainable parameters"


def _reset_peak_memory(device):
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # Linux: a new high-water mark, so that a run of a grid reports its own
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory(device):
    """{'ram_bytes': ..., 'cuda_bytes': ...}: the process's peak since the run began (since its
    start where the system keeps no other), and what torch took at most on the device.
    """
    ram = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
    status = Path("/proc/self/status")
    if status.is_file():
        high = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        ram = int(high[0].split()[1]) * 1024 if high else ram
    peak = {"ram_bytes": ram}
    return peak | (
        {"cuda_bytes": torch.cuda.max_memory_allocated()} if device.type == "cuda" else {}
    )
