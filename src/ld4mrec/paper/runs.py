"""The runs behind an experiment: rows with their seeds, what is missing, training, cells."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ld4mrec.comparison import ledger
from ld4mrec.comparison.cells import over_seeds
from ld4mrec.comparison.entries import Entry, Keys, entries, keys_of, read_settings
from ld4mrec.comparison.ledger import Row
from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.engines.in_turn import InTurn
from ld4mrec.errors import ConfigError, counted, nearest
from ld4mrec.paper.names import check_known
from ld4mrec.places import CONFIGS
from ld4mrec.plugins import sources
from ld4mrec.report.tables import Cell

OURS = "LD4MRec"
METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
NOT_RUN = "not run"
NOT_ASKED = "not asked for (-m)"


@dataclass(frozen=True)
class Setup:
    """What was asked for.

    keys: for all runs. models: of -m, None for the experiment's own. ledger: a further folder of
    finished runs, only read. settings: a yaml {model: {key: value}}. grid: how many values of p and
    of gamma. sizes: names of generated data. cell_minutes: limit of one measurement of
    `efficiency`. batches: timed there. finished: train and time nothing. out: holds a folder per
    experiment. also: more data sets of `datasets`. archive: finished runs without weights.
    """

    dataset: str | None
    keys: Keys
    seeds: tuple[int, ...]
    out: Path
    also: tuple[str, ...] = ()
    models: tuple[str, ...] | None = None
    ledger: Path | None = None
    settings: Path | None = None
    grid: tuple[int, int] = (3, 3)
    sizes: tuple[str, ...] | None = None
    cell_minutes: float = 60.0
    batches: int = 20
    finished: bool = False
    engine: InTurn = field(default_factory=InTurn)
    archive: Path | None = None


def entry_of(setup: Setup, changes: Keys, label: str = OURS) -> Entry:
    """Our model with its settings of setup.settings and these changes over them."""
    given, origin = settings_of(setup, OURS)
    return Entry(label, OURS, given | changes, origin)


def settings_of(setup: Setup, model: str) -> tuple[Keys, str]:
    """({key: value}, where they come from) of a model."""
    listed = read_settings(setup.settings) if setup.settings else {}
    given = dict(listed.get(model, {}))
    if given.pop("model", model) != model:
        raise ConfigError(
            f"{setup.settings} has another model under '{model}'; here a label is the model's class"
        )
    return given, f"settings of {setup.settings.name}" if model in listed else "yaml defaults"


def entries_of(setup: Setup, models: Iterable[str]) -> list[Entry]:
    """An Entry for each model, or for each of its variants."""
    found = {}
    for entry in entries(models, setup.dataset, setup.keys):
        given, origin = settings_of(setup, entry.model)
        if "variant" in given and entry.label != entry.model:  # its variant is chosen: a single row
            entry = replace(entry, label=entry.model, settings={})
        settings = entry.settings | given
        found.setdefault(entry.label, replace(entry, settings=settings, origin=origin))
    return list(found.values())


def planned(setup: Setup, found: Iterable[Entry]) -> list[Row]:
    """A Row for each entry, with those of the keys that its model has; nothing is trained."""
    rows = []
    for entry in found:
        keys = keys_of(entry.model, setup.dataset, setup.keys)
        rows += ledger.rows_of([entry], setup.dataset, keys, setup.seeds, setup.ledger)
    return rows


def estimate(rows: list[Row]) -> list[str]:
    """Sentences on the runs that are missing, see `ledger.estimate`."""
    groups = {}
    for row in rows:  # those of the same model and variant cost alike
        variant = row.entry.settings.get("variant")
        name = f"{row.entry.model} ({variant})" if variant else row.entry.model
        groups.setdefault(name, []).append(row)
    return ledger.estimate(groups)


def why_missing(row: Row) -> str | None:
    """A sentence on the runs of a row that have no result; None if all have."""
    if all(run.result for run in row.runs):
        return None
    failed = [run.failure for run in row.runs if run.failure]
    why = failed[0] if failed else row.reason or NOT_RUN
    return f"{len(row.done)} of {counted(len(row.runs), 'seed')}; {why}" if row.done else why


def cell(row: Row, split: str, metric: str, form: str = ".4f") -> Cell:
    """Mean and spread of a metric over a row's finished seeds, and why seeds are missing."""
    return over_seeds(row.values(split, metric), form, why_missing(row))


def check_models(models: Iterable[str], where: str | Path = "-m") -> None:
    """ConfigError, naming the nearest, for a model that is none of ours."""
    check_known(where, models, sources.model_names(), "model")


def check_keys(keys: Keys, models: Iterable[str]) -> None:
    """ConfigError, naming the nearest, for a key that neither host nor one of the models has."""
    files = [CONFIGS / "overall.yaml", *(CONFIGS / "model" / f"{name}.yaml" for name in models)]
    known = {key for file in files for key in read_yaml(file)} - {"defaults", "search"}
    for key in keys:
        if key not in known:
            raise ConfigError(
                f"--{key} is no option of experiments.py and no key of what it would train."
                f"{nearest(key, known)}"
            )
