import ast
import os
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

import support
from ld4mrec.plugins.sources import ModelSource, find_model
from ld4mrec.runs import model_code
from ld4mrec.runs.model_code import code_fingerprint


class Tree:
    """Files of a model of ours, or of a third party's, in a folder of their own."""

    def __init__(self, folder, in_tree, **files):
        self.folder, self.in_tree = folder, in_tree
        self.files, self.clock = {}, 0
        self.write(**files)

    def write(self, **files):
        """name: text of models/name.py; common__name: of common/name.py. None removes the file."""
        self.files |= files
        for name, text in files.items():
            *folders, stem = name.split("__") if name.count("__") else ("models", name)
            path = self.folder.joinpath("src", *folders, f"{stem or '__init__'}.py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_text(textwrap.dedent(text), encoding="utf-8")
                self.clock += 1  # some file systems' clocks are slower than these tests
                os.utime(path, (self.clock, self.clock))

    def code(self, file="mine"):
        path = self.folder / "src" / "models" / f"{file}.py"
        return code_fingerprint(ModelSource("Mine", path, None, self.in_tree))


MINE = """
    import math
    import torch.nn.functional as F
    from torch import nn
    from common import graph
    from common.base import Base
    from common.loss import penalty as cost
    from ld4mrec.errors import DataError

    LIMIT = 3

    def helper(x, at=LIMIT):
        return x + at

    def unused():
        return cost

    class Mine(Base):
        '''A model.'''

        def forward(self, x):
            from common.late import late
            return F.relu(helper(x)) + graph.cached(late, x) + cost(math.pi)
"""
BASE = "from torch import nn\nclass Base(nn.Module):\n    dim = 2\n"
GRAPH = (
    "from common.deep import deep\nA = 1\ndef cached(f, x): return deep(f(x))\ndef other(): pass\n"
)
COMMON = {
    "common__base": BASE,
    "common__graph": GRAPH,
    "common__loss": "def penalty(x):\n    return x\n",
    "common__deep": "SCALE = 2\ndef deep(x):\n    return x * SCALE\n",
    "common__late": "def late(x):\n    return x\n",
    "utils__errors": "class DataError(Exception): pass\n",
}


@pytest.fixture
def ours(tmp_path):
    return Tree(tmp_path, True, mine=MINE, **COMMON)


def test_what_a_class_reaches_is_listed_by_name(ours):
    names = ["Base", "LIMIT", "Mine", "SCALE", "cached", "deep", "helper", "late", "penalty"]
    assert list(ours.code()) == names


SAME = {
    "comment": {"mine": MINE.replace("LIMIT = 3", "LIMIT = 3  # three")},
    "docstring": {"mine": MINE.replace("A model.", "Another text.")},
    "no docstring": {"mine": MINE.replace("'''A model.'''", "")},
    "layout": {"mine": MINE.replace("return x + at", "return (x\n                + at)")},
    "annotations": {
        "mine": MINE.replace("(x, at=LIMIT)", "(x: int, at: 'float' = LIMIT) -> float").replace(
            "LIMIT = 3", "LIMIT: int = 3\n    other: str"
        )
    },
    "import of a definition": {
        "mine": MINE.replace("from common import graph", "from common.graph import cached").replace(
            "graph.cached", "cached"
        )
    },
    "import of a module": {
        "mine": MINE.replace("from common import graph", "import common.graph").replace(
            "graph.cached", "common.graph.cached"
        )
    },
    "alias of a definition": {"mine": MINE.replace("cost", "price")},
    "no alias": {"mine": MINE.replace("penalty as cost", "penalty").replace("cost", "penalty")},
    "alias of another package": {
        "mine": MINE.replace("import torch.nn.functional as F", "from torch.nn import functional")
        .replace("F.relu", "functional.relu")
        .replace("import math", "from math import pi as number")
        .replace("math.pi", "number")
    },
    "contract's name of common": {
        "mine": MINE.replace("from common.loss", "from models.common.loss")
    },
    "late import at the top": {
        "mine": MINE.replace("            from common.late import late\n", "")
        .replace("    import math", "    import math\n    from common.late import late as z")
        .replace("cached(late", "cached(z")
    },
    "function beside it": {"common__deep": COMMON["common__deep"] + "def new():\n    return 1\n"},
    "unused function": {"mine": MINE.replace("return cost", "return 7")},
    "renamed module": {
        "common__graph": None,
        "common__arrays": GRAPH,
        "mine": MINE.replace("import graph", "import arrays as graph"),
    },
    "moved function": {
        "mine": MINE.replace("def helper", "def gone").replace(
            "    import math", "    import math\n    from common.loss import helper"
        ),
        "common__loss": "LIMIT = 3\ndef helper(x, at=LIMIT):\n    return x + at\n"
        + COMMON["common__loss"],
    },
    "moved through another module": {
        "common__graph": "from common.arrays import cached\n",
        "common__arrays": GRAPH,
    },
    "host's module moved": {
        "mine": MINE.replace("from ld4mrec.errors", "from ld4mrec.ground.errors"),
        "ld4mrec__ground__errors": "class DataError(Exception): pass\n",
    },
    "run as a script": {"mine": MINE + "    if __name__ == '__main__':\n        helper(1)\n"},
    "import for the type checker": {
        "mine": MINE + "    from typing import TYPE_CHECKING\n    if TYPE_CHECKING:\n"
        "        from common import late\n"
    },
    "logger": {"mine": MINE + "    import logging\n    logger = logging.getLogger(__name__)\n"},
}


@pytest.mark.parametrize("change", SAME)
def test_the_same_code_has_the_same_identity(ours, change):
    before = ours.code()
    ours.write(**SAME[change])
    assert ours.code() == before


def test_the_models_file_may_have_another_name(ours):
    before = ours.code()
    ours.write(mine=None, yours=MINE)
    assert ours.code("yours") == before


OTHER = {  # {what: (files, definitions that change)}
    "constant": ({"mine": MINE.replace("= 3", "= 4")}, {"LIMIT"}),
    "kind of a number": ({"mine": MINE.replace("= 3", "= 3.0")}, {"LIMIT"}),
    "body": ({"mine": MINE.replace("x + at", "x - at")}, {"helper"}),
    "default": ({"mine": MINE.replace("at=LIMIT", "at=3")}, {"helper", "LIMIT"}),
    "decorator": (
        {"mine": MINE.replace("    def helper", "    @nn.Module\n    def helper")},
        {"helper"},
    ),
    "base class": ({"mine": MINE.replace("Mine(Base)", "Mine(nn.Module)")}, {"Mine", "Base"}),
    "body of the base class": ({"common__base": BASE.replace("2", "3")}, {"Base"}),
    "constant two imports away": (
        {"common__deep": COMMON["common__deep"].replace("= 2", "= 3")},
        {"SCALE"},
    ),
    "late import": ({"common__late": "def late(x):\n    return -x\n"}, {"late"}),
    "other binding of another package": (
        {"mine": MINE.replace("torch.nn.functional", "torch.nn.grad")},
        {"Mine"},
    ),
    "other definition of ours": (
        {"mine": MINE.replace("loss import penalty", "deep import deep")},
        {"Mine", "penalty"},
    ),
    "operator": ({"mine": MINE.replace("F.relu(helper(x)) +", "F.relu(helper(x)) *")}, {"Mine"}),
    "text": ({"mine": MINE.replace("LIMIT = 3", "LIMIT = '3'")}, {"LIMIT"}),
    "statement at the top": (
        {"common__late": "import numpy\nnumpy.seterr()\n" + COMMON["common__late"]},
        {model_code.TOP},
    ),
    "constant changed later": (
        {"common__deep": COMMON["common__deep"] + "SCALE += 1\n"},
        {"SCALE"},
    ),
}


@pytest.mark.parametrize("change", OTHER)
def test_other_code_has_another_identity_and_says_where(ours, change):
    before = ours.code()
    files, wanted = OTHER[change]
    ours.write(**files)
    after = ours.code()
    assert {n for n in {*before, *after} if before.get(n) != after.get(n)} == wanted


def test_a_module_used_as_an_object_counts_whole(ours):
    text = MINE.replace("graph.cached(late, x)", "getattr(graph, 'ca' + 'ched')(late, x)")
    ours.write(mine=text)
    before = ours.code()
    assert {"A", "other", "cached", "deep", model_code.WHOLE} <= before.keys()
    ours.write(common__graph=GRAPH + "def new(): pass\n")
    assert ours.code() != before
    ours.write(common__graph=GRAPH.replace("A = 1", "A = 2"))
    assert ours.code()["A"] != before["A"]
    ours.write(
        common__graph=GRAPH, mine=text.replace("getattr(graph, 'ca' + 'ched')", "vars(graph)")
    )
    assert {"A", "other"} <= ours.code().keys()


@pytest.mark.parametrize(
    "found", ["globals()['A']", "eval('A')", "sys.modules[__name__].A", "x.__subclasses__()"]
)
def test_a_module_that_looks_around_in_itself_counts_whole(ours, found):
    ours.write(common__late=f"import sys\nA = 1\ndef late(x):\n    return {found}\n")
    assert "A" in ours.code()


def test_each_definition_of_a_name_counts(ours):
    text = """
        try:
            from scatter import late
        except ImportError:
            def late(x):
                return 1
    """
    ours.write(common__late=text)
    before = ours.code()
    ours.write(common__late=text.replace("return 1", "return 2"))
    assert ours.code()["late"] != before["late"]
    ours.write(common__late=text.replace("from scatter", "from gather"))
    assert ours.code()["Mine"] != before["Mine"]


def test_definitions_of_equal_name_are_told_apart(ours):
    """Which of two functions of one name is called counts, not only that both are there."""
    ours.write(
        common__deep="def _power(x):\n    return x\ndef deep(x):\n    return _power(x)\n",
        common__late="def _power(x):\n    return -x\ndef late(x):\n    return _power(x)\n",
    )
    before = ours.code()
    ours.write(
        common__deep="def _power(x):\n    return -x\ndef deep(x):\n    return _power(x)\n",
        common__late="def _power(x):\n    return x\ndef late(x):\n    return _power(x)\n",
    )
    after = ours.code()
    assert before["_power"] == after["_power"]
    assert before["deep"] != after["deep"]
    assert before["late"] != after["late"]
    ours.write(
        common__deep="from common.late import _power\ndef deep(x):\n    return _power(x)\n",
    )
    once = ours.code()
    ours.write(common__deep="def _power(x):\n    return x\ndef deep(x):\n    return _power(x)\n")
    assert ours.code() == once  # a copy and the thing itself


@pytest.mark.parametrize("fields", ["@dataclass\nclass late:", "class late(NamedTuple):"])
def test_annotations_that_are_fields_count(ours, fields):
    text = (
        f"from dataclasses import dataclass\nfrom typing import NamedTuple\n{fields}\n    a: int\n"
    )
    ours.write(common__late=text)
    before = ours.code()
    ours.write(common__late=text + "    b: int\n")
    assert ours.code()["late"] != before["late"]


def test_a_local_name_that_is_also_the_modules_counts_as_both(ours):
    text = "def late(x):\n    other = x\n    return other\n"
    ours.write(common__late=text)
    before = ours.code()
    ours.write(common__late=text + "other = 1\n")
    assert ours.code().keys() - before.keys() == {"other"}
    assert ours.code()["late"] != before["late"]


def test_the_digests_do_not_depend_on_pythons_version(ours, monkeypatch):
    ours.write(common__late="def late(x):\n    return f'{x}ab' + u'c'\n")
    before = ours.code()
    parse = ast.parse

    def newer(*arguments, **names):
        tree = parse(*arguments, **names)
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                node.values[1:] = [ast.Constant("a"), ast.Constant(""), ast.Constant("b")]
            elif isinstance(node, ast.Constant):
                node.kind = None
            elif isinstance(node, ast.FunctionDef):
                node.type_params, node.type_comment = [], "int"
        return tree

    monkeypatch.setattr(ast, "parse", newer)
    ours.write(common__late=ours.files["common__late"] + "# parsed again\n")
    assert ours.code() == before


PLUGIN = """
    from models.helper import SCALE
    import models.other
    import parts
    from common import own
    from common.loss import bpr_loss
    from utils.extra import extra
    from .near import thing

    class Mine:
        def late(self):
            import models.later
            return SCALE + parts.inner.f() + own.f() + extra + thing + models.later.f() + bpr_loss
"""
FUNCTION = "def f():\n    return 1\n"


@pytest.fixture
def theirs(tmp_path):
    return Tree(
        tmp_path,
        False,
        mine=PLUGIN,
        helper="from models.deeper import X\nSCALE = X\n",
        deeper="X = 1\n",
        other="REGISTRY = {}\n",
        later=FUNCTION,
        near="thing = 1\n",
        unrelated=FUNCTION,
        parts__="from . import inner\n",
        parts__inner=FUNCTION,
        common__own=FUNCTION,
        utils__extra="extra = 1\n",
    )


def test_a_plugins_siblings_and_own_parts_count(theirs):
    before = theirs.code()
    names = {"Mine", "SCALE", "X", "extra", "f", "thing"}
    assert {f"plugin/{name}" for name in names} | {"bpr_loss", "_guarded_bpr"} == before.keys()
    for file in ("deeper", "near", "later", "parts__inner", "common__own", "utils__extra"):
        text = theirs.files[file]
        theirs.write(**{file: text.replace("1", "2")})
        assert theirs.code() != before, file
        theirs.write(**{file: text + "# changed\n"})
        assert theirs.code() == before, file
        theirs.write(**{file: text})
    theirs.write(unrelated=FUNCTION.replace("1", "2"))
    assert theirs.code() == before


@pytest.mark.parametrize(
    "acts",
    [
        "import torch\ntorch.set_num_threads(1)\n",
        "import torch\n_ = torch.manual_seed(0)\n",
        "if True:\n    X = 2\n",
        "REGISTRY = {}\nREGISTRY['a'] = 1\n",
        "def note(f): return f\n@note\ndef listed(): pass\n",
        "from math import *\n",
        "for x in range(2):\n    pass\n",
    ],
)
def test_what_a_plugins_modules_do_on_import_counts(theirs, acts):
    before = theirs.code()
    theirs.write(other=theirs.files["other"] + acts)
    after = theirs.code()
    assert after.keys() > before.keys()
    assert "plugin/(top level)" in after
    theirs.write(other=theirs.files["other"] + "# a comment\n")
    assert theirs.code() == after


def test_a_star_import_counts_the_whole_module(theirs):
    theirs.write(
        mine=PLUGIN.replace("from models.helper import SCALE", "from models.helper import *")
    )
    before = theirs.code()
    assert {"plugin/SCALE", "plugin/X", "plugin/(whole module)"} <= before.keys()
    theirs.write(helper=theirs.files["helper"] + "def unused(): pass\n")
    assert theirs.code() != before
    theirs.write(deeper="X = 2\n")
    assert theirs.code()["plugin/X"] != before["plugin/X"]


def test_a_definition_that_a_package_hands_on(theirs):
    direct = theirs.code()
    theirs.write(mine=PLUGIN.replace("parts.inner.f", "parts.f"), parts__="from .inner import f\n")
    assert theirs.code() == direct
    theirs.write(parts__inner=FUNCTION.replace("1", "3"))
    assert theirs.code() != direct


def test_circles_of_imports_end(theirs):
    theirs.write(
        helper="from models.deeper import SCALE\nfrom models.deeper import *\n",
        deeper="from models.helper import SCALE\nimport models.mine\n",
    )
    assert "plugin/Mine" in theirs.code()


def test_a_file_is_parsed_once_until_it_changes(ours, monkeypatch):
    parsed = []
    parse = ast.parse
    monkeypatch.setattr(
        ast, "parse", lambda *a, **k: parsed.append(k["filename"]) or parse(*a, **k)
    )
    before = ours.code()
    first = len(parsed)
    assert first == len(set(parsed)) == 6
    assert ours.code() == before
    assert len(parsed) == first
    ours.write(common__late="def late(x):\n    return x * 5\n")
    assert ours.code() != before
    assert len(parsed) == first + 1


expressions = st.recursive(
    st.sampled_from(["a", "b", "1", "1.5", "'t'", "None", "[]"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda t: f"f({t}, k={t})"),
        inner.map(lambda t: f"[{t} for a in b]"),
        inner.map(lambda t: f"(lambda a: {t})"),
        inner.map(lambda t: f"{{'k': {t}}}"),
    ),
    max_leaves=8,
)


@given(expressions, expressions)
def test_two_texts_have_one_digest_exactly_if_their_trees_are_equal(tmp_path_factory, one, other):
    tree = Tree(tmp_path_factory.mktemp("code"), True)

    def digest(text):
        tree.write(mine=text)
        return tree.code()["Mine"]

    equal = ast.dump(ast.parse(one)) == ast.dump(ast.parse(other))
    assert (digest(f"Mine = {one}") == digest(f"Mine = {other}")) == equal
    assert digest(f"Mine = {one}") == digest(f"# c\nMine: int = (\n  {one})\n\n'text'")


def test_ours_reach_no_host_and_no_other_model():
    code = code_fingerprint(find_model("LD4MRec"))
    assert {"LD4MRec", "GeneralRecommender", "cached", "GaussianDiffusion"} <= code.keys()
    assert not {"load_features", "Config", "BPR", "Trainer"} & code.keys()
    assert not any("plugin/" in name for name in code)


def test_the_plugins_of_these_tests_have_code():
    folder = support.ROOT / "tests" / "plugins" / "theirs"
    code = code_fingerprint(find_model("SelfBoot", folder))
    assert {"plugin/SelfBoot", "plugin/Predictor", "LightGCN_Encoder"} <= code.keys()


def test_a_model_of_ours_named_by_its_path_is_ours():
    source = find_model("Pop", support.ROOT / "src" / "models" / "pop.py")
    assert source.in_tree
    assert code_fingerprint(source) == code_fingerprint(find_model("Pop"))
