"""The imports of the project against the rules of tests/house.py."""

import ast
import re
import runpy
from xml.etree import ElementTree

import pytest

import house
import support


def check(root):
    broken = house.violations(root)
    assert not broken, "\n".join(broken)


def plant(root, files):
    """A small project at `root`; files: {path: text}."""
    for path, text in {"src/ld4mrec/commands/plug.py": "", **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


SOUND = {
    "src/main.py": "from ld4mrec.commands.train import main\n",
    "preprocessing/tmall.py": "from ld4mrec.preprocessing.tmall import main\n",
    "src/utils/logger.py": "from ld4mrec.terminal import init_logger\n",
    "src/utils/misc.py": "from utils.logger import *\n",
    "src/common/abstract_recommender.py": "from ld4mrec.data.features import load_features\n",
    "src/common/graph.py": "import numpy as np\nimport scipy.sparse as sp\n",
    "src/models/ld4mrec.py": "import torch\nfrom common import graph\n"
    "from common.abstract_recommender import GeneralRecommender\n",
    "src/ld4mrec/terminal.py": "import sys\nfrom ld4mrec.errors import UserError\n",
    "src/ld4mrec/errors.py": "",
    "src/ld4mrec/commands/train.py": "from ld4mrec.runs import folder\nimport ld4mrec.errors\n",
    "src/ld4mrec/preprocessing/tmall.py": "from ld4mrec.data.splits import mmrec\n",
    "src/ld4mrec/data/splits.py": "",
    "src/ld4mrec/data/features.py": "import numpy\n",
    "src/ld4mrec/runs/folder.py": "from .curve import best_until\nfrom ..data import splits\n",
    "src/ld4mrec/runs/curve.py": "from common.graph import binary_csr\n",
    "benchmarks/costs.py": "import shared\nfrom ld4mrec.runs import folder\n",
    "benchmarks/shared.py": "",
}


def test_the_house():
    check(support.ROOT)


def test_a_sound_house(tmp_path):
    check(plant(tmp_path, SOUND))


def test_every_way_to_import_is_read(tmp_path):
    ways = """
import ld4mrec.errors
from ld4mrec import terminal
from ld4mrec.runs.folder import RunFolder
from . import compare
from .compare import main
from ..data import splits
def lazy():
    import importlib, json
    importlib.import_module("common.graph")
    from utils import misc
    __import__("ld4mrec.runs.curve")
"""
    plant(tmp_path, SOUND | {"src/ld4mrec/commands/compare.py": ""})
    plant(tmp_path, {"src/ld4mrec/commands/ways.py": ways})
    found = [i for i in house.imports_of(tmp_path) if i.file == "src/ld4mrec/commands/ways.py"]
    assert sorted((i.line, i.target) for i in found if i.target) == [
        (2, "src/ld4mrec/errors.py"),
        (3, "src/ld4mrec/terminal.py"),
        (4, "src/ld4mrec/runs/folder.py"),
        (5, "src/ld4mrec/commands/compare.py"),
        (6, "src/ld4mrec/commands/compare.py"),
        (7, "src/ld4mrec/data/splits.py"),
        (10, "src/common/graph.py"),
        (11, "src/utils/misc.py"),
        (12, "src/ld4mrec/runs/curve.py"),
    ]
    assert sorted(i.name for i in found if not i.target) == ["importlib", "json"]


RUNS = "src/ld4mrec/runs/folder.py"
BROKEN = {
    "an arrow turned round": (
        {"src/ld4mrec/data/splits.py": "\nfrom ld4mrec.runs.folder import RunFolder\n"},
        "src/ld4mrec/data/splits.py:2 imports ld4mrec.runs.folder: "
        "arrows go to the right only, and runs is not right of data",
    ),
    "a lazy import": (
        {"src/ld4mrec/errors.py": "def nearest():\n    from ld4mrec.data import splits\n"},
        "src/ld4mrec/errors.py:2 imports ld4mrec.data.splits: "
        "arrows go to the right only, and data is not right of ground",
    ),
    "a neighbour": (
        {
            "src/ld4mrec/serving/lists.py": "from ld4mrec.report import page\n",
            "src/ld4mrec/report/page.py": "",
        },
        "src/ld4mrec/serving/lists.py:1 imports ld4mrec.report.page: "
        "arrows go to the right only, and report is not right of serving",
    ),
    "a model by its name": (
        {RUNS: "def build():\n    __import__('importlib').import_module('models.ld4mrec')\n"},
        f"{RUNS}:2 imports models.ld4mrec: "
        "arrows go to the right only, and models is not right of runs",
    ),
    "a report that opens data": (
        {"src/ld4mrec/report/page.py": "import ld4mrec.data.splits\n"},
        "src/ld4mrec/report/page.py:1 imports ld4mrec.data.splits: report imports ground only",
    ),
    "preprocessing that reads features": (
        {"src/ld4mrec/preprocessing/hm.py": "from ld4mrec.data import splits, features\n"},
        "src/ld4mrec/preprocessing/hm.py:1 imports ld4mrec.data.features: "
        "preprocessing imports ground, data/splits.py, data/counts.py, "
        "evaluation/metrics.py, common/item_regression.py only",
    ),
    "mathematics that knows a split": (
        {"src/common/loss.py": "from ld4mrec.data.splits import mmrec\n"},
        "src/common/loss.py:1 imports ld4mrec.data.splits: "
        "common imports ground, data/features.py only",
    ),
    "a model that knows the host": (
        {"src/models/bpr.py": "from ld4mrec.runs import folder\n"},
        "src/models/bpr.py:1 imports ld4mrec.runs.folder: models imports common, ground only",
    ),
    "a model that uses another": (
        {"src/models/bpr.py": "from models.ld4mrec import LD4MRec\n"},
        "src/models/bpr.py:1 imports models.ld4mrec: the files of models do not import each other",
    ),
    "a command that uses another": (
        {"src/ld4mrec/commands/train.py": "from .plug import NEEDED\n"},
        "src/ld4mrec/commands/train.py:1 imports ld4mrec.commands.plug: "
        "the files of commands do not import each other",
    ),
    "a face that is used": (
        {RUNS: "from utils import logger\n"},
        f"{RUNS}:1 imports utils.logger: "
        "src/utils/logger.py is a face for others; none of our files imports it",
    ),
    "MMRec's trainer that is used": (
        {RUNS: "from common.trainer import Trainer\n", "src/common/trainer.py": ""},
        f"{RUNS}:1 imports common.trainer: "
        "src/common/trainer.py is a face for others; none of our files imports it",
    ),
    "a face that works": (
        {"src/utils/misc.py": "x = 1\n" * 16},
        "src/utils/misc.py has 16 lines: a face has 15 at most",
    ),
    "a script that works": (
        {"preprocessing/tmall.py": SOUND["preprocessing/tmall.py"] + "x = 1\n" * 12},
        "preprocessing/tmall.py has 13 lines: a face has 12 at most",
    ),
    "a script of two": (
        {"src/main.py": "from ld4mrec.commands import plug, train\n"},
        "src/main.py imports 2 of our files: a script is the face of one",
    ),
    "a script of a room inside": (
        {"src/main.py": "from ld4mrec.runs import folder\n"},
        "src/main.py:1 imports ld4mrec.runs.folder: scripts imports commands, preprocessing only",
    ),
    "a circle of files": (
        {"src/ld4mrec/runs/curve.py": "def late():\n    from ld4mrec.runs import folder\n"},
        f"{RUNS}:1 imports ld4mrec.runs.curve; src/ld4mrec/runs/curve.py:2 imports "
        f"ld4mrec.runs.folder: a circle of files, {RUNS} > src/ld4mrec/runs/curve.py > {RUNS}",
    ),
    "a circle of rooms": (
        {
            "src/ld4mrec/runs/curve.py": "from ld4mrec.engines import options\n",
            "src/ld4mrec/engines/in_turn.py": "from ld4mrec.runs import folder\n",
            "src/ld4mrec/engines/options.py": "",
        },
        "src/ld4mrec/runs/curve.py:1 imports ld4mrec.engines.options: "
        "arrows go to the right only, and engines is not right of runs",
    ),
    "a copied file that knows the host": (
        {"src/common/graph.py": "from ld4mrec.errors import nearest\n"},
        "src/common/graph.py:1 imports ld4mrec.errors: src/common/graph.py is copied into MMRec "
        "and may import the copied files, the standard library, numpy, scipy, torch, "
        "common.abstract_recommender only",
    ),
    "a copied file that needs a package": (
        {"src/common/graph.py": "def cached():\n    from filelock import FileLock\n"},
        "src/common/graph.py:2 imports filelock: src/common/graph.py is copied into MMRec",
    ),
    "a copied file that leaves one behind": (
        {"src/common/graph.py": "from common.loss import bpr\n", "src/common/loss.py": ""},
        "src/common/graph.py:1 imports common.loss: src/common/graph.py is copied into MMRec",
    ),
    "a room without a place": (
        {"src/ld4mrec/attic/old.py": ""},
        "ORDER gives no place to the room attic",
    ),
}


@pytest.mark.parametrize(("files", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_is_named(tmp_path, files, message):
    plant(tmp_path, SOUND | files)
    with pytest.raises(AssertionError, match=re.escape(message)):
        check(tmp_path)


def test_the_picture_is_of_this_house():
    made = runpy.run_path(str(support.ROOT / "docs" / "draw_house.py"))["svg"]()
    kept = (support.ROOT / "docs" / "house.svg").read_text(encoding="utf-8")
    assert texts(kept) == texts(made), "docs/house.svg is of an earlier house: run `make house`"


def texts(svg):
    """What a picture says, its description with every arrow first, without lines of code."""
    found = [element.text or "" for element in ElementTree.fromstring(svg).iter()]
    return [text for text in found if text.strip() and not re.fullmatch(r"[\d,]+ lines", text)]


def test_an_arrow_that_others_imply_is_left_out():
    arrows = {"runs": {"data", "training", "ground"}, "training": {"data"}, "data": {"ground"}}
    assert house.reduced(arrows) == arrows | {"runs": {"training"}}


def test_the_page_names_what_there_is():
    page = (support.ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py)(?::([\w.]+))?`", page)
    assert len(named) > 40
    roots = [support.ROOT / part for part in ("src/ld4mrec", "src", "")]
    for file, name in named:
        found = [root / file for root in roots if (root / file).is_file()]
        assert found, f"docs/architecture.md names {file}, which is not there"
        assert not name or any(name in definitions(path) for path in found), f"{file}: no {name}"


def definitions(path):
    """Names that a file defines, methods as Class.method."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if hasattr(inner, "name")}
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        names |= {node.name} if hasattr(node, "name") else set()
    return names
