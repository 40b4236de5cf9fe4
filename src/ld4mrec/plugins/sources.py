"""Finding a model by its name, in our tree or in a third party's files, and loading its class."""

import ast
import functools
import importlib
import os
import re
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from ld4mrec.config.configuration import Config
from ld4mrec.errors import UserError, nearest
from ld4mrec.places import CONFIGS, MODELS, SOURCE
from ld4mrec.plugins import usage
from ld4mrec.plugins.faults import describe, trace_in
from ld4mrec.plugins.import_roots import SHARED, plugin_module, show_only
from ld4mrec.plugins.own_trainer import refuse_own_trainer

YAMLS = CONFIGS / "model"
USER_GRAPH = "user_graph_dict.npy"
PLUGINS_EXTRA = ("torch_geometric", "sklearn", "tqdm", "matplotlib")  # setup.cfg's


class ModelNotFound(UserError):
    """There is no such model, or its file cannot be read."""


class PluginImportError(UserError, ImportError):
    """A third-party model that cannot be imported, for what it imports or for what it raises."""


@dataclass(frozen=True)
class ModelSource:
    """Where a model's class `name` and its yaml (None: it has none) are; in_tree: in src/models."""

    name: str
    file: Path
    yaml: Path | None
    in_tree: bool


def model_names() -> list[str]:
    """Class names of the models in src/models, sorted; nothing is imported."""
    return _models_in(MODELS)


def find_model(name: str, plugin: str | Path | None = None) -> ModelSource:
    """Where the model class `name` is: in src/models, or in `plugin`; nothing is imported.

    plugin: a Python file with the class, whatever the file's name, or a folder of model files, or a
    MMRec checkout or its src; there <lower-cased name>.py is looked for first. The yaml is
    <name>.yaml beside the file, in ../configs/model, or, unless we have a model of that name, in
    our configs; one whose name differs in case is taken where none is exact. Raises ModelNotFound.
    """
    file = _file_in_tree(name) if plugin is None else _plugin_file(name, plugin)
    _check_defined(name, file)
    folders = [file.parent, file.parent.parent / "configs" / "model"]
    in_tree = file.parent == MODELS
    if in_tree or name not in model_names():  # another's model named like one of ours is not ours
        folders.append(YAMLS)
    return ModelSource(name, file, _yaml_in(folders, name), in_tree)


def find_plugins(what: str | Path, name: str | None = None) -> list[ModelSource]:
    """The models that `what` names: one of ours, a Python file, a folder or a MMRec checkout.

    name: the class. None: of a file, the class named like the file, or else its only one; of a
    folder, of each file the class that it is named after, in any case. Nothing is imported. Raises
    ModelNotFound.
    """
    path = Path(what).expanduser().resolve()
    if name is None and not path.exists() and str(what).isidentifier():
        return [find_model(str(what))]
    if name is not None or not path.exists():
        return [find_model(name or path.stem, what)]
    if path.is_dir():
        known = [model for folder in _model_folders(path) for model in _models_in(folder)]
        if not known:
            raise ModelNotFound(
                f"there is no model in {path}: no file x.py of it defines a class X (in any case)"
            )
        return [find_model(model, path) for model in known]
    classes = _classes_in(path)
    meant = [known for known in classes if known.lower() == path.stem.lower()] or classes
    if len(meant) != 1:
        raise ModelNotFound(
            f"{path} defines {', '.join(classes) or 'no class'}; name the model's with -m"
        )
    return [find_model(meant[0], path)]


def config_of(source: ModelSource, dataset: str, overrides: dict, mg: bool = False) -> Config:
    """The Config of a model on a data set; a third party's may bring yamls of data sets too."""
    theirs = None if source.in_tree else source.file.parent.parent / "configs" / "dataset"
    yaml = source.yaml or os.devnull
    read = keys_read(source) if overrides and not source.in_tree else ()
    config = Config(source.name, dataset, overrides, mg, yaml, theirs, source.in_tree, read)
    if not source.in_tree and config["user_graph_dict_file"] is None:
        config["user_graph_dict_file"] = USER_GRAPH  # as MMRec's yamls of data sets have it
    return config


def keys_read(source: ModelSource) -> set[str]:
    """Keys of the configuration that a third party's file, and those of its own that it imports,
    ask for by name; nothing is imported.
    """
    folder = source.file.parent
    root = folder.parent if folder.name == "models" else folder
    keys, files = set(), [source.file]
    for file in files:  # grows while it is read
        keys |= usage.keys_read(file)
        for module in usage.imports(file):
            parts = module.lstrip(".").split(".")
            near = file.parent if module.startswith(".") else root
            own = near.joinpath(*parts).with_suffix(".py") if parts[0] else None
            if own and own.is_file() and own not in files and SOURCE not in own.parents:
                files.append(own)
    return keys


def load_model_class(source: ModelSource) -> type:
    """The class itself. Loading it again gives the same class unless its file has changed since.

    A third-party file is imported under `plugin_shims()`; it must also be run under them.
    Raises PluginImportError if it imports what is not there, raises anything or ends the program,
    RunError if it asks for a trainer of its own.
    """
    module_name = f"models.{source.name.lower()}"
    if source.in_tree:
        show_only(None)
        return getattr(importlib.import_module(module_name), source.name)
    # here, as it brings torch, which finding a model does not need
    from ld4mrec.plugins.shims import forget_stand_ins, plugin_shims

    with plugin_shims():
        try:
            show_only(source.file.parent)
            module = plugin_module(module_name, source.file)
        except ImportError as error:
            raise PluginImportError(
                f"model {source.name} ({source.file}): {_import_advice(error, source.name)}"
            ) from error
        except SystemExit as error:  # argparse ends so
            raise PluginImportError(
                f"model {source.name} ({source.file}) ends the program while it is imported "
                f"(status {error.code}); if it parses a command line, give its arguments defaults"
            ) from error
        except Exception as error:
            refused = PluginImportError(
                f"model {source.name} cannot be imported: {describe(error, source.file.parent)} "
                f"(in {source.file.parent}); this is an error of its file, to be mended there"
            )
            refused.trace = trace_in(error, source.file.parent)
            raise refused from error
        finally:
            forget_stand_ins()
    found = getattr(module, source.name)
    refuse_own_trainer(source.name, source.file, source.yaml, found)
    return found


def get_model(name: str) -> type:
    """MMRec's `get_model`: the class of a model in our tree."""
    return load_model_class(find_model(name))


def get_trainer() -> type:
    """MMRec's `get_trainer`: always the one trainer."""
    from ld4mrec.training.trainer import Trainer

    return Trainer


def _file_in_tree(name):
    file = MODELS / f"{name.lower()}.py"
    if not (name.isidentifier() and file.is_file()):
        raise ModelNotFound(
            f"there is no model '{name}' in {MODELS}.{_suggestion(name, model_names())} "
            "A model in another place needs --plugin with its file or folder."
        )
    return file


def _plugin_file(name, plugin):
    plugin = Path(plugin).expanduser().resolve()
    if not plugin.exists():
        raise ModelNotFound(f"there is no plugin file or folder {plugin}")
    if plugin.is_file():
        if plugin.suffix != ".py":
            raise ModelNotFound(f"the plugin {plugin} is neither a Python file (.py) nor a folder")
        return plugin
    folders = _model_folders(plugin)
    for folder in folders:
        file = folder / f"{name.lower()}.py"
        if file.is_file():
            return file
    for folder in folders:  # named otherwise, or in another case
        for file in sorted(folder.glob("*.py")):
            with suppress(ModelNotFound):  # a file that is not valid Python
                if name in _classes_in(file):
                    return file
    known = [model for folder in folders for model in _models_in(folder, skip_broken=True)]
    raise ModelNotFound(
        f"there is no {name.lower()}.py for model '{name}' in {plugin}.{_suggestion(name, known)}"
    )


def _yaml_in(folders, name):
    """The first folder's <name>.yaml, or else one that differs in case, as Windows would take it;
    None where there is none.
    """
    exact = [folder / f"{name}.yaml" for folder in folders]
    alike = [
        path
        for folder in folders
        for path in (sorted(folder.glob("*.y*ml")) if folder.is_dir() and folder != YAMLS else ())
        if path.stem.lower() == name.lower() and path.suffix in (".yaml", ".yml")
    ]
    return next((path for path in (*exact, *alike) if path.is_file()), None)


def _model_folders(plugin):
    """Where the models of a folder or of a checkout may be."""
    places = (plugin, plugin / "models", plugin / "src" / "models")
    return [folder for folder in places if folder.is_dir()]


def _suggestion(name, known):
    if not known:
        return " There is no model at all."
    close = nearest(name, known)
    return close if "Known" in close else f"{close} Known: {', '.join(known)}."


def _models_in(folder, skip_broken=False):
    found = []
    for file in folder.glob("*.py"):
        with suppress(ModelNotFound) if skip_broken else nullcontext():
            found += [n for n in _classes_in(file) if n.lower() == file.stem.lower()]
    return sorted(found)


def _check_defined(name, file):
    """ModelNotFound unless the file's top level binds the name, by whatever statement."""
    names = _names_in(file)
    if name in names:
        return
    for known in names:
        if known.lower() == name.lower():
            raise ModelNotFound(
                f"there is no model '{name}': {file} defines '{known}' (upper and lower case count)"
            )
    classes = ", ".join(_classes_in(file)) or "none"
    raise ModelNotFound(f"{file} defines no class '{name}'; its classes: {classes}")


def _classes_in(file):
    return [name for name, is_class in _names_in(file).items() if is_class]


def _names_in(file):
    """{name: whether it is a class statement's} of a file's top level, also inside if and try."""
    stat = file.stat()
    return _names_once(file, (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))


@functools.lru_cache(maxsize=256)
def _names_once(file, stamp):
    try:
        statements = list(ast.parse(file.read_bytes(), filename=str(file)).body)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise ModelNotFound(
            f"{file}{f', line {line}' if line else ''} is not valid Python: {error}"
        ) from error
    names = {}
    for statement in statements:  # grows while it is read
        if isinstance(statement, ast.ClassDef):
            names[statement.name] = True
        elif isinstance(statement, ast.Assign):
            targets = [target for target in statement.targets if isinstance(target, ast.Name)]
            names.update((target.id, False) for target in targets)
        elif isinstance(statement, ast.ImportFrom):
            names.update((alias.asname or alias.name, False) for alias in statement.names)
        elif isinstance(statement, ast.If | ast.Try | ast.With):
            statements += statement.body + getattr(statement, "orelse", [])
            for handler in getattr(statement, "handlers", []):
                statements += handler.body
    return names


def _import_advice(error, model):
    if not isinstance(error, ModuleNotFoundError):
        package, _, stem = (error.name or "").partition(".")
        wanted = re.match(r"cannot import name '(\w+)'", str(error))
        if package not in SHARED or not wanted:
            return str(error)
        return (
            f"it imports {wanted[1]} from {error.name}, which MMRec has not and its fork adds; "
            f"give the fork's whole checkout, whose {package}/{stem}.py defines it: --plugin "
            f"CHECKOUT -m {model}"
        )
    missing = error.name or ""
    package = missing.partition(".")[0]
    if package in ("models", "common", "utils"):
        return f"it imports {missing}, which neither this project nor the plugin's own folder has"
    brings = "; pip install '.[plugins]' brings it" * (package in PLUGINS_EXTRA)
    return f"it needs the package {missing}, which is not installed{brings}"
