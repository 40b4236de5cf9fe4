"""What the benchmarks of models share; clocks, steps and memory are ld4mrec.training.timing's."""

import statistics
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"
if str(SOURCE) not in sys.path:
    sys.path.insert(0, str(SOURCE))

from ld4mrec.training.timing import WARM_UP, Clock, Steps, machine, peak  # noqa: E402 (the path comes first)

__all__ = ["WARM_UP", "Clock", "Steps", "compare", "machine", "peak", "start_up", "table"]


def compare(turns):
    """(median seconds of the first function, of the second, median ratio) of turns of the two."""
    ours, others = zip(*turns, strict=True)
    ratio = statistics.median(a / b for a, b in turns)
    return statistics.median(ours), statistics.median(others), ratio


def start_up(code, wanted="time.process_time()"):
    """Median of what fresh Python processes that run `code` print: their CPU seconds, or else."""
    path = f"import sys, time; sys.path.insert(0, {str(SOURCE)!r})"
    program = [sys.executable, "-c", f"{path}; {code}; print({wanted})"]
    runs = (subprocess.run(program, capture_output=True, text=True, check=True) for _ in range(3))
    return statistics.median(float(run.stdout) for run in runs)


def table(head, rows):
    """Print a markdown table; numbers below 100 get two places."""
    print("|", " | ".join(head), "|")
    print("|", " | ".join("---" for _ in head), "|")
    for row in rows:
        texts = (
            f"{cell:,.2f}"
            if isinstance(cell, float) and cell < 100
            else f"{cell:,.0f}"
            if isinstance(cell, float)
            else str(cell)
            for cell in row
        )
        print("|", " | ".join(texts), "|")
    print()
