"""A made-up fork's model files, unchanged: trained, reloaded and resumed, or refused in words."""

import importlib.util
import re
from pathlib import Path

import pytest

from ld4mrec.plugins.check.check import check_plugin
from ld4mrec.plugins.sources import find_plugins
from ld4mrec.runs import folder as run_folder

FORK = Path(__file__).parent / "forks"
FILES = {source.name: source for source in find_plugins(FORK)}
NEEDS = {"UserGraph": "torch_geometric", "Momentum": "sklearn"}
# {model: {check: the sentence}} of those that cannot be all that is asked
REFUSED = {
    "Alternating": {"imports": r"asks for a trainer of its own, AlternatingTrainer in .*alternat"},
    "DglGraph": {"imports": r"it needs the package dgl, which is not installed"},
    "LateOptimizer": {
        "reloads": r"no checkpoint holds opt \(Adam\); .* it trains, and --resume refuses",
        "resumes": r"LateOptimizer keeps state that no checkpoint holds, in opt; ",
    },
}
ALWAYS = ("Alternating", "MixGraph", "OwnKeys")
MARKED = [pytest.param(name, marks=[] if name in ALWAYS else [pytest.mark.slow]) for name in FILES]


@pytest.fixture(autouse=True)
def without_versions(monkeypatch):
    """Versions and git commits are no matter here, and take time."""
    monkeypatch.setattr(run_folder, "environment", lambda config: {})


@pytest.mark.parametrize("name", MARKED)
def test_each_file_is_clean_or_refused_in_a_sentence(name):
    needed = NEEDS.get(name)
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{name} imports {needed}, which is not installed (extra: plugins)")
    if name == "DglGraph" and importlib.util.find_spec("dgl"):
        pytest.skip("dgl is installed")
    report = check_plugin(FILES[name], overrides={"epochs": 2}, speed=False)
    failed = {row.name: row.text for row in report.rows if row.outcome == "FAILED"}
    wanted = REFUSED.get(name, {})
    assert failed.keys() == wanted.keys(), report.text(in_full=True)
    for check, sentence in wanted.items():
        assert re.search(sentence, failed[check])
    passed = {row.name for row in report.rows if row.outcome == "ok"}
    assert "imports" in failed or passed >= {"loss", "trains", "scores", "repeats", "leaks"}
    assert wanted or passed >= {"reloads", "resumes"}


def test_the_count_in_the_documents():
    text = (FORK.parents[2] / "docs" / "plugin.md").read_text(encoding="utf-8")
    assert f"{len(FILES) - len(REFUSED)} of {len(FILES)} files are clean" in " ".join(text.split())
    assert all(f"`{name}`" in text for name in REFUSED)
