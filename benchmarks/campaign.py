"""The campaign: kills at random moments and damaged or odd input of every kind, counted by outcome.

    python benchmarks/campaign.py --kills 200 --fuzz 20000 --seed 0
        all of it; the same command goes on where it was stopped
    python benchmarks/campaign.py --kills 200 --fuzz 20000 --minutes 20
        as much as twenty minutes hold; cases of all kinds in turn
    python benchmarks/campaign.py --kills 200 --fuzz 20000 --again failures
        after a mending: also the cases that failed at another commit
    python benchmarks/campaign.py --only interactions:17
        one case again, with what the command printed and the smallest edits that do it

A case follows from the seed, its kind and its number alone (places of edits also from the small
data in OUT/base, which is made once). OUT gets ledger.jsonl (a line per case), report.md and
report.json: counts by kind and class, each distinct failure with its smallest input and the command
that repeats it. Cases run in forks of this process, which has imported all it needs, under limits
of time and memory; the works named fresh run in a new interpreter. Classes:

    refused    exit 2 and a sentence that begins with "error:"
    equal      accepted, the numbers are those of the input without the edit
    said       accepted, other numbers, and a line of the output tells of it
    accepted   accepted, other numbers, which is right: the edited input is a legal one
    resumed    killed, and the same command went on to the outcome of the uninterrupted one
    different  accepted, other numbers from damaged input, and nothing was said
    traceback, hang, memory, died (by a signal, or an exit status without a sentence)
    lost       killed, and the same command fails or ends with another outcome
    litter     killed, the outcome is equal, and temporary files stay

Those from `different` on are failures; the exit status is 1 if there are any.
"""

import argparse
import contextlib
import faulthandler
import fnmatch
import functools
import gc
import hashlib
import importlib
import io
import json
import logging
import os
import random
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # before torch is imported
ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
sys.path[:0] = [str(SOURCE), str(ROOT / "tests"), str(Path(__file__).parent)]

import mutations as m  # noqa: E402 (the paths come first)
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import yaml  # noqa: E402

import toy_encoders  # noqa: E402
import toy_sources  # noqa: E402
from ld4mrec import places  # noqa: E402
from ld4mrec.commands import compare, recommend, train  # noqa: E402
from ld4mrec.config import configuration  # noqa: E402
from ld4mrec.plugins import sources  # noqa: E402
from ld4mrec.plugins.check.toy_data import write_toy_data  # noqa: E402
from ld4mrec.preprocessing import hm, microlens, own, sample, tmall  # noqa: E402
from ld4mrec.preprocessing.steps import features  # noqa: E402
from ld4mrec.progress import Display  # noqa: E402
from ld4mrec.report import figures  # noqa: E402
from ld4mrec.report.svg import Svg  # noqa: E402
from ld4mrec.runs.model_code import code_fingerprint  # noqa: E402
from ld4mrec.terminal import init_logger  # noqa: E402
from ld4mrec.training import checkpoint  # noqa: E402

WARM = (  # what the commands import where they use it: here, before the forks
    *("ld4mrec.comparison.compare", "ld4mrec.search.train", "models.ld4mrec", "models.pop"),
    *("torch._dynamo", "pyarrow.parquet", "pyarrow.dataset", "lmdb", "PIL.JpegImagePlugin"),
    *(
        "PIL.BmpImagePlugin",
        "PIL.GifImagePlugin",
        "PIL.PpmImagePlugin",
        "multiprocessing.synchronize",
    ),
    *("ld4mrec.serving.recommend", "pandas.io.formats.csvs"),
    *("matplotlib.pyplot", "matplotlib.backends.backend_svg", "matplotlib.backends.backend_pdf"),
)
FAILURES = ("different", "traceback", "hang", "memory", "died", "lost", "litter")
CLASSES = ("refused", "equal", "said", "accepted", "resumed", *FAILURES)
SECONDS = 30  # that a fuzz case may take; the whole ones take about one
FRESH_SECONDS = 240  # that a new interpreter may take, and the making of the base
MEMORY = 3 << 30  # bytes beyond what this process has
TRIES = {"hang": 4}  # to make a failure's edits smaller; of the other classes:
MORE_TRIES = 24
COMMANDS: dict[str, Callable[[list[str]], int]] = {
    module.__name__.rpartition(".")[2]: module.main
    for module in (train, compare, recommend, sample, tmall, microlens, hm, own)
}


# --- what is done in the small world; W stands for its folder ---


class Use(NamedTuple):
    """parts: of OUT/base that it needs. steps: commands, cut by ' ; '. products: patterns of the
    files whose content is the outcome. fresh: in a new interpreter.
    """

    parts: str
    steps: str
    products: str
    fresh: bool = False


KEYS = "--data_path=W/data/ --runs_dir=W/runs/ --cache_dir=W/cache/ --threads=1 --use_gpu=False"
KEYS += " --topk=[5,20] --checkpoint_seconds=0"
NET = {"embedding_size": 16, "hidden_size": 16, "pg_hidden": 8, "svd_rank": 8}
THIN = f"train -m LD4MRec -d toy {KEYS} " + " ".join(f"--{key}={NET[key]}" for key in NET)
COMPARE = f"compare -d toy --settings W/settings.yaml {KEYS} --epochs=3"
COMPARE += " --metrics=recall@5,ndcg@20 --out=W/report --seeds"
HALF = f"{THIN} --run_dir=W/half --resume --seed=7 --epochs=8"
LISTS = "recommend W/runs/toy/LD4MRec/s1 --data_path=W/data/ --cache_dir=null"
GRID = f"{THIN} --epochs=3 --grid --soft_prob=[0.01,0.2] --soft_gamma=[0.01,0.2]"
LONG = f"{THIN} --epochs=25 --stopping_step=30"
RAW = "--raw=W/raw/{0} --out=W/made/{0} --store=W/store --max-bad-lines=0.05"
TMALL, MICROLENS, HM = (f"{name} {RAW.format(name)}" for name in ("tmall", "microlens", "hm"))
RUN = "*/topk.npz */per_user.npz */result.json */metrics.jsonl"
DATA = "made/*.inter made/*_feat.npy made/*_mapping.csv"
USES = {
    "train": Use("data", f"train -m Pop -d toy {KEYS} --epochs=3 ; {THIN} --epochs=3", RUN),
    "cached": Use("data cache", f"{THIN} --epochs=3 --seed=7", RUN),
    "resume": Use("data half", HALF, RUN),
    "again": Use("data runs settings.yaml", f"{COMPARE} 2", "report/*.csv"),
    "settings": Use("data settings.yaml", f"{COMPARE} 1", "report/*.csv"),
    "lists": Use("data runs", f"{LISTS} --out=W/lists.csv", "lists.csv"),
    "tmall": Use("raw/tmall", f"{TMALL} --image-encoder=none", DATA),
    "microlens": Use("raw/microlens", MICROLENS, DATA),
    "hm": Use("raw/hm", HM, DATA),
    "stored": Use("raw/hm store", HM, DATA),
    "log": Use("raw/tmall store", f"{TMALL} --no-features", DATA),
}
for kind in ("csv", "jsonl", "parquet"):
    steps = f"{LISTS} --history=W/history.{kind} --out=W/lists.csv"
    USES[f"history {kind}"] = Use(f"data runs history.{kind}", steps, "lists.csv")
for kind in ("csv", "npz"):
    steps = f"{HM} --image-encoder=none --text-encoder=file:W/vectors.{kind}"
    USES[f"own {kind}"] = Use(f"raw/hm vectors.{kind}", steps, DATA)
OWN = "--out=W/made/own --store=W/store --k-core=1 --max-bad-lines=0.05 --force"
with tempfile.TemporaryDirectory() as place:  # for the words, which name the files
    for write in toy_sources.WRITERS:
        steps = f"own {OWN} " + " ".join(map(str, write(Path(place))[0]))
        name = f"own/{write.__name__}"
        USES[name] = Use(name, steps.replace(place, f"W/{name}"), DATA)

WORKS = {  # that are killed
    "run": Use("data", f"{LONG} --resume --run_dir=W/mine", RUN),
    "grid": Use("data", GRID, RUN),
    "tpe": Use("data", f"{THIN} --epochs=3 --search tpe --trials 5", RUN),
    "asha": Use("data", f"{LONG} --search asha --trials 4 --first-rung 2", RUN),
    "compare": USES["again"]._replace(parts="data settings.yaml", products=f"{RUN} report/*.csv"),
    "hm": USES["hm"],
    "microlens": USES["microlens"],
    "tmall": USES["tmall"],
    "force": Use("raw/hm store made", f"{HM} --force --seed=1", DATA),
    "recommend": USES["lists"],
    "export": Use("data runs", f"{LISTS} --export=W/served", "served/*.np[yz] served/*.csv"),
    "fresh run": Use("data", f"{LONG} --resume", RUN, fresh=True),
    "fresh encoders": Use("raw/microlens", f"{MICROLENS} --batch-size=2", DATA, fresh=True),
    "fresh ray": Use("data", f"{GRID} --engine ray --workers 2", RUN, fresh=True),
}


class Kind(NamedTuple):
    """What is edited, files by pattern, and for which uses. legal: judges the edited content."""

    pattern: str
    uses: tuple[str, ...]
    draw: m.Drawer
    legal: m.Judge = m.never


YAMLS = [places.CONFIGS / "overall.yaml", *sorted((places.CONFIGS / "model").glob("*.yaml"))]
DECLARED = {key for path in YAMLS for key in yaml.safe_load(path.read_text(encoding="utf-8"))}
KNOWN = m.good_keys(DECLARED)
S1 = "runs/toy/LD4MRec/s1-*/"
KINDS = {
    "best.pt": Kind(S1 + "best.pt", ("lists",), m.draw_weights),
    "last.pt": Kind("half/last.pt", ("resume",), m.draw_weights),
    "result.json": Kind(S1 + "result.json", ("again", "lists"), m.draw_tree),
    "manifest.json": Kind(S1 + "manifest.json", ("again", "lists"), m.draw_tree),
    "config.yaml": Kind(S1 + "config.yaml", ("again", "lists"), m.draw_tree),
    "metrics.jsonl": Kind(S1 + "metrics.jsonl", ("again",), m.draw_text),
    "half metrics.jsonl": Kind("half/metrics.jsonl", ("resume",), m.draw_text),
    "per_user.npz": Kind(S1 + "per_user.npz", ("again",), m.draw_zip),
    "topk.npz": Kind(S1 + "topk.npz", ("again", "lists"), m.draw_zip),
    "interactions": Kind("data/toy/toy.inter", ("train",), m.draw_rows, m.good_interactions),
    "features": Kind("data/toy/*_feat.npy", ("train",), m.draw_array, m.good_array),
    "id maps": Kind("data/toy/*_mapping.csv", ("lists",), m.draw_rows),
    "data yaml": Kind("data/toy/toy.yaml", ("train",), m.draw_tree, KNOWN),
    "model yaml": Kind("configs/model/[LP][Do]*.yaml", ("train",), m.draw_tree, KNOWN),
    "overall yaml": Kind("configs/overall.yaml", ("train",), m.draw_tree, KNOWN),
    "settings": Kind("settings.yaml", ("settings",), m.draw_tree, m.always),
    "words": Kind("words", ("train", "again", "lists", "hm"), m.draw_bytes, m.always),
    "tmall raw": Kind("raw/tmall/*.zip", ("tmall",), m.draw_zip),
    "microlens rows": Kind("raw/*/*_pairs.csv", ("microlens",), m.draw_rows, m.good_table),
    "microlens titles": Kind("raw/*/*_titles.csv", ("microlens",), m.draw_text, m.always),
    "microlens covers": Kind("raw/*/*_covers.zip", ("microlens",), m.draw_zip),
    "hm rows": Kind("raw/hm/*_train.csv", ("hm",), m.draw_rows, m.good_table),
    "hm articles": Kind("raw/hm/articles.csv", ("hm",), m.draw_text, m.always),
    "hm pictures": Kind("raw/hm/images*/*/*.jpg", ("hm",), m.draw_bytes, m.always),
    "history csv": Kind("history.csv", ("history csv",), m.draw_rows, m.good_ids),
    "history jsonl": Kind("history.jsonl", ("history jsonl",), m.draw_text, m.always),
    "history parquet": Kind("history.parquet", ("history parquet",), m.draw_bytes, m.always),
    "own vectors csv": Kind("vectors.csv", ("own csv",), m.draw_rows, m.good_vectors),
    "own vectors npz": Kind("vectors.npz", ("own npz",), m.draw_zip, m.good_zip),
    "store of vectors": Kind("store/vectors/data.mdb", ("stored",), m.draw_bytes),
    "store of covers": Kind("store/covers/data.mdb", ("stored",), m.draw_bytes),
    "store of logs": Kind("store/logs/*.npz", ("log",), m.draw_zip),
    "own ratings": Kind("own/csv_file/*", ("own/csv_file",), m.draw_rows, m.good_ids),
    "own tabs": Kind(
        "own/tsv_without_header/*", ("own/tsv_without_header",), m.draw_rows, m.good_width
    ),
    "own gzip": Kind("own/packed_by_gzip/*", ("own/packed_by_gzip",), m.draw_bytes),
    "own zip": Kind("own/packed_by_zip/*", ("own/packed_by_zip",), m.draw_zip, m.good_zip),
    "own parquet": Kind("own/parquet_file/*", ("own/parquet_file",), m.draw_bytes, m.always),
    "own lines": Kind("own/json_lines/*", ("own/json_lines",), m.draw_text, m.always),
    "own recbole": Kind("own/recbole/*.inter", ("own/recbole",), m.draw_rows, m.good_ids),
    "own recbole items": Kind("own/recbole/*.item", ("own/recbole",), m.draw_text),
    "own lightgcn": Kind("own/lightgcn/*.txt", ("own/lightgcn",), m.draw_text, m.good_lists),
    "own mmssl": Kind("own/mmssl/*.json", ("own/mmssl",), m.draw_tree, m.always),
    "own diffmm": Kind("own/diffmm/*Mat.npz", ("own/diffmm",), m.draw_zip, m.good_zip),
    "own features": Kind("own/mmrec/*.npy", ("own/mmrec",), m.draw_array, m.good_array),
    "own mmrec": Kind("own/mmrec/*.inter", ("own/mmrec",), m.draw_rows, m.good_ids),
    "own amazon": Kind("own/amazon_2023/*", ("own/amazon_2023",), m.draw_text, m.always),
    "own movielens": Kind("own/movielens_1m/*.dat", ("own/movielens_1m",), m.draw_text, m.always),
    "cached signals": Kind("cache/*.npy", ("cached",), m.draw_array),
}


# --- the small world: makers of its parts, each called in a fork ---


def make_data(base: Path) -> None:
    write_toy_data(base / "data")
    for kind, number in (("user", 50), ("item", 60)):
        lines = [f"{kind}\t{kind}ID", *(f"{kind[0]}{n:03}\t{n}" for n in range(number))]
        path = base / "data" / "toy" / f"{kind[0]}_id_mapping.csv"
        path.write_text("\n".join(lines) + "\n")


def make_settings(base: Path) -> None:
    rows = {"small": {"model": "LD4MRec", **NET}, "Pop": {"model": "Pop"}}
    (base / "settings.yaml").write_text(yaml.safe_dump(rows, sort_keys=False))


def make_runs(base: Path) -> None:
    make_data(base)
    make_settings(base)
    do_steps(base, f"{COMPARE} 2 --keep_last=True")


def make_half(base: Path) -> None:
    """A run that is killed after its third epoch."""
    saved, real = [], checkpoint.save

    def save(path, value):
        real(path, value)
        saved.append(Path(path).name)
        if saved.count("last.pt") == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.save = save
    make_data(base)
    do_steps(base, HALF)


def make_raw(base: Path) -> None:
    for name in ("tmall", "microlens", "hm"):
        do_steps(base, f"sample {name} --out=W/raw/{name} --users=60 --items=40")


def make_store(base: Path) -> None:
    make_raw(base)
    do_steps(base, f"{HM} ; {TMALL} --no-features")


def make_tables(base: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [(f"new{n // 4}", f"i{item:03}", 3) for n, item in enumerate(rng.permutation(60)[:40])]
    frame = pd.DataFrame(rows, columns=["user", "item", "rating"])
    frame.to_csv(base / "history.csv", index=False)
    frame.to_json(base / "history.jsonl", orient="records", lines=True)
    frame.to_parquet(base / "history.parquet")
    make_raw(base)
    ids = pd.read_csv(base / "raw/hm/articles.csv", dtype=str)["article_id"].to_numpy(dtype=str)
    vectors = pd.DataFrame(rng.standard_normal((len(ids), 4)).round(4))
    vectors.insert(0, "item", ids)
    vectors.to_csv(base / "vectors.csv", index=False)
    np.savez(base / "vectors.npz", ids=ids, vectors=vectors.iloc[:, 1:].to_numpy())


def make_own(base: Path) -> None:
    for write in toy_sources.WRITERS:
        folder = base / "own" / write.__name__
        folder.mkdir(parents=True)
        write(folder)


MAKERS = {
    **{"data": make_data, "settings.yaml": make_settings, "runs": make_runs, "cache": make_runs},
    **{"half": make_half, "raw": make_raw, "store": make_store, "made": make_store},
    **{"configs": lambda base: shutil.copytree(places.CONFIGS, base / "configs")},
    **{"history": make_tables, "vectors": make_tables, "own": make_own},
}


# --- commands under limits ---


class Ended(NamedTuple):
    """How commands ended. status: the exit status, minus the signal where one ended them. why:
    "time" where they were stopped at the limit, "kill" where they were killed on purpose, or None.
    """

    status: int
    why: str | None
    output: str
    seconds: float


def do_steps(world: Path, steps: str | list[list[str]]) -> int:
    """Run commands one after the other, up to one that fails; its exit status."""
    for name, *rest in split_steps(steps) if isinstance(steps, str) else steps:
        if status := COMMANDS[name]([re.sub(r"\bW/", f"{world}/", word) for word in rest]):
            return status
    return 0


def split_steps(steps: str) -> list[list[str]]:
    """The words of the commands of a Use."""
    return [step.split() for step in steps.split(" ; ")]


def in_fork(
    world: Path,
    work: Callable[[], int],
    limit: float,
    kill: float | None = None,
    confined: bool = True,
) -> Ended:
    """Call `work`, whose value is the exit status, in a fork of this process.

    limit: seconds until it is stopped. kill: seconds until SIGKILL, with all that it started.
    confined: with bounds of memory, small encoders and the world's yamls.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    out, started = world.with_suffix(".out"), time.monotonic()
    out.write_bytes(b"")
    if pid := os.fork():
        return _wait(pid, out, limit, kill, started)
    status = 1
    try:
        os.setsid()
        written = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for place, file in enumerate((os.open(os.devnull, os.O_RDONLY), written, written)):
            os.dup2(file, place)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", encoding="utf-8") for n in (1, 2))
        faulthandler.enable(2, all_threads=False)
        faulthandler.dump_traceback_later(max(limit - 1, limit / 2), file=2)
        if confined:
            _confine(world)
        status = work()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _confine(world):
    """In the fork: bounds, a folder of its own, our small encoders, the world's yamls."""
    logging.getLogger().handlers.clear()
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for what, most in (("AS", size + MEMORY), ("FSIZE", 1 << 30), ("CORE", 0)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{what}"), (most, most))
    (world / "here").mkdir(parents=True, exist_ok=True)
    os.chdir(world / "here")
    os.environ["HOME"] = str(world / "here")
    places.SOURCE = world / "here"  # where the yamls' relative paths start
    os.fsync = lambda _: None  # the machine stays on, and others want the disk
    toys = {"text": toy_encoders.ToyTexts(), "image": toy_encoders.ToyImages()}
    empty = b"<svg/>"  # tables have what figures show
    figures.draw = lambda figure, _: figures.Drawn(Svg(empty, figure.name, "", ""), b"", b"")
    load, read, configs = features.load_encoder, configuration.read_yaml, world / "configs"
    features.load_encoder = lambda name, kind, *more: (
        load(name, kind, *more) if name.startswith("file:") else toys[kind]
    )
    configuration.read_yaml = lambda path: read(
        configs / Path(path).relative_to(places.CONFIGS)
        if configs.is_dir() and places.CONFIGS in Path(path).parents
        else path
    )


def become(world: Path, steps: str, folder: str) -> None:
    """In a fork: turn into a new interpreter that runs the one command; folder: its TMPDIR."""
    ((name, *rest),) = split_steps(steps.replace("W/", f"{world}/"))
    words = ["-m", "ld4mrec", *(["prepare"] if name in ("hm", "microlens") else []), name, *rest]
    more = {"PYTHONPATH": str(SOURCE), "TMPDIR": folder}
    os.execve(sys.executable, [sys.executable, *words], os.environ | more)


def end_users_of(folder: str) -> None:
    """End what a command has started and left (Ray's processes): whose TMPDIR the folder is."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"TMPDIR={folder}\0".encode() in (place / "environ").read_bytes():
                os.kill(int(place.name), signal.SIGKILL)


def _wait(pid, out, limit, kill, started):
    handle, why = os.pidfd_open(pid), None
    if not select.select([handle], [], [], limit if kill is None else min(kill, limit))[0]:
        why = "time" if kill is None else "kill"
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):  # also what it started and left
        os.killpg(pid, signal.SIGKILL)
    os.close(handle)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = out.read_text(encoding="utf-8", errors="replace")[-2_000_000:]
    return Ended(
        status, why if status == -signal.SIGKILL else None, text, time.monotonic() - started
    )


# --- outcomes ---


def outcome(world: Path, products: str) -> dict[str, str]:
    """{file: digest} of a world's products; ids of runs, times and memory are left out."""
    found = {}
    for path in sorted(path for path in world.rglob("*") if path.is_file()):
        name = str(path.relative_to(world))
        if "/." in name or not any(fnmatch.fnmatch(name, one) for one in products.split()):
            continue
        content = path.read_bytes()
        if path.name == "result.json":
            facts = json.loads(content)
            kept = [facts[key] for key in ("best_epoch", "epochs", "valid", "test")]
            content = json.dumps(kept).encode()
        elif path.name == "report.csv":
            content = re.sub(rb"(?m)^cost,.*\n", b"", content)
        name = re.sub(r"-[0-9a-f]{12}", "", name)
        found[name + "'" * (name in found)] = hashlib.sha256(content).hexdigest()[:16]
    return found


COUNTS = re.compile(r"missing|broken|bad|left out|cannot|warn|damag|repeat|twice|drop|again", re.I)
CHATTER = re.compile(r"^(epoch |\s*valid: |\s*test: |\{)|\d+/s\)(?!.*missing)|seconds|parameters")


def said(output: str) -> set[str]:
    """What an output says: its lines, numbers left out except where a line counts what is wrong."""
    lines = [line.strip() for line in output.splitlines() if not CHATTER.search(line)]
    return {
        line if COUNTS.search(line) else re.sub(r"[-\w.]*\d[-\w.]*", "N", line) for line in lines
    }


def where(output: str) -> str:
    """The project's last frame of a traceback, and the kind of the error."""
    frames = re.findall(r'File "([^"]+)", line \d+,? in (\S+)', output)
    ours = [frame for frame in frames if frame[0].startswith(str(SOURCE))] or frames or [("", "?")]
    path, name = ours[0 if "most recent call first" in output else -1]
    errors = re.findall(r"^([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)\b)", output, re.M)
    return " ".join([f"{path.removeprefix(f'{SOURCE}/')}:{name}", *errors[-1:]])


TOO_MUCH = re.compile(
    "MemoryError|an't allocate memory|bad_alloc|nable to allocate|ot enough memory"
)


def judged(ended: Ended, found: dict, whole: dict, legal: bool) -> tuple[str, str]:
    """(class, where) of how a command ended. found: its outcome; whole: what is known of the one
    without edits; legal: whether other numbers are right.
    """
    text = ended.output
    refused = ended.status == 2 and re.search(r"(^|: )error: ", text, re.M)
    if ended.why == "time":
        return "hang", where(text)
    if ended.status < 0:
        return "died", f"{signal.Signals(-ended.status).name} {where(text)}"
    if TOO_MUCH.search(text) and not refused:
        return "memory", where(text)
    if "Traceback (most recent call last)" in text:
        return "traceback", where(text)
    if refused:
        return "refused", ""
    if ended.status:
        return "died", f"exit status {ended.status}"
    if found == whole["outcome"] or "usage: " in text:  # --help
        return "equal", ""
    if legal:
        return "accepted", ""
    return "said" if said(text) - set(whole["said"]) else "different", ""


# --- cases ---


class Case(NamedTuple):
    """A fuzz case: the use, the edited file, the edits."""

    use: str
    file: str
    edits: list[m.Edit]


class Campaign:
    """Cases in a folder. out: for ledger, base and world; seed: of all draws; seconds: that a fuzz
    case may take, four times as many in a second try; commit: of the code that is tried.
    """

    def __init__(self, out: Path, seed: int, seconds: float = SECONDS, commit: str = ""):
        self.out, self.seed, self.seconds, self.commit = out.resolve(), seed, seconds, commit
        self.base, self.world = self.out / "base", self.out / "world"
        self._whole: dict[str, dict] = {}
        self.base.mkdir(parents=True, exist_ok=True)

    def part(self, name: str) -> Path:
        """A part of the base, made when it is absent."""
        top = name.partition("/")[0]
        if not (self.base / top).exists():
            making = self.out / "making"
            shutil.rmtree(making, ignore_errors=True)
            make = MAKERS[top] if top in MAKERS else MAKERS[top.partition(".")[0]]
            ended = in_fork(making, lambda: 0 * bool(make(making)), FRESH_SECONDS)
            if not (making / top).exists() or ended.status not in (0, -signal.SIGKILL):
                raise RuntimeError(f"{top} cannot be made:\n{ended.output[-2000:]}")
            for made in making.iterdir():
                if not (self.base / made.name).exists():
                    made.rename(self.base / made.name)
        return self.base / name

    def lay(self, use: Use, *more: str) -> None:
        """A new world with the parts that the use needs."""
        shutil.rmtree(self.world, ignore_errors=True)
        for name in (*use.parts.split(), *more):
            source, target = self.part(name), self.world / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)

    def run(self, use: Use, kill: float | None = None) -> Ended:
        """The use's commands in the world that was laid."""
        if not use.fresh:
            work = functools.partial(do_steps, self.world, use.steps)
            return in_fork(self.world, work, 4 * self.seconds, kill)
        with tempfile.TemporaryDirectory(prefix="c", ignore_cleanup_errors=True) as folder:
            work = functools.partial(become, self.world, use.steps, folder)
            ended = in_fork(self.world, work, FRESH_SECONDS, kill, confined=False)
            end_users_of(folder)
        return ended

    def whole(self, name: str, use: Use) -> dict:
        """Outcome, lines and seconds of a use without edits and kills; kept in the folder."""
        path = self.out / "whole" / f"{name}.json"
        if name not in self._whole and path.is_file():
            self._whole[name] = json.loads(path.read_text())
        if name not in self._whole:
            self.lay(use)
            ended = self.run(use)
            if ended.status:
                raise RuntimeError(f"{name} fails without edits:\n{ended.output[-2000:]}")
            found = outcome(self.world, use.products)
            facts = {"outcome": found, "said": sorted(said(ended.output)), "seconds": ended.seconds}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(facts, indent=1))
            self._whole[name] = facts
        return self._whole[name]

    def case(self, kind: str, number: int) -> Case:
        """The case of this number: the same for the same seed."""
        rng, drawn = random.Random(f"{self.seed}:{kind}:{number}"), KINDS[kind]
        use = rng.choice(drawn.uses)
        if kind == "words":
            return Case(use, "words", draw_words(rng, use))
        file = drawn.pattern
        self.part(file)
        if "/" in file:
            found = [path for path in self.base.glob(file) if path.is_file()]
            file = rng.choice(sorted(str(path.relative_to(self.base)) for path in found))
        return Case(use, file, drawn.draw(rng, self.part(file).read_bytes()))

    def fuzz(self, kind: str, case: Case) -> tuple[str, str, Ended]:
        """(class, where, how it ended) of a case."""
        use, legal = USES[case.use], True
        whole, steps = self.whole(case.use, use), split_steps(use.steps)
        if kind == "words":
            edited = m.apply("\n".join(steps[-1]).encode(), case.edits)
            steps[-1] = edited.decode().split("\n")
        for limit in (self.seconds, 4 * self.seconds):  # others may keep the machine busy
            self.lay(use, *(["configs"] if case.file.startswith("configs/") else []))
            if kind != "words":
                before = self.part(case.file).read_bytes()
                after = m.apply(before, case.edits)
                (self.world / case.file).write_bytes(after)
                legal = KINDS[kind].legal(before, after)
            ended = in_fork(self.world, lambda: do_steps(self.world, steps), limit)
            if ended.why != "time":
                break
        found = {} if ended.status else outcome(self.world, use.products)
        return *judged(ended, found, whole, legal), ended

    def smallest(self, kind: str, case: Case, wanted: tuple[str, str]) -> Case:
        """A case with simpler edits of the same class at the same place, after some tries."""
        tries, found = TRIES.get(wanted[0], MORE_TRIES), True
        while found:
            found = False
            for edits in m.smaller(case.edits):
                tries -= 1
                if tries < 0:
                    return case
                if self.fuzz(kind, case._replace(edits=edits))[:2] == wanted:
                    case, found = case._replace(edits=edits), True
                    break
        return case

    def kill(self, work: str, number: int) -> tuple[str, str, Ended]:
        """(class, where, how it ended): the work killed one to three times, then run to its end."""
        use, rng = WORKS[work], random.Random(f"{self.seed}:{work}:{number}")
        whole = self.whole(f"kill {work}", use)
        self.lay(use)
        for n in range(rng.choice((1, 1, 2, 3))):
            moment = rng.uniform(0.02, 1) * whole["seconds"]
            while self.run(use, kill=moment).why != "kill" and not n:  # it was faster this time
                self.lay(use)
                moment /= 1.5
        ended = self.run(use)
        found, wanted = outcome(self.world, use.products), whole["outcome"]
        # killed after its last rename, a command says that its folder is there
        made = "is there already" in ended.output and found == wanted
        if ended.status and not made:
            return "lost", " ".join(judged(ended, {}, whole, True)[:2]), ended
        if found != wanted:
            names = sorted(n for n in found | wanted if found.get(n) != wanted.get(n))
            return "lost", ", ".join(names[:3]), ended
        litter = [path.name for path in self.world.rglob(".*.tmp")]
        if litter:
            return "litter", re.sub(r"\w{8}\.tmp", "*.tmp", litter[0]), ended
        return "resumed", "", ended

    def do(self, name: str, kind: str, number: int, seen: set[str]) -> dict:
        """The ledger's line of a case. name: "fuzz" or "kill". seen: failures that are known, whose
        edits are left as they are.
        """
        case = None
        if name == "kill":
            found, place, ended = self.kill(kind, number)
        else:
            case = self.case(kind, number)
            found, place, ended = self.fuzz(kind, case)
        line = {"name": name, "kind": kind, "number": number, "class": found}
        line |= {"seconds": round(ended.seconds, 2), "commit": self.commit}
        if found in FAILURES:
            tail = (ended.output.strip().splitlines() or [""])[-1][:300]
            edits = case and case.edits
            line |= {"where": place, "tail": tail, "edits": edits}
            line["failure"] = failure_of(line)
            if case and line["failure"] not in seen:
                small = self.smallest(kind, case, (found, place)).edits
                line |= {"use": case.use, "file": case.file, "edits": small}
        return line


def draw_words(rng: random.Random, use: str) -> list[m.Edit]:
    """Odd values of options and keys, now and then of a misspelt one."""
    command = split_steps(USES[use].steps)[-1][0]
    with contextlib.redirect_stdout(io.StringIO()) as told, contextlib.suppress(SystemExit):
        COMMANDS[command](["--help"])
    options = set(re.findall(r"--([a-z][\w-]+)", told.getvalue()))
    options = sorted(options - {"engine", "address", "check-plugin", "plugin"})
    keys = options + sorted(DECLARED) * 3 * (command in ("train", "compare"))
    edits = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        key, value = rng.choice(keys), rng.choice((*m.RAW, *map(str, m.ODD[:-2])))
        if rng.random() < 0.05:
            key = m.misspelt(rng, key)
        edits.append(["words", key, None if rng.random() < 0.05 else value])
    return edits


# --- ledger and report ---


def failure_of(line: dict) -> str:
    """What a failure is, for telling it from others: by place, or by kind and edit."""
    if line["class"] in ("traceback", "hang", "memory"):
        return f"{line['class']}: {line['where']}"
    how = [word for word in (line["edits"] or [[]])[0][:2] if isinstance(word, str)]
    return " ".join([f"{line['class']}: {line['kind']}", *how, line["where"]]).strip()


def agenda(kills: int, fuzz: int) -> list[tuple[str, str, int]]:
    """All cases in the order in which they are done: kinds in turn, kills spread among them."""
    cases = []
    for name, kinds, many in (("fuzz", list(KINDS), fuzz), ("kill", list(WORKS), kills)):
        for n in range(many):
            case = name, kinds[n % len(kinds)], n // len(kinds)
            cases.append(((n + 0.5) / many, case))
    return [case for _, case in sorted(cases, key=lambda pair: pair[0])]


def report(campaign: Campaign, lines: list[dict], asked: dict) -> None:
    """Write report.md and report.json. lines: of the ledger; of a case's the last one counts."""
    tried, lines = lines, list({case_of(line): line for line in lines}.values())
    counts: dict[str, Counter] = {}
    groups: dict[str, list[dict]] = {}
    for line in lines:
        counts.setdefault(f"{line['name']}: {line['kind']}", Counter())[line["class"]] += 1
        if line["class"] in FAILURES:
            groups.setdefault(line["failure"], []).append(line)
    total = sum(counts.values(), Counter())
    shown = [name for name in CLASSES if total[name] or name in FAILURES]
    commits = Counter(line["commit"] for line in lines)
    at = ", ".join(f"{many:,} at {commit}" for commit, many in commits.most_common())
    seconds = sum(line["seconds"] for line in tried)
    text = [f"{len(lines):,} cases, seed {campaign.seed}: {at}; {seconds:,.0f} s in all"]
    mended = {line["failure"] for line in tried if "failure" in line} - set(groups)
    if mended:
        text += [
            "",
            "Failed at earlier commits, mended:",
            *(f"- {name}" for name in sorted(mended)),
        ]
    text.append("")
    text += [f"| kind | {' | '.join(shown)} |", "|---" * (len(shown) + 1) + "|"]
    for name, row in [*sorted(counts.items()), ("all", total)]:
        text.append(f"| {name} | {' | '.join(str(row[found]) for found in shown)} |")
    failures = []
    for failure, (first, *rest) in sorted(groups.items()):
        again = f"python benchmarks/campaign.py --seed {campaign.seed} --out {campaign.out}"
        again += f" --only '{first['kind']}:{first['number']}'" + " --kill" * (
            first["name"] == "kill"
        )
        failures.append({"cases": 1 + len(rest), **first, "repeat": again})
        text += ["", f"**{failure}** ({1 + len(rest)} cases)"]
        if "use" in first:
            edits = json.dumps(first["edits"])[:400]
            text.append(f"- `{first['file']}` for {first['use']}: `{edits}`")
        text += [f"- {first['tail']}", f"- `{again}`"]
    value = {"asked": asked, "counts": counts, "failures": failures}
    (campaign.out / "report.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    (campaign.out / "report.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def case_of(line: dict) -> tuple[str, str, int]:
    """(name, kind, number) of a line of the ledger."""
    return line["name"], line["kind"], line["number"]


def go(
    campaign: Campaign, cases: list[tuple[str, str, int]], minutes: float, again: str | None = None
) -> list[dict]:
    """Do the cases that the ledger lacks, for some minutes; all its lines.

    again: a pattern of kinds whose cases of other commits are done too, or "failures".
    """
    path, until = campaign.out / "ledger.jsonl", time.monotonic() + 60 * minutes
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    done = {case_of(line): line for line in lines}
    seen = {line.get("failure") for line in lines} - {None}
    if again is not None:
        done = {
            case: line
            for case, line in done.items()
            if line["commit"] == campaign.commit
            or not (
                line["class"] in FAILURES
                if again == "failures"
                else fnmatch.fnmatch(case[1], again)
            )
        }
    with Display("campaign", len(cases), "cases") as shown, open(path, "a") as file:
        shown.advance(len(done.keys() & set(cases)), 0)
        for case in cases:
            if case not in done and time.monotonic() < until:
                line = campaign.do(*case, seen)
                seen |= {line["failure"]} if "failure" in line else set()
                lines.append(line)
                file.write(json.dumps(line) + "\n")
                file.flush()
                shown.advance()
                shown.show(lambda: f"{len(seen)} distinct failures")  # noqa: B023 (shown at once)
    return lines


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 if there are failures."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--fuzz", type=int, default=20000, help="damaged or odd inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="then stop")
    parser.add_argument("--only", metavar="KIND:NUMBER", help="this case alone")
    parser.add_argument("--kill", action="store_true", help="with --only: a kill of this work")
    parser.add_argument(
        "--again", metavar="KINDS", help="also what other commits did: kinds (*), or failures"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "campaign")
    given = parser.parse_args(arguments)
    kind, _, number = (given.only or "").rpartition(":")
    kinds = WORKS if given.kill else KINDS
    if given.only and (kind not in kinds or not number.isdecimal()):
        parser.error(f"--only is {given.only}; wanted KIND:NUMBER, KIND one of {', '.join(kinds)}")
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    asked, head = {"seed": given.seed}, given.out / "campaign.json"
    earlier = json.loads(head.read_text()) if head.is_file() else asked
    if earlier != asked and not given.only:
        parser.error(f"{given.out} is of {earlier}, this is {asked}; give another --out")
    init_logger()
    for name in WARM:
        importlib.import_module(name)
    for name in ("LD4MRec", "Pop"):
        code_fingerprint(sources.find_model(name))  # read once: no case changes the code
    gc.freeze()  # what is here is left alone by the forks' collections
    campaign = Campaign(given.out, given.seed, commit=commit)
    if given.only:
        line = campaign.do("kill" if given.kill else "fuzz", kind, int(number), set())
        case = None if given.kill else campaign.case(kind, int(number))
        if "use" in line:
            case = case._replace(edits=line["edits"])
            campaign.fuzz(kind, case)
        print(campaign.world.with_suffix(".out").read_text(encoding="utf-8", errors="replace"))
        print(json.dumps(line, indent=1), case, campaign.world, sep="\n")
        return int(line["class"] in FAILURES)
    head.write_text(json.dumps(asked) + "\n")
    cases = agenda(given.kills, given.fuzz)
    try:
        lines = go(campaign, cases, given.minutes, given.again)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    report(campaign, lines, asked)
    print((campaign.out / "report.md").read_text(encoding="utf-8"))
    last = {case_of(line): line["class"] for line in lines}
    print(f"{len(last):,} of {len(cases):,} cases are done; {campaign.out}/report.md")
    return int(any(found in FAILURES for found in last.values()))


if __name__ == "__main__":
    sys.exit(main())
