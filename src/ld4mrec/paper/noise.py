"""Fig. 4: how much accuracy each model loses when random interactions join the training data."""

from dataclasses import replace

from ld4mrec.comparison.findings import over_seeds, shown
from ld4mrec.paper.colophon import colophon, host_config
from ld4mrec.paper.noisy_data import DATA_KEYS, noisy_folder
from ld4mrec.paper.runs import OURS, cell, entries_of, planned, why_missing
from ld4mrec.report.panels import Lines
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Cell, Table

TITLE = "Robustness against noise (Fig. 4)"
SHARES = (0.05, 0.10, 0.15, 0.20, 0.25)  # of the training interactions
MODELS = (OURS, "DiffRec", "LightGCN", "MGCN")
ALL = (*MODELS, "DiffMM", "MMSSL", "LATTICE")  # with those that the paper's text names
METRICS = ("recall@20", "ndcg@20")


def rows(setup):
    """For each model the clean row, then one per share, whose runs have a data set each: seed s
    trains on the pairs that seed s drew.
    """
    models = setup.models or MODELS
    found = entries_of(setup, models)
    config = host_config(setup.dataset, setup.keys)
    shared = {key: value for key, value in setup.keys.items() if key not in DATA_KEYS}
    listed = planned(setup, found)
    for share in SHARES:
        for seed in setup.seeds:
            folder = noisy_folder(config, share, seed)
            keys = shared | {"data_path": f"{folder.parent}/"}
            listed += planned(setup, found, folder.name, keys, [seed])
    return listed


def by_level(setup, rows):
    """{label: {share: row}}, share 0 being the clean one; the seeds' rows of a share as one."""
    levels = (0.0, *(share for share in SHARES for _ in setup.seeds))
    labels = list(dict.fromkeys(row.label for row in rows))
    found = {label: {} for label in labels}
    for at, row in enumerate(rows):
        share = levels[at // len(labels)]
        first = found[row.label].get(share)
        if first is not None:
            row = replace(row, runs=first.runs + row.runs, reason=first.reason or row.reason)
        found[row.label][share] = row
    return found


def report(setup, rows):
    found = by_level(setup, rows)
    sections = [Section("Relative loss", tuple(_losses(found)))]
    sections.append(Section("Accuracy", tuple(_accuracy(found, metric) for metric in METRICS)))
    return Report(
        title=f"{TITLE}: {setup.dataset}",
        lead=(
            "Random interactions, uniform over the user-item pairs that occur in no split, join "
            "the training data; the number is a share of the training interactions. Validation "
            "and test are untouched. Seed s trains on the pairs drawn with seed s; its loss is "
            "against its own clean run.",
            "The paper's figure has no numbers in its text.",
        ),
        sections=tuple(sections),
        colophon=colophon(setup, rows),
    )


def relative_losses(clean, noisy, metric):
    """1 - noisy / clean of the seeds that have both, by seed."""
    before = {one.config["seed"]: one.result["test"][metric] for one in clean.done}
    after = {one.config["seed"]: one.result["test"][metric] for one in noisy.done}
    return [1 - after[s] / before[s] for s in before if s in after and before[s]]


def _losses(found):
    columns = tuple(f"{share:.0%}" for share in SHARES)
    for metric in METRICS:
        lines = []
        for label, levels in found.items():
            cells = []
            for share in SHARES:
                values = relative_losses(levels[0.0], levels[share], metric)
                why = why_missing(levels[0.0]) or why_missing(levels[share])
                empty = Cell(None, note=why or "the clean value is 0")
                cells.append(over_seeds(values, ".1%") if values else empty)
            lines.append((label, tuple(cells)))
        notes = (
            "1 - noisy / clean, mean and standard deviation over seeds; negative: better with "
            "noise.",
        )
        name = f"relative-loss-{metric.split('@')[0]}"
        title = f"Relative loss of test {shown(metric)} by share of added interactions"
        table = Table(name, title, columns, tuple(lines), notes)
        yield table
        drawn = tuple(column for column in columns if table.is_numeric(column))
        if drawn:
            yield Lines(
                name=name,
                caption=f"Relative loss of test {shown(metric)}; mean and standard deviation over "
                "seeds.",
                table=table,
                columns=drawn,
                places=tuple(float(column.rstrip("%")) for column in drawn),
                x_axis="random interactions added, % of the training interactions",
                axis=f"relative loss of {shown(metric)}",
                percent=True,
                highlight=(OURS,) if OURS in found else (),
            )


def _accuracy(found, metric):
    columns = ("clean", *(f"{share:.0%}" for share in SHARES))
    lines = [
        (label, tuple(cell(row, "test", metric) for row in levels.values()))
        for label, levels in found.items()
    ]
    notes = ("Mean and standard deviation over seeds.",)
    title = f"Test {shown(metric)} by share of added interactions"
    return Table(f"accuracy-{metric.split('@')[0]}", title, columns, tuple(lines), notes)
