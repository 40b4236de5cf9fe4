"""Who trains the runs of a grid, a search or a comparison: this process, or workers of Ray."""

import logging

from ld4mrec.errors import ConfigError
from ld4mrec.runs.one_run import finish

logger = logging.getLogger(__name__)

PATIENCE = 10  # seconds to wait for a run that another process holds, when nothing else is left


class InTurn:
    """Trains runs in this process, one after the other. The interface of an engine.

    workers: how many runs it trains at a time, None until it is known.
    """

    workers = 1

    def __init__(self):
        self._waiting, self._busy = [], []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def settle(self, overrides):
        """The overrides with what the engine decides, such as the device."""
        return overrides

    def start(self, threads):
        """Make ready for runs of so many threads; then `workers` is known."""

    def submit(self, work, one):
        """Take a Run, with the Work it belongs to."""
        self._waiting.append((work, one))

    def collect(self):
        """Wait for the next of the submitted runs to end; that Run, in no certain order."""
        while True:
            patience = 0 if self._waiting else PATIENCE  # what another process holds comes last
            work, one = (self._waiting or self._busy).pop(0)
            if train_locked(work, one, patience):
                return one
            if patience == 0:
                logger.info("another process is training %s", one.folder.id)
            self._busy.append((work, one))


def train_locked(work, one, patience):
    """Bring a run to its end; False if another process holds it after `patience` seconds."""
    if not one.folder.lock(timeout=patience):
        return False
    try:
        finish(one, work.model_class, work.splits, True, work.seconds, in_grid=True)
    except ConfigError as error:  # a value that the model refuses
        one.failure = str(error)
        logger.error("%s", error)
    finally:
        one.folder.unlock()
    return True
