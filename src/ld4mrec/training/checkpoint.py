"""What a model is made of, beyond its state_dict: saved and restored without pickle.

A snapshot holds, for the model and every submodule, the state_dict, the tensor attributes (plugins
cache tensors that they score from), the plain attributes (numbers, texts, containers of such and of
arrays and tensors), the state of objects such as optimisers (`living`) and what `get_extra_state()`
returns. It is readable by torch.load(weights_only=True). Attributes of other kinds need no place in
it while they are what construction made them (`as_built`).

A file of `save` also holds the SHA-256 of its value; `load` verifies it. Files without one, from
before there was any, are read as they are.
"""

import hashlib
import logging
import pickle
import types
import zipfile
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

from ld4mrec.config.configuration import Config
from ld4mrec.data.batches import EvalDataLoader, TrainDataLoader
from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import DamagedError, RunError
from ld4mrec.files import replacing
from ld4mrec.training import living
from ld4mrec.training.values import UnsavableError, decode, encode

# Attributes that nn.Module itself keeps; parameters and persistent buffers are in the state_dict.
MODULE_INTERNALS = frozenset(vars(nn.Module()))
EXTRA_STATE = "_extra_state"  # torch's name for what get_extra_state() returns, in a state_dict
# Objects that construction makes again and training leaves alone.
CONSTANT = (
    *(types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, type),
    *(Config, RecDataset, TrainDataLoader, EvalDataLoader, logging.Logger),
    *(Path, np.dtype, torch.device, torch.dtype),
)
# Constant unless it differs from what construction made.
MATRIX = (sp.spmatrix, sp.sparray)


def snapshot(
    model: nn.Module, fixed_buffers: bool = True, built: dict | None = None
) -> tuple[dict, list[str]]:
    """(snapshot, names of the attributes it could not hold). Tensors are copied to the CPU.

    fixed_buffers: also the non-persistent buffers. Our own models build theirs again and leave them
    alone, third parties' may not. built: what `as_built` said of the new model; what its state_dict
    gained since is marked as late, and a restored model gains it too.
    """
    digests = built["digests"] if built else {}
    attributes, state, unsaved, copies = {}, {}, [], {}
    for name, module, value in _attributes(model, fixed_buffers):
        if isinstance(value, MATRIX) and (not built or digests.get(name) == _digest(value)):
            continue
        try:
            _refuse_trained(value)
            attributes[name] = encode(value, copies, _state_of)
            if built and living.kinds(attributes[name]) != built["living"].get(name, []):
                raise UnsavableError("an object made by training, which construction would lack")
        except (UnsavableError, RecursionError):
            attributes.pop(name, None)
            own = type(module).get_extra_state is not nn.Module.get_extra_state
            as_new = digests.get(name) is not None and digests[name] == _digest(value)
            if not own and not as_new:
                unsaved.append(name)
    for key, value in model.state_dict().items():
        try:
            state[key] = encode(value)
        except UnsavableError as error:  # only what get_extra_state() returns can be of such a type
            unsaved.append(f"{key.removesuffix(EXTRA_STATE)}get_extra_state() ({error})")
    parameters = dict(model.named_parameters(remove_duplicate=False))
    late = {
        key: "parameter" if key in parameters else "buffer"
        for key in state
        if built and key not in built["keys"]
    }
    saved = {"state_dict": state, "attributes": attributes, "tied": _tied(model), "late": late}
    return saved, unsaved


def as_built(model: nn.Module) -> dict:
    """What to compare later snapshots of a new model with.

    keys: of its state_dict. digests: {name: digest} of scipy's matrices and of the attributes that
    no snapshot can hold; while one has this digest, building the model again gives it
    (torch_geometric's inspectors, an array of texts). The pickle is only digested: nothing is ever
    loaded from one. living: {name: kinds} of the objects in attributes whose state is saved.
    """
    digests, objects = {}, {}
    for name, _, value in _attributes(model, fixed_buffers=True):
        if isinstance(value, MATRIX):
            digests[name] = _digest(value)
            continue
        try:
            _refuse_trained(value)
            objects[name] = living.kinds(encode(value, None, _state_of))
        except (UnsavableError, RecursionError):
            digests[name] = _digest(value)
    return {"keys": set(model.state_dict()), "digests": digests, "living": objects}


def restore(model: nn.Module, saved: dict, built: dict | None = None) -> None:
    """Put a snapshot back into a model of the same class, configuration and data.

    built: what `as_built` said of it; what its state_dict has gained and the snapshot lacks stays.
    RunError for what is no snapshot, or another model's.
    """
    try:
        _restore(model, saved, built)
    except RunError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"the checkpoint holds no snapshot of {type(model).__name__} ({error!r}); was the "
            "model's code changed since?"
        ) from error


def _restore(model, saved, built):
    modules, copies = dict(model.named_modules()), {}
    taken = set()
    for key, value in saved["attributes"].items():  # first, as containers may hold these too
        present = _present(modules, key)
        if _same_kind(present, value):
            present.data.copy_(value)  # in place: an optimiser or a parameter may share it
            copies[id(value)] = present
            taken.add(key)
    for key, value in saved["attributes"].items():
        if key in taken:
            continue
        path, _, name = key.rpartition(".")
        module, present = modules[path], _present(modules, key)
        device = present.device if isinstance(present, torch.Tensor) else _device(model)
        with_sets = _holds_set(value)
        try:
            value = decode(value, device, copies, present, _put_state)
        except living.OtherObjectError as error:
            raise RunError(f"the attribute '{key}' {error}") from error
        if with_sets and _equal(present, value):
            continue  # the order in which a new set gives its elements may be another
        if name in module._buffers:
            module._buffers[name] = value
        else:
            module.__dict__[name] = value
            module._parameters.pop(name, None)  # a plugin may put a plain tensor in its place
    _tie(model, modules, saved["tied"])
    state = {key: decode(value, _device(model)) for key, value in saved["state_dict"].items()}
    _add_late(modules, state, saved.get("late", {}))
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
        missing = [
            key
            for key in missing
            if key not in saved["attributes"]
            and not key.endswith(EXTRA_STATE)
            and (built is None or key in built["keys"])
        ]
        if missing or unexpected:
            raise RuntimeError(f"missing {missing}, unexpected {unexpected}")
    except RuntimeError as error:  # torch's own: other shapes
        raise RunError(
            f"the checkpoint does not fit {type(model).__name__}: {error}; was the model's code "
            "changed since?"
        ) from error


def _present(modules, key):
    """The attribute or buffer of a dotted name, None where there is none; modules: {path: each}."""
    path, _, name = key.rpartition(".")
    if path not in modules:
        raise RunError(
            f"the checkpoint has the attribute '{key}', but the model has no submodule '{path}'"
        )
    return modules[path].__dict__.get(name, modules[path]._buffers.get(name))


def save(path: str | Path, value: object) -> None:
    """Write a value for `load`, whole or not at all; the same value gives the same bytes.

    value: of tensors, plain values, lists, tuples and dicts.
    """
    try:
        with replacing(path) as file:  # given a path, torch would write its name into the archive
            torch.save({"sha256": digest(value), "content": value}, file)
    except RuntimeError as error:  # torch's own where a write failed: the disk is full
        if isinstance(error.__context__, OSError):
            error.__context__.filename = str(path)
            raise error.__context__ from None
        raise


def load(path: str | Path):
    """Read a file of `save`; DamagedError if it is damaged or absent."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load checks no checksum
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"the checksum of {damaged} is another")
        value = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(value, dict) or not value.keys() & {"sha256", "content"}:
            return value  # of before there were checksums
        if value.get("sha256") != digest(value.get("content")):
            raise ValueError("its content is not what was written")
    except Exception as error:  # torch raises many kinds for a truncated archive
        raise DamagedError(
            f"{path} cannot be read ({type(error).__name__}); delete it to start afresh"
        ) from error
    return value["content"]


def digest(value: object) -> str:
    """SHA-256 of a value as `save` takes it: of kinds, shapes and contents."""
    found = hashlib.sha256()
    _add_to(found, value)
    return found.hexdigest()


def _add_to(found, value):
    if isinstance(value, torch.Tensor):
        found.update(f"{value.dtype} {value.layout} {tuple(value.shape)} ".encode())
        for part in _strided_parts(value.detach()):
            flat = part.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
            found.update(f"{len(flat)} ".encode())
            found.update(flat.view(torch.uint8).numpy() if len(flat) else b"")
    elif isinstance(value, dict):
        found.update(f"dict {len(value)} ".encode())
        for key, inner in value.items():
            _add_to(found, key)
            _add_to(found, inner)
    elif isinstance(value, list | tuple):
        found.update(f"{type(value).__name__} {len(value)} ".encode())
        for inner in value:
            _add_to(found, inner)
    else:
        found.update(f"{type(value).__name__} {value!r} ".encode())


def _strided_parts(tensor):
    """What a tensor's layout stores its values and their places in."""
    if tensor.layout == torch.sparse_coo:
        return tensor._indices(), tensor._values()
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return tensor.crow_indices(), tensor.col_indices(), tensor.values()
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return tensor.ccol_indices(), tensor.row_indices(), tensor.values()
    return (tensor,)


def _state_of(value):
    """[kind, state] of an object whose state a snapshot holds; None of another."""
    if isinstance(value, nn.Module):  # one that the model does not know as a part of it
        saved, unsaved = snapshot(value)
        if unsaved:
            raise UnsavableError(f"a module with {unsaved[0]}")
        return [living.kind_of(value), saved]
    state = living.state_of(value)
    _refuse_trained(state)
    return state


def _put_state(present, kind, state):
    living.check_kind(present, kind)
    if isinstance(present, nn.Module):
        restore(present, state)
    else:
        living.put_state(present, state)
    return present


def _tied(model):
    """Groups of names of one parameter; a plugin may give it a further name while it trains."""
    names = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def _tie(model, modules, groups):
    known = dict(model.named_parameters(remove_duplicate=False))
    for group in groups:
        present = [name for name in group if name in known]
        for path, _, name in (key.rpartition(".") for key in group if key not in known):
            if present and path in modules:
                setattr(modules[path], name, known[present[0]])


def _add_late(modules, state, late):
    """Register what the saved model registered while it was trained, where its module is there."""
    for key, kind in late.items():
        path, _, name = key.rpartition(".")
        module = modules.get(path)
        if module is None or name in module._parameters or name in module._buffers:
            continue
        module.__dict__.pop(name, None)
        if kind == "buffer":
            module.register_buffer(name, state[key].clone())
        else:
            module.register_parameter(name, nn.Parameter(state[key].clone()))


def _attributes(model, fixed_buffers):
    """(dotted name, its module, value) of what is neither in a state_dict nor constant."""
    for path, module in model.named_modules():
        fixed = module._non_persistent_buffers_set
        left_out = MODULE_INTERNALS | (module._buffers.keys() - fixed)
        buffers = module._buffers if fixed_buffers else {}
        for name, value in {**module.__dict__, **buffers}.items():
            if name not in left_out and not isinstance(value, CONSTANT):
                yield f"{path}.{name}".lstrip("."), module, value


def _digest(value):
    """Of the pickle of a value, None where it has none."""
    try:
        return hashlib.sha256(pickle.dumps(value)).digest()
    except Exception:  # what an object's own code may raise
        return None


def is_trained(value: object) -> bool:
    """Whether it is a tensor that an optimiser could train."""
    return isinstance(value, torch.Tensor) and value.requires_grad and value.is_leaf


def _same_kind(present, value):
    """Whether a tensor can take another's values in place."""
    return (
        isinstance(present, torch.Tensor)
        and isinstance(value, torch.Tensor)
        and present.layout == value.layout == torch.strided
        and (present.shape, present.dtype) == (value.shape, value.dtype)
        and 0 not in present.stride()  # an expanded tensor has less memory than elements
    )


def _holds_set(encoded):
    """Whether there is a set in what `encode` made."""
    if isinstance(encoded, dict):
        ((tag, encoded),) = encoded.items()
        return tag in ("__set__", "__frozenset__") or _holds_set(encoded)
    return isinstance(encoded, list) and any(map(_holds_set, encoded))


def _equal(present, value):
    """Whether two attributes are equal; containers of arrays and tensors never are."""
    try:
        return bool(type(present) is type(value) and present == value)
    except (ValueError, RuntimeError, TypeError):
        return False


def _refuse_trained(value):
    """A container keeps its trained tensors, which an optimiser and the model know by identity."""
    if isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            if is_trained(item):
                raise UnsavableError("a container of trained tensors")
            _refuse_trained(item)


def _device(model):
    device = getattr(model, "device", None)
    if isinstance(device, torch.device):
        return device
    return next((parameter.device for parameter in model.parameters()), "cpu")
