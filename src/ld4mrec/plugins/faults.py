"""What a third party's model file raises, in words and lines of its own."""

import textwrap
import traceback
from pathlib import Path


def describe(error: BaseException, folder: Path) -> str:
    """An exception in one line, after the line of a file in `folder` that it came from."""
    what = textwrap.shorten(
        "".join(traceback.format_exception_only(error)), 500, placeholder=" ..."
    )
    while error is not None:
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if (file := Path(frame.filename)).is_relative_to(folder):
                name = file.relative_to(folder)
                return f"{name} line {frame.lineno}, in {frame.name}: {what}"
        error = error.__cause__ or error.__context__
    return what


def trace_in(error: BaseException, folder: Path) -> str:
    """The traceback of an exception from the first line of a file in `folder` on."""
    frames = traceback.extract_tb(error.__traceback__)
    while frames and not Path(frames[0].filename).is_relative_to(folder):
        del frames[0]
    return "".join(frames.format()).rstrip()
