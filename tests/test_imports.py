"""Other modules named `common`, `models` or `utils`: refused in words, or out of our way."""

import os
import subprocess
import sys

import pytest

import support
from ld4mrec import imports

FORMS = {"file": "{}.py", "package": "{}/__init__.py", "folder": "{}/x.py"}
OURS = "from common.options import check_positive; import models"
PLUGIN = support.ROOT / "tests" / "plugins" / "theirs" / "everyimport.py"


@pytest.fixture
def python(tmp_path):
    """Runs code in a folder of the user's, which is first on sys.path, as beside a notebook."""

    def run(*lines):
        return subprocess.run(
            [sys.executable, "-c", "\n".join(lines)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(support.ROOT / "src")},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def write(path, text="MINE = 1\n"):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_without_others_they_are_ours(python):
    done = python("import ld4mrec", OURS, "print(models.__path__)")
    assert done.stdout == f"[{str(support.ROOT / 'src' / 'models')!r}]\n"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["common", "models"])
def test_another_of_the_name_is_refused_naming_it(python, tmp_path, name, form):
    write(tmp_path / FORMS[form].format(name))
    place = tmp_path / FORMS[form].format(name) if form != "folder" else tmp_path / name
    before = python(f"import {name}", "import ld4mrec")
    after = python("import ld4mrec", f"import {name}")
    ours = python("import ld4mrec", OURS)
    for done in (before, after, ours):
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert f"NameTakenError: {place} has the import name '{name}'" in last
        assert "rename it" in last


def test_a_command_says_so_without_a_traceback(python, tmp_path):
    write(tmp_path / "common.py")
    train = "main(['train', '-m', 'Pop', '-d', 'baby'])"
    done = python("import sys", "from ld4mrec.__main__ import main", f"sys.exit({train})")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'common.py'} has the import name")
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_of_saved_models_is_harmless(python, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "best.pt").touch()
    assert python("import ld4mrec", OURS).returncode == 0
    assert python("import models", "import ld4mrec", OURS).returncode == 1  # it is loaded already


LOAD = (
    "from ld4mrec.plugins.sources import find_model, load_model_class",
    "from ld4mrec.plugins.shims import plugin_shims",
    f"plugin = load_model_class(find_model('EveryImport', {str(PLUGIN)!r}))",
    "assert not any('ld4mrec' in str(vars(m)) for n, m in sys.modules.items() if n == 'utils')",
    "with plugin_shims():",
    "    from utils.utils import init_seed",
    "    assert 'MINE' not in vars(sys.modules['utils'])",
)


def test_a_users_utils_loaded_before_is_there_again_after_a_plugin(python, tmp_path):
    write(tmp_path / "utils" / "__init__.py")
    write(tmp_path / "utils" / "utils.py", "MINE = 2\n")
    done = python(
        *("import sys, utils.utils as mine, utils as package", *LOAD),
        *("assert sys.modules['utils'] is package", "assert sys.modules['utils.utils'] is mine"),
        *("assert package.utils is mine", "import utils.utils", "print(utils.utils.MINE)"),
    )
    assert (done.stdout[-2:], done.returncode) == ("2\n", 0), done.stderr


def test_a_users_utils_is_found_after_a_plugin(python, tmp_path):
    write(tmp_path / "utils.py")
    done = python("import sys", *LOAD, "import utils", "print(utils.MINE)")
    assert (done.stdout[-2:], done.returncode) == ("1\n", 0), done.stderr


def test_packages_that_are_absent_are_named_with_what_to_do(monkeypatch):
    imports.check_installed()
    monkeypatch.setitem(imports.NEEDED, "nowhere_to_be_found", "its-package")
    with pytest.raises(ModuleNotFoundError, match=r"needs its-package, .* pip install .*editable"):
        imports.check_installed()
