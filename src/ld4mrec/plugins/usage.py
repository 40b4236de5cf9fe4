"""What a model uses of the host and of the shims, noted while `--check-plugin` looks on.

The shims call `note` where they do something for a plugin; outside `noting()` that is one
comparison. `watching()` has the members of the loader, the data set and the configuration note who
asks for them. `imports` and `base_attributes` read the model's files without running them.
"""

import ast
import functools
import sys
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ld4mrec.places import SOURCE

# What the host hands to a model; the base class and the trainer ask for their own purposes.
HOST_MODULES = ("common.abstract_recommender", "common.trainer")
# What the base class sets.
BASE_ATTRIBUTES = frozenset(
    ("USER_ID", "ITEM_ID", "NEG_ITEM_ID", "n_users", "n_items", "batch_size", "device")
    + ("v_feat", "t_feat", "features")
)
CALLS = {"__len__": "len()", "__iter__": "iteration", "__getitem__": "[i]", "__str__": "str()"}
_notes = None


def note(kind, what):
    """Remember that `what` was used, if anybody wants to know."""
    if _notes is not None:
        _notes[kind][what] = None  # a dictionary as a set that keeps its order


@contextmanager
def noting():
    """{kind: {what: None}} of the notes taken while the block runs, in their order."""
    global _notes
    before, _notes = _notes, defaultdict(dict)
    try:
        yield _notes
    finally:
        _notes = before


@contextmanager
def watching():
    """Note each member of loader, data set and configuration that a model's code asks for."""
    from ld4mrec.config.configuration import Config
    from ld4mrec.data.batches import TrainDataLoader
    from ld4mrec.data.interactions import RecDataset

    with ExitStack() as undo:
        for kind, owner in (("loader", TrainDataLoader), ("data set", RecDataset)):
            _watch_members(undo, kind, owner)
            _watch_calls(undo, kind, owner, CALLS)
        _watch_members(undo, "config object", Config)
        _watch_calls(undo, "config object", Config, ("__str__",))
        _watch_keys(undo, Config)
        yield


def _watch_members(undo, kind, owner):
    members = owner.__getattribute__

    def get(one, name):
        if not name.startswith("__") and _asked_by_a_model(sys._getframe(1)):
            note(kind, name)
        return members(one, name)

    _put(undo, owner, "__getattribute__", get)


def _watch_calls(undo, kind, owner, names):
    """The same for what Python itself looks up on the class: len(x), x[i] and the like."""

    def watched(name, method):
        @functools.wraps(method)
        def call(*args):
            if _asked_by_a_model(sys._getframe(1)):
                note(kind, CALLS[name])
            return method(*args)

        return call

    for name in names:
        if name in vars(owner):
            _put(undo, owner, name, watched(name, vars(owner)[name]))


def _watch_keys(undo, owner):
    get, put, has = owner.__getitem__, owner.__setitem__, owner.__contains__

    def read(config, key):
        if _asked_by_a_model(sys._getframe(1)):
            note("config" if has(config, key) else "absent", str(key))
        return get(config, key)

    def write(config, key, value):
        if _asked_by_a_model(sys._getframe(1)):
            note("config set", str(key))
        put(config, key, value)

    def ask(config, key):
        if _asked_by_a_model(sys._getframe(1)):
            note("config object", f"{key!r} in config")
        return has(config, key)

    _put(undo, owner, "__getitem__", read)
    _put(undo, owner, "__setitem__", write)
    _put(undo, owner, "__contains__", ask)


def _put(undo, owner, name, value):
    inherited, before = name not in vars(owner), vars(owner).get(name)
    setattr(owner, name, value)
    undo.callback(delattr, owner, name) if inherited else undo.callback(
        setattr, owner, name, before
    )


def _asked_by_a_model(frame):
    """Whether the code is a model's, its own helpers', or ours that does a model's work."""
    module = frame.f_globals.get("__name__", "")
    if module in HOST_MODULES:
        return False
    package = module.partition(".")[0]
    if package == "utils":  # a checkout's own count, ours are the host
        return not frame.f_globals.get("__file__", "").startswith(str(SOURCE))
    return package in ("models", "common")


def imports(files):
    """{module: names imported from it} of everything that Python files import beyond the standard
    library.
    """
    found = defaultdict(dict)
    for node in (node for file in files for node in ast.walk(_tree(file))):
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


def base_attributes(files):
    """(read, assigned) of what the base class sets, sorted, in Python files."""
    found = {ast.Load: set(), ast.Store: set()}
    for node in (node for file in files for node in ast.walk(_tree(file))):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
            and node.attr in BASE_ATTRIBUTES
            and type(node.ctx) in found
        ):
            found[type(node.ctx)].add(node.attr)
    return sorted(found[ast.Load]), sorted(found[ast.Store])


def _tree(file):
    return ast.parse(Path(file).read_bytes(), filename=str(file))
