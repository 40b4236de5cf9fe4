"""An entry at the best point of its grid or search, by validation alone."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ld4mrec.comparison.entries import Entry, Keys
from ld4mrec.engines.in_turn import InTurn
from ld4mrec.runs.request import Request
from ld4mrec.runs.run import Run
from ld4mrec.search.options import Search
from ld4mrec.search.space import Range, take_ranges
from ld4mrec.search.train import plan, run


@dataclass(frozen=True)
class Tuning:
    """What is searched for an entry with a seed: the Runs of its grid, or ranges to draw from."""

    entry: Entry
    request: Request
    seed: int
    grid: list[Run]
    ranges: dict[str, Range]

    @property
    def is_search(self) -> bool:
        """Whether there is more than one point."""
        return len(self.grid) > 1 or bool(self.ranges)

    def trials(self, search: Search) -> int:
        """How many points a search tries."""
        return search.trials if self.ranges else min(search.trials, len(self.grid))

    def first(self) -> Entry:
        """The entry at the first point of its grid."""
        return self._at(self.grid[0], "not tuned")

    def _at(self, run: Run, origin: str, warnings: Iterable[str] = ()) -> Entry:
        point = {name: value for name, value in run.config.point.items() if name != "seed"}
        settings = self.entry.settings | point
        return replace(self.entry, settings=settings, origin=origin, warnings=tuple(warnings))

    def best(
        self, trains: bool, search: Search | None = None, engine: InTurn | None = None
    ) -> Entry:
        """The entry at its best point; as it is without a grid, with a warning where nothing of it
        is finished. Warnings name keys whose best value is the grid's first or last.

        trains: run what is missing of the grid, or the trials of `search`; else only the grid's
        finished runs count. engine: who trains, None: this process.
        """
        if not self.is_search:
            return self.entry
        points, request = self.grid, self.request
        if trains:
            how = {"search": search} if search else {"grid": True}
            how |= {"engine": engine, "plugin": request.plugin}
            points = run(request.model, request.dataset, request.keys, **how)
        done = [point for point in points if point.result]
        if not done:
            label = self.entry.label
            nothing = f"{label}: no point of its grid is finished, so it is at the yaml's defaults"
            return replace(self.entry, warnings=(nothing,))
        metric = done[0].config["valid_metric"].lower()
        best = max(done, key=lambda point: point.result["valid"][metric])
        what = f"trials of --search {search.method}" if trains and search else "grid points"
        origin = f"best of {len(done)} of {len(points)} {what} on validation, seed {self.seed}"
        return self._at(best, origin, self._edges(best))

    def _edges(self, best: Run) -> Iterator[str]:
        """Sentences on the keys whose best value lies on the edge of the grid."""
        for name, value in best.config.point.items():
            if name in self.ranges or name == "seed":
                continue  # a drawn value never lies on the edge of a range
            values = [point.config.point[name] for point in self.grid]
            if not all(map(_is_number, values)) or len(set(values)) < 3:
                continue
            if value in (min(values), max(values)):
                yield (
                    f"{self.entry.label}: the best {name} of its grid, {value}, lies on the grid's "
                    f"edge ({min(values)} to {max(values)})"
                )


def tuning_of(entry: Entry, dataset: str, keys: Keys, seed: int) -> Tuning:
    """What is searched for an entry; nothing is trained."""
    keys = keys | entry.settings | {"seed": [seed]}
    request = Request(entry.model, dataset, keys, plugin=entry.plugin)
    grid = plan(request, grid=True)
    return Tuning(entry, request, seed, grid, take_ranges(request.keys)[1])


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)
