"""Progress of long work: a bar in a terminal, now and then a line in a log file."""

import logging
import sys
import time

from tqdm import tqdm

HEARTBEAT = 60  # seconds between the lines of a log file


def progress(iterable, label, total=None):
    """Yield from an iterable while showing how far it is."""
    if sys.stderr.isatty():
        yield from tqdm(
            iterable, desc=label, total=total, leave=False, dynamic_ncols=True, mininterval=0.2
        )
        return
    started = last = time.monotonic()
    for done, item in enumerate(iterable):
        now = time.monotonic()
        if now - last > HEARTBEAT:
            last = now
            rest = (
                f", {(now - started) / done * (total - done):.0f} s left" if total and done else ""
            )
            logging.getLogger(__name__).info("%s: %s of %s%s", label, done, total or "?", rest)
        yield item
