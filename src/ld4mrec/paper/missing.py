"""How much accuracy models lose when a share of the items has no features."""

from collections.abc import Iterator

from ld4mrec.comparison.cells import shown
from ld4mrec.comparison.ledger import Row
from ld4mrec.paper.accuracy import OVER_SEEDS
from ld4mrec.paper.changed_features import changed_folder, modalities_of, slug
from ld4mrec.paper.colophon import host_config, report_of
from ld4mrec.paper.levels import ByLevel, Level, by_level, loss_cell, rows_on
from ld4mrec.paper.runs import OURS, Setup, cell, entries_of
from ld4mrec.report.panels import Lines
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Table

TITLE = "Items without features"
LEAD = (
    "A share of the items, drawn by seed, loses its features of one modality or of all. Models see "
    "what preprocessing fills in: the mean of the items that have theirs. Interactions are "
    "untouched. Seed s trains on the items masked with seed s; its loss is against its own run "
    "with all features. The paper has no such experiment.",
)
NO_FEATURES = "The data set has no features, so that none can be missing."
SHARES = (0.3, 0.6, 0.9)  # of the items
MODELS = (OURS, "VBPR", "MGCN", "FREEDOM", "LATTICE")
METRICS = ("recall@20", "ndcg@20")
WHOLE = ("", 0.0)  # the level of what is as it was
ALL = "all modalities"


def losses(setup: Setup) -> dict[str, tuple[str, ...]]:
    """{name: modalities that are lost together}; {} for a data set without features."""
    names = modalities_of(host_config(setup.dataset, setup.keys))
    if len(names) < 2:
        return {name: (name,) for name in names}
    return {ALL: tuple(names)} | {name: (name,) for name in names}


def places(setup: Setup) -> Iterator[tuple[str, float, int]]:
    """(name of `losses`, share, seed) of each data set, in the order of the rows."""
    for name in losses(setup):
        for share in SHARES:
            for seed in setup.seeds:
                yield name, share, seed


def rows(setup: Setup) -> list[Row]:
    """For each model the row with all features, then one per loss, share and seed, each on a data
    set of its own; none for a data set without features.
    """
    lost = losses(setup)
    if not lost:
        return []
    config = host_config(setup.dataset, setup.keys)
    found = entries_of(setup, setup.models or MODELS)
    made = (
        Level((name, share), seed, changed_folder(config, "missing", "missing", which, share, seed))
        for name, share, seed in places(setup)
        for which in (lost[name],)
    )
    return rows_on(setup, found, made)


def report(setup: Setup, rows: list[Row]) -> Report:
    """Relative loss and accuracy, by what is lost, share and model."""
    sections = []
    if rows:
        order = (WHOLE, *((name, share) for name, share, _ in places(setup)))
        found = by_level(rows, order)
        names = losses(setup)
        tables = [_losses(found, name, at) for at, name in enumerate(names)]
        sections.append(Section("Relative loss", sum(tables, ())))
        tables = [_accuracy(found, names, metric) for metric in METRICS]
        sections.append(Section("Accuracy", tuple(tables)))
    sections = sections or [Section("Nothing to lose", (NO_FEATURES,))]
    return report_of(setup, rows, TITLE, LEAD, sections)


def _losses(found: dict[str, ByLevel], name: str, at: int) -> tuple[Table | Lines, ...]:
    metric = METRICS[0]
    lines = [
        (label, [loss_cell(levels[WHOLE], levels[name, share], metric) for share in SHARES])
        for label, levels in found.items()
    ]
    title = f"Relative loss of test {shown(metric)} by share of items without {name}"
    columns = {f"{share:.0%}": round(100 * share) for share in SHARES}  # on x
    notes = (f"1 - with the rest / with all, {OVER_SEEDS}; negative: better without.",)
    return Lines.with_table(
        Table(f"loss-{at + 1}-{slug(name)}".strip("-"), title, tuple(columns), lines, notes),
        tuple(columns),
        caption=f"{title}; {OVER_SEEDS}.",
        places=columns,
        x_axis=f"items without {name}, %",
        axis=f"relative loss of {shown(metric)}",
        percent=True,
        highlight=(OURS,) if OURS in found else (),
    )


def _accuracy(found: dict[str, ByLevel], names: dict[str, tuple], metric: str) -> Table:
    shown_levels = [WHOLE, *((name, share) for name in names for share in SHARES)]
    lines = [
        (label, [cell(levels[level], "test", metric) for level in shown_levels])
        for label, levels in found.items()
    ]
    columns = [f"{share:.0%} of {name}" if name else "all features" for name, share in shown_levels]
    title = f"Test {shown(metric)} by what is missing"
    name = f"accuracy-{metric.split('@')[0]}"
    return Table(name, title, columns, lines, (f"Test split, {OVER_SEEDS}.",))
