"""What the benchmarks share. Importing it puts src on the path; it loads nothing heavy."""

import argparse
import functools
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from ld4mrec.errors import UserError
from ld4mrec.places import SOURCE


def parser(doc: str, **options) -> argparse.ArgumentParser:
    """A parser whose help is a script's docstring, as it is laid out there."""
    layout = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=doc, formatter_class=layout, **options)


def known(parser: argparse.ArgumentParser, kind: str, names: Sequence[str], there: Iterable[str]):
    """The names; the parser's error if one of them is not there."""
    if unknown := set(names) - set(there):
        parser.error(f"no {kind} {', '.join(sorted(unknown))}; there are {', '.join(there)}")
    return names


def cost_arguments(parser: argparse.ArgumentParser, sizes: Iterable[str]) -> None:
    """Which data sets are measured, and how."""
    parser.add_argument("--sizes", default=",".join(sizes), help="comma-separated")
    parser.add_argument("-d", "--dataset", help="a data folder in --data_path instead")
    parser.add_argument("--batches", type=int, default=20, help="training steps; default: 20")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")


def parse_costs(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None, sizes: Iterable[str]
) -> tuple[argparse.Namespace, list[str]]:
    """Options of `cost_arguments`, checked, and the other words; options.datasets: their names."""
    options, words = parser.parse_known_args(arguments)
    options.datasets = known(parser, "size", options.sizes.split(","), sizes)
    if options.dataset:
        options.datasets = [options.dataset]
    if options.batches < 1:
        parser.error(f"--batches is {options.batches}; wanted a number from 1")
    return options, words


def seeds_argument(parser: argparse.ArgumentParser) -> None:
    """--seeds, a list of integers."""
    parser.add_argument("--seeds", type=integers, default="1,2,3", help="default: 1,2,3")


def integers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def in_words(main: Callable) -> Callable:
    """A script's main with its exit status, and what the user can mend as a line on stderr."""

    @functools.wraps(main)
    def run(*arguments):
        try:
            return main(*arguments) or 0
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2

    return run


def median(turns: Iterable[Sequence[float]]) -> float:
    """Median seconds of turns of a single function."""
    return statistics.median(seconds for (seconds,) in turns)


def compare(turns: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """(median seconds of the first function, of the second, median ratio) of turns of the two."""
    ours, others = zip(*turns, strict=True)
    ratio = statistics.median(a / b for a, b in turns)
    return statistics.median(ours), statistics.median(others), ratio


def start_up(code: str, wanted: str = "time.process_time()") -> float:
    """Median of what fresh Python processes that run `code` print: their CPU seconds, or else."""
    path = f"import sys, time; sys.path.insert(0, {str(SOURCE)!r})"
    program = [sys.executable, "-c", f"{path}; {code}; print({wanted})"]
    runs = (subprocess.run(program, capture_output=True, text=True, check=True) for _ in range(3))
    return statistics.median(float(run.stdout) for run in runs)


def cores() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores"


def table(title: str, head: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Print a markdown table; numbers below 100 get two places, None a dash."""
    print(f"**{title}**\n")
    for row in (head, ["---"] * len(head), *rows):
        print("|", " | ".join(map(_cell, row)), "|")
    print()


def _cell(value):
    if isinstance(value, float):
        return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
    return "-" if value is None else str(value)
