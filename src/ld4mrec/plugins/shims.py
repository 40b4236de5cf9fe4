"""What a model file written for MMRec and older libraries needs in order to run on current ones.

Everything is in force only inside `plugin_shims()`, that is while a third-party model is loaded and
run, and is undone afterwards. Section numbers are the contract's.

What stays as the plugin wrote it: `np.load(allow_pickle=True)` and `torch.load(weights_only=False)`
execute what the file says. Some models need the first (their user graphs are pickled dictionaries),
so it is not refused: whoever names a plugin and a data folder trusts both. A plain `torch.load`
keeps torch's safe default, and *.pt files found in the data folder are not shown to plugins
(`data_view`). `device="cuda"` in a call that makes a tensor is not redirected; `.cuda()` and
`.to("cuda")` are.
"""

import builtins
import functools
import importlib
import importlib.util
import io
import logging
import numbers
import os
import random
import sys
import threading
import weakref
from collections.abc import Iterator, Set
from contextlib import ExitStack, contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

from ld4mrec.files import replacing
from ld4mrec.plugins.data_view import detach, in_view
from ld4mrec.plugins.graph_dicts import graph_at, was_loaded
from ld4mrec.plugins.import_roots import in_sight, own_module
from ld4mrec.plugins.stand_ins import stand_in
from ld4mrec.plugins.usage import assigned_attributes, is_ours, note, patch

logger = logging.getLogger(__name__)

# Names that numpy 1.24 and 2.0 took away (13.1, 14.3; the contract needs the first four).
NUMPY_ALIASES = {kind.__name__: kind for kind in (float, int, bool, object, str, complex)}
NUMPY_ALIASES |= {"float_": np.float64, "complex_": np.complex128, "bool8": np.bool_}
NUMPY_ALIASES |= {"Inf": np.inf, "infty": np.inf, "NaN": np.nan}
NUMPY_ALIASES |= {"product": np.prod, "in1d": np.isin, "mat": np.asmatrix}
# What a pickle of arrays and numbers names: the functions that make them, and their types.
NUMPY_DATA = [
    *(np.ndarray, np.dtype, np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]),
    *{type(np.dtype(code)) for code in np.typecodes["All"]},
]
BASE_CLASS = "common.abstract_recommender"
LETTERS = {"a": "audio", "s": "sound", "i": "image", "img": "image", "txt": "text"}
IMPORT_MACHINERY = (__name__, "importlib", "_frozen_importlib")

_lock = threading.RLock()
_undo = ExitStack()
_devices = []  # of the blocks entered, the outermost first


@contextmanager
def plugin_shims(device: torch.device | str | None = None) -> Iterator[None]:
    """Put the shims in force. May be nested: the outermost block undoes them.

    device: where `torch.load` puts tensors when the plugin does not say; the run's device. None:
    the GPU if there is one.
    """
    with _lock:
        if not _devices:
            _install()
        _devices.append(device)
    try:
        yield
    finally:
        with _lock:
            _devices.pop()
            if not _devices:
                _undo.close()


def forget_stand_ins() -> None:
    """Take the stand-ins out of `sys.modules`, lest installed packages mistake them for real ones.

    The plugin keeps the names it imported; a later import of its own finds the stand-in again.
    """
    for name in [name for name, module in sys.modules.items() if is_stand_in(module)]:
        del sys.modules[name]


def is_stand_in(module: object) -> bool:
    """Whether a module stands in for a package that is not installed."""
    return isinstance(getattr(module, "__loader__", None), _StandInFinder)


def _install():
    # what a plugin may set for the whole process
    _undo.callback(torch.set_default_dtype, torch.get_default_dtype())
    _undo.callback(torch.set_grad_enabled, torch.is_grad_enabled())
    _undo.callback(os.chdir, os.getcwd())
    missing = [*_numpy_aliases(), *_dok_update()]
    if not torch.cuda.is_available():
        missing += _cuda_on_cpu()
    _models_common()
    _absent_packages()
    _replaced_parameters()
    _loading_to_device()
    _private_writes()
    _absent_graphs()
    _no_words()
    _more_of_the_base()
    missing += _sample_from_sets()
    _undo.enter_context(in_sight())
    if missing:
        logger.info("for third-party models, until they are done: %s", ", ".join(missing))


def _patch(owner, name, value):
    patch(_undo, owner, name, value)


def _numpy_aliases():
    # 13.1, 14.3: np.float and its kin; vars(), since asking numpy for a removed name warns
    absent = {name: value for name, value in NUMPY_ALIASES.items() if name not in vars(np)}
    original = np.__getattr__  # what Python asks for the names that a module lacks

    @functools.wraps(original)
    def get(name):
        if name not in absent:
            return original(name)
        note("shim", f"np.{name}")
        return absent[name]

    _patch(np, "__getattr__", get)
    return [f"np.{name}" for name in absent]


def _dok_update():
    # 13.2, 14.4: dok_matrix._update(dict), the unchecked bulk insertion that scipy 1.13 dropped
    absent = [kind for kind in (sp.dok_matrix, sp.dok_array) if not hasattr(kind, "_update")]

    def update(matrix, entries):
        note("shim", f"{type(matrix).__name__}._update")
        matrix._dict.update(entries)

    for kind in absent:
        _patch(kind, "_update", update)
    return [f"{kind.__name__}._update" for kind in absent]


def _cuda_on_cpu():
    # 13.5, 14.6: without a GPU .cuda() changes nothing; .to("cuda") likewise, beyond the contract
    original = torch.Tensor.to

    @functools.wraps(original)
    def to(tensor, *args, **kwargs):
        kwargs = {name: _cpu_for_cuda(value) for name, value in kwargs.items()}
        return original(tensor, *map(_cpu_for_cuda, args), **kwargs)

    def nothing(name):
        return lambda *args, **kwargs: note("shim", f"torch.cuda.{name} without CUDA")

    def unmoved(tensor_or_module, *args, **kwargs):
        note("shim", ".cuda() without CUDA")
        return tensor_or_module

    _patch(torch.Tensor, "to", to)
    for name in ("synchronize", "set_device", "empty_cache"):
        _patch(torch.cuda, name, nothing(name))
    _patch(torch.Tensor, "cuda", unmoved)
    _patch(nn.Module, "cuda", unmoved)
    return ["cuda on the CPU"]


def _cpu_for_cuda(value):
    by_name = isinstance(value, str) and value.startswith("cuda")
    if not by_name and not (isinstance(value, torch.device) and value.type == "cuda"):
        return value
    note("shim", '.to("cuda") without CUDA')
    return "cpu" if by_name else torch.device("cpu")


def _models_common():
    # 1, 13.3, 14.7: models.common is another name of common, and models.common.x of common.x;
    # in forks src.common and src.utils are, too
    _find_with(_AliasFinder(), first=True)
    _undo.callback(_forget_models_common)


def _no_words():
    # forks parse sys.argv in model files: it holds our command's words, which would end theirs
    _patch(sys, "argv", sys.argv[:1])


def _absent_packages():
    # 1, 13.4, 14.18: torch_scatter, sparsesvd, torchvision, lmdb where they are not installed
    _find_with(_StandInFinder(), first=False)
    _undo.callback(forget_stand_ins)


def _absent_graphs():
    # the graphs of users and items that MMRec's download lacks
    original = np.load

    @functools.wraps(original)
    def load(file, *args, **kwargs):
        graph = graph_at(file)
        if graph is not None:
            return graph
        value = original(file, *args, **kwargs)
        was_loaded(file, value)
        return value

    _patch(np, "load", load)


def _more_of_the_base():
    # forks call further modalities a_feat and the like; the base class has them in `features`.
    # What else a fork's own base class sets or defines is taken from the checkout's
    from common.abstract_recommender import GeneralRecommender

    original, construct = GeneralRecommender.__getattr__, GeneralRecommender.__init__
    made_of, assigned = weakref.WeakKeyDictionary(), functools.cache(assigned_attributes)

    @functools.wraps(construct)
    def init(model, config, dataloader):
        made_of[model] = config, dataloader
        construct(model, config, dataloader)

    def attribute(model, name):
        features = vars(model).get("features")
        if features and name.endswith("_feat"):
            known = name.removesuffix("_feat")
            for modality in (LETTERS.get(known, known), known):
                if modality in features:
                    note("shim", f"{name}: the modality {modality}")
                    return features[modality]
        own = own_module(BASE_CLASS) if "_modules" in vars(model) and name[:2] != "__" else None
        base = getattr(own, "GeneralRecommender", None)
        for owner in base.__mro__ if base else ():
            if owner.__module__ == own.__name__ and name in vars(owner):
                note("shim", f"{name}, of the checkout's own base class")
                return vars(owner)[name].__get__(model, type(model))
        if base and model in made_of and name in assigned(Path(own.__file__)):
            _take_from(base, model, made_of.pop(model))
            if name in vars(model):
                return vars(model)[name]
        return original(model, name)

    _patch(GeneralRecommender, "__getattr__", attribute)
    _patch(GeneralRecommender, "__init__", init)


def _take_from(base, model, arguments):
    """Give a model the attributes that a fork's base class sets and ours does not."""
    try:
        donor = base(*arguments)
    except Exception as error:  # whatever a plugin's code may raise
        raise AttributeError(
            f"the checkout's own base class, asked for what ours lacks, does not build: {error!r}"
        ) from error
    for name in sorted(vars(donor).keys() - vars(model).keys()):
        note("shim", f"{name}, of the checkout's own base class")
        setattr(model, name, vars(donor)[name])


def _replaced_parameters():
    # 13.6, 14.6: a plain tensor assigned over a parameter takes its place, as an attribute
    original = nn.Module.__setattr__

    @functools.wraps(original)
    def assign(module, name, value):
        parameters = vars(module).get("_parameters", {})
        plain = isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter)
        if plain and name in parameters:
            note("shim", f"a tensor assigned over the parameter {name}")
            del parameters[name]
        original(module, name, value)

    _patch(nn.Module, "__setattr__", assign)


def _loading_to_device():
    # 14.16: a cache written on another machine's device is loaded to this run's; weights_only
    # stays torch's default, but knows numpy's arrays and numbers, which are data and no code
    original = torch.load

    @functools.wraps(original)
    def load(f, map_location=None, *args, **kwargs):
        if map_location is None:
            note("shim", "torch.load without map_location")
            known = [device for device in _devices if device is not None]
            by_default = "cuda" if torch.cuda.is_available() else "cpu"
            map_location = known[-1] if known else by_default
        with torch.serialization.safe_globals(NUMPY_DATA):
            return original(f, map_location, *args, **kwargs)

    _patch(torch, "load", load)


def _private_writes():
    # 10, 14.17: writing to a link of a plugin's data view must not reach the data folder's file
    original_open, original_save = io.open, torch.save

    @functools.wraps(original_open)
    def private_open(file, mode="r", *args, **kwargs):
        if isinstance(mode, str) and set(mode) & set("wa+"):
            detach(file, copy="w" not in mode)
        return original_open(file, mode, *args, **kwargs)

    @functools.wraps(original_save)
    def save(obj, f, *args, **kwargs):
        if not in_view(f):
            return original_save(obj, f, *args, **kwargs)
        detach(f, copy=False)
        with replacing(f) as file:  # a kill must not leave half a cache
            return original_save(obj, file, *args, **kwargs)

    for module in (builtins, io):
        _patch(module, "open", private_open)
    _patch(torch, "save", save)


def _sample_from_sets():
    # 14.5: random.sample of a set, which Python 3.11 refuses
    original = random.sample

    @functools.wraps(original)
    def sample(population, *args, **kwargs):
        if isinstance(population, Set):
            note("shim", "random.sample of a set")
            population = _ordered(population)
        return original(population, *args, **kwargs)

    _patch(random, "sample", sample)
    return ["random.sample of sets"]


def _ordered(population):
    """Numbers in the set's order, as in Python 3.10; others, whose order varies by run, sorted."""
    if isinstance(next(iter(population), 0), numbers.Number):
        return tuple(population)
    return sorted(population, key=repr)


def _find_with(finder, first):
    sys.meta_path.insert(0 if first else len(sys.meta_path), finder)
    _undo.callback(sys.meta_path.remove, finder)


def _meant(name):
    """The name that another stands for, common.x for models.common.x and src.common.x, or None."""
    package, _, rest = name.partition(".")
    known = {"models": ("common",), "src": ("common", "utils")}.get(package, ())
    return rest if rest.partition(".")[0] in known else None


def _forget_models_common():
    for name in filter(_meant, list(sys.modules)):
        del sys.modules[name]
    if _our_src():
        del sys.modules["src"]
    if "models" in sys.modules:
        vars(sys.modules["models"]).pop("common", None)


class _AliasFinder:
    """Hands out common.x for models.common.x; names that common lacks are left to others."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname == "src" and _third_party_import():
            return ModuleSpec(fullname, self, is_package=True)
        meant = _meant(fullname)
        if meant is None or (fullname.startswith("src.") and not _our_src()):
            return None
        try:
            known = importlib.util.find_spec(meant)
        except ModuleNotFoundError:  # not even the package that would hold it
            return None
        if known is None:
            return None
        note("shim", fullname.removesuffix(meant) + meant.partition(".")[0])
        return ModuleSpec(fullname, self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        # the import system takes what stands in sys.modules now, so nothing is loaded twice
        if meant := _meant(module.__name__):
            sys.modules[module.__name__] = importlib.import_module(meant)


def _our_src():
    """Whether `src` is the empty package that stands for a fork's, and no package of the user's."""
    return isinstance(getattr(sys.modules.get("src"), "__loader__", None), _AliasFinder)


class _StandInFinder:
    """Last in line, after installed packages; only third-party models' own imports see it."""

    def find_spec(self, fullname, path=None, target=None):
        if stand_in(fullname) is None or not _third_party_import():
            return None
        note("stand-in", fullname)
        logger.info("%s is not installed; a stand-in takes its place", fullname)
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec):
        return stand_in(spec.name)

    def exec_module(self, module):
        pass


def _third_party_import():
    """Whether a model's file, or a plugin's common or utils, has the import being carried out."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(IMPORT_MACHINERY):
        frame = frame.f_back
    if frame is None:
        return False
    package = frame.f_globals.get("__name__", "").partition(".")[0]
    return package == "models" or (package in ("common", "utils") and not is_ours(frame))
