"""The wheel: built from a copy of the tree, installed elsewhere, used in an empty folder."""

import importlib.metadata
import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import support

BUILT_FROM = ("LICENSE", "README.md", "pyproject.toml", "setup.cfg", "setup.py", "src")
QUICK = ("--threads=1", "--epochs=2", "--topk=[10,20]", "--use_gpu=False")
SMALL = ("--hidden_size=16", "--svd_rank=8", "--pg_hidden=8", "--train_batch_size=64")

pytestmark = pytest.mark.slow


def run(*words, **options):
    """Output of a process that must end well."""
    words = [str(word) for word in words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A virtual environment with the wheel, which sees this one's packages, and how it is called:
    (its folder of packages, its command, its Python).
    """
    folder = tmp_path_factory.mktemp("wheel")
    tree, environment = folder / "tree", folder / "environment"
    tree.mkdir()
    for name in BUILT_FROM:
        source = support.ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tree / name)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    offline = ("--no-deps", "--no-index", "--quiet")
    run(*pip, "wheel", tree, *offline, "--no-build-isolation", "--wheel-dir", folder)
    (wheel,) = folder.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    run(*pip, "--python", python, "install", *offline, wheel)
    place = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    packages = Path(run(python, "-c", place).strip())
    # after the installation, lest pip take the package that is there for this one
    link = f"{sysconfig.get_paths()['purelib']}\n"
    (packages / "shared.pth").write_text(link, encoding="utf-8")
    return packages, environment / "bin" / "ld4mrec", python


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """An empty folder of a user, outside of the checkout."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def results(folder):
    """{run's folder below `folder`: its numbers} of the finished runs."""
    found = {path: json.loads(path.read_text()) for path in folder.glob("*/*/*/result.json")}
    return {
        path.parent.relative_to(folder): [result[key] for key in ("best_epoch", "valid", "test")]
        for path, result in found.items()
    }


def test_the_wheel_puts_one_package_into_site_packages(installed):
    packages, command, _ = installed
    names = {path.name for path in packages.iterdir() if path.suffix not in (".dist-info", ".pth")}
    assert names == {"ld4mrec"}
    names = {path.name for path in (packages / "ld4mrec" / "roots").iterdir()}
    assert names == {"common", "configs", "models", "utils"}
    source = support.ROOT / "src"
    for path in source.glob("*/**/*.*"):
        if path.suffix in (".py", ".yaml", ".html", ".css", ".js"):
            name = path.relative_to(source)
            folder = packages if name.parts[0] == "ld4mrec" else packages / "ld4mrec" / "roots"
            assert (folder / name).is_file()
    (metadata,) = importlib.metadata.distributions(name="ld4mrec", path=[str(packages)])
    assert run(command, "--version") == f"ld4mrec {metadata.version}\n"


def test_installed_it_trains_compares_and_recommends_as_the_checkout_does(installed, alone):
    packages, command, _ = installed
    before = {path: path.stat().st_mtime_ns for path in packages.rglob("*")}
    run(command, "prepare", "demo", "--out", "data/small", "--users", "150", "--items", "90")
    for name in ("common.py", "models.py", "utils.py"):  # beside the data, not on the path
        (alone / name).write_text("raise ImportError('not ours')\n", encoding="utf-8")
    assert "best epoch" in run(command, "train", "-m", "Pop", "-d", "small", *QUICK)
    out = run(command, "train", "-m", "LD4MRec", "-d", "small", *QUICK, *SMALL)
    assert f"results in {alone}/runs/small/LD4MRec/" in out
    out = run(command, "compare", "-d", "small", "-m", "BPR,Pop", "--seeds", "2", *QUICK)
    assert f"the report is in {alone}/reports/small" in out
    assert (alone / "reports" / "small" / "report.html").is_file()
    out = run(command, "recommend", "runs/small/LD4MRec", "-k", "3", "--users", "u000000,u000001")
    assert len(out.splitlines()) == 1 + 2 * 3
    assert {path: path.stat().st_mtime_ns for path in packages.rglob("*")} == before

    there = (f"--data_path={alone}/data", f"--runs_dir={alone}/checkout", "--cache_dir=null")
    for name, more in (("Pop", ()), ("LD4MRec", SMALL)):
        words = ("-m", name, "-d", "small", *QUICK, *more, *there)
        run(sys.executable, support.ROOT / "src" / "main.py", *words)
    ours, theirs = results(alone / "checkout"), results(alone / "runs")
    assert len(ours) == 2
    assert ours == {path: theirs[path] for path in ours}  # the same ids, the same numbers


def test_installed_the_snippet_of_the_docs_runs_in_a_notebook(installed, alone):
    nbformat = pytest.importorskip("nbformat", reason="notebooks need the extra 'notebooks'")
    client = pytest.importorskip("nbclient", reason="notebooks need the extra 'notebooks'")
    from jupyter_client import AsyncKernelManager

    _, command, python = installed
    run(command, "prepare", "sample", "microlens", "--out", "raw", "--users", "80", "--items", "70")
    for name, source, header in (
        ("ratings.csv", "pairs", "user,item,time"),
        ("titles.csv", "titles", "item,title"),
    ):
        lines = (alone / "raw" / f"MicroLens-50k_{source}.csv").read_text(encoding="utf-8")
        (alone / name).write_text(header + lines[lines.index("\n") :], encoding="utf-8")
    page = (support.ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    snippet = page.split("```python\n")[1].split("```")[0].replace("ann@example.org", "1")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(snippet)])
    kernel = AsyncKernelManager(kernel_name="python3")
    kernel.kernel_spec.argv[0] = str(python)
    client.NotebookClient(notebook, km=kernel, timeout=1200).execute(cwd=str(alone))
    said = "".join(output.get("text", "") for output in notebook.cells[0].outputs)
    assert "made data/shop" in said or f"made {alone}/data/shop" in said
    assert (alone / "reports" / "shop" / "report.html").is_file()


def test_installed_it_prepares_a_download_and_checks_a_plugin(installed, alone):
    _, command, _ = installed
    run(command, "prepare", "sample", "tmall", "--out", "raw", "--users", "120", "--items", "80")
    made = run(command, "prepare", "tmall", "--raw", "raw", "--out", "data/sample", "--no-features")
    assert f"made {alone}/data/sample" in made
    assert "best epoch" in run(command, "train", "-m", "BPR", "-d", "sample", *QUICK)
    plugin = support.ROOT / "tests" / "plugins" / "theirs" / "everyimport.py"
    assert "clean" in run(command, "train", "--check-plugin", plugin)


def test_installed_it_goes_into_a_checkout_of_mmrec(installed, alone):
    _, command, _ = installed
    shutil.copytree(support.ROOT / "tests" / "stand_in", alone / "host")
    out = run(command, "plug", "host")
    assert "copied models/ld4mrec.py" in out
    assert "to undo: ld4mrec plug host --remove" in out
    assert "removed models/ld4mrec.py" in run(command, "plug", "host", "--remove")


@pytest.mark.parametrize("name", ["common", "models"])
def test_installed_a_users_module_of_the_name_is_refused(installed, alone, name):
    _, _, python = installed
    (alone / f"{name}.py").touch()
    for first in (f"import ld4mrec, {name}", f"import {name}, ld4mrec"):
        done = subprocess.run([python, "-c", first], capture_output=True, text=True, timeout=60)
        assert f"{alone / name}.py has the import name '{name}'" in done.stderr
    (alone / f"{name}.py").rename(alone / "utils.py")
    found = run(python, "-c", f"import ld4mrec, utils, {name}; print(*{name}.__path__)")
    assert found.strip().endswith(f"/ld4mrec/roots/{name}")
