"""Errors that a user can mend. The commands print their message without a traceback."""

import contextlib
import difflib
import errno
import os
import sys
from collections.abc import Callable, Iterable

DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
READER_GONE = 141  # the status of a process that SIGPIPE ends


class UserError(ValueError):
    """Something the user gave cannot be used; the message says what, where, and what to do.

    trace: lines of a third party's code that raised it; commands print them between the message
    and the message again.
    """

    trace = ""


class ConfigError(UserError):
    """A configuration key or value, or a command-line option."""


class DataError(UserError):
    """A data set: its folder, its interactions or its features."""


class RunError(UserError):
    """A run that cannot start, go on or finish."""


class DamagedError(RunError):
    """A file of ours that does not hold what was written; a grid makes such a run anew."""


class DivergedError(RunError):
    """Training went where no number is: a grid records it and goes on with its other points."""


class UnresumableError(RunError):
    """The checkpoint of a run lacks state that its model keeps."""


class UndeclaredKeyError(ConfigError, KeyError):
    """A model of ours read a key that no yaml declares."""

    __str__ = ValueError.__str__  # KeyError would show the message in quotes


def exit_status(
    command: Callable[[], int | None],
    interrupted: str,
    mendable: tuple[type[Exception], ...] = (UserError,),
) -> int:
    """Run a command: its exit status, 0 for None; 2 after an error that the user can mend, 130
    after Ctrl-C, which prints `interrupted`, 141 where nobody reads what is printed any more.

    Errors of the operating system (a full disk, a folder that is gone) become a sentence as well.
    """
    try:
        status = command() or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `| head`: as the shell would end it
        print_nowhere()
        return READER_GONE
    except mendable as error:
        trace = getattr(error, "trace", "")  # OSError is mendable for some commands
        return _ended("\n".join([f"error: {error}", *[trace, f"error: {error}"] * bool(trace)]), 2)
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:  # it was standard output
            print_nowhere()
        return _ended(f"error: {of_the_system(error)}", 2)
    except KeyboardInterrupt:
        return _ended(interrupted, 130)


def _ended(text, status):
    with contextlib.suppress(OSError):  # nobody reads it
        print(text, file=sys.stderr)
    return status


def print_nowhere() -> None:
    """Lead standard output nowhere from now on: nobody reads it, or its disk is full. The work goes
    on, and Python does not complain at the process's end.
    """
    with contextlib.suppress(OSError, ValueError):  # what stands for it has no handle
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def of_the_system(error: OSError) -> str:
    """A sentence on an error of the operating system: where, what, and what to do."""
    what = error.strerror or str(error) or type(error).__name__
    where = f"{error.filename!s:.300}: " if error.filename is not None else ""
    if error.errno in DISK_IS_FULL:
        return f"{where}{what}; make room on the disk, then the same command goes on where it can"
    return f"{where}{what}; look at the path, its permissions and its disk"


def nearest(word: object, known: Iterable, how_many: int = 1) -> str:
    """' Did you mean ...?' with the most similar of the known words; all of them when none is
    similar.
    """
    known = sorted(map(str, known))
    lowered = {name.lower(): name for name in known}
    close = difflib.get_close_matches(str(word).lower(), lowered, n=how_many, cutoff=0.6)
    if close:
        return f" Did you mean {' or '.join(repr(lowered[name]) for name in close)}?"
    return f" Known: {', '.join(known)}." if len(known) <= 40 else ""
