"""Importing third-party model files and their imports beside our own modules of the same names.

A model file is imported as `models.<lower-cased name>`, as in MMRec. What it imports is looked for:
`models.x` in its own folder, then in ours; `common.x` and `utils.x` in ours, then in its own
checkout; other names where Python looks, then in its checkout. A name that our `common.x` or
`utils.x` lacks is taken from the checkout's file of that path. The modules of one folder are out of
sight while another folder's models, or ours, are loaded, so equal names do not mix. Outside of
`in_sight()` all of them are, and `utils` is the caller's own.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType, SimpleNamespace

from ld4mrec.imports import our_utils
from ld4mrec.places import SOURCE
from ld4mrec.plugins.usage import note

SHARED = ("common", "utils")  # packages of which a checkout has files of the same paths as ours
OWN = " of the checkout"  # after the name of a module that we have too


class _Loader(SourceFileLoader):
    """Compiles the source each time: no byte code is written beside it, and none is read."""

    def path_stats(self, path):
        raise OSError("no byte code is kept")


def plugin_module(name: str, file: Path) -> ModuleType:
    """The module of a third-party file, imported under `name`; the file's folder must be shown."""
    stat = file.stat()
    stamp = (str(file), stat.st_mtime_ns, stat.st_size)
    present = sys.modules.get(name)
    if getattr(present, "__plugin_stamp__", None) == stamp:
        return present
    if present and name not in _shown.names:
        _shown.hidden[name] = present  # ours; the plugin's file has another name than ours
    _take(name)
    spec = importlib.util.spec_from_file_location(name, file, loader=_Loader(name, str(file)))
    module = importlib.util.module_from_spec(spec)
    module.__plugin_stamp__ = stamp
    importlib.import_module("models")
    _put(name, module)
    _shown.names.add(name)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        _take(name)
        raise
    return module


class _Folder:
    """A folder of third-party models: finds modules there, keeps them while out of sight."""

    def __init__(self, folder):
        self.models = folder
        self.root = folder.parent if folder.name == "models" else folder
        self.names = set()  # of modules found here
        self.modules = {}  # those put away
        self.hidden = {}  # ours of the same name
        self.own_modules = {}  # {name of a module that we have too: the checkout's}
        self.lenders = []  # modules of ours to which these lend names now
        finds = self._before_ours, self._after_ours
        self.finders = [SimpleNamespace(find_spec=find) for find in finds]

    def show(self):
        stems = [f"models.{file.stem}" for file in self.models.glob("*.py")] + list(self.modules)
        self.hidden = {name: _take(name) for name in stems if name in sys.modules}
        for name, module in self.modules.items():
            _put(name, module)
        sys.meta_path.insert(0, self.finders[0])
        sys.meta_path.append(self.finders[1])
        importlib.invalidate_caches()
        for package in SHARED:
            ours = [file for file in (SOURCE / package).glob("*.py") if self._file(package, file)]
            self.lenders += [importlib.import_module(f"{package}.{file.stem}") for file in ours]
        for module in self.lenders:
            module.__getattr__ = partial(self._lent, module)

    def hide(self):
        for module in self.lenders:
            del module.__getattr__
        self.lenders = []
        for finder in self.finders:
            sys.meta_path.remove(finder)
        self.modules = {name: _take(name) for name in self.names if name in sys.modules}
        for name, module in self.hidden.items():
            _put(name, module)

    def own(self, name):
        """The checkout's own module of a name that we have too; None where it has none."""
        if name not in self.own_modules:
            file = self._file(*name.split("."))
            if file is None:
                return None
            full = name + OWN
            spec = importlib.util.spec_from_file_location(full, file, loader=_Loader(full, file))
            module = importlib.util.module_from_spec(spec)
            self.own_modules[name] = module
            _put(full, module)
            self.names.add(full)
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del self.own_modules[name]
                _take(full)
                raise
        return self.own_modules[name]

    def _file(self, package, stem):
        """The checkout's file of a module, None where it has none."""
        places = (self.root / package, self.models / package)
        files = [place / f"{Path(stem).stem}.py" for place in places]
        return next((str(file) for file in files if file.is_file()), None)

    def _lent(self, module, name):
        """What Python asks for a name that a module of ours lacks."""
        if name == "__all__":  # of a star-import
            with suppress(Exception):  # a file that does not run lends nothing
                both = vars(module), vars(self.own(module.__name__))
                return sorted(name for names in both for name in names if name[0] != "_")
        elif not name.startswith("__"):
            own = vars(self.own(module.__name__))
            if name in own:
                note("shim", f"{module.__name__}.{name}, of the checkout's own file")
                return own[name]
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    def _before_ours(self, fullname, path=None, target=None):
        package, *parts = fullname.split(".")
        if fullname.rpartition(".")[0] in self.names:  # a part of a package found here
            return self._found(fullname, path)
        if package == "models" and len(parts) == 1 and parts != ["common"]:
            return self._found(fullname, [self.models])
        return None

    def _after_ours(self, fullname, path=None, target=None):
        package, *parts = fullname.split(".")
        if package == "models" and parts[:1] == ["common"]:
            return self._found(fullname, [self.models.joinpath(*parts[:-1])])
        if package in ("common", "utils") and parts:
            return self._found(fullname, [self.root.joinpath(package, *parts[:-1])])
        if not parts and package != "models":
            plain = any((self.root / fullname).glob("*.py"))  # a package without __init__.py
            return self._found(fullname, [self.root], plain_folders=plain)
        return None

    def _found(self, fullname, places, plain_folders=True):
        spec = PathFinder.find_spec(fullname, list(map(str, places)))
        if spec is None or (spec.loader is None and not plain_folders):
            return None
        if type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(fullname, spec.origin)
        self.names.add(fullname)
        return spec


_folders = {}
_shown = None
_in_sight = False


@contextmanager
def in_sight() -> Iterator[None]:
    """While the block runs, imports see the folder of `show_only`, and our `utils`."""
    global _in_sight
    with our_utils():
        _in_sight = True
        _reveal()
        try:
            yield
        finally:
            _conceal()
            _in_sight = False


def show_only(folder: Path | None) -> None:
    """Let imports inside of `in_sight()` see one folder of third-party models; None: none."""
    global _shown
    wanted = _folders.setdefault(folder, _Folder(folder)) if folder else None
    if wanted is _shown:
        return
    _conceal()
    _shown = wanted
    _reveal()


def own_module(name: str) -> ModuleType | None:
    """The module of a name that we have too, of the checkout in sight; None where it has none."""
    return _shown.own(name) if _shown and _in_sight else None


def _reveal():
    if _shown and _in_sight:
        _shown.show()


def _conceal():
    if _shown and _in_sight:
        _shown.hide()


def forget(folder: Path) -> None:
    """Drop what was loaded from a folder, so that the next `show_only` of it loads it anew."""
    if _shown is not None and _shown is _folders.get(folder):
        show_only(None)
    _folders.pop(folder, None)


def _take(name):
    """Remove a module from sys.modules and from its package, and return it."""
    package, _, child = name.rpartition(".")
    if package in sys.modules:
        vars(sys.modules[package]).pop(child, None)
    return sys.modules.pop(name, None)


def _put(name, module):
    package, _, child = name.rpartition(".")
    sys.modules[name] = module
    if package in sys.modules:
        setattr(sys.modules[package], child, module)
