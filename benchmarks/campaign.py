"""The campaign: kills at random moments and damaged or odd input of every kind, counted by outcome.

    python benchmarks/campaign.py --kills 200 --fuzz 20000 --seed 0
        all of it; the same command goes on where it was stopped
    python benchmarks/campaign.py --kills 200 --fuzz 20000 --minutes 20
        as much as twenty minutes hold; cases of all kinds in turn
    python benchmarks/campaign.py --only interactions:17
        one case again, with what the command printed and the smallest edits that do it

A case follows from the seed, its kind and its number alone (edits' places also from the small data
in OUT/base, which is made once). OUT, reports/campaign by default, gets ledger.jsonl (a line per
case), report.md and report.json (counts by kind and class, each distinct failure with its smallest
input and the command that repeats it). Most cases run in a fork of this process, which has imported
all it needs, under limits of time and memory; works named fresh start a new interpreter. The
classes:

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
import gc
import hashlib
import importlib
import json
import logging
import os
import random
import re
import resource
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # before torch is imported
ROOT = Path(__file__).resolve().parents[1]
SOURCE, TESTS = ROOT / "src", ROOT / "tests"
sys.path[:0] = [str(SOURCE), str(TESTS), str(Path(__file__).parent)]

import mutations as m  # noqa: E402 (the paths come first)
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import toy_encoders  # noqa: E402
import yaml  # noqa: E402

from ld4mrec import places  # noqa: E402
from ld4mrec.commands import compare, recommend, train  # noqa: E402
from ld4mrec.config import configuration  # noqa: E402
from ld4mrec.plugins.check.toy_data import write_toy_data  # noqa: E402
from ld4mrec.preprocessing import hm, microlens, sample, tmall  # noqa: E402
from ld4mrec.preprocessing.steps import features  # noqa: E402
from ld4mrec.progress import Display  # noqa: E402
from ld4mrec.terminal import init_logger  # noqa: E402
from ld4mrec.training import checkpoint  # noqa: E402

# imported by the commands where they are used: here, before the forks
for name in (
    *("ld4mrec.comparison.compare", "ld4mrec.search.train", "models.ld4mrec", "models.pop"),
    *("torch._dynamo", "pyarrow.parquet", "lmdb", "PIL.JpegImagePlugin", "matplotlib.pyplot"),
    *("models.vbpr", "matplotlib.backends.backend_svg", "matplotlib.backends.backend_pdf"),
):
    importlib.import_module(name)

FAILURES = ("different", "traceback", "hang", "memory", "died", "lost", "litter")
CLASSES = ("refused", "equal", "said", "accepted", "resumed", *FAILURES)
SECONDS = 30  # that a fuzz case may take; the whole ones take about one
FRESH_SECONDS = 240  # that a fresh interpreter may take
MEMORY = 3 << 30  # bytes beyond what this process has
SMALLER_TRIES = 24  # of a failure's edits
COMMANDS: dict[str, Callable[[list[str]], int]] = {
    module.__name__.rpartition(".")[2]: module.main
    for module in (train, compare, recommend, sample, tmall, microlens, hm)
}
PLACES = ("--data_path={w}/data/", "--runs_dir={w}/runs/", "--cache_dir={w}/cache/", "--threads=1")
SMALL = ("--use_gpu=False", "--topk=[5,20]", "--epochs=3", "--checkpoint_seconds=0")
NET = {"embedding_size": 16, "hidden_size": 16, "pg_hidden": 8, "svd_rank": 8}
THIN = tuple(f"--{key}={value}" for key, value in NET.items())
TRAIN = ("train", "-m", "LD4MRec", "-d", "toy", *PLACES, *SMALL, *THIN)
COMPARE = (
    *("compare", "-d", "toy", "--settings", "{w}/settings.yaml", "--seeds", "2", *PLACES, *SMALL),
    *("--metrics=recall@5,ndcg@20", "--out={w}/report"),
)
HALF = ("--run_dir={w}/half", "--resume", "--seed=7", "--epochs=8")  # the last words count
RECOMMEND = ("recommend", "{w}/runs/toy/LD4MRec/s1", "--data_path={w}/data/", "--cache_dir=null")
RAW = ("--raw={w}/raw/%s", "--out={w}/made/%s", "--store={w}/store", "--max-bad-lines=0.05")
RUN_FILES = ("*/topk.npz", "*/per_user.npz", "*/result.json", "*/metrics.jsonl")
DATA_FILES = ("made/*.inter", "made/*_feat.npy", "made/*_mapping.csv")


def _words(*groups: str) -> list[str]:
    """Words of a command; of a key that is there twice the last."""
    kept: dict[str, str] = {}
    for number, word in enumerate(groups):
        kept[word.partition("=")[0] if word.startswith("--") and "=" in word else str(number)] = (
            word
        )
    return list(kept.values())


def _prepare(name: str, *more: str) -> list[str]:
    return [name, *(word.replace("%s", name) for word in RAW), *more]


class Use(NamedTuple):
    """A way to use the small world. parts: folders and files of OUT/base that it needs. steps: the
    commands, {w}: the world. products: patterns of the files whose content is the outcome. fresh:
    in a new interpreter. ray: it starts processes of Ray.
    """

    parts: tuple[str, ...]
    steps: list[list[str]]
    products: tuple[str, ...]
    fresh: bool = False


POP = _words("train", "-m", "Pop", "-d", "toy", *PLACES, *SMALL)
VBPR = _words("train", "-m", "VBPR", "-d", "toy", *PLACES, *SMALL)
GRID = _words(*TRAIN, "--grid", "--soft_prob=[0.01,0.2]", "--soft_gamma=[0.01,0.2]")
USES = {
    "train": Use(("data",), [POP, _words(*TRAIN)], RUN_FILES),
    "vbpr": Use(("data",), [VBPR], RUN_FILES),
    "cached": Use(("data", "cache"), [_words(*TRAIN, "--seed=7")], RUN_FILES),
    "resume": Use(("data", "half"), [_words(*TRAIN, *HALF)], RUN_FILES),
    "again": Use(
        ("data", "runs", "settings.yaml"), [_words(*COMPARE)], ("report/*.csv",)
    ),
    "settings": Use(("data", "settings.yaml"), [_words(*COMPARE, "--seeds=1")], ("report/*.csv",)),
    "lists": Use(("data", "runs"), [[*RECOMMEND, "--out={w}/lists.csv"]], ("lists.csv",)),
    "history": Use(
        ("data", "runs", "history.csv"),
        [[*RECOMMEND, "--history={w}/history.csv", "--out={w}/lists.csv"]],
        ("lists.csv",),
    ),
    "tmall": Use(("raw/tmall",), [_prepare("tmall", "--image-encoder=none")], DATA_FILES),
    "microlens": Use(("raw/microlens",), [_prepare("microlens")], DATA_FILES),
    "hm": Use(("raw/hm",), [_prepare("hm")], DATA_FILES),
    "stored": Use(("raw/hm", "store"), [_prepare("hm")], DATA_FILES),
    "log": Use(("raw/tmall", "store"), [_prepare("tmall", "--no-features")], DATA_FILES),
}
for suffix in ("jsonl", "parquet"):
    _words_of = [
        word.replace("history.csv", f"history.{suffix}") for word in USES["history"].steps[0]
    ]
    USES[suffix] = Use(("data", "runs", f"history.{suffix}"), [_words_of], ("lists.csv",))
for suffix in ("csv", "npz"):
    _own = _prepare("hm", "--image-encoder=none", f"--text-encoder=file:{{w}}/vectors.{suffix}")
    USES[f"own-{suffix}"] = Use(("raw/hm", f"vectors.{suffix}"), [_own], DATA_FILES)

LONG = ("--epochs=25", "--stopping_step=30")
FRESH_ENCODERS = _prepare("microlens", "--batch-size=2")
WORKS = {  # of the kills
    "run": Use(("data",), [_words(*TRAIN, *LONG, "--resume", "--run_dir={w}/mine")], RUN_FILES),
    "grid": Use(("data",), [[*GRID, "--stopping_step=5"]], RUN_FILES),
    "tpe": Use(("data",), [_words(*TRAIN, "--search", "tpe", "--trials", "5")], RUN_FILES),
    "asha": Use(
        ("data",),
        [_words(*TRAIN, *LONG, "--search", "asha", "--trials", "4", "--first-rung", "2")],
        RUN_FILES,
    ),
    "compare": Use(("data", "settings.yaml"), [_words(*COMPARE)], (*RUN_FILES, "report/*.csv")),
    "hm": USES["hm"],
    "microlens": USES["microlens"],
    "tmall": USES["tmall"],
    "force": Use(("raw/hm", "store", "made"), [_prepare("hm", "--force", "--seed=1")], DATA_FILES),
    "recommend": USES["lists"],
    "export": Use(
        ("data", "runs"), [[*RECOMMEND, "--export={w}/served"]], ("served/*.np[yz]", "served/*.csv")
    ),
    "fresh run": Use(("data",), [_words(*TRAIN, *LONG, "--resume")], RUN_FILES, fresh=True),
    "fresh encoders": Use(("raw/microlens",), [FRESH_ENCODERS], DATA_FILES, fresh=True),
    "fresh ray": Use(
        ("data",), [[*GRID, "--engine", "ray", "--workers", "2"]], RUN_FILES, fresh=True
    ),
}


class Kind(NamedTuple):
    """What is edited, files by pattern, and for which uses. legal: tells edited content that a user
    may mean. copy: where the edited file goes instead (the model's yamls).
    """

    pattern: str
    uses: tuple[str, ...]
    draw: m.Drawer
    legal: m.Judge = m.never


def _known_keys() -> set:
    yamls = [places.CONFIGS / "overall.yaml", *(places.CONFIGS / "model").glob("*.yaml")]
    return {key for path in yamls for key in yaml.safe_load(path.read_text(encoding="utf-8"))}


KEYS = _known_keys()
RUN = "runs/toy/LD4MRec/"
KINDS = {
    "best.pt": Kind(RUN + "s1-*/best.pt", ("lists",), m.draw_weights),
    "last.pt": Kind("half/last.pt", ("resume",), m.draw_weights),
    "result.json": Kind(RUN + "s1-*/result.json", ("again", "lists"), m.draw_tree),
    "manifest.json": Kind(RUN + "s1-*/manifest.json", ("again", "lists"), m.draw_tree),
    "config.yaml": Kind(RUN + "s1-*/config.yaml", ("again", "lists"), m.draw_tree),
    "metrics.jsonl": Kind(RUN + "s1-*/metrics.jsonl", ("again",), m.draw_text),
    "half metrics.jsonl": Kind("half/metrics.jsonl", ("resume",), m.draw_text),
    "per_user.npz": Kind(RUN + "s1-*/per_user.npz", ("again",), m.draw_zip),
    "topk.npz": Kind(RUN + "s1-*/topk.npz", ("again", "lists"), m.draw_zip),
    "interactions": Kind("data/toy/toy.inter", ("train",), m.draw_rows, m.good_interactions),
    "interactions bytes": Kind("data/toy/toy.inter", ("train",), m.draw_text, m.good_interactions),
    "features": Kind("data/toy/*_feat.npy", ("train", "vbpr"), m.draw_array, m.good_array),
    "id maps": Kind("data/toy/*_mapping.csv", ("lists",), m.draw_rows),
    "id maps bytes": Kind("data/toy/*_mapping.csv", ("lists",), m.draw_text),
    "data yaml": Kind("data/toy/toy.yaml", ("train",), m.draw_tree, m.good_keys(KEYS)),
    "model yaml": Kind("configs/model/[LP][Do]*.yaml", ("train",), m.draw_tree, m.good_keys(KEYS)),
    "overall yaml": Kind("configs/overall.yaml", ("train",), m.draw_tree, m.good_keys(KEYS)),
    "settings": Kind("settings.yaml", ("settings",), m.draw_tree, m.always),
    "words": Kind("words", ("train", "again", "lists", "hm"), m.draw_bytes, m.always),
    "tmall raw": Kind("raw/tmall/*.zip", ("tmall",), m.draw_zip),
    "microlens rows": Kind("raw/*/*_pairs.csv", ("microlens",), m.draw_rows, m.good_table),
    "microlens titles": Kind("raw/*/*_titles.csv", ("microlens",), m.draw_text, m.always),
    "microlens covers": Kind("raw/*/*_covers.zip", ("microlens",), m.draw_zip),
    "hm rows": Kind("raw/hm/*_train.csv", ("hm",), m.draw_rows, m.good_table),
    "hm bytes": Kind("raw/hm/*_train.csv", ("hm",), m.draw_text, m.good_table),
    "hm articles": Kind("raw/hm/articles.csv", ("hm",), m.draw_text, m.always),
    "hm pictures": Kind("raw/hm/images*/*/*.jpg", ("hm",), m.draw_bytes, m.always),
    "history csv": Kind("history.csv", ("history",), m.draw_rows, m.good_table),
    "history jsonl": Kind("history.jsonl", ("jsonl",), m.draw_text, m.good_lines),
    "history parquet": Kind("history.parquet", ("parquet",), m.draw_bytes, m.always),
    "own vectors csv": Kind("vectors.csv", ("own-csv",), m.draw_rows, m.good_table),
    "own vectors npz": Kind("vectors.npz", ("own-npz",), m.draw_zip),
    "store of vectors": Kind("store/vectors/data.mdb", ("stored",), m.draw_bytes),
    "store of covers": Kind("store/covers/data.mdb", ("stored",), m.draw_bytes),
    "store of logs": Kind("store/logs/*.npz", ("log",), m.draw_zip),
    "cached signals": Kind("cache/*.npz", ("cached",), m.draw_zip),
}


# --- the small world --------------------------------------------------------------------------------


def make_data(base: Path) -> None:
    folder = base / "data" / "toy"
    write_toy_data(base / "data")
    for kind, number in (("user", 50), ("item", 60)):
        lines = [f"{kind}\t{kind}ID", *(f"{kind[0]}{n:03}\t{n}" for n in range(number))]
        (folder / f"{kind[0]}_id_mapping.csv").write_text("\n".join(lines) + "\n")


def make_settings(base: Path) -> None:
    rows = {"small": {"model": "LD4MRec", **NET}, "Pop": {"model": "Pop"}}
    (base / "settings.yaml").write_text(yaml.safe_dump(rows, sort_keys=False))


def make_runs(base: Path) -> None:
    make_settings(base)
    _run(base, _words(*COMPARE, "--keep_last=True"))


def make_half(base: Path) -> None:
    """A run that was killed after its third epoch."""
    saved, real = [], checkpoint.save

    def save(path, value):
        real(path, value)
        saved.append(Path(path).name)
        if saved.count("last.pt") == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.save = save
    _run(base, _words(*TRAIN, *HALF))


def make_raw(base: Path) -> None:
    for name in ("tmall", "microlens", "hm"):
        _run(base, ["sample", name, f"--out={base}/raw/{name}", "--users=60", "--items=40"])


def make_store(base: Path) -> None:
    make_raw(base)
    for words in (_prepare("hm"), _prepare("tmall", "--no-features")):
        _run(base, words)


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


def make_configs(base: Path) -> None:
    shutil.copytree(places.CONFIGS, base / "configs")


MAKERS = {
    "data": (make_data,),
    "settings.yaml": (make_settings,),
    "runs": (make_data, make_runs),
    "cache": (make_data, make_runs),
    "half": (make_data, make_half),
    "raw": (make_raw,),
    "store": (make_store,),
    "made": (make_store,),
    "configs": (make_configs,),
    **dict.fromkeys(("history.csv", "history.jsonl", "history.parquet"), (make_tables,)),
    **dict.fromkeys(("vectors.csv", "vectors.npz"), (make_tables,)),
}


def _run(world, words):
    name, *rest = (word.replace("{w}", str(world)) for word in words)
    status = COMMANDS[name](rest)
    if status:
        raise RuntimeError(f"{name} {shlex.join(rest)} ended with {status}")


# --- one command under limits -----------------------------------------------------------------------


class Ended(NamedTuple):
    """How commands ended. status: the exit status, minus the signal where one ended them. why:
    None, "time" where they were stopped at the limit, "kill" where they were killed on purpose.
    """

    status: int
    why: str | None
    output: str
    seconds: float


def in_child(work: Callable[[], int], out: Path, limit: float, kill: float | None = None) -> Ended:
    """Call `work` in a fork of this process, its exit status the value; what it prints goes to the
    file `out`.

    limit: seconds until it is stopped. kill: seconds until SIGKILL, with all that it started.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    started = time.monotonic()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.setsid()
            written = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(written, 1)
            os.dup2(written, 2)
            sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)
            sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", closefd=False)
            logging.getLogger().handlers.clear()
            faulthandler.enable(2, all_threads=False)
            faulthandler.dump_traceback_later(max(limit - 1, limit / 2), file=2)
            status = work()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status if isinstance(status, int) else 0)
    return _wait(pid, out, limit, kill, started)


def _wait(pid, out, limit, kill, started):
    handle = os.pidfd_open(pid)
    why, left = None, limit if kill is None else min(kill, limit)
    if not select.select([handle], [], [], left)[0]:
        why = "time" if kill is None else "kill"
    with contextlib.suppress(ProcessLookupError):  # also what it started and left
        os.killpg(pid, signal.SIGKILL)
    os.close(handle)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = out.read_text(encoding="utf-8", errors="replace")[-200_000:] if out.is_file() else ""
    return Ended(
        status, why if status == -signal.SIGKILL else None, text, time.monotonic() - started
    )


def _limits(world):
    """In the child: bounds of memory and files, a home of its own, our small encoders."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for what, most in (("AS", size + MEMORY), ("FSIZE", 1 << 30), ("CORE", 0)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{what}"), (most, most))
    (world / "here").mkdir(exist_ok=True)
    os.chdir(world / "here")
    os.environ["HOME"] = str(world / "here")
    os.fsync = lambda _: None  # the machine stays on, and the disk is shared
    toys = {"text": toy_encoders.ToyTexts(), "image": toy_encoders.ToyImages()}
    features.load_encoder = lambda name, kind, *_: (
        real(name, kind, *_) if name.startswith("file:") else toys[kind]
    )
    real = REAL_LOADER
    if (configs := world / "configs").is_dir():
        read = configuration.read_yaml
        configuration.read_yaml = lambda path: read(
            configs / Path(path).relative_to(places.CONFIGS)
            if places.CONFIGS in Path(path).parents
            else path
        )


REAL_LOADER = features.load_encoder


def in_fork(world: Path, steps: list[list[str]], limit: float, kill: float | None = None) -> Ended:
    """Run commands one after the other, up to one that fails, in a child of this process."""

    def work():
        _limits(world)
        status = 0
        for name, *rest in steps:
            status = status or COMMANDS[name]([word.replace("{w}", str(world)) for word in rest])
        return status

    return in_child(work, world.with_suffix(".out"), limit, kill)


def in_fresh(world: Path, steps: list[list[str]], limit: float, kill: float | None = None) -> Ended:
    """The same in a new interpreter, with all that it starts (Ray's processes)."""
    out, mark = world.with_suffix(".out"), f"{os.getpid()}-{time.monotonic_ns()}"
    name, *rest = (word.replace("{w}", str(world)) for word in steps[0])
    place = ["preprocessing"] if name in ("hm", "microlens", "tmall") else ["src"]
    script = ROOT.joinpath(*place, "main.py" if name == "train" else f"{name}.py")
    started = time.monotonic()
    with open(out, "w") as file:
        process = subprocess.Popen(
            [sys.executable, str(script), *rest],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env=os.environ | {"LD4MREC_CAMPAIGN": mark},
        )
    ended = _wait(process.pid, out, limit, kill, started)
    process.returncode = ended.status
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"LD4MREC_CAMPAIGN={mark}".encode() in (place / "environ").read_bytes():
                os.kill(int(place.name), signal.SIGKILL)
    return ended


# --- outcomes ---------------------------------------------------------------------------------------


def outcome(world: Path, products: tuple[str, ...]) -> dict[str, str]:
    """{file: digest} of a world's products; ids of runs and times are left out."""
    found = {}
    for path in sorted(path for path in world.rglob("*") if path.is_file()):
        name = str(path.relative_to(world))
        if any(fnmatch.fnmatch(name, pattern) for pattern in products) and "/." not in name:
            content = path.read_bytes()
            if path.name == "report.csv":  # seconds and memory differ
                content = b"".join(
                    row for row in content.splitlines(True) if not row.startswith(b"cost")
                )
            if path.name == "result.json":
                facts = json.loads(content)
                content = json.dumps(
                    [facts[key] for key in ("best_epoch", "epochs", "valid", "test")]
                )
                content = content.encode()
            name = re.sub(r"-[0-9a-f]{12}", "", name)
            found[name + "'" * (name in found)] = hashlib.sha256(content).hexdigest()[:16]
    return found


COUNTS = re.compile(
    "missing|broken|bad|left out|cannot|warning|damaged|repeat|twice|drop|again", re.I
)
CHATTER = re.compile(r"^(epoch |\s*valid: |\s*test: |.*\d+/s\)|\{)|seconds|parameters")


def lines_of(output: str) -> set[str]:
    """What an output says: its lines, numbers left out except where a line counts what is wrong."""
    lines = [line.strip() for line in output.splitlines() if not CHATTER.search(line)]
    lines += [line.strip() for line in output.splitlines() if "missing and" in line]
    return {
        line if COUNTS.search(line) else re.sub(r"[-\w.]*\d[-\w.]*", "N", line)
        for line in lines
        if line
    }


def where(output: str) -> str:
    """The project's last frame of a traceback, and the kind of the error."""
    frames = re.findall(r'File "([^"]+)", line \d+,? in (\S+)', output)
    ours = [(path, name) for path, name in frames if str(SOURCE) in path or "campaign" not in path]
    ours = [frame for frame in ours if str(SOURCE) in frame[0]] or ours
    last = ours[0 if "most recent call first" in output else -1] if ours else ("", "?")
    errors = re.findall(r"^([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)\b)", output, re.M)
    return f"{last[0].removeprefix(str(SOURCE) + '/')}:{last[1]} {errors[-1] if errors else ''}".strip()


TOO_MUCH = re.compile(
    "MemoryError|an't allocate memory|bad_alloc|nable to allocate|ot enough memory"
)


def judged(ended: Ended, found: dict, whole: dict, legal: bool) -> tuple[str, str]:
    """(class, where) of how a command ended. found: its outcome; whole: what is known of the one
    without edits; legal: whether other numbers are right.
    """
    text = ended.output
    if ended.why == "time":
        return "hang", where(text)
    refused = ended.status == 2 and re.search(r"(^|: )error: ", text, re.M)
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
    return ("said", "") if lines_of(text) - set(whole["lines"]) else ("different", "")


class Case(NamedTuple):
    """A fuzz case: the use, the edited file, the edits."""

    use: str
    file: str
    edits: list[m.Edit]


class Campaign:
    """Cases in a folder. out: for ledger, base and world; seed: of all draws; seconds: that a fuzz
    case may take.
    """

    def __init__(self, out: Path, seed: int, seconds: float = SECONDS):
        self.out, self.seed, self.seconds = out.resolve(), seed, seconds
        self.base, self.world = self.out / "base", self.out / "world"
        self.whole: dict[str, dict] = {}
        self.base.mkdir(parents=True, exist_ok=True)

    def part(self, name: str) -> Path:
        """A part of the base, made when it is absent."""
        path = self.base / name
        if not path.exists():
            top = name.partition("/")[0]
            fresh = self.out / "making"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()

            def work():
                _limits(fresh)
                for make in MAKERS[top]:
                    make(fresh)
                return 0

            ended = in_child(work, self.out / "making.out", FRESH_SECONDS)
            if not (fresh / top).exists() or ended.status not in (0, -signal.SIGKILL):
                raise RuntimeError(
                    f"the small world's {top} cannot be made:\n{ended.output[-2000:]}"
                )
            for made in fresh.iterdir():
                if made.name != "here" and not (self.base / made.name).exists():
                    made.rename(self.base / made.name)
            shutil.rmtree(fresh)
        return path

    def lay(self, use: Use, more: str = "") -> None:
        """A new world with the parts that the use needs."""
        shutil.rmtree(self.world, ignore_errors=True)
        for name in filter(None, (*use.parts, more)):
            source, target = self.part(name), self.world / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)

    def run(self, use: Use, kill: float | None = None) -> Ended:
        """The use's commands in the world that was laid."""
        if use.fresh:
            return in_fresh(self.world, use.steps, FRESH_SECONDS, kill)
        return in_fork(
            self.world, use.steps, 4 * self.seconds if use.products else self.seconds, kill
        )

    def known(self, name: str, use: Use) -> dict:
        """Outcome, lines and seconds of a use without edits and kills; kept in the folder."""
        path = self.out / "known" / f"{name}.json"
        if name not in self.whole and path.is_file():
            self.whole[name] = json.loads(path.read_text())
        if name not in self.whole:
            self.lay(use)
            ended = self.run(use)
            if ended.status:
                raise RuntimeError(f"{name} fails without edits:\n{ended.output[-2000:]}")
            found = outcome(self.world, use.products)
            lines = sorted(lines_of(ended.output))
            self.whole[name] = {"outcome": found, "lines": lines, "seconds": ended.seconds}
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(self.whole[name], indent=1))
        return self.whole[name]

    # --- fuzz -------------------------------------------------------------------------------------

    def case(self, kind: str, number: int) -> Case:
        """The case of this number: the same for the same seed."""
        rng, drawn = random.Random(f"{self.seed}:{kind}:{number}"), KINDS[kind]
        use = rng.choice(drawn.uses)
        if kind == "words":
            return Case(use, "words", self._words(rng, use))
        if "/" in drawn.pattern:
            self.part(drawn.pattern.partition("/")[0])
            file = rng.choice(sorted(map(str, self._files(drawn.pattern))))
        else:
            file = drawn.pattern
        return Case(use, file, drawn.draw(rng, self.part(file).read_bytes()))

    def _files(self, pattern):
        return [path.relative_to(self.base) for path in self.base.glob(pattern) if path.is_file()]

    def _words(self, rng, use):
        steps = USES[use].steps[-1]
        options = re.findall(r"--([a-z][\w-]+)", OPTIONS[steps[0]]())
        own = sorted(set(options) - {"engine", "address", "check-plugin", "plugin"})
        keys = own if steps[0] in ("recommend", "hm") else own + sorted(KEYS) * 3
        edits = []
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            key, value = rng.choice(keys), rng.choice((*m.RAW, *map(str, m.ODD[:-2])))
            if rng.random() < 0.05:
                key = m.misspelt(rng, key)
            edits.append(["words", key, None if rng.random() < 0.05 else value])
        return edits

    def fuzz(self, kind: str, case: Case) -> tuple[str, str, Ended]:
        """(class, where, how it ended) of a case."""
        use, drawn = USES[case.use], KINDS[kind]
        whole = self.known(case.use, use)
        self.lay(use, case.file if case.file.startswith("configs/") else "")
        if case.file.startswith("configs/"):
            shutil.rmtree(self.world / "configs")
            shutil.copytree(self.part("configs"), self.world / "configs")
        legal, steps = True, use.steps
        if kind == "words":
            edited = m.apply("\n".join(steps[-1]).encode(), case.edits).decode()
            steps = [*steps[:-1], edited.split("\n")]
            legal = all(key in KEYS or not key.endswith(("s", "x")) for _, key, *_ in case.edits)
        else:
            before = self.part(case.file).read_bytes()
            after = m.apply(before, case.edits)
            (self.world / case.file).write_bytes(after)
            legal = drawn.legal(before, after)
        ended = in_fork(self.world, steps, self.seconds)
        found = {} if ended.status else outcome(self.world, use.products)
        return *judged(ended, found, whole, legal), ended

    def smallest(self, kind: str, case: Case, wanted: tuple[str, str]) -> Case:
        """A case with simpler edits of the same class at the same place, after some tries."""
        tries = SMALLER_TRIES if wanted[0] != "hang" else 4
        found = True
        while found and tries > 0:
            found = False
            for edits in m.smaller(case.edits):
                tries -= 1
                if self.fuzz(kind, case._replace(edits=edits))[:2] == wanted:
                    case, found = case._replace(edits=edits), True
                    break
                if tries <= 0:
                    break
        return case

    # --- kills ------------------------------------------------------------------------------------

    def kill(self, work: str, number: int) -> tuple[str, str, Ended]:
        """(class, where, how it ended): the work killed one to three times, then run to its end."""
        use, rng = WORKS[work], random.Random(f"{self.seed}:{work}:{number}")
        whole = self.known(f"kill {work}", use)
        self.lay(use)
        moments = [rng.uniform(0.02, 1) * whole["seconds"] for _ in range(rng.choice((1, 1, 2, 3)))]
        landed = 0
        for moment in moments:
            while self.run(use, kill=moment).why != "kill":  # it was faster this time
                if landed:
                    break
                self.lay(use)
                moment /= 1.5
            landed += 1
        ended = self.run(use)
        if ended.status:
            verdict = judged(ended, {}, whole, True)
            return "lost", f"{verdict[0]} {verdict[1]}".strip(), ended
        found = outcome(self.world, use.products)
        if found != whole["outcome"]:
            names = sorted(
                n for n in found | whole["outcome"] if found.get(n) != whole["outcome"].get(n)
            )
            return "lost", ", ".join(names[:3]), ended
        litter = [p.name for p in self.world.rglob(".*") if p.name.endswith(".tmp")]
        return (
            ("litter", re.sub(r"\w{8}\.tmp", "*.tmp", litter[0]), ended)
            if litter
            else ("resumed", "", ended)
        )

    def do(self, name: str, kind: str, number: int) -> dict:
        """The ledger's line of a case. name: "fuzz" or "kill"."""
        if name == "kill":
            found, place, ended = self.kill(kind, number)
            case = None
        else:
            case = self.case(kind, number)
            found, place, ended = self.fuzz(kind, case)
        line = {"name": name, "kind": kind, "number": number, "class": found}
        line["seconds"] = round(ended.seconds, 2)
        if found in FAILURES:
            tail = ended.output.strip().splitlines()[-1:] or [""]
            line |= {"where": place, "tail": tail[0][:300], "use": case and case.use}
            line |= {"file": case and case.file, "edits": case and case.edits}
        return line


OPTIONS = {
    "train": lambda: train.parser().format_help(),
    "compare": lambda: compare.parser().format_help(),
    "recommend": lambda: recommend.parser().format_help(),
    "hm": lambda: (
        importlib.import_module("ld4mrec.preprocessing.steps.options")
        .parser_of(hm.HM())
        .format_help()
    ),
}


# --- ledger and report ------------------------------------------------------------------------------


def agenda(kills: int, fuzz: int) -> list[tuple[str, str, int]]:
    """All cases in the order in which they are done: kinds in turn, kills spread among them."""
    fuzzed = [("fuzz", list(KINDS)[n % len(KINDS)], n // len(KINDS)) for n in range(fuzz)]
    killed = [("kill", list(WORKS)[n % len(WORKS)], n // len(WORKS)) for n in range(kills)]
    places = [(n / max(fuzz, 1), case) for n, case in enumerate(fuzzed)]
    places += [((n + 0.5) / max(kills, 1), case) for n, case in enumerate(killed)]
    return [case for _, case in sorted(places, key=lambda pair: pair[0])]


def distinct(lines: list[dict]) -> dict[str, list[dict]]:
    """{key: lines} of the failures that have the same cause, as far as one can tell."""
    groups: dict[str, list[dict]] = {}
    for line in lines:
        if line["class"] in FAILURES:
            how = f" {line['edits'][0][0:2]}" if line["class"] == "different" else ""
            kind = (
                "" if line["class"] in ("traceback", "hang", "memory") else f"{line['kind']}{how}: "
            )
            groups.setdefault(f"{line['class']}: {kind}{line['where']}".strip(": "), []).append(
                line
            )
    return dict(
        sorted(groups.items(), key=lambda group: (FAILURES.index(group[1][0]["class"]), group[0]))
    )


def report(campaign: Campaign, lines: list[dict], asked: dict) -> dict:
    """Write report.md and report.json; the latter's value."""
    counts: dict[str, Counter] = {}
    for line in lines:
        counts.setdefault(f"{line['name']}: {line['kind']}", Counter())[line["class"]] += 1
    total = sum(counts.values(), Counter())
    shown = [name for name in CLASSES if total[name] or name in FAILURES]
    text = [f"{len(lines):,} cases, seed {campaign.seed}, commit {asked['commit']}", ""]
    text += ["| kind | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for name, row in [*sorted(counts.items()), ("all", total)]:
        text.append(f"| {name} | " + " | ".join(str(row[c]) for c in shown) + " |")
    failures = []
    for key, group in distinct(lines).items():
        best = min(group, key=lambda line: (not line.get("small"), len(json.dumps(line["edits"]))))
        again = f"python benchmarks/campaign.py --seed {campaign.seed} --only '{best['kind']}:{best['number']}'"
        again += " --kill" * (best["name"] == "kill") + f" --out {campaign.out}"
        failures.append({"failure": key, "cases": len(group), **best, "repeat": again})
        text += ["", f"**{key}** ({len(group)} cases)"]
        if best["edits"] is not None:
            text.append(
                f"- `{best['file']}` for {best['use']}: `{json.dumps(best['edits'])[:400]}`"
            )
        text += [f"- {best['tail']}", f"- `{again}`"]
    value = {"asked": asked, "counts": counts, "failures": failures}
    (campaign.out / "report.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    (campaign.out / "report.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    return value


def go(
    campaign: Campaign, cases: list[tuple[str, str, int]], until: float, asked: dict
) -> list[dict]:
    """Do the cases that the ledger lacks, until a moment of time.monotonic(); all its lines."""
    path = campaign.out / "ledger.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    done = {(line["name"], line["kind"], line["number"]) for line in lines}
    seen = set(distinct(lines))
    with (
        Display("campaign", len(cases), "cases") as shown,
        open(path, "a", encoding="utf-8") as file,
    ):
        shown.advance(len(done & set(cases)), 0)
        for name, kind, number in cases:
            if (name, kind, number) in done:
                continue
            if time.monotonic() > until:
                break
            line = campaign.do(name, kind, number)
            (key,) = distinct([line]) or [None]
            if key and key not in seen and line["edits"]:
                case = Case(line["use"], line["file"], line["edits"])
                small = campaign.smallest(kind, case, (line["class"], line["where"]))
                line |= {"edits": small.edits, "small": True}
            seen.add(key)
            lines.append(line)
            file.write(json.dumps(line) + "\n")
            file.flush()
            shown.advance()
            shown.show(lambda: f"{len(seen - {None})} distinct failures")
    shutil.rmtree(campaign.world, ignore_errors=True)
    report(campaign, lines, asked)
    return lines


def once(campaign: Campaign, kind: str, number: int, kill: bool) -> str:
    """One case again, in words; its class."""
    if kill:
        found, place, ended = campaign.kill(kind, number)
        print(ended.output)
    else:
        case = campaign.case(kind, number)
        found, place, ended = campaign.fuzz(kind, case)
        print(ended.output)
        print(f"file {case.file} for {case.use}, edits {json.dumps(case.edits)}")
        for words in USES[case.use].steps:
            print("command:", shlex.join(words).replace("{w}", str(campaign.world)))
        if found in FAILURES:
            small = campaign.smallest(kind, case, (found, place))
            print(f"smallest edits: {json.dumps(small.edits)}")
            campaign.fuzz(kind, small)
        print(f"the world as it was left: {campaign.world}")
    print(f"{kind}:{number}: {found} {place}")
    return found


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 if there are failures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--fuzz", type=int, default=20000, help="damaged or odd inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="stop after so many; the next call goes on")
    parser.add_argument("--only", metavar="KIND:NUMBER", help="this case alone")
    parser.add_argument("--kill", action="store_true", help="with --only: a kill of this work")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "campaign")
    given = parser.parse_args(arguments)
    init_logger()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    asked = {"seed": given.seed, "commit": commit}
    head = given.out / "campaign.json"
    if head.is_file() and not given.only and json.loads(head.read_text()) != asked:
        print(
            f"error: {given.out} holds a campaign of {json.loads(head.read_text())}, this is {asked}; "
            "name another --out or remove the folder",
            file=sys.stderr,
        )
        return 2
    gc.freeze()  # the forks' collections leave alone what is here
    campaign = Campaign(given.out, given.seed)
    if given.only:
        kind, _, number = given.only.rpartition(":")
        if kind not in (WORKS if given.kill else KINDS) or not number.isdecimal():
            known = ", ".join(WORKS if given.kill else KINDS)
            parser.error(f"--only is {given.only}; wanted KIND:NUMBER, KIND of {known}")
        return int(once(campaign, kind, int(number), given.kill) in FAILURES)
    head.write_text(json.dumps(asked) + "\n")
    until = time.monotonic() + 60 * given.minutes if given.minutes else float("inf")
    cases = agenda(given.kills, given.fuzz)
    try:
        lines = go(campaign, cases, until, asked)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    print((campaign.out / "report.md").read_text(encoding="utf-8"))
    print(f"{len(lines):,} of {len(cases):,} cases are done; {campaign.out}/report.md")
    return int(any(line["class"] in FAILURES for line in lines))


if __name__ == "__main__":
    sys.exit(main())
