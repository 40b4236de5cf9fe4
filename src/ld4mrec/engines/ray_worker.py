"""What a worker process of Ray does: one run after the other, each from a job of plain values."""

import logging
import os
import socket
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from ld4mrec.engines.in_turn import train_locked
from ld4mrec.errors import UserError
from ld4mrec.runs.folder import RunFolder
from ld4mrec.runs.one_run import STOPPED
from ld4mrec.runs.request import open_at, shims_for

logger = logging.getLogger(__name__)

# What goes back to a driver whose folder the worker does not see, result.json last; the weights
# stay.
SMALL_FILES = (
    *("config.yaml", "manifest.json", "log.txt", "metrics.jsonl", "per_user.npz", "topk.npz"),
    *("failed.json", STOPPED, "result.json"),
)
# Where such a worker keeps its runs; a trial that comes back to this machine goes on there.
SCRATCH = "ld4mrec_workers"


class Worker:
    """Trains runs. The data are read once per request, not per run."""

    def __init__(self):
        self._request = self._work = None

    def where(self):
        """(host, process id)."""
        return socket.gethostname(), os.getpid()

    def train(self, job):
        """Bring a job's run to its end; an outcome of plain values.

        job: request (a Request), point, id, folder, witness (a file that the driver wrote beside
        the folder), bars, patience, command. The outcome has one of busy (another process holds the
        run), refused (a sentence: nothing of this request can be trained here) or what the Run says
        of its end, with `folder` and, where the driver's folder is not seen here, `files`.
        """
        sys.argv = job["command"]  # for manifest.json
        try:
            return self._train(job, shared=Path(job["witness"]).is_file())
        except UserError as error:
            return {"refused": str(error)}

    def _train(self, job, shared):
        request, folder = job["request"], Path(job["folder"])
        if not shared:
            scratch = Path(tempfile.gettempdir()) / SCRATCH
            folder = scratch / request.dataset / request.model / job["id"]
            here = {"cache_dir": request.overrides.get("cache_dir") and str(scratch / "cache")}
            request = replace(request, overrides=request.overrides | here)
        kept = self._work if self._request == request and request.plugin is None else None
        work, one = open_at(request, job["point"], kept)
        self._request, self._work = request, work
        if one.folder.id != job["id"]:
            raise UserError(
                f"here the run's id is {one.folder.id}, at the driver {job['id']}: data, device or "
                "versions of the files differ; give all machines the same data folder"
            )
        one.folder = RunFolder(folder, one.folder.identity)
        one.bars = job["bars"]
        with shims_for(one.config):
            if not train_locked(work, one, job["patience"]):
                return {"busy": True}
        outcome = {
            "result": one.result,
            "failure": one.failure,
            "stopped": one.stopped,
            "unread": one.unread,
            "folder": str(folder),
        }
        return outcome | ({} if shared else {"files": _small_files(folder)})


def _small_files(folder):
    """[(name, bytes)] of the files that go back."""
    paths = [folder / name for name in SMALL_FILES]
    return [(path.name, path.read_bytes()) for path in paths if path.is_file()]
