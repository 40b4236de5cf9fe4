"""Fig. 4: how much accuracy each model loses when random interactions join the training data."""

from ld4mrec.comparison.cells import shown
from ld4mrec.comparison.ledger import Row
from ld4mrec.paper.accuracy import OVER_SEEDS
from ld4mrec.paper.colophon import host_config, report_of
from ld4mrec.paper.levels import Level, by_level, loss_cell, rows_on
from ld4mrec.paper.noisy_data import noisy_folder
from ld4mrec.paper.runs import OURS, Setup, cell, entries_of
from ld4mrec.report.panels import Lines
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Table

TITLE = "Robustness against noise (Fig. 4)"
LEAD = (
    "Random interactions, uniform over the user-item pairs that occur in no split, join "
    "the training data; the number is a share of the training interactions. Validation "
    "and test are untouched. Seed s trains on the pairs drawn with seed s; its loss is "
    "against its own clean run.",
    "The paper's figure has no numbers in its text.",
)
SHARES = (0.05, 0.10, 0.15, 0.20, 0.25)  # of the training interactions
MODELS = (OURS, "DiffRec", "LightGCN", "MGCN")
ALL = (*MODELS, "DiffMM", "MMSSL", "LATTICE")  # with those that the paper's text names
METRICS = ("recall@20", "ndcg@20")
ByShare = dict[float, Row]  # share 0 is the clean row


def rows(setup: Setup) -> list[Row]:
    """For each model the clean row, then one per share and seed, each on a data set of its own."""
    config = host_config(setup.dataset, setup.keys)
    places = [(share, seed) for share in SHARES for seed in setup.seeds]
    levels = (Level(share, seed, noisy_folder(config, share, seed)) for share, seed in places)
    return rows_on(setup, entries_of(setup, setup.models or MODELS), levels)


def by_share(setup: Setup, rows: list[Row]) -> dict[str, ByShare]:
    """{label: {share: row}}, share 0 being the clean one; the seeds' rows of a share as one."""
    return by_level(rows, (0.0, *(share for share in SHARES for _ in setup.seeds)))


def report(setup: Setup, rows: list[Row]) -> Report:
    """Relative loss and accuracy, by share and model."""
    found = by_share(setup, rows)
    losses = sum((_losses(found, metric) for metric in METRICS), ())
    accuracies = tuple(_accuracy(found, metric) for metric in METRICS)
    sections = [Section("Relative loss", losses), Section("Accuracy", accuracies)]
    return report_of(setup, rows, TITLE, LEAD, sections)


def _losses(found: dict[str, ByShare], metric: str) -> tuple[Table | Lines, ...]:
    lines = [
        (label, [loss_cell(levels[0.0], levels[share], metric) for share in SHARES])
        for label, levels in found.items()
    ]
    notes = (f"1 - noisy / clean, {OVER_SEEDS}; negative: better with noise.",)
    name = f"relative-loss-{metric.split('@')[0]}"
    title = f"Relative loss of test {shown(metric)} by share of added interactions"
    places = {f"{share:.0%}": round(100 * share) for share in SHARES}  # on x
    return Lines.with_table(
        Table(name, title, tuple(places), lines, notes),
        tuple(places),
        caption=f"Relative loss of test {shown(metric)}; {OVER_SEEDS}.",
        places=places,
        x_axis="random interactions added, % of the training interactions",
        axis=f"relative loss of test {shown(metric)}",
        percent=True,
        highlight=(OURS,) if OURS in found else (),
    )


def _accuracy(found: dict[str, ByShare], metric: str) -> Table:
    lines = [
        (label, [cell(row, "test", metric) for row in levels.values()])
        for label, levels in found.items()
    ]
    notes = ("Mean and standard deviation over seeds.",)
    title = f"Test {shown(metric)} by share of added interactions"
    columns = ("clean", *(f"{share:.0%}" for share in SHARES))
    return Table(f"accuracy-{metric.split('@')[0]}", title, columns, lines, notes)
