"""What a command prints and remembers while it works: its steps with their counts."""

from collections.abc import Callable

from ld4mrec.data.counts import Counts
from ld4mrec.errors import DataError
from ld4mrec.preprocessing.steps.raw import BadLines

COLUMNS = f"{'step':<44}{'users':>11}{'items':>10}{'interactions':>14}{'density':>11}"


class EmptyResultError(DataError):
    """A step left nothing; the message has the counts of the steps before it."""


class Report:
    """steps: a dict each, for table and manifest; notes; bad_lines: by file. say: takes a line."""

    def __init__(self, say: Callable[[str], object] = print):
        self.say = say
        self.steps, self.notes, self.bad_lines = [], [], {}

    def step(self, name: str, counts: Counts | int, why_empty: str = "") -> None:
        """Remember and print the counts after a step; EmptyResultError if nothing is left.

        counts: a number is of rows whose users and items are not known yet.
        """
        row = {"step": name, "users": None, "items": None, "interactions": counts}
        if isinstance(counts, Counts):
            row |= counts._asdict()
            if counts.interactions:
                row["density"] = counts.density
        if not self.steps:
            self.say(COLUMNS)
        self.steps.append(row)
        self.say(table_row(row))
        if not row["interactions"]:
            steps = "\n".join([COLUMNS, *map(table_row, self.steps)])
            raise EmptyResultError(f"nothing is left after step '{name}'. {why_empty}\n{steps}")

    def note(self, text: str) -> None:
        """Remember and print a sentence."""
        self.notes.append(text)
        self.say(text)

    def lines_left_out(self, bad: BadLines) -> None:
        """Check a file's bad lines (RawError beyond their share) and say how many there were."""
        bad.check()
        self.bad_lines[bad.path] = bad.as_dict()
        if bad.bad:
            self.say(f"{bad.path}: {bad.describe()}")


def table_row(row: dict) -> str:
    """One step as a line under COLUMNS."""
    users, items = (f"{row[name]:,}" if row[name] else "" for name in ("users", "items"))
    density = f"{row['density']:.4%}" if "density" in row else ""
    return f"{row['step']:<44}{users:>11}{items:>10}{row['interactions']:>14,}{density:>11}"
