"""Progress of encoding: a bar in a terminal, a line now and then elsewhere; rate and time left."""

import sys
import time
from contextlib import contextmanager

from tqdm import tqdm

EVERY = 30  # seconds between lines where there is no terminal


class Bars:
    """Shows how far each step is."""

    @contextmanager
    def bar(self, label, total, unit):
        """Context of one step. Gives a function to call with the number of items that are done,
        and how many of these were worked on; the others, found in the store, do not count for the
        rate.
        """
        if sys.stderr.isatty():
            with tqdm(total=total, desc=label, unit=f" {unit}", dynamic_ncols=True) as shown:

                def step(done, worked=None):
                    idle = 0 if worked is None else done - worked
                    shown.initial += idle  # tqdm leaves the initial ones out of the rate
                    shown.update(done)

                yield step
            return
        lines = _Lines(label, total, unit)
        yield lines.step


class _Lines:
    def __init__(self, label, total, unit):
        self.label, self.total, self.unit = label, total, unit
        self.done = self.worked = 0
        self.started = self.last = time.monotonic()

    def step(self, done, worked=None):
        self.done += done
        self.worked += done if worked is None else worked
        now = time.monotonic()
        if now - self.last < EVERY or not self.worked:
            return
        self.last = now
        rate = self.worked / (now - self.started)
        print(
            f"{self.label}: {self.done:,} of {self.total:,} {self.unit}, {rate:.1f}/s, "
            f"{(self.total - self.done) / rate:.0f} s left at most",
            flush=True,
        )
