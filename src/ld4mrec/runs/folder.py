"""The folder of a run: its files and its lock.

Files appear whole; result.json is written last and says that the run is finished. It has its own
checksum and those of the other files, metrics.jsonl one in each line; what is read is verified.
"""

import hashlib
import importlib.metadata
import io
import json
import logging
import platform
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import filelock
import numpy as np
import torch
import yaml

from ld4mrec import checksums, files
from ld4mrec.config.configuration import Config
from ld4mrec.errors import DamagedError, RunError
from ld4mrec.places import INSTALLED, SOURCE
from ld4mrec.runs.identity import id_maps, plain_value, run_id
from ld4mrec.runs.results import unlike_a_result

# What an interrupted run may leave.
LEFTOVERS = (
    *("last.pt", "best.pt", "metrics.jsonl", "log.txt"),
    *("per_user.npz", "topk.npz", "failed.json"),
)
# What result.json lists with checksums.
LISTED = (
    *("config.yaml", "manifest.json", "metrics.jsonl"),
    *("best.pt", "per_user.npz", "topk.npz"),
)
PACKAGES = ("torch", "numpy", "scipy", "pandas")
CRC = "crc32"  # of a line of metrics.jsonl: of the line without it

logger = logging.getLogger(__name__)


class RunFolder:
    """The files of one run. path: its folder, made when needed. identity: see `run_identity`.

    Raises RunError if the folder holds a run of another identity.
    """

    def __init__(self, path: str | Path, identity: dict):
        self.path = Path(path)
        self.identity = identity
        self.id = run_id(identity)
        self._lock = filelock.FileLock(self.path / ".lock")
        self.spoilt = False  # its manifest is damaged: whatever else is there cannot be trusted
        try:
            earlier = self._manifest()
        except DamagedError as error:
            if self.path.name != self.id:
                raise
            logger.warning("%s", error)
            self.spoilt, earlier = True, identity | {"id": self.id}
        found = self.path.iterdir() if earlier is None and self.path.is_dir() else ()
        if others := sorted(path.name for path in found if path.name[0] != "."):
            raise RunError(
                f"{self.path} is no run's folder and not empty ({', '.join(others[:5])}); choose "
                "another --run_dir or empty it"
            )
        if earlier is not None and earlier["id"] != self.id:
            raise RunError(
                f"{self.path} holds another run (id {earlier['id']}, this one is {self.id}); "
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

    def holder(self) -> str:
        """Who holds the run, in words."""
        return files.holder(self._lock.lock_file)

    def result(self) -> dict | None:
        """The finished run's result.json, or None; DamagedError if it is no result of this run."""
        if self.spoilt:
            return None
        result = self.read_json("result.json")
        if result is not None:
            why = unlike_a_result(result, self.identity)
            if why:
                raise DamagedError(f"{self.path / 'result.json'} is damaged ({why}); {self._mend}")
        return result

    @property
    def _mend(self):
        return f"delete {self.path} to run again"

    def _manifest(self):
        manifest = self.read_json("manifest.json")
        if manifest is None:
            return None
        try:
            if run_id(manifest["identity"]) == manifest["id"]:
                return manifest
        except (LookupError, TypeError):
            pass
        raise DamagedError(
            f"{self.path / 'manifest.json'} is damaged (its id is not that of its identity); "
            f"{self._mend}"
        )

    def read_json(self, name: str) -> dict | None:
        """The object in a JSON file, None where there is no file; DamagedError, see `checksums`."""
        return checksums.read_json(self.path / name, self._mend)

    def write_json(self, name: str, value: dict) -> None:
        """A JSON object with its checksum."""
        checksums.write_json(self.path / name, value)

    def finish(self, result: dict) -> dict:
        """Write result.json, with the checksums of the other files; what it holds."""
        result = result | {"files": checksums.of_files(self.path, LISTED)}
        self.write_json("result.json", result)
        return result

    @property
    def is_finished(self) -> bool:
        """Whether there is a result that can be used."""
        try:
            return self.result() is not None
        except DamagedError:
            return False

    def check_arrays(self) -> None:
        """DamagedError unless the arrays of the finished run are those that were written."""
        for name in ("per_user.npz", "topk.npz"):
            if name == "per_user.npz" or (self.path / name).is_file():
                self.check(name)

    def verified(self, name: str) -> bytes:
        """Content of a file of the finished run; DamagedError if it is gone or another than was
        written. Runs of before there were checksums have theirs as they are.
        """
        try:
            content = (self.path / name).read_bytes()
        except OSError as error:
            raise self._unread(name, error) from error
        self._compare(name, hashlib.sha256(content).hexdigest())
        return content

    def check(self, name: str) -> None:
        """`verified` without the content, read once in this process."""
        try:
            digest = files.known_sha256(self.path / name)
        except OSError as error:
            raise self._unread(name, error) from error
        self._compare(name, digest)

    def _unread(self, name, error):
        return DamagedError(f"{self.path / name} cannot be read ({error.strerror}); {self._mend}")

    def _compare(self, name, digest):
        listed = (self.read_json("result.json") or {}).get("files", {})
        if listed.get(name, digest) != digest:
            path = self.path / name
            raise DamagedError(
                f"{path} is damaged (its content is not what was written); {self._mend}"
            )

    def start(self, config: Config, fresh: bool) -> None:
        """Write config.yaml and manifest.json; fresh: remove what an interrupted run left."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "result.json").unlink(missing_ok=True)  # a damaged one: now it is trained
        if fresh:
            for name in LEFTOVERS:
                (self.path / name).unlink(missing_ok=True)
        for temporary in self.path.glob(".*.tmp"):  # of a process that was killed while it wrote
            temporary.unlink(missing_ok=True)
        self.spoilt = False
        identity = {"id": self.id, "identity": self.identity}
        facts = environment(config) | {"id_maps": id_maps(config)}
        self.write_json("manifest.json", identity | facts)
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
            file.write(metrics_line(line))

    def metrics(self) -> list[dict]:
        """The lines of metrics.jsonl that are whole."""
        return metrics_in(self.path)

    def keep_metrics(self, up_to_epoch: int) -> None:
        """Drop the lines of metrics.jsonl after this epoch: the resumed run writes them again.
        Warns of epochs before it whose line is damaged or gone.
        """
        lines = {line["epoch"]: line for line in self.metrics() if line["epoch"] <= up_to_epoch}
        lost = up_to_epoch + 1 - len(lines)
        if lost:
            logger.warning(
                "%s: the lines of %d of %d epochs are damaged or gone; the run goes on without",
                *(self.path / "metrics.jsonl", lost, up_to_epoch + 1),
            )
        with files.replacing(self.path / "metrics.jsonl", "w") as file:
            for _, line in sorted(lines.items()):
                file.write(metrics_line(line))

    def write_arrays(self, name: str, **arrays: np.ndarray) -> None:
        """An .npz of arrays; the same arrays give the same bytes."""
        content = io.BytesIO()
        np.savez(content, **arrays)
        with files.replacing(self.path / name) as file:
            file.write(content.getvalue())

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of an .npz of the finished run; DamagedError, see `verified`."""
        content = self.verified(name)
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except Exception as error:  # numpy's and zipfile's, of many kinds
            raise DamagedError(f"{self.path / name} is damaged ({error}); {self._mend}") from error


def metrics_line(line: dict) -> str:
    """A line of metrics.jsonl: the value and its checksum."""
    return json.dumps(line | {CRC: _crc_of(line)}) + "\n"


def metrics_in(folder: Path) -> list[dict]:
    """The lines of a run folder's metrics.jsonl that are whole."""
    path = folder / "metrics.jsonl"
    content = path.read_bytes() if path.is_file() else b""
    return [line for line in map(_line_of, content.split(b"\n")) if line is not None]


def _crc_of(line):
    """Of a line of metrics.jsonl, as a value."""
    return zlib.crc32(json.dumps(line).encode())


def _line_of(text):
    """A line of metrics.jsonl as a value without its checksum, None where it is not whole."""
    try:
        line = json.loads(text)
        if line.pop(CRC) != _crc_of(line):
            return None
        return line if type(line["epoch"]) is int and line["epoch"] >= 0 else None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


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
