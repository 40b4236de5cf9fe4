"""Progress of long work: a bar in a terminal, now and then a line in a log file."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

HEARTBEAT = 60  # seconds between the lines of a log file
T = TypeVar("T")


class Display:
    """How far some work is. `show` draws a bar in a terminal; elsewhere it writes a line to the log
    every HEARTBEAT seconds.

    total: how much there is to do, None where unknown; it may be changed. unit: what is counted;
    the lines name it and the rate where it is given. Use it as a context manager, or call `close`.
    """

    def __init__(self, label: str = "", total: int | None = None, unit: str = ""):
        self.label, self.total, self.unit = label, total, unit
        self.done = self.worked = 0
        self._started = self._last = time.monotonic()
        self._bar = None

    def advance(self, done: int = 1, worked: int | None = None) -> None:
        """Count what is done. worked: how many of it took work, where others were found ready; only
        these count for the rate.
        """
        self.done += done
        self.worked += done if worked is None else worked

    def show(self, state: Callable[[], str] = str) -> None:
        """Show how far the work is; state: gives what it is doing now, asked where it is shown."""
        if sys.stderr.isatty():
            self._draw(state())
        elif time.monotonic() - self._last > HEARTBEAT:
            self._last = time.monotonic()
            logging.getLogger(__name__).info("%s", self._line(state()))

    def _draw(self, state):
        if self._bar is None:
            self._bar = tqdm(
                desc=self.label or None,
                unit=f" {self.unit}" if self.unit else "it",
                leave=False,
                dynamic_ncols=True,
                mininterval=0.2,
            )
        self._bar.total = self.total
        self._bar.initial = self.done - self.worked  # tqdm leaves the initial ones out of the rate
        if state:
            self._bar.set_postfix_str(state, refresh=False)
        if not self._bar.update(self.done - self._bar.n) and state:
            self._bar.refresh()

    def _line(self, state):
        line = f"{self.label}: " if self.label else ""
        line += f"{self.done:,} of {'?' if self.total is None else f'{self.total:,}'}"
        rate = self.worked / max(self._last - self._started, 1e-9)
        if self.unit:
            line += f" {self.unit}" + (f", {rate:.1f}/s" if rate else "")
        if self.total is not None and rate:
            line += f", {(self.total - self.done) / rate:.0f} s left"
        return line + (f"; {state}" if state else "")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> "Display":
        self.show()
        return self

    def __exit__(self, *_) -> None:
        self.close()


def progress(iterable: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield from an iterable while showing how far it is."""
    with Display(label, total) as shown:
        for item in iterable:
            shown.show()
            yield item
            shown.advance()
