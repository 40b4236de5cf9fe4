"""What a worker process of Ray does: one run after the other, each from a job of plain values."""

import logging
import os
import socket
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from ld4mrec.engines.in_turn import train_locked
from ld4mrec.engines.job import Answer, Job
from ld4mrec.errors import UserError
from ld4mrec.runs.folder import RunFolder
from ld4mrec.runs.request import open_at, shims_for
from ld4mrec.runs.run import FAILED, STOPPED

logger = logging.getLogger(__name__)

# What goes back to a driver whose folder the worker does not see, result.json last; the weights
# stay.
SMALL_FILES = (
    *("config.yaml", "manifest.json", "log.txt", "metrics.jsonl", "per_user.npz", "topk.npz"),
    *(FAILED, STOPPED, "result.json"),
)
OUTCOME = ("result", "failure", "stopped", "reused", "unread")  # of a Run
# Where such a worker keeps its runs; a trial that comes back to this machine goes on there.
SCRATCH = "ld4mrec_workers"


class Worker:
    """Trains runs. The data are read once per request, not per run."""

    def __init__(self):
        self._request = self._opened = None

    def where(self) -> tuple[str, int]:
        """(host, process id)."""
        return socket.gethostname(), os.getpid()

    def train(self, job: Job) -> Answer:
        """Bring a job's run to its end."""
        sys.argv = job.command  # for manifest.json
        try:
            return self._train(job, shared=Path(job.witness).is_file())
        except UserError as error:
            return Answer(refused=str(error))

    def _train(self, job, shared):
        request, folder = job.request, Path(job.folder)
        if not shared:
            scratch = Path(tempfile.gettempdir()) / SCRATCH
            folder = scratch / request.dataset / request.model / job.id
            cache = request.keys.get("cache_dir") and str(scratch / "cache")
            request = request.with_keys({"cache_dir": cache})
        kept = self._opened if self._request == request and request.plugin is None else None
        opened, run = open_at(request, job.point, kept)
        self._request, self._opened = request, opened
        if run.id != job.id:
            raise UserError(
                f"here the run's id is {run.id}, at the driver {job.id}: data, device or "
                "versions of the files differ; give all machines the same data folder"
            )
        run = replace(run, folder=RunFolder(folder, run.folder.identity), rungs=job.rungs)
        with shims_for(run.config):
            ended = train_locked(opened, run, job.patience)
        if ended is None:
            return Answer(held=True)
        outcome = {name: getattr(ended, name) for name in OUTCOME}
        return Answer(outcome, str(folder), None if shared else _small_files(folder))


def _small_files(folder):
    """[(name, bytes)] of the files that go back."""
    paths = [folder / name for name in SMALL_FILES]
    return [(path.name, path.read_bytes()) for path in paths if path.is_file()]
