"""How an experiment's report was made, and the configuration that its runs share."""

from collections.abc import Iterable
from pathlib import Path

from ld4mrec.comparison import colophon as shared
from ld4mrec.comparison.entries import Keys
from ld4mrec.comparison.ledger import Row
from ld4mrec.config.configuration import Config, of_the_host
from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.paper.runs import Setup
from ld4mrec.places import CONFIGS, from_yaml
from ld4mrec.report.report import Report, Section
from ld4mrec.runs.identity import data_fingerprint

Texts = Iterable[str]


def host_config(dataset: str, keys: Keys) -> Config:
    """The configuration of a data set without a model's own keys."""
    return Config("Pop", dataset, of_the_host(keys)).points(grid=False)[0]


def folder_of(keys: Keys, key: str) -> str | None:
    """data_path, runs_dir or cache_dir as the runs have it, absolute; None if it is null."""
    if key not in keys:
        return str(from_yaml(read_yaml(CONFIGS / "overall.yaml")[key]))
    value = keys[key]
    return None if value is None else str((Path.cwd() / Path(value).expanduser()).resolve())


def report_of(
    setup: Setup, rows: list[Row], title: str, lead: Texts, sections: Iterable[Section]
) -> Report:
    """The report of an experiment on the setup's data set."""
    title = f"{title}: {setup.dataset}"
    return Report(title, tuple(sections), tuple(lead), colophon=colophon(setup, rows))


def colophon(setup: Setup, rows: Iterable[Row] = (), data: bool = True) -> shared.Colophon:
    """How it was made; data: False where the experiment has no data set of its own."""
    made_of = {"seeds": (", ".join(map(str, setup.seeds)),)}
    ids = [f"{row.dataset}/{row.entry.model}/{run.id}" for row in rows for run in row.done]
    if ids:
        made_of["runs"] = tuple(dict.fromkeys(ids))
    config = host_config(setup.dataset, setup.keys) if data else None
    return shared.colophon(config, data_fingerprint(config) if config else {}, made_of)
