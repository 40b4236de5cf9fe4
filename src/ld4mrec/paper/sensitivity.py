"""How the accuracy depends on p and gamma (a map), and on T, the noise's scale and the rank."""

from dataclasses import replace
from itertools import product

import numpy as np

from ld4mrec.comparison.findings import shown
from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.errors import ConfigError
from ld4mrec.paper.colophon import colophon
from ld4mrec.paper.runs import METRICS, OURS, cell, entry_of, planned, settings_of
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


def rows(setup):
    """The rows of the map, then those of the lines; points that coincide once."""
    return planned(without_axes(setup), list(entries_at(setup).values()))


def without_axes(setup):
    """The setup without the keys that are axes here."""
    keys = {key: value for key, value in setup.keys.items() if key not in (*MAP, *LINES)}
    return replace(setup, keys=keys)


def entries_at(setup):
    """{point: Entry}; a point is a tuple of (key, value), of all axes, in one order."""
    base, values = base_of(setup), axes(setup)
    points = [base | dict(zip(MAP, pair, strict=True)) for pair in product(*map(values.get, MAP))]
    points += [base | {key: value} for key in LINES for value in values[key]]
    points = dict.fromkeys(tuple(point.items()) for point in points)
    plain = without_axes(setup)
    return {point: entry_of(plain, label=_label(point), changes=dict(point)) for point in points}


def _label(point):
    return ", ".join(f"{key}={value:g}" for key, value in point)


def base_of(setup):
    """{key: value} of the axes where they are not varied: of the settings, one value on the command
    line, or the yaml.
    """
    declared = _yaml()
    base = {key: declared["defaults"].get(key, declared[key]) for key in (*MAP, *LINES)}
    one = {k: v for k, v in setup.keys.items() if k in base and not isinstance(v, list)}
    given, _ = settings_of(setup, OURS)
    return base | one | {key: value for key, value in given.items() if key in base}


def axes(setup):
    """{key: values}: a list on the command line as it is, one value alone, else of the yaml's list
    (LINES where it has none) as many as setup.grid says, ends and default among them.
    """
    declared, base, found = _yaml(), base_of(setup), {}
    for key, many in zip(MAP, setup.grid, strict=True):
        found[key] = spread(declared[key], many, base[key])
    for key, values in LINES.items():
        found[key] = spread(values, max(setup.grid), base[key])
    for key, value in setup.keys.items():
        if key in found:
            found[key] = value if isinstance(value, list) else [value]
            if not found[key]:
                raise ConfigError(f"--{key} is an empty list; give values, or leave it out")
    return found


def spread(values, many, always):
    """At most `many` of sorted values, evenly by place, with the ends; and `always` in the place of
    the nearest that is no end, where it is one of them.
    """
    values = sorted(values)
    if many >= len(values):
        return values
    chosen = np.linspace(0, len(values) - 1, many).round().astype(int).tolist()
    if always in values and (at := values.index(always)) not in chosen:
        inner = range(1, many - 1) if many > 2 else range(many)
        chosen[min(inner, key=lambda place: abs(chosen[place] - at))] = at
    return [values[place] for place in sorted(chosen)]


def _yaml():
    return read_yaml(CONFIGS / "model" / f"{OURS}.yaml")


def report(setup, rows):
    found = dict(zip(entries_at(setup), rows, strict=True))
    values, base = axes(setup), base_of(setup)
    sections = [Section("p and γ", tuple(_map(found, values, base)))]
    for key in LINES:
        if len(values[key]) > 1:
            sections.append(Section(MEANINGS[key], tuple(_line(found, values, base, key))))
    fixed = ", ".join(f"{key}={value:g}" for key, value in base.items())
    return Report(
        title=f"{TITLE}: {setup.dataset}",
        lead=(
            f"One or two settings vary, the others stay at {fixed} and the yaml's defaults. The "
            "paper reports p = γ = 0.01 as its best.",
        ),
        sections=tuple(sections),
        colophon=colophon(setup, rows),
    )


def _row_at(found, point):
    return found[tuple(point.items())]


def _map(found, values, base):
    """Validation and test Recall@20 over p (rows) and gamma (columns), and the map."""
    for split, where in (("valid", "validation"), ("test", "test")):
        columns = tuple(f"{gamma:g}" for gamma in values["soft_gamma"])
        lines = []
        for p in values["soft_prob"]:
            points = [base | {"soft_prob": p, "soft_gamma": g} for g in values["soft_gamma"]]
            cells = [cell(_row_at(found, point), split, "recall@20") for point in points]
            lines.append((f"{p:g}", tuple(cells)))
        notes = ("Columns: γ. Mean and standard deviation over seeds.",)
        title = f"{where} Recall@20 by p and γ"
        table = Table(f"soft-labels-{where}", title, columns, tuple(lines), notes, "p")
        yield table
        drawn = tuple(name for name in columns if table.is_numeric(name))
        if drawn:
            yield HeatMap(
                name=f"soft-labels-{where}",
                caption=f"{where.capitalize()} Recall@20, mean over seeds: the darker the higher; "
                "the highest is framed.",
                table=table,
                columns=drawn,
                x_axis=MAP["soft_gamma"],
                y_axis=MAP["soft_prob"],
            )


def _line(found, values, base, key):
    columns = {"validation Recall@20": ("valid", "recall@20")}
    columns |= {f"test {shown(metric)}": ("test", metric) for metric in METRICS}
    lines = []
    for value in values[key]:
        row = _row_at(found, base | {key: value})
        cells = [cell(row, *where) for where in columns.values()]
        lines.append((f"{value:g}", tuple(cells)))
    name = key.replace("_", "-")
    table = Table(name, MEANINGS[key], tuple(columns), tuple(lines), row_title=MEANINGS[key])
    yield table.marked(dict.fromkeys(columns, True))
    drawn = tuple(name for name in list(columns)[:1] + ["test Recall@20"] if table.is_numeric(name))
    if drawn:
        yield Panels(
            name=name,
            caption=f"Recall@20 over {MEANINGS[key]}; mean and standard deviation over seeds.",
            table=table.marked(dict.fromkeys(columns, True)),
            columns=drawn,
            y_axis=MEANINGS[key].partition(",")[0],
            highlight=(f"{base[key]:g}",) if base[key] in values[key] else (),
        )
