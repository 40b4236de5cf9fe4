"""Table 5: seconds per epoch and per inference and peak memory, on generated data of the paper's
three sizes; each model and size in a process of its own.

A measurement is kept in <runs_dir>/efficiency/<size>/<model>-<digest>.json; the digest is of what
decides it: settings, model code, data, batches. So the same command goes on where it was stopped.
"""

import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from ld4mrec import files
from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.errors import ConfigError, RunError, nearest
from ld4mrec.paper import published, sizes
from ld4mrec.paper.colophon import colophon, folder_of
from ld4mrec.paper.runs import NOT_ASKED, NOT_RUN, OURS, keys_of, settings_of
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
WHAT = {  # {figure: (column, the paper's name, unit of ours in it)}
    "epoch": ("training, s per epoch", "training", 1),
    "inference": ("full inference, s", "inference", 1),
    "peak_bytes": ("peak memory, GB", "memory", 1e9),
}
logger = logging.getLogger(__name__)


def rows(setup):
    cells(setup)  # for the errors
    return []


def cells(setup):
    """[(size, model)] asked for, the cheap ones first."""
    names = setup.sizes or tuple(sizes.SIZES)
    for name in names:
        if name not in sizes.SIZES:
            raise ConfigError(f"--sizes names '{name}', no size.{nearest(name, sizes.SIZES)}")
    models = sorted(setup.models or MODELS, key=lambda model: model in FEW_BATCHES)
    return [(name, model) for model in models for name in names]


def estimate(setup):
    """Sentences on the measurements that are missing."""
    asked = cells(setup)
    missing = [one for one in asked if not _is_done(kept(setup, *one), setup)]
    lines = [f"{len(asked)} measurements, {len(asked) - len(missing)} of them there"]
    if missing:
        minutes = len(missing) * setup.cell_minutes
        lines.append(f"  at most {minutes:.0f} minutes (--cell-minutes {setup.cell_minutes:g})")
    return lines


def request_of(setup, size, model):
    """What a measurement is asked for, without where the data lies."""
    given, _ = settings_of(setup, model)
    keys = {key: value for key, value in setup.keys.items() if key not in ELSEWHERE}
    keys = keys_of(model, size, keys)
    batches = FEW_BATCHES.get(model, setup.batches)
    return {"model": model, "dataset": size, "keys": keys | given, "batches": batches}


def place(setup, size, model, runs_dir=None):
    """The file of a measurement."""
    decides = request_of(setup, size, model)
    decides |= {"version": VERSION, "size": str(sizes.SIZES[size])}
    decides |= {"code": code_fingerprint(sources.find_model(model))}
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]
    folder = Path(runs_dir or folder_of(setup.keys, "runs_dir")) / "efficiency" / size
    return folder / f"{model}-{digest}.json"


def kept(setup, size, model):
    """The finished measurement, of runs_dir or setup.ledger; else why there is none as
    {"reason", "cell_minutes"}, or None.
    """
    places = [place(setup, size, model, folder) for folder in (None, setup.ledger)]
    found = [_read(path) for path in dict.fromkeys(places) if path.is_file()]
    return next((one for one in found if "reason" not in one), found[0] if found else None)


def _read(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); delete it to measure again") from error


def _is_done(found, setup):
    """Whether there is nothing to do: measured, or stopped by as long a limit."""
    if found is None or "reason" in found:
        return found is not None and found["cell_minutes"] >= setup.cell_minutes
    return True


def measure(setup):
    """Take the measurements that are missing, one after the other."""
    missing = [one for one in cells(setup) if not _is_done(kept(setup, *one), setup)]
    if not missing:
        return
    with _data_folder(setup) as folder:
        for done, (size, model) in enumerate(missing):
            if not (folder / size / f"{size}.inter").is_file():
                logger.info("generating data of the size of %s", size)
                sizes.write(folder, size, sizes.SIZES[size])
            logger.info("%s on %s (%d of %d)", model, size, done + 1, len(missing))
            found = alone(setup, size, model, folder)
            if "reason" in found:
                logger.error("%s on %s: %s", model, size, found["reason"])
            files.write_json(place(setup, size, model), found)


def keep(setup, archive):
    """Copy the finished measurements into an archive's folder, where --ledger finds them."""
    for size, model in cells(setup):
        found = kept(setup, size, model)
        if found and "reason" not in found:
            files.write_json(place(setup, size, model, archive), found)


def alone(setup, size, model, folder):
    """What `ld4mrec.paper.cell` finds in a process of its own; if it fails or takes longer,
    {"reason", "cell_minutes": the limit that it passed, 0 if it failed}.
    """
    request = request_of(setup, size, model)
    request["keys"] = request["keys"] | {"data_path": f"{folder}/", "cache_dir": None}
    path = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "ld4mrec.paper.cell"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
            timeout=60 * setup.cell_minutes,
        )
    except subprocess.TimeoutExpired:
        reason = f"stopped after {setup.cell_minutes:g} minutes (--cell-minutes)"
        return {"reason": reason, "cell_minutes": setup.cell_minutes}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        return {"reason": lines[-1], "cell_minutes": 0}
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def _data_folder(setup):
    """Where the generated data lies: in cache_dir, or for this time where there is none."""
    cache = folder_of(setup.keys, "cache_dir")
    if cache is None:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
    else:
        yield Path(cache) / "sizes"


def report(setup, rows=()):
    asked = cells(setup)
    found = {one: kept(setup, *one) for one in asked}
    sections = []
    for size in dict.fromkeys(size for size, _ in asked):
        table = costs(setup, size, {m: f for (s, m), f in found.items() if s == size})
        drawn = tuple(column for column, *_ in WHAT.values() if table.is_numeric(column))
        figure = Panels(
            name=f"efficiency-{size}",
            caption=f"Cost on generated data of the size of {published.TITLES[size]}, logarithmic.",
            table=table,
            columns=drawn,
            logarithmic=drawn,
            highlight=(OURS,) if (size, OURS) in found else (),
        )
        sections.append(Section(published.TITLES[size], (table, *([figure] if drawn else []))))
    machines = dict.fromkeys(f["machine"] for f in found.values() if f and "machine" in f)
    return Report(
        title=TITLE,
        lead=(
            "Generated data with exactly the paper's counts: users and items paired at random, "
            "features of noise, so cost only. The paper's figures are of a V100; the text names no "
            "units, they are read as seconds, seconds and GB.",
            *(f"Measured on: {machine}." for machine in machines),
        ),
        sections=tuple(sections),
        colophon=colophon(setup, data=False),
    )


def costs(setup, size, found):
    """Ours beside the paper's on a size. found: {model: measurement, or None}."""
    columns = [column for column, *_ in WHAT.values()]
    columns += [f"{column.partition(',')[0]}, paper's" for column in columns]
    columns += ["batches timed", "users scored"]
    lines = []
    for model in dict.fromkeys([*MODELS, *found]):
        one = found.get(model)
        why = (one or {}).get("reason") or NOT_RUN if model in found else NOT_ASKED
        is_there = one is not None and "reason" not in one
        ours = [
            Cell(one[key] / unit, format=",.3g" if one[key] / unit < 100 else ",.0f")
            if is_there
            else Cell(None, note=why)
            for key, (_, _, unit) in WHAT.items()
        ]
        theirs = [published.cost(size, model, name) for _, name, _ in WHAT.values()]
        absent = Cell(None, note="the paper does not have it")
        theirs = [absent if value is None else Cell(value, format=".2f") for value in theirs]
        how = [Cell(None, note=why)] * 2
        if is_there:
            scaled = "" if one["scored"] == one["users"] else ", scaled"
            how = [
                Cell(f"{one['timed']} for {one['batches']:,}"),
                Cell(f"{one['scored']:,} of {one['users']:,}{scaled}"),
            ]
        lines.append((model, (*ours, *theirs, *how)))
    notes = (
        "Training: the median batch after warm-up times the batches of an epoch, with what the "
        "model does before and after the batches; inference: scores of all items and their top K "
        "for all users; memory: the process's peak, on CUDA what torch took at most.",
    )
    if OURS in found:
        notes += (_width(setup, size),)
    title = f"Cost on the size of {published.TITLES[size]}, ours beside the paper's"
    return Table(f"efficiency-{size}", title, tuple(columns), tuple(lines), notes)


def _width(setup, size):
    """LD4MRec's width beside the paper's, since the cost grows with it."""
    keys = read_yaml(CONFIGS / "model" / f"{OURS}.yaml") | request_of(setup, size, OURS)["keys"]
    ours = f"{OURS}: embedding_size {keys['embedding_size']}, hidden_size {keys['hidden_size']}"
    if keys["embedding_size"] == PAPER_SIZE:
        return f"{ours}; the paper's embedding size is the same."
    return f"{ours}; the paper's embedding size is {PAPER_SIZE}, which costs more."
