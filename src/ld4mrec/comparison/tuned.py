"""What a comparison's searches and grids tried, as tables and a figure of a report."""

from collections.abc import Iterator, Sequence

from ld4mrec.comparison.cells import shown
from ld4mrec.comparison.ledger import Row
from ld4mrec.comparison.trials import Trials
from ld4mrec.report.figures import Figure
from ld4mrec.report.panels import Lines
from ld4mrec.report.tables import Cell, Table
from ld4mrec.runs.run import Run

MOST_COLUMNS = 16
NOTHING = "nothing to choose"


def tuning(rows: Sequence[Row], target: str) -> tuple[Table | Figure, ...]:
    """What was tried for each row and, where rows were searched, the best value after k trials as
    a table and a figure; () where nothing was tried. target: the row that stands out.
    """
    tried = {row.label: row.entry.trials for row in rows}
    known = [found for found in tried.values() if found]
    if not known:
        return ()
    metric = shown(known[0].metric)
    columns = ("by", "trials", "stopped or failed", f"validation {metric}", "winner")
    columns += ("on an edge", "patience")
    lines = [(row.label, tuple(_cells(tried[row.label], row.done[0]))) for row in rows if row.done]
    notes = (
        "Trials: finished, of those tried; what was stopped early cannot win. Validation alone "
        "decides. On an edge: the best value is the first or last of a list of numbers, or within "
        "a twentieth of a range's end, so that others beyond might be better.",
    )
    found = (Table("tuning", "How the settings were chosen", columns, lines, notes),)
    searched = {label: one for label, one in tried.items() if one and one.method != "grid"}
    return found + (_curve(searched, metric, target) if searched else ())


def unequal(rows: Sequence[Row]) -> Iterator[str]:
    """Sentences on searches that do not compare: other numbers of trials, other patience."""
    tried = [row for row in rows if row.entry.trials and row.done]
    asked = {row.label: len(row.entry.trials.runs) for row in tried}
    full = max(asked.values(), default=0)
    for row in tried:
        space, count = row.entry.trials, asked[row.label]
        if count < full and space.method != "grid":
            yield f"{row.label} has {count} trials, as it has no more points; others have {full}"
    patience = {row.label: _patience(row.done[0]) for row in tried}
    patience = {label: words for label, words in patience.items() if words}
    if len(set(patience.values())) > 1:
        listed = "; ".join(f"{label}: {words}" for label, words in patience.items())
        yield (
            f"the tuned rows have different patience ({listed}); --stopping_step=N and "
            "--eval_step=N give all the same"
        )


def _cells(found: Trials | None, run: Run) -> Iterator[Cell]:
    """The cells of a row. run: one of its finished runs."""
    patience = Cell(_patience(run) or "not trained by gradient")
    if found is None:
        yield Cell(NOTHING)
        yield from (Cell(None, note=NOTHING),) * 5
        yield patience
        return
    done = len(found.finished)
    yield Cell(found.method)
    yield Cell(f"{done} of {len(found.runs)}")
    yield Cell(len(found.runs) - done, format=".0f")
    yield Cell(found.value(found.best))
    yield Cell(found.winner or NOTHING)
    yield Cell("; ".join(f"{name}: {where}" for name, where in found.edges()) or "no")
    yield patience


def _patience(run):
    """'20 evaluations, each after 1 epoch'; None for a model that is not trained by gradient."""
    config = run.config
    if not config["req_training"]:
        return None
    step = config["eval_step"]
    every = "each epoch" if step == 1 else f"every {step} epochs"
    steps = config["patience_steps"]
    least = f", {steps} steps at least" if steps else ""
    return f"{config['stopping_step']} evaluations, {every}{least}"


def _curve(searched, metric, target):
    longest = max(len(found.runs) for found in searched.values())
    places = _places(longest)
    ended = Cell(None, note="the search has no more points")
    before = Cell(None, note="no trial had finished")
    lines = []
    for label, found in searched.items():
        best = [before if value is None else Cell(value) for value in found.best_after()]
        lines.append((label, [best[k - 1] if k <= len(best) else ended for k in places]))
    title = f"Best validation {metric} after k trials"
    notes = (
        "In the order drawn; the first is at the yaml's defaults where its search block holds "
        "them. A row that still rises at the end would gain from more trials.",
    )
    table = Table("best-after-trials", title, list(map(str, places)), lines, notes)
    drawn = table.numeric(table.columns)
    if not drawn:
        return (table,)
    figure = Lines(
        name="best-after-trials",
        caption=f"{title}, in the order drawn.",
        table=table,
        columns=drawn,
        highlight=(target,) if target in searched else (),
        axis=f"validation {metric}",
        x_axis="trials",
        places={str(k): k for k in places},
    )
    return table, figure


def _places(longest: int) -> list[int]:
    """Numbers of trials, from 1, that the table shows: all, or evenly spread, first and last."""
    count = min(longest, MOST_COLUMNS)
    return sorted({1 + round(at * (longest - 1) / max(count - 1, 1)) for at in range(count)})
