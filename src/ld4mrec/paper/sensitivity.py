"""How the accuracy depends on p and gamma (a map), and on T, the noise's scale and the rank."""

from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ld4mrec.comparison.entries import Entry
from ld4mrec.comparison.ledger import Row
from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.errors import ConfigError
from ld4mrec.paper.accuracy import OVER_SEEDS, VALIDATION, accuracy_table
from ld4mrec.paper.colophon import report_of
from ld4mrec.paper.runs import OURS, Setup, cell, entry_of, planned, settings_of
from ld4mrec.places import CONFIGS
from ld4mrec.report.panels import HeatMap, Panels
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Table

TITLE = "Sensitivity"
MAP = {"soft_prob": "p, soft probability", "soft_gamma": "γ, intensity of the smoothing"}
LINES = {  # the yaml has no lists for these
    "diffusion_steps": [2, 5, 20],
    "noise_scale": [1e-5, 1e-4, 1e-2],
    "svd_rank": [100, 400, 800],
}
MEANINGS = {
    "diffusion_steps": "T, diffusion steps",
    "noise_scale": "s, scale of the noise",
    "svd_rank": "r, rank of the collaborative signal",
}
VARIED = (*MAP, *LINES)


class Point(NamedTuple):
    """A value of each key of VARIED."""

    soft_prob: float
    soft_gamma: float
    diffusion_steps: int
    noise_scale: float
    svd_rank: int

    def __str__(self) -> str:
        return ", ".join(f"{key}={value:g}" for key, value in self._asdict().items())


def rows(setup: Setup) -> list[Row]:
    """The rows of the map, then those of the lines; points that coincide once."""
    keys = {key: value for key, value in setup.keys.items() if key not in VARIED}
    return planned(replace(setup, keys=keys), entries_at(setup).values())


def entries_at(setup: Setup) -> dict[Point, Entry]:
    """The entry of each point, those of the map first."""
    base, values = base_of(setup), varied(setup)
    pairs = product(values["soft_prob"], values["soft_gamma"])
    points = [base._replace(soft_prob=p, soft_gamma=gamma) for p, gamma in pairs]
    points += [base._replace(**{key: value}) for key in LINES for value in values[key]]
    return {point: entry_of(setup, point._asdict(), str(point)) for point in dict.fromkeys(points)}


def base_of(setup: Setup) -> Point:
    """Where the keys are not varied: of the settings, the command line's one value, or the yaml."""
    declared, (settings, _) = _yaml(), settings_of(setup, OURS)
    base = {key: declared["defaults"].get(key, declared[key]) for key in VARIED}
    fixed = {k: v for k, v in setup.keys.items() if k in base and not isinstance(v, list)}
    return Point(**base | fixed | {k: v for k, v in settings.items() if k in base})


def varied(setup: Setup) -> dict[str, list]:
    """{key: values}: a list on the command line as it is, one value alone, else of the yaml's list
    (LINES where it has none) as many as setup.grid says, ends and default among them. ConfigError
    for an empty list.
    """
    declared, base = _yaml(), base_of(setup)
    lists = {key: declared[key] for key in MAP} | LINES
    numbers = dict(zip(MAP, setup.grid, strict=True)) | dict.fromkeys(LINES, max(setup.grid))
    found = {key: spread(lists[key], numbers[key], getattr(base, key)) for key in VARIED}
    for key, value in setup.keys.items():
        if key in found:
            found[key] = value if isinstance(value, list) else [value]
            if not found[key]:
                raise ConfigError(f"--{key} is an empty list; give values, or leave it out")
    return found


def spread(values: list[float], many: int, always: float) -> list[float]:
    """At most `many` of the values, evenly by place, the ends and, if among them, `always`."""
    values = sorted(values)
    if many >= len(values):
        return values
    chosen = np.linspace(0, len(values) - 1, many).round().astype(int).tolist()
    if always in values and (at := values.index(always)) not in chosen:
        inner = range(1, many - 1) if many > 2 else range(many)
        chosen[min(inner, key=lambda place: abs(chosen[place] - at))] = at
    return [values[place] for place in sorted(chosen)]


def _yaml() -> dict[str, Any]:
    return read_yaml(CONFIGS / "model" / f"{OURS}.yaml")


def report(setup: Setup, rows: list[Row]) -> Report:
    """The map, and a section for each line of two points or more."""
    found = dict(zip(entries_at(setup), rows, strict=True))
    values, base = varied(setup), base_of(setup)
    maps = [_map(found, values, base, split) for split in ("validation", "test")]
    sections = [Section("p and γ", sum(maps, ()))]
    for key in LINES:
        if len(values[key]) > 1:
            line = {value: found[base._replace(**{key: value})] for value in values[key]}
            sections.append(Section(MEANINGS[key], _line(key, line, getattr(base, key))))
    lead = (
        f"One or two settings vary, the others stay at {base} and the yaml's defaults. The "
        "paper reports p = γ = 0.01 as its best.",
    )
    return report_of(setup, rows, TITLE, lead, sections)


def _map(found, values, base, split):
    """Recall@20 over p (rows) and gamma (columns), and the map."""
    columns = tuple(f"{gamma:g}" for gamma in values["soft_gamma"])
    key, lines = "valid" if split == "validation" else split, []
    for p in values["soft_prob"]:
        points = [base._replace(soft_prob=p, soft_gamma=gamma) for gamma in values["soft_gamma"]]
        lines.append((f"{p:g}", tuple(cell(found[point], key, "recall@20") for point in points)))
    notes = ("Columns: γ. Mean and standard deviation over seeds.",)
    name, title = f"soft-labels-{split}", f"{split} Recall@20 by p and γ"
    return HeatMap.with_table(
        Table(name, title, columns, tuple(lines), notes, "p"),
        columns,
        caption=f"{split.capitalize()} Recall@20, mean over seeds: the darker the higher; the "
        "highest is framed.",
        x_axis=MAP["soft_gamma"],
        y_axis=MAP["soft_prob"],
    )


def _line(key: str, line: dict[float, Row], default: float) -> tuple[Table | Panels, ...]:
    meaning, rows = MEANINGS[key], {f"{value:g}": row for value, row in line.items()}
    return Panels.with_table(
        accuracy_table(key.replace("_", "-"), meaning, rows, row_title=meaning),
        (VALIDATION, "test Recall@20"),
        caption=f"Recall@20 over {meaning}; {OVER_SEEDS}.",
        y_axis=meaning,
        highlight=(f"{default:g}",) if default in line else (),
    )
