"""`common`, `models` and `utils`: MMRec's names for what is ours, found wherever we lie.

Model files import `common` and `models` by these names, so another module of such a name is refused
in words. `utils` is for third parties' model files only: ours while one of them is loaded or run.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from ld4mrec.errors import UserError
from ld4mrec.places import SOURCE

ALWAYS = ("common", "models")
THEIRS = "utils"
# {module: package} without which no command runs
NEEDED = {name: name for name in ("torch", "numpy", "scipy", "pandas", "filelock", "threadpoolctl")}
NEEDED |= {"tqdm": "tqdm", "yaml": "pyyaml"}


class NameTakenError(UserError, ImportError):
    """Another module has the name of one of ours."""


def check_installed() -> None:
    """ModuleNotFoundError, with what to do, where a package that every command needs is absent."""
    missing = [
        name for name in NEEDED if name not in sys.modules and not PathFinder.find_spec(name)
    ]
    if missing:
        raise ModuleNotFoundError(
            f"LD4MRec needs {', '.join(NEEDED[name] for name in missing)}, not installed for "
            f"{sys.executable}; in the checkout: {sys.executable} -m pip install --constraint "
            "constraints.txt --editable . , or make setup and then .venv/bin/python",
            name=missing[0],
        )


class _Ours:
    """Finds our folders of these names, whatever else is on sys.path."""

    def __init__(self):
        self.names = set(ALWAYS)

    def find_spec(self, fullname, path=None, target=None):
        if fullname not in self.names:
            return None
        if fullname in ALWAYS and (other := _on_the_path(fullname)):
            raise _taken(fullname, other)
        spec = ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = [str(SOURCE / fullname)]
        return spec


_finder = _Ours()


def install() -> None:
    """Have `common` and `models` found here; NameTakenError if others are loaded already."""
    for name in ALWAYS:
        if name in sys.modules and not _is_ours(sys.modules[name]):
            raise _taken(name, _place(sys.modules[name]))
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


@contextmanager
def our_utils() -> Iterator[None]:
    """While the block runs `utils` is ours; then it is again what it was before."""
    if _is_ours(sys.modules.get(THEIRS)):
        yield
        return
    others = _take(THEIRS)
    _finder.names.add(THEIRS)
    try:
        yield
    finally:
        _finder.names.discard(THEIRS)
        _take(THEIRS)
        sys.modules.update(others)


def _take(package: str) -> dict[str, ModuleType]:
    """Remove a package and its modules from sys.modules; {name: module}."""
    names = [name for name in sys.modules if name.partition(".")[0] == package]
    return {name: sys.modules.pop(name) for name in names}


def _is_ours(module):
    first = next(iter(getattr(module, "__path__", ())), None)
    return first is not None and Path(first).resolve().parent == SOURCE


def _place(module):
    folder = next(iter(getattr(module, "__path__", ())), "memory")
    return getattr(module, "__file__", None) or folder


def _on_the_path(name):
    """What Python would import instead of ours, None if nothing.

    A folder without Python files, such as one of saved models, is not meant by an import.
    """
    spec = PathFinder.find_spec(name)
    if spec is None or spec.origin:
        own = spec and Path(spec.origin).is_relative_to(SOURCE.parent / "benchmarks")
        return None if own else spec and spec.origin  # benchmarks/models.py stands for src/models
    for folder in map(Path, spec.submodule_search_locations):
        if folder.resolve() == SOURCE / name:
            return None
        if any(folder.glob("*.py")):
            return str(folder)
    return None


def _taken(name, other):
    return NameTakenError(
        f"{other} has the import name '{name}', which LD4MRec needs for a folder of its own, as "
        "MMRec's model files import it; rename it, or take it off sys.path where LD4MRec runs"
    )
