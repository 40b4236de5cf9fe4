"""Generated raw downloads, and the commands that prepare them."""

import json
import re
import shutil

import pytest

from ld4mrec.preprocessing import hm, microlens, sample, tmall

COMMANDS = {"tmall": tmall, "microlens": microlens, "hm": hm}


@pytest.fixture(scope="session")
def made_samples(tmp_path_factory):
    """{data set: folder of its generated raw download}, at the default size; not to be changed."""
    parent = tmp_path_factory.mktemp("raw")
    for name in COMMANDS:
        sample.generate(name, parent / name)
    return {name: parent / name for name in COMMANDS}


class Download:
    """A raw download of its own and the way to prepare it into `out`."""

    def __init__(self, name, raw, out, capsys):
        self.name, self.raw, self.out, self.capsys = name, raw, out, capsys
        self.truth = json.loads((raw / "manifest.json").read_text())
        self.planted = self.truth["planted"]

    def prepare(self, *flags, features=False):
        """(exit status, stdout, stderr) of the command."""
        arguments = [f"--raw={self.raw}", f"--out={self.out}", f"--store={self.out.parent}/store"]
        arguments += [] if features else ["--no-features"]
        self.capsys.readouterr()
        status = COMMANDS[self.name].main([*arguments, *map(str, flags)])
        return status, *self.capsys.readouterr()

    def manifest(self):
        return json.loads((self.out / "manifest.json").read_text())

    def steps(self):
        """{step: its row}, rounds left out of the core's name."""
        steps = self.manifest()["steps"]
        return {re.sub(r" \(\d+ rounds?\)", "", row["step"]): row for row in steps}


@pytest.fixture
def download(made_samples, tmp_path, capsys):
    """download(name): a copy of the sample that a test may change."""

    def copied(name):
        raw = tmp_path / "raw"
        shutil.copytree(made_samples[name], raw)
        return Download(name, raw, tmp_path / "data" / name, capsys)

    return copied
