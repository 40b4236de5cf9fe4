"""What the modalities are worth: every multimodal model with features that say nothing."""

from ld4mrec.comparison.cells import shown
from ld4mrec.comparison.ledger import Row
from ld4mrec.paper.accuracy import OVER_SEEDS, accuracy_table
from ld4mrec.paper.changed_features import changed_folder, modalities_of
from ld4mrec.paper.colophon import host_config, report_of
from ld4mrec.paper.levels import ByLevel, Level, by_level, loss_cell, rows_on
from ld4mrec.paper.runs import OURS, Setup, entries_of
from ld4mrec.report.panels import Panels
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Table

TITLE = "What the modalities are worth"
LEAD = (
    "Every multimodal model is trained with features that say nothing of the items. A constant: "
    "each item has the mean of all. Noise: normal numbers with each column's mean and deviation. "
    "A permutation: each item has the row of another. Interactions are untouched.",
    "A model that loses nothing takes nothing from the features; one that gains was misled by "
    "them. Seed s trains on the features drawn with seed s; its loss is against its own run with "
    "the true ones. The paper has no such experiment.",
)
NO_FEATURES = "The data set has no features, so that none can be replaced."
# those that read features
MODELS = (OURS, "VBPR", "LATTICE", "SLMRec", "BM3", "FREEDOM", "MGCN", "MMSSL", "DiffMM")
METRIC = "recall@20"
TRUE = "true features"
PANELS = 5  # side by side


def changes(setup: Setup) -> dict[str, tuple[str, tuple[str, ...]]]:
    """{name: (kind of `changed_features.changed`, modalities that change)}; {} for a data set
    without features. Of several modalities each is also permuted alone.
    """
    names = tuple(modalities_of(host_config(setup.dataset, setup.keys)))
    if not names:
        return {}
    found = {kind: (kind, names) for kind in ("constant", "noise", "permutation")}
    if len(names) > 1:
        found |= {f"permutation of {name}": ("permutation", (name,)) for name in names}
    return found


def rows(setup: Setup) -> list[Row]:
    """For each model the row with the true features, then one per change and seed, each on a data
    set of its own; none for a data set without features.
    """
    asked = changes(setup)
    if not asked:
        return []
    config = host_config(setup.dataset, setup.keys)
    found = entries_of(setup, setup.models or MODELS)
    made = (
        Level(name, seed, changed_folder(config, "knockout", kind, which, 1.0, seed))
        for name, (kind, which) in asked.items()
        for seed in setup.seeds
    )
    return rows_on(setup, found, made)


def report(setup: Setup, rows: list[Row]) -> Report:
    """Relative loss and accuracy, by change and model."""
    sections = [Section("Nothing to replace", (NO_FEATURES,))]
    if rows:
        asked = changes(setup)
        found = by_level(rows, (TRUE, *(name for name in asked for _ in setup.seeds)))
        sections = [Section("Relative loss", _losses(found, list(asked)))]
        tables = []
        for at, level in enumerate((TRUE, *asked)):
            of_level = {label: levels[level] for label, levels in found.items()}
            title = f"Accuracy, {level}"
            tables.append(
                accuracy_table(f"accuracy-{at}", title, of_level, (f"{OVER_SEEDS.capitalize()}.",))
            )
        sections.append(Section("Accuracy", tuple(tables)))
    return report_of(setup, rows, TITLE, LEAD, sections)


def _losses(found: dict[str, ByLevel], names: list[str]) -> tuple[Table | Panels, ...]:
    lines = [
        (label, [loss_cell(levels[TRUE], levels[name], METRIC) for name in names])
        for label, levels in found.items()
    ]
    title = f"Relative loss of test {shown(METRIC)} by what replaces the features"
    notes = (f"1 - replaced / true, {OVER_SEEDS}; negative: better with what says nothing.",)
    return Panels.with_table(
        Table("relative-loss", title, names, lines, notes),
        tuple(names[:PANELS]),
        caption=f"{title}; {OVER_SEEDS}.",
        highlight=(OURS,) if OURS in found else (),
    )
