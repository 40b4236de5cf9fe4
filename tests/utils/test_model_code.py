import support
from utils.model_code import code_fingerprint
from utils.plugins import ModelSource, find_model


def test_our_model_is_its_file_and_the_shared_modules_it_imports():
    shared = ("diffusion", "graph", "options", "signals")
    wanted = {"models/ld4mrec.py", *(f"common/{name}.py" for name in shared)}
    assert code_fingerprint(find_model("LD4MRec")).keys() == wanted | {
        "common/abstract_recommender.py"
    }


def test_a_plugins_siblings_and_own_parts_count(tmp_path):
    files = {
        "src/models/mine.py": "from models.helper import SCALE\nimport models.other\nimport parts\n"
        "from common import own, loss\nfrom utils.extra import extra\nfrom .near import thing\n"
        "def late():\n    import models.later\nclass Mine:\n    pass\n",
        "src/models/helper.py": "from models.deeper import X\nSCALE = X\n",
        "src/models/deeper.py": "X = 1\n",
        "src/models/other.py": "",
        "src/models/later.py": "",
        "src/models/near.py": "thing = 1\n",
        "src/models/unrelated.py": "",
        "src/parts/__init__.py": "",
        "src/common/own.py": "",
        "src/utils/extra.py": "extra = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    source = ModelSource("Mine", tmp_path / "src/models/mine.py", None, in_tree=False)
    before = code_fingerprint(source)
    ours = {"common/loss.py"}
    theirs = {f"plugin/{name.removeprefix('src/').removeprefix('models/')}" for name in files}
    assert before.keys() == ours | theirs - {"plugin/unrelated.py"}
    for name in files:
        (tmp_path / name).write_text(files[name] + "# changed\n")
        changed = code_fingerprint(source) != before
        assert changed == ("unrelated" not in name), name
        (tmp_path / name).write_text(files[name])


def test_the_plugins_of_these_tests_have_code():
    folder = support.ROOT / "tests" / "plugins"
    assert "plugin/boot_parts.py" in code_fingerprint(find_model("SelfBoot", folder))
