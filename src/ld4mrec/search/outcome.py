"""How the runs of a grid or search went: the pace, and the table with the winner first."""

import logging
import time

from ld4mrec.errors import RunError, counted
from ld4mrec.runs.run import Run
from ld4mrec.search.idle import idle, unread, varied, written

logger = logging.getLogger(__name__)


def warn(sentences) -> None:
    for sentence in sentences:
        logger.warning("%s", sentence)


class Pace:
    """Says how many runs are left and, of the first that is trained, which of the hyper-parameters
    `names` it did not read.
    """

    def __init__(self, names=()):
        self.names, self.trained = names, 0
        self.started = time.monotonic()

    def count(self, run: Run, left: int) -> None:
        """Count a run that ended, with so many left."""
        if run.reused:
            return
        self.trained += 1
        if run.unread is not None:  # the first that was trained to its end
            warn(unread(run, self.names))
            self.names = ()
        if left:
            minutes = left * (time.monotonic() - self.started) / self.trained / 60
            logger.info("%s left, about %.0f minutes at this pace", counted(left, "run"), minutes)


def ranked(runs: list[Run], what: str) -> list[Run]:
    """Runs by validation, the best first, the earlier of equals first, the stopped and the failed
    last; logs the table. what: grid or search. Raises RunError if none is finished.
    """
    metric = runs[0].config["valid_metric"].lower()
    finished = sorted(
        (run for run in runs if run.result), key=lambda run: -run.result["valid"][metric]
    )
    if not finished:
        first = runs[0].failure or runs[0].stopped
        raise RunError(f"the {what} failed, {counted(len(runs), 'run')} of it; the first: {first}")
    stopped = [run for run in runs if run.stopped]
    failed = [run for run in runs if not run.result and not run.stopped]
    names, best = varied(runs), finished[0]
    lines = [f"{'validation':>10} {'test':>7}  {metric} (the test value decides nothing)"]
    for run in finished:
        values = f"{run.result['valid'][metric]:10.4f} {run.result['test'][metric]:7.4f}"
        lines.append(f"{values}  {written(run, names)}  {run.id}")
    for run in stopped:
        lines.append(f"{'stopped':>10} {'':7}  {written(run, names)}  {run.id}: {run.stopped}")
    lines += [f"{'failed':>10} {'':7}  {run.id}: {run.failure}" for run in failed]
    if set(names) - {"seed"}:  # no seed is picked
        lines.append(f"winner by validation {metric}: {written(best, names)}  {best.folder.path}")
    logger.info("%s", "\n".join(lines))
    warn(idle(runs))
    return finished + stopped + failed
