"""The commands that the pages show, read from them and run, cut down, in a copy of the repository.

Data sets of the names that the pages use are small worlds; trainings last one epoch; what would
train many runs says what it would train (--dry-run). NOT_RUN lists what is left out, and why.
"""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import support

PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (support.ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"^(?:\w*\$ )?((?:python|ld4mrec) .*)")
NOT_RUN = {  # what a command has in it: why it is not run here
    r"NAME|METHOD": "is a form, with a place to fill in",
    r"--raw |prepare (tmall|hm|microlens|own)|own\.py|sample\.py": "makes data of downloads or of "
    "tables that the page describes: tests/preprocessing runs these",
    r"theirs|THEIRS|--plugin|--check-plugin|--audit": "needs somebody's file: tests/plugins",
    r"plug\.py|path/to/MMRec": "needs a MMRec checkout: tests/commands/test_plug.py",
    r"benchmarks/|campaign|docs/run_notebooks": "measures for minutes to hours",
    r"--engine ray|--address|ray start|/shared/": "starts workers or a cluster: tests/engines",
    r"--paper": "wants the three data sets of the paper and hours",
    r"--settings|--ledger|--archive|--resume": "needs files that the page describes",
    r"-m pytest|-m venv|-m pip|-c '": "is not of the project",
    r"first_result|docs/draw_house|&$": "is run by make, or beside another",
    r"--device|use_gpu=True|gpu_id": "needs a GPU",
}
QUICK = "--epochs=1 --threads=1 --cache_dir=cache"
SHORT = "--topk=[10,20]"  # lists, where the command has none of its own
FINISHED = "finished/LD4MRec"  # a run that the copy has
IDS = {"u31609,u34385": "0,1"}  # of a page, and of the small world
WORLDS = ("tiktok", "baby", "microlens", "tmall", "hm", "mine", "tea")


def commands_of(text):
    """The commands in the code blocks of a page, each on one line, without remarks."""
    for block in re.findall(
        r"^ *```(?:bash|sh|console)?\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE
    ):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            if found := COMMAND.match(line.strip()):
                yield re.sub(r"\s+#.*$", "", found[1]).strip()


def all_commands():
    """{command: pages that show it}."""
    found = {}
    for page in PAGES:
        for command in commands_of((support.ROOT / page).read_text(encoding="utf-8")):
            found.setdefault(command, []).append(page)
    return found


def reason(command):
    """Why a command is not run; None if it is."""
    return next((why for form, why in NOT_RUN.items() if re.search(form, command)), None)


RUN = [command for command in all_commands() if not reason(command)]


def cut_down(command):
    """The words of a command, on small worlds and for one epoch."""
    command = re.sub(r"--data_path=\S+", "", command)
    command = re.sub(r"--(epochs|threads|cache_dir)=\S+", "", command)
    command = command.replace("ld4mrec ", "python -m ld4mrec ", 1) if command[0] == "l" else command
    words = [sys.executable, *shlex.split(command)[1:]]
    if "--help" in words:
        return words
    if re.search(r"recommend", command):
        return [
            FINISHED if re.match(r"runs/|RUN$", word) else IDS.get(word, word) for word in words
        ]
    many = {"--grid", "--search", "--tune"} & set(words)
    reports = any(re.search(r"compare|experiments", word) for word in words)
    words += ["--dry-run"] * bool((many or reports) and "--dry-run" not in words)
    own = any(word.startswith("--topk") for word in words)
    return [*words, *QUICK.split(), *([] if own else [SHORT])]


def test_commands_are_read_and_cut():
    block = "python src/main.py -m A \\\n    --grid   # remark\nnot this\na$ ld4mrec train\n"
    assert list(commands_of(f"x\n```\n{block}```\n")) == [
        "python src/main.py -m A --grid",
        "ld4mrec train",
    ]
    assert cut_down("python src/main.py -m A -d b --data_path=x/ --epochs=9")[1:] == [
        *("src/main.py", "-m", "A", "-d", "b"),
        *QUICK.split(),
        SHORT,
    ]
    assert cut_down("ld4mrec compare -d b")[1:6] == ["-m", "ld4mrec", "compare", "-d", "b"]
    assert "--dry-run" in cut_down("ld4mrec compare -d b")
    assert cut_down("ld4mrec --help")[1:] == ["-m", "ld4mrec", "--help"]


def test_commands_are_run_or_listed():
    assert len(RUN) >= 10
    assert any("main.py" in command and "dry-run" not in command for command in RUN)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of what the commands need of the repository, with data sets."""
    folder = tmp_path_factory.mktemp("copy")
    for part in ("src", "preprocessing"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(support.ROOT / part, folder / part, ignore=ignored)
    for name in WORLDS:
        data = support.write_block_world(folder / "data", name)
        np.save(data / "audio_feat.npy", np.load(data / "text_feat.npy"))
    (folder / "wanted.txt").write_text("0\n1\n")
    (folder / "new.csv").write_text("user,item\nann,1\nann,5\nbob,2\n")
    done = in_copy(cut_down("python src/main.py -m LD4MRec -d tiktok"), folder)
    assert done.returncode == 0, done.stderr
    (folder / "runs" / "tiktok").rename(folder / "finished")
    return folder


def in_copy(words, folder):
    """A finished process of a command in a folder."""
    paths = {"PYTHONPATH": str(folder / "src"), "PATH": str(Path(sys.executable).parent)}
    kept = {"cwd": folder, "env": paths, "capture_output": True, "text": True}
    return subprocess.run(words, timeout=600, **kept)


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN)
def test_a_command_runs(command, copy):
    shutil.rmtree(copy / "served", ignore_errors=True)  # an export overwrites nothing
    done = in_copy(cut_down(command), copy)
    pages = ", ".join(all_commands()[command])
    assert done.returncode == 0, f"{pages}: {command}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
