"""Errors that a user can mend. The commands print their message without a traceback."""

import difflib
import sys
from collections.abc import Callable, Iterable


class UserError(ValueError):
    """Something the user gave cannot be used; the message says what, where, and what to do."""


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
    after Ctrl-C, which prints `interrupted`.
    """
    try:
        return command() or 0
    except mendable as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130


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
