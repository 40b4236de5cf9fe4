"""What a search or grid of one row tried: the winner, its edges, the best after k trials."""

from collections.abc import Iterator
from dataclasses import dataclass

from ld4mrec.runs.run import Run
from ld4mrec.search.idle import varied, written
from ld4mrec.search.space import Range, Space, distinct, is_single


@dataclass(frozen=True)
class Trials:
    """method: of the search, or grid. space: what was varied, {name: values or Range}. runs: those
    tried, in the order drawn; one of them at least is finished.
    """

    method: str
    space: Space
    runs: tuple[Run, ...]

    @property
    def metric(self) -> str:
        """That decides, on validation."""
        return self.runs[0].config["valid_metric"].lower()

    @property
    def finished(self) -> list[Run]:
        return [run for run in self.runs if run.result]

    @property
    def best(self) -> Run:
        """The winner on validation, the earlier of equals."""
        return max(self.finished, key=self.value)

    def value(self, run: Run) -> float:
        """A finished run's validation value."""
        return run.result["valid"][self.metric]

    @property
    def winner(self) -> str:
        """'reg_weight=0.1 learning_rate=0.001': where the winner is, of what was varied."""
        names = [name for name, values in self.space.items() if not is_single(values)]
        return written(self.best, names)

    def best_after(self) -> list[float | None]:
        """The best validation value of the first k trials, for each k; None before the first that
        finished. A trial that was stopped counts as one, and has no value.
        """
        values, best = [], None
        for run in self.runs:
            if run.result:
                value = self.value(run)
                best = value if best is None else max(best, value)
            values.append(best)
        return values

    def edges(self) -> Iterator[tuple[str, str]]:
        """(name, where) of the hyper-parameters whose best value lies on the edge of what was
        tried: the first or last of three or more numbers, or a twentieth of a range.
        """
        point = self.best.config.point
        for name, values in self.space.items():
            value = point[name]
            if name == "seed" or not _is_number(value):
                continue
            if isinstance(values, Range):
                low, high, at_end = values.low, values.high, values.is_edge(value)
            elif all(map(_is_number, values)) and len(set(values)) > 2:
                low, high = min(values), max(values)
                at_end = value in (low, high)
            else:
                continue
            if at_end:
                yield name, f"{value} of {low} to {high}"


def grid_space(runs: list[Run]) -> Space:
    """The values that the points of a grid have, by hyper-parameter."""
    names = varied(runs)
    return {name: distinct([run.config.point[name] for run in runs]) for name in names}


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)
