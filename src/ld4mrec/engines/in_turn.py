"""The engine that trains runs in this process, one after the other; the interface of an engine."""

import logging
from dataclasses import replace

from ld4mrec.errors import ConfigError, DataError
from ld4mrec.runs.request import Opened
from ld4mrec.runs.run import Run, ended_earlier, finish

logger = logging.getLogger(__name__)

PATIENCE = 10  # seconds to wait for a run that another process holds, when nothing else is left


class InTurn:
    """Trains runs in this process, one after the other.

    workers: how many runs an engine trains at a time, None until it is known.
    """

    workers = 1

    def __init__(self):
        self._waiting, self._held = [], []  # (Opened, Run); held: by another process

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def with_device(self, keys: dict) -> dict:
        """The keys of a request with those that the engine decides, such as use_gpu."""
        return keys

    def start(self, threads: int) -> None:
        """Make ready for runs of so many threads; then `workers` is known."""

    def submit(self, opened: Opened, run: Run) -> None:
        """Take a run of an opened request."""
        self._waiting.append((opened, run))

    def collect(self) -> Run:
        """Wait for the next of the submitted runs to end; it comes back with its outcome, in no
        certain order.
        """
        while True:
            patience = 0 if self._waiting else PATIENCE  # what another process holds comes last
            opened, run = (self._waiting or self._held).pop(0)
            try:
                ended = train_locked(opened, run, patience)
            except BaseException:  # the others were asked for together with it
                self._waiting, self._held = [], []
                raise
            if ended:
                return ended
            if patience == 0:
                logger.info("%s is training %s", run.folder.holder(), run.id)
            self._held.append((opened, run))


def train_locked(opened: Opened, run: Run, patience: float) -> Run | None:
    """Bring a run to its end; None if another process holds it after `patience` seconds. One that
    is finished is reused without its lock: its disk may be read-only.
    """
    if run.folder.is_finished and (known := ended_earlier(run)).result:
        return known
    if not run.folder.lock(timeout=patience):
        return None
    try:
        return finish(run, opened.model_class, opened.splits, True, opened.seconds, in_grid=True)
    except (ConfigError, DataError) as error:  # values or data that the model refuses
        logger.error("%s", error)
        return replace(run, failure=str(error))
    finally:
        run.folder.unlock()
