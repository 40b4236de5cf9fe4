"""Runs on workers of Ray: several at a time, on this machine or on a cluster.

The driver hands out one run after the other as a job of plain values and waits. A worker trains in
the run's own folder, under its lock, so that a run whose worker is lost goes on from its checkpoint
in another. Ray ships our source tree to the workers: all of them run the driver's code.
"""

import logging
import math
import os
import secrets
import shutil
import socket
import sys
import tempfile
import uuid
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from ld4mrec import files
from ld4mrec.config.schema import PATH_KEYS
from ld4mrec.engines.in_turn import PATIENCE
from ld4mrec.engines.job import Job
from ld4mrec.engines.ray_worker import SMALL_FILES, Worker
from ld4mrec.errors import ConfigError, RunError
from ld4mrec.places import INSTALLED, PACKAGE, SOURCE
from ld4mrec.progress import Display
from ld4mrec.runs.curve import validation_curve
from ld4mrec.runs.request import Opened
from ld4mrec.runs.run import Run, ended_earlier

logger = logging.getLogger(__name__)

RETRIES = 3  # times that a run is given to another worker after one was lost
STORE_BYTES = 128 * 2**20  # Ray's object store on one machine: results are small
CONNECT_SECONDS = 10  # for a cluster's address to answer
POLL = 2.0  # seconds between looks at the runs


class RayEngine:
    """Trains runs on workers of Ray. The interface is ld4mrec.engines.in_turn.InTurn's.

    address: of a running cluster (host:port, or auto), None for one on this machine only, which
    ends with the engine. workers: runs at a time, None for as many as there is room for.
    gpus_per_trial: 0 to 1, None for 1 where this machine has a GPU. Nothing is started before the
    first run that is not finished yet.
    """

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        gpus_per_trial: float | None = None,
    ):
        if gpus_per_trial is not None and not 0 <= gpus_per_trial <= 1:
            raise ConfigError(
                f"--gpus-per-trial is {gpus_per_trial:g}; wanted 0 to 1: a run uses one GPU or a "
                "part of one"
            )
        self.ray = _ray(address)
        self.address, self.workers, self.gpus = address, workers, gpus_per_trial
        self.threads = None
        self._connected = self._owned = False
        self._temporary = None
        self._ended = deque()  # Runs that need no worker
        self._waiting, self._held = deque(), deque()  # (Request, Run); held: by another process
        self._starting = {}  # {future of Worker.where: actor}
        self._idle = []  # _Slots
        self._running = {}  # {future of Worker.train: (_Slot, Request, Run)}
        self._lost, self._failed_starts = Counter(), 0
        self._witnesses, self._name = set(), f".driver-{uuid.uuid4().hex}"
        self._display = Display(total=0, unit="run")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def with_device(self, keys: dict) -> dict:
        """The keys with the device that the runs have; ConfigError if there is none such."""
        wanted = keys.get("use_gpu", True)
        here = torch.cuda.is_available()
        if self.gpus is None:
            self.gpus = 1.0 if wanted and here else 0.0
        if self.gpus and not wanted:
            raise ConfigError("--gpus-per-trial asks for GPUs, --use_gpu=False for none; choose")
        if self.gpus and not here:
            raise ConfigError(
                f"--gpus-per-trial is {self.gpus:g}, but torch sees no GPU on this machine; start "
                "the command on a machine of the cluster that has one, or leave the option out"
            )
        return keys | ({} if self.gpus else {"use_gpu": False})

    def start(self, threads: int) -> None:
        """Make ready for runs of so many threads; sets `workers` if it was left open."""
        self.threads = threads
        if self.workers is None and self.address:
            self._connect()
            self.workers = self._room()
        elif self.workers is None:
            room = _cores() // threads
            if self.gpus:
                room = min(room, int(torch.cuda.device_count() / self.gpus))
            self.workers = max(1, room)
        if self.workers == 1 and threads > 1:
            logger.warning(
                "one run at a time: each uses %d threads; with --threads=1 more fit", threads
            )

    def submit(self, opened: Opened, run: Run) -> None:
        """Take a run of an opened request; the workers read the data themselves."""
        known = ended_earlier(run)
        if known.ended:
            self._ended.append(known)
        else:
            self._waiting.append((opened.request, run))
        self._display.total += 1

    def collect(self) -> Run:
        """Wait for the next of the submitted runs to end; that Run, in no certain order.

        Raises RunError if no worker can train.
        """
        while not self._ended:
            self._connect()
            self._hand_out()
            ready, _ = self.ray.wait([*self._running, *self._starting], timeout=POLL)
            for future in ready:
                if future in self._starting:
                    self._started(future)
                else:
                    self._came_back(future)
            self._display.show(self._state)
        self._display.advance()
        return self._ended.popleft()

    def _state(self):
        """What the workers are doing, in words."""
        texts = [f"{run.id} {_epoch(run)}" for _, _, run in self._running.values()]
        waiting = f"waiting for {len(self._starting)} workers"
        return ", ".join(texts + [waiting] * bool(self._starting))

    def close(self) -> None:
        """End the workers and, if it was started here, Ray. Checkpoints stay where they are."""
        try:
            self._display.close()
            for witness in self._witnesses:
                witness.unlink(missing_ok=True)
            if self._connected and self.ray.is_initialized():
                slots = [*self._idle, *(slot for slot, _, _ in self._running.values())]
                for actor in [*self._starting.values(), *(slot.actor for slot in slots)]:
                    self.ray.kill(actor)
                if self._owned:
                    self.ray.shutdown()
        finally:  # also after Ctrl-C
            if self._temporary:
                shutil.rmtree(self._temporary, ignore_errors=True)
            self._connected = False

    def _connect(self):
        """Start Ray here or connect to the cluster, once; ConfigError if that cannot be."""
        if self._connected:
            return
        if not self.ray.is_initialized():
            self._owned = True
            logger.info("starting Ray" if not self.address else f"joining {self.address}")
            if self.address:
                self._join()
            else:
                self._start_here()
        self._connected = True
        room = self._room()
        if not room:
            raise ConfigError(
                f"no machine has what a run asks for, {self._asked()}; Ray has {self._machines()}"
            )
        if self.workers and room < self.workers:
            logger.warning(
                "there is room for %d runs at a time, not for %d: a run asks for %s, Ray has %s",
                *(room, self.workers, self._asked(), self._machines()),
            )

    def _start_here(self):
        # short names: there are sockets in it. Ray opens its folder to everybody, so it is inside
        # one that is ours alone
        self._temporary = tempfile.mkdtemp(prefix="ld4")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else ~/.ray gets a file
        self.ray.init(
            address="local",
            num_cpus=max(_cores(), self.workers * self.threads),
            object_store_memory=STORE_BYTES,
            include_dashboard=False,
            _temp_dir=os.path.join(self._temporary, "ray"),
            **_common(),
        )

    def _join(self):
        try:
            host, colon, port = self.address.rpartition(":")
            if colon and port.isdecimal() and "/" not in host:  # Ray would try for minutes
                socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
            self.ray.init(address=self.address, **_common())
        except (ConnectionError, ValueError, RuntimeError, OSError, OverflowError) as error:
            raise ConfigError(
                f"no cluster of Ray answers at --address {self.address} ({_lines(error)[0]}); "
                "start one with `ray start --head`, join it with this machine "
                "(RAY_AUTH_MODE=token if it has a token), or leave --address out"
            ) from error

    def _room(self):
        """How many runs the machines that are there have room for."""
        room = 0
        for has in self._resources():
            fits = has.get("CPU", 0) / self.threads
            if self.gpus:
                fits = min(fits, has.get("GPU", 0) / self.gpus)
            room += math.floor(fits + 1e-9)
        return room

    def _resources(self):
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def _asked(self):
        return f"{self.threads} CPUs (--threads)" + f" and {self.gpus:g} GPUs" * bool(self.gpus)

    def _machines(self):
        each = (
            f"{has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs"
            for has in self._resources()
        )
        return "; ".join(each) or "no machine"

    def _hand_out(self):
        """Jobs to idle workers; new workers as long as there are jobs for them."""
        while self._idle and (self._waiting or self._held):
            slot = self._idle.pop()
            patience = 0 if self._waiting else PATIENCE  # what is held comes last
            request, run = (self._waiting or self._held).popleft()
            future = slot.actor.train.remote(self._job(request, run, patience))
            self._running[future] = slot, request, run
        wanted = min(self.workers, len(self._waiting) + len(self._held) + len(self._running))
        for _ in range(wanted - len(self._running) - len(self._starting)):
            actor = (
                self.ray.remote(Worker)
                .options(num_cpus=self.threads, num_gpus=self.gpus, max_restarts=0)
                .remote()
            )
            self._starting[actor.where.remote()] = actor

    def _started(self, future):
        actor = self._starting.pop(future)
        try:
            host, pid = self.ray.get(future)
        except self.ray.exceptions.RayError as error:
            self._failed_starts += 1
            reason = _lines(error)[-1]
            if self._failed_starts > RETRIES:
                raise RunError(f"no worker of Ray could start: {reason}") from error
            logger.warning("a worker of Ray did not start, trying again: %s", reason)
            return
        self._failed_starts = 0
        self._idle.append(_Slot(actor, host, pid))

    def _came_back(self, future):
        slot, request, run = self._running.pop(future)
        try:
            answer = self.ray.get(future)
        except self.ray.exceptions.RayTaskError:
            raise  # an error that is not the user's: the model's, as in this process
        except self.ray.exceptions.RayError as error:
            self._was_lost(slot, request, run, error)
            return
        self._idle.append(slot)
        if answer.refused:
            for others in (self._waiting, self._held, self._ended):  # asked for together with it
                others.clear()
            raise RunError(f"{answer.refused} (worker on {slot.host})")
        if answer.held:
            logger.info("%s is training %s", run.folder.holder(), run.id)
            self._held.append((request, run))
            return
        if answer.files is not None and self._take_files(run, answer.files):
            logger.info("weights of %s: %s on %s", run.id, answer.folder, slot.host)
        self._ended.append(replace(run, **answer.outcome))
        logger.info("%s", _summary(self._ended[-1], slot))

    def _was_lost(self, slot, request, run, error):
        self.ray.kill(slot.actor)  # it may be out of reach only
        self._lost[run.id] += 1
        times, reason = self._lost[run.id], _lines(error)[0]
        if times > RETRIES:
            failure = f"its worker was lost {times} times; the last time: {reason}"
            logger.error("%s: %s", run.id, failure)
            self._ended.append(replace(run, failure=failure))
            return
        logger.warning(
            "lost the worker %d on %s while it trained %s (%s); another goes on with the run, try "
            "%d of %d",
            *(slot.pid, slot.host, run.id, reason, times + 1, RETRIES + 1),
        )
        self._waiting.appendleft((request, run))

    def _job(self, request, run, patience):
        place = run.folder.path.parent
        witness = place / self._name
        if witness not in self._witnesses:
            self._witnesses.add(witness)
            try:
                place.mkdir(parents=True, exist_ok=True)
                witness.touch()
            except OSError as error:
                raise RunError(
                    f"{place} cannot be written ({error.strerror}); choose another --runs_dir"
                ) from error
        decided = {key: run.config[key] for key in PATH_KEYS}  # absolute, whatever folder we are in
        decided |= {"threads": self.threads, "gpu_id": 0}  # Ray shows a worker its GPU only
        plugin = request.plugin and str(Path(request.plugin).expanduser().resolve())
        return Job(
            request=replace(request.with_keys(decided), plugin=plugin),
            point=run.config.point,
            id=run.id,
            folder=str(run.folder.path),
            witness=str(witness),
            rungs=run.rungs,
            patience=patience,
            command=sys.argv,
        )

    def _take_files(self, run, content):
        """Write what a worker elsewhere sent; False if another process holds the run's folder."""
        if not run.folder.lock(timeout=PATIENCE):
            return False
        try:
            for name, data in content:
                if name in SMALL_FILES:
                    with files.replacing(run.folder.path / name) as file:
                        file.write(data)
        finally:
            run.folder.unlock()
        return True


class _Slot(NamedTuple):
    """A worker that is ready."""

    actor: object
    host: str
    pid: int


def _epoch(run):
    curve = validation_curve(run)  # nothing where the worker does not share the folder
    return f"epoch {curve[-1][0]} {curve[-1][1]:.4f}" if curve else "begun"


def _summary(run, slot):
    """A line on a run that ended."""
    point = " ".join(f"{name}={value}" for name, value in run.config.point.items())
    if not run.result:
        return f"{point}: {f'stopped: {run.stopped}' if run.stopped else f'failed: {run.failure}'}"
    metric = run.config["valid_metric"].lower()
    return (
        f"{point}: {run.result['epochs']} epochs, validation {metric} "
        f"{run.result['valid'][metric]:.4f} at {run.result['best_epoch']}, on {slot.host}"
    )


def _common():
    """Keywords of ray.init that every session has."""
    git = SOURCE.parent / ".git"  # manifest.json names the commit also from the shipped copy
    environment = {"env_vars": {"GIT_DIR": str(git)}} if git.is_dir() else {}
    code = {"py_modules": [str(PACKAGE)]} if INSTALLED else {"working_dir": str(SOURCE)}
    return {
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
        "runtime_env": code | {"excludes": ["**/__pycache__"]} | environment,
    }


def _cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _lines(error):
    return str(error).strip().splitlines() or [type(error).__name__]


def _ray(address):
    """The package. address: of a cluster, None for this machine alone: then Ray listens on loopback
    only, which is what its switch for other systems than Linux does. Ray reads it when it is
    imported, so not where somebody has imported Ray before.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report to its makers
    if address is None:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise ConfigError("--engine ray needs the package ray: pip install '.[ray]'") from error
    return ray
