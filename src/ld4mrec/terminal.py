"""Where log lines go: to the terminal, beside a progress bar, and to the run's log.txt."""

import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tqdm import tqdm

from ld4mrec.errors import print_nowhere


class _Terminal(logging.Handler):
    """Writes lines above a running progress bar instead of through it. Where the terminal is too
    narrow for a line, what the record has as `short` stands in.
    """

    def format(self, record):
        line = super().format(record)
        if hasattr(record, "short") and sys.stdout.isatty():
            return line if len(line) <= shutil.get_terminal_size().columns else record.short
        return line

    def emit(self, record):
        try:
            tqdm.write(self.format(record), file=sys.stdout)
            sys.stdout.flush()
        except OSError:  # nobody reads it any more (`| head`), or its disk is full
            print_nowhere()  # the work and log.txt go on


class _LogFile(logging.FileHandler):
    """A log file that is done without once it cannot be written."""

    def handleError(self, record):
        logging.getLogger().removeHandler(self)
        logging.getLogger(__name__).warning(
            "%s: %s; the log ends here", self.baseFilename, sys.exc_info()[1]
        )


def say(line: str) -> None:
    """Print a line at once. Where nobody reads it any more, the work goes on."""
    try:
        print(line, flush=True)
    except OSError:
        print_nowhere()


def init_logger(config=None) -> None:
    """Send log lines of level info and above to the terminal. Calling it again changes nothing.

    config: taken for MMRec's signature; its `state` key, a level such as 'debug', is obeyed where
    declared.
    """
    root = logging.getLogger()
    level = config["state"] if config is not None and "state" in config else None
    root.setLevel((level or "info").upper())
    if not any(isinstance(handler, _Terminal) for handler in root.handlers):
        handler = _Terminal()
        handler.setFormatter(logging.Formatter("%(message)s"))
        root.addHandler(handler)


@contextmanager
def log_to(path: str | Path) -> Iterator[None]:
    """Also append log lines, with their time, to a file while the block runs."""
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    with handled_by(handler):
        yield


@contextmanager
def handled_by(handler: logging.Handler) -> Iterator[None]:
    """Also give log lines to a handler while the block runs, and close it."""
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


@contextmanager
def quiet() -> Iterator[None]:
    """Log nothing below warnings while the block runs."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def quiet_terminal() -> Iterator[None]:
    """Show nothing below warnings on the terminal while the block runs; files get everything."""
    init_logger()
    handlers = logging.getLogger().handlers
    shown = [handler for handler in handlers if isinstance(handler, _Terminal)]
    for handler in shown:
        handler.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for handler in shown:
            handler.setLevel(logging.NOTSET)


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def get_local_time() -> str:
    """Now, in local time, as 'Mon-DD-YYYY-HH-MM-SS'; the month in English whatever the locale."""
    now = datetime.now()
    return f"{MONTHS[now.month - 1]}-{now:%d-%Y-%H-%M-%S}"


def dict2str(result_dict: dict) -> str:
    """'recall@10: 0.1234    ndcg@10: 0.0567' with four decimals."""
    return "    ".join(f"{metric}: {value:.4f}" for metric, value in result_dict.items())
