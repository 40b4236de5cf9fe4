"""What a model uses of the host and of the shims, noted while `--check-plugin` looks on.

The shims call `note` where they do something for a plugin; outside `noting()` that is one
comparison. `watching()` has the members of the loader, the data set and the configuration note who
asks for them. `imports` and `base_attributes` read the model's files without running them.
"""

import ast
import functools
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from ld4mrec.places import SOURCE

# What the host hands to a model; the base class and the trainer ask for their own purposes.
HOST_MODULES = ("common.abstract_recommender", "common.trainer")
# What the base class sets.
BASE_ATTRIBUTES = {"USER_ID", "ITEM_ID", "NEG_ITEM_ID", "n_users", "n_items", "batch_size"}
BASE_ATTRIBUTES |= {"device", "v_feat", "t_feat", "features"}
CALLS = {"__len__": "len()", "__iter__": "iteration", "__getitem__": "[i]", "__str__": "str()"}
CONFIGURATIONS = {
    "cfg",
    "conf",
    "args",
    "opt",
    "opts",
    "params",
    "hparams",
}  # or what has config in it
_notes = None


def note(kind: str, what: str) -> None:
    """Remember that `what` was used, if anybody wants to know."""
    if _notes is not None:
        _notes[kind][what] = None  # a dictionary as a set that keeps its order


@contextmanager
def noting() -> Iterator[dict[str, dict[str, None]]]:
    """{kind: {what: None}} of the notes taken while the block runs, in their order."""
    global _notes
    before, _notes = _notes, defaultdict(dict)
    try:
        yield _notes
    finally:
        _notes = before


@contextmanager
def watching() -> Iterator[None]:
    """Note each member of loader, data set and configuration that a model's code asks for."""
    from ld4mrec.config.configuration import Config
    from ld4mrec.data.batches import TrainDataLoader
    from ld4mrec.data.interactions import RecDataset

    def key_read(config, key):
        return "config" if key in config else "absent", str(key)

    watched = (("loader", TrainDataLoader), ("data set", RecDataset), ("config object", Config))
    with ExitStack() as undo:
        for kind, owner in watched:
            _watch(undo, owner, "__getattribute__", lambda _, name, kind=kind: (kind, name))
            for name in vars(owner).keys() & (CALLS if owner is not Config else {"__str__"}):
                what = kind, CALLS[name]
                _watch(undo, owner, name, lambda *_, what=what: what)
        _watch(undo, Config, "__getitem__", key_read)
        _watch(undo, Config, "__setitem__", lambda _, key, value: ("config set", str(key)))
        _watch(undo, Config, "__contains__", lambda _, key: ("config object", f"{key!r} in config"))
        yield


def _watch(undo, owner, name, use):
    """Note use(*arguments), a (kind, what), where a model's code calls a method of owner."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def call(*args):
        if _asked_by_a_model(sys._getframe(1)):
            kind, what = use(*args)
            if not what.startswith("__"):
                note(kind, what)
        return method(*args)

    patch(undo, owner, name, call)


def patch(undo: ExitStack, owner: object, name: str, value: object) -> None:
    """owner.name = value until `undo` closes."""
    if name in vars(owner):
        undo.callback(setattr, owner, name, vars(owner)[name])
    else:
        undo.callback(delattr, owner, name)
    setattr(owner, name, value)


def _asked_by_a_model(frame):
    """Whether the code is a model's, its own helpers', or ours that does a model's work."""
    module = frame.f_globals.get("__name__", "")
    if module in HOST_MODULES:
        return False
    package = module.partition(".")[0]
    return package in ("models", "common") or (package == "utils" and not is_ours(frame))


def is_ours(frame: FrameType) -> bool:
    """Whether a frame's code stands in a file of this project."""
    return Path(frame.f_globals.get("__file__", "")).is_relative_to(SOURCE)


def imports(file: Path) -> dict[str, list[str]]:
    """{module: names imported from it} of a Python file, without the standard library."""
    found = defaultdict(dict)
    for node in _nodes(file):
        if isinstance(node, ast.Import):
            pairs = [(alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            pairs = [(module, [alias.name for alias in node.names])]
        else:
            continue
        for module, names in pairs:
            if module.partition(".")[0] not in sys.stdlib_module_names:
                found[module].update(dict.fromkeys(names))
    return {module: list(names) for module, names in sorted(found.items())}


def base_attributes(file: Path) -> tuple[list[str], list[str]]:
    """(read, assigned) of what the base class sets, sorted, in a Python file."""
    read, assigned = (
        _of_self(file, context) & BASE_ATTRIBUTES for context in (ast.Load, ast.Store)
    )
    return sorted(read), sorted(assigned)


def assigned_attributes(file: Path) -> set[str]:
    """Names of the attributes of `self` that a Python file assigns."""
    return _of_self(file, ast.Store)


def keys_read(file: Path) -> set[str]:
    """Keys of the configuration that a Python file asks for by name: config["key"], "key" in
    config. A configuration is what is called so, or args or the like.
    """
    found = set()
    for node in _nodes(file):
        match node:
            case ast.Subscript(value=of, slice=ast.Constant(value=str(key)), ctx=ast.Load()):
                asked = of
            case ast.Compare(
                left=ast.Constant(value=str(key)), ops=[ast.In()], comparators=[asked]
            ):
                pass
            case _:
                continue
        name = getattr(asked, "attr", getattr(asked, "id", "")).lower()
        if "config" in name or name in CONFIGURATIONS:
            found.add(key)
    return found


def _of_self(file, context):
    return {
        node.attr
        for node in _nodes(file)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, context)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


def _nodes(file):
    return ast.walk(ast.parse(file.read_bytes(), filename=str(file)))
