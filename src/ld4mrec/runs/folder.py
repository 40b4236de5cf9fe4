"""The folder of a run: its files and its lock.

Files appear whole; result.json is written last and says that the run is finished.
"""

import importlib.metadata
import io
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import filelock
import numpy as np
import torch
import yaml

from ld4mrec import files
from ld4mrec.config.configuration import Config
from ld4mrec.errors import RunError
from ld4mrec.places import INSTALLED, SOURCE
from ld4mrec.runs.identity import plain_value, run_id

# What an interrupted run may leave.
LEFTOVERS = (
    *("last.pt", "best.pt", "metrics.jsonl", "log.txt"),
    *("per_user.npz", "topk.npz", "failed.json"),
)
PACKAGES = ("torch", "numpy", "scipy", "pandas")


class RunFolder:
    """The files of one run. path: its folder, made when needed. identity: see `run_identity`.

    Raises RunError if the folder holds a run of another identity.
    """

    def __init__(self, path: str | Path, identity: dict):
        self.path = Path(path)
        self.identity = identity
        self.id = run_id(identity)
        self._lock = filelock.FileLock(self.path / ".lock")
        earlier = self.read_json("manifest.json")
        found = self.path.iterdir() if earlier is None and self.path.is_dir() else ()
        if others := sorted(path.name for path in found if path.name[0] != "."):
            raise RunError(
                f"{self.path} is no run's folder and not empty ({', '.join(others[:5])}); choose "
                "another --run_dir or empty it"
            )
        if earlier is not None and earlier.get("id") != self.id:
            raise RunError(
                f"{self.path} holds another run (id {earlier.get('id')}, this one is {self.id}); "
                "choose another --run_dir or delete the folder"
            )

    def lock(self, timeout: float) -> bool:
        """Hold the run against other processes: True, or False if another one holds it after
        `timeout` seconds.

        The operating system releases the lock when the process ends, however it ends.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=timeout)
        except filelock.Timeout:
            return False
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be written ({error.strerror}); choose another --runs_dir or "
                "--run_dir"
            ) from error
        return True

    def unlock(self) -> None:
        self._lock.release()

    def result(self) -> dict | None:
        """The finished run's result.json, or None."""
        return self.read_json("result.json")

    def read_json(self, name: str) -> dict | None:
        path = self.path / name
        try:
            return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        except ValueError as error:
            raise RunError(
                f"{path} is damaged ({error}); delete {self.path} to run again"
            ) from error

    def start(self, config: Config, fresh: bool) -> None:
        """Write config.yaml and manifest.json; fresh: remove what an interrupted run left."""
        self.path.mkdir(parents=True, exist_ok=True)
        if fresh:
            for name in LEFTOVERS:
                (self.path / name).unlink(missing_ok=True)
        for temporary in self.path.glob(".*.tmp"):  # of a process that was killed while it wrote
            temporary.unlink()
        identity = {"id": self.id, "identity": self.identity}
        files.write_json(self.path / "manifest.json", identity | environment(config))
        plain = {key: plain_value(value) for key, value in sorted(config.final_config_dict.items())}
        with files.replacing(self.path / "config.yaml", "w") as file:
            yaml.safe_dump(plain, file, sort_keys=True, allow_unicode=True)

    def discard_if_empty(self) -> None:
        """Remove what a run refused before its first epoch wrote; nothing else that lies there."""
        if (self.path / "metrics.jsonl").is_file():
            return
        for name in (*LEFTOVERS, "config.yaml", "manifest.json"):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / "tensorboard", ignore_errors=True)
        if {path.name for path in self.path.iterdir()} <= {".lock"}:
            shutil.rmtree(self.path)

    def append_metrics(self, line: dict) -> None:
        """Add a line to metrics.jsonl. `keep_metrics` mends what a kill may leave of it."""
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def keep_metrics(self, up_to_epoch: int) -> None:
        """Drop the lines of metrics.jsonl after this epoch: the resumed run writes them again."""
        path = self.path / "metrics.jsonl"
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        lines = text.splitlines(keepends=True)
        with files.replacing(path, "w") as file:
            file.writelines(
                line.rstrip("\n") + "\n" for line in lines if _epoch_of(line) <= up_to_epoch
            )

    def write_arrays(self, name: str, **arrays: np.ndarray) -> None:
        """An .npz of arrays; the same arrays give the same bytes."""
        content = io.BytesIO()
        np.savez(content, **arrays)
        with files.replacing(self.path / name) as file:
            file.write(content.getvalue())


def _epoch_of(line):
    try:
        return json.loads(line)["epoch"]
    except (ValueError, KeyError):
        return float("inf")  # the half line of a killed run


def environment(config: Config | dict) -> dict:
    """Where and with what a run is made: for manifest.json."""
    device = (
        torch.cuda.get_device_name()
        if config["device"].type == "cuda"
        else platform.processor() or platform.machine()
    )
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "device": device,
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changed_files": _git("status", "--porcelain", "--untracked-files=no"),
    }


def _git(*arguments):
    """Output of git in the source tree, None where there is no git or no checkout."""
    if INSTALLED:  # a repository around us would be another project's
        return None
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=SOURCE, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
