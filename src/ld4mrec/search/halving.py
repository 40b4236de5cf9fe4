"""Successive halving: which trials of a search go on."""

from ld4mrec.runs.curve import best_until, validation_curve
from ld4mrec.runs.run import Run

KEEP = 3  # one trial in three goes on at each rung, and the next rung is three times as far


class Halving:
    """Successive halving (asha): a trial goes on at a rung if it is among the best third of those
    that came so far, itself included, or the best while these are fewer than three.

    Li et al., MLSys 2020, arXiv:1810.05934. A trial is compared with those that were known when it
    was drawn, so what it needs is fixed before it starts, without word from other workers.
    """

    def __init__(self, first_rung: int, epochs: int):
        self._values = {}  # {rung in epochs: values of the trials that reached it}
        while first_rung < epochs:
            self._values[first_rung] = []
            first_rung *= KEEP

    def rungs(self) -> dict[int, float]:
        """{epochs: the least value to go on there} for the next trial."""
        least = {}
        for epochs, values in self._values.items():
            places = max(1, (len(values) + 1) // KEEP)
            if len(values) >= places:
                least[epochs] = sorted(values, reverse=True)[places - 1]
        return least

    def add(self, run: Run) -> None:
        """Count a run that ended, as far as its own rungs let it come."""
        curve = validation_curve(run)
        for epochs, values in self._values.items():
            best = best_until(curve, epochs)
            if best is None or (curve[-1][0] < epochs and not run.result):
                return
            values.append(best)
            if epochs in run.rungs and best < run.rungs[epochs]:
                return
