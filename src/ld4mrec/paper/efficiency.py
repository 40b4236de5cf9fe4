"""Table 5: seconds per epoch and per inference and peak memory, on generated data of the paper's
three sizes; each model and size in a process of its own.

A measurement is kept in <runs_dir>/efficiency/<size>/<model>-<digest>.json; the digest is of what
decides it: settings, model code, data, batches. So the same command goes on where it was stopped.
"""

import hashlib
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ld4mrec import checksums
from ld4mrec.comparison.entries import Keys, keys_of
from ld4mrec.comparison.ledger import Row
from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.data.counts import TITLES
from ld4mrec.errors import counted
from ld4mrec.paper import published, sizes
from ld4mrec.paper.colophon import colophon, folder_of
from ld4mrec.paper.names import check_known
from ld4mrec.paper.runs import NOT_ASKED, NOT_RUN, OURS, Setup, settings_of
from ld4mrec.places import CONFIGS, PACKAGE
from ld4mrec.plugins import sources
from ld4mrec.report.panels import Panels
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Cell, Table
from ld4mrec.runs.model_code import code_fingerprint

TITLE = "Efficiency (Table 5)"
VERSION = 1  # of what is measured
MODELS = ("MMSSL", "MGCN", "DiffRec", "DiffMM", OURS)
FEW_BATCHES = {"MMSSL": 3}  # whose batch takes seconds
# where the results lie decides nothing
ELSEWHERE = ("data_path", "runs_dir", "cache_dir", "keep_last")
PAPER_SIZE = 1000  # embedding size of its LD4MRec, section 6.4
Found = dict[str, Any]  # what a measurement found, or {"reason", "cell_minutes"}
logger = logging.getLogger(__name__)


class Cost(NamedTuple):
    """A measured cost: its column, the paper's name for it, the column's unit in ours."""

    column: str
    published: str
    unit: float


COSTS = {
    "epoch": Cost("training, s per epoch", "training", 1),
    "inference": Cost("full inference, s", "inference", 1),
    "peak_bytes": Cost("peak memory, GB", "memory", 1e9),
}


@dataclass(frozen=True)
class Measurement:
    """What is measured, by the time of some batches: the arguments of `cell.measure`."""

    model: str
    dataset: str
    keys: Keys
    batches: int


def rows(setup: Setup) -> list[Row]:
    """None: what is measured is no run."""
    return []


def asked(setup: Setup) -> list[Measurement]:
    """The measurements asked for, the cheap ones first; ConfigError for an unknown size."""
    names = setup.sizes or tuple(sizes.SIZES)
    check_known("--sizes", names, sizes.SIZES, "size")
    models = sorted(setup.models or MODELS, key=lambda model: model in FEW_BATCHES)
    return [measurement(setup, name, model) for model in models for name in names]


def measurement(setup: Setup, size: str, model: str) -> Measurement:
    """Of a model on a size, as asked for; where the data lies is no part of it."""
    settings, _ = settings_of(setup, model)
    keys = {key: value for key, value in setup.keys.items() if key not in ELSEWHERE}
    batches = FEW_BATCHES.get(model, setup.batches)
    return Measurement(model, size, keys_of(model, size, keys) | settings, batches)


def missing(setup: Setup) -> list[Measurement]:
    """Those asked for that are neither there nor were stopped by as long a limit."""

    def is_done(found: Found | None) -> bool:
        return bool(found) and found.get("cell_minutes", math.inf) >= setup.cell_minutes

    return [what for what in asked(setup) if not is_done(kept(setup, what))]


def estimate(setup: Setup) -> list[str]:
    """Sentences on the measurements that are missing."""
    wanted, n_missing = len(asked(setup)), len(missing(setup))
    lines = [f"{counted(wanted, 'measurement')}, {wanted - n_missing} of them there"]
    if n_missing:
        minutes = n_missing * setup.cell_minutes
        lines.append(f"  at most {minutes:.0f} minutes (--cell-minutes {setup.cell_minutes:g})")
    return lines


def place(setup: Setup, what: Measurement, runs_dir: Path | None = None) -> Path:
    """The file of a measurement."""
    decides = asdict(what) | {"version": VERSION, "size": str(sizes.SIZES[what.dataset])}
    decides |= {"code": code_fingerprint(sources.find_model(what.model))}
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]
    folder = Path(runs_dir or folder_of(setup.keys, "runs_dir")) / "efficiency" / what.dataset
    return folder / f"{what.model}-{digest}.json"


def kept(setup: Setup, what: Measurement) -> Found | None:
    """What was found, in runs_dir or setup.ledger; a reason where nothing better is there."""
    found = []
    for path in {place(setup, what, folder): None for folder in (None, setup.ledger)}:
        content = checksums.read_json(path, "delete it to measure again")
        found += [] if content is None else [content]
    return min(found, key=lambda content: "reason" in content, default=None)


def measure(setup: Setup) -> None:
    """Take the measurements that are missing, one after the other."""
    todo, cache = missing(setup), folder_of(setup.keys, "cache_dir")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(cache) / "sizes" if cache else Path(temporary)
        for done, what in enumerate(todo, start=1):
            size = what.dataset
            if not (folder / size / f"{size}.inter").is_file():
                logger.info("generating data of the size of %s", size)
                sizes.write(folder, size, sizes.SIZES[size])
            logger.info("%s on %s (%d of %d)", what.model, size, done, len(todo))
            found = alone(what, folder, setup.cell_minutes)
            if "reason" in found:
                logger.error("%s on %s: %s", what.model, size, found["reason"])
            checksums.write_json(place(setup, what), found)


def keep(setup: Setup, archive: Path) -> None:
    """Copy the finished measurements into an archive's folder, where --ledger finds them."""
    for what in asked(setup):
        found = kept(setup, what)
        if found and "reason" not in found:
            checksums.write_json(place(setup, what, archive), found)


def alone(what: Measurement, folder: Path, minutes: float) -> Found:
    """What `ld4mrec.paper.cell` finds on the data in a folder, in a process of its own; else
    {"reason", "cell_minutes": the limit that it passed, 0 if it failed}.
    """
    request = asdict(what)
    request["keys"] |= {"data_path": f"{folder}/", "cache_dir": None}
    path = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "ld4mrec.paper.cell"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
            timeout=60 * minutes,
        )
    except subprocess.TimeoutExpired:
        reason = f"stopped after {minutes:g} minutes (--cell-minutes)"
        return {"reason": reason, "cell_minutes": minutes}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        return {"reason": lines[-1], "cell_minutes": 0}
    return json.loads(done.stdout.splitlines()[-1])


def report(setup: Setup, rows: Iterable[Row] = ()) -> Report:
    """A table and a figure per size."""
    found = {}
    for what in asked(setup):
        found.setdefault(what.dataset, {})[what.model] = kept(setup, what)
    by_model = [of_model for of_size in found.values() for of_model in of_size.values() if of_model]
    machines = dict.fromkeys(cost["machine"] for cost in by_model if "machine" in cost)
    return Report(
        title=TITLE,
        lead=(
            "Generated data with exactly the paper's counts: users and items paired at random, "
            "features of noise, so cost only. The paper's figures are of a V100; the text names no "
            "units, they are read as seconds, seconds and GB.",
            *(f"Measured on: {machine}." for machine in machines),
        ),
        sections=tuple(
            Section(TITLES[size], _of_size(setup, size, of_size)) for size, of_size in found.items()
        ),
        colophon=colophon(setup, data=False),
    )


def _of_size(setup: Setup, size: str, found: dict[str, Found | None]) -> tuple[Table | Panels, ...]:
    columns = tuple(cost.column for cost in COSTS.values())
    return Panels.with_table(
        costs(setup, size, found),
        columns,
        caption=f"Cost on generated data of the size of {TITLES[size]}, logarithmic.",
        logarithmic=columns,
        highlight=(OURS,) if OURS in found else (),
    )


def costs(setup: Setup, size: str, found: dict[str, Found | None]) -> Table:
    """Ours beside the paper's on a size. found: {model: what its measurement found}."""
    columns = [cost.column for cost in COSTS.values()]
    columns += [f"{column.partition(',')[0]}, paper's" for column in columns]
    columns += ["batches timed", "users scored"]
    lines = []
    for model in dict.fromkeys([*MODELS, *found]):
        ours = _ours(found[model]) if model in found else _empty(NOT_ASKED)
        theirs = [published.cost(size, model, cost.published) for cost in COSTS.values()]
        absent = Cell(None, note="the paper does not have it")
        theirs = [absent if value is None else Cell(value, format=".2f") for value in theirs]
        lines.append((model, (*ours[: len(COSTS)], *theirs, *ours[len(COSTS) :])))
    notes = (
        "Training: the median batch after warm-up times the batches of an epoch, with what the "
        "model does before and after the batches; inference: scores of all items and their top K "
        "for all users; memory: the process's peak, on CUDA what torch took at most.",
    )
    if OURS in found:
        notes += (_width(setup, size),)
    title = f"Cost on the size of {TITLES[size]}, ours beside the paper's"
    return Table(f"efficiency-{size}", title, tuple(columns), tuple(lines), notes)


def _ours(found: Found | None) -> list[Cell]:
    """The costs, then how they were measured."""
    if found is None or "reason" in found:
        return _empty((found or {}).get("reason") or NOT_RUN)
    values = [found[key] / cost.unit for key, cost in COSTS.items()]
    scaled = "" if found["scored"] == found["users"] else ", scaled"
    return [
        *(Cell(value, format=",.3g" if value < 100 else ",.0f") for value in values),
        Cell(f"{found['timed']} for {found['batches']:,}"),
        Cell(f"{found['scored']:,} of {found['users']:,}{scaled}"),
    ]


def _empty(why: str) -> list[Cell]:
    return [Cell(None, note=why)] * (len(COSTS) + 2)


def _width(setup: Setup, size: str) -> str:
    """LD4MRec's width beside the paper's, since the cost grows with it."""
    keys = read_yaml(CONFIGS / "model" / f"{OURS}.yaml") | measurement(setup, size, OURS).keys
    width = keys["embedding_size"]
    theirs = "the same" if width == PAPER_SIZE else f"{PAPER_SIZE}, which costs more"
    return (
        f"{OURS}: embedding_size {width}, hidden_size {keys['hidden_size']}; the paper's embedding "
        f"size is {theirs}."
    )
