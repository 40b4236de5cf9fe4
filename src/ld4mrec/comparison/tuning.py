"""An entry at the best point of its grid or search, by validation alone."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ld4mrec.comparison.entries import Entry, Keys
from ld4mrec.comparison.trials import Trials, grid_space
from ld4mrec.engines.in_turn import InTurn
from ld4mrec.runs.request import Request
from ld4mrec.runs.run import Run
from ld4mrec.search.options import Search
from ld4mrec.search.outcome import ranked
from ld4mrec.search.space import Space, first_of, size_of
from ld4mrec.search.train import plan, run, search_space, trials


@dataclass(frozen=True)
class Tuning:
    """What is searched for an entry with a seed.

    grid: the Runs of its grid; of a search one, to be timed and to stand for the others. search:
    how, and space: what it draws from; None for a grid.
    """

    entry: Entry
    request: Request
    seed: int
    grid: list[Run]
    search: Search | None = None
    space: Space | None = None

    @property
    def size(self) -> int | float:
        """How many points there are."""
        return len(self.grid) if self.space is None else size_of(self.space)

    @property
    def is_search(self) -> bool:
        """Whether there is more than one point."""
        return self.size > 1

    @property
    def trials(self) -> int:
        """How many points are tried."""
        return int(min(self.search.trials, self.size) if self.search else self.size)

    def first(self) -> Entry:
        """The entry at the first point of its grid."""
        return self._at(self.grid[0], "not tuned")

    def _at(self, run: Run, origin: str, warnings: Iterable[str] = ()) -> Entry:
        point = {name: value for name, value in run.config.point.items() if name != "seed"}
        # a list of values, as a value may be a list
        point = {n: [value] if isinstance(value, list) else value for n, value in point.items()}
        settings = self.entry.settings | point
        return replace(self.entry, settings=settings, origin=origin, warnings=tuple(warnings))

    def best(self, trains: bool, engine: InTurn | None = None) -> Entry:
        """The entry at its best point; as it is without a grid, with a warning where nothing of it
        is finished. Warnings name keys whose best value lies on the edge of what was tried.

        trains: run what is missing of the grid, or the trials of the search; else only the grid's
        finished runs count. engine: who trains, None: this process.
        """
        if not self.is_search:
            return self.entry
        request, label, points = self.request, self.entry.label, self.grid
        if trains and self.search:
            points = trials(request, self.search, engine)
            ranked(points, "search")
        elif trains:
            how = {"grid": True, "engine": engine, "plugin": request.plugin}
            order = {one.id: place for place, one in enumerate(self.grid)}
            points = run(request.model, request.dataset, request.keys, **how)
            points.sort(key=lambda one: order[one.id])
        if not any(point.result for point in points):
            nothing = f"{label}: no point of its grid is finished, so it is at the yaml's defaults"
            return replace(self.entry, warnings=(nothing,))
        method = self.search.method if self.search else "grid"
        space = grid_space(points) if self.space is None else self.space
        found = Trials(method, space, tuple(points))
        what = "grid points" if method == "grid" else f"trials of --search {method}"
        done, of = len(found.finished), len(points)
        origin = f"best of {done} of {of} {what} on validation, seed {self.seed}"
        where = "grid" if method == "grid" else "search"
        edges = (
            f"{label}: the best {name} of its {where} lies on the edge, {value}"
            for name, value in found.edges()
        )
        return replace(self._at(found.best, origin, edges), trials=found)


def tuning_of(
    entry: Entry, dataset: str, keys: Keys, seed: int, search: Search | None = None
) -> Tuning:
    """What is searched for an entry, by its grid or by `search`; nothing is trained."""
    keys = keys | entry.settings | {"seed": [seed]}
    request = Request(entry.model, dataset, keys, plugin=entry.plugin)
    if search is None:
        return Tuning(entry, request, seed, plan(request, grid=True))
    at, space, start = search_space(request)
    some = [start, {name: first_of(values) for name, values in space.items()}]
    runs = [one for point in filter(None, some) for one in plan(at.at(point), grid=True)]
    timed = next((one for one in runs if not one.ended), runs[0])
    return Tuning(entry, request, seed, [timed], search, space)
