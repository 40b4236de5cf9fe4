"""What a model is made of, beyond its state_dict: saved and restored without pickle.

A snapshot holds, for the model and every submodule, the state_dict, the tensor attributes (plugins
cache tensors that they score from), the plain attributes (numbers, texts, containers of such and of
arrays and tensors) and what `get_extra_state()` returns. It is readable by
torch.load(weights_only=True).
"""

import numbers
import types
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

from utils.errors import RunError
from utils.files import replacing

# Attributes that nn.Module itself keeps; parameters and persistent buffers are in the state_dict.
MODULE_INTERNALS = frozenset(vars(nn.Module()))
# Objects that construction makes again and training leaves alone.
CODE = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, type)
CONSTANT = (*CODE, Path, sp.spmatrix, sp.sparray, np.dtype, torch.device, torch.dtype)


class UnsavableError(TypeError):
    """A value that a snapshot cannot hold."""


def snapshot(model):
    """(snapshot, names of the attributes it could not hold). Tensors are copied to the CPU."""
    attributes, unsaved = {}, []
    for path, module in model.named_modules():
        for name, value in _own_attributes(module):
            if _is_constant(value):
                continue
            try:
                attributes[f"{path}.{name}".lstrip(".")] = encode(value)
            except UnsavableError:
                if not _has_extra_state(module):
                    unsaved.append(f"{path}.{name}".lstrip("."))
    return {"state_dict": encode(dict(model.state_dict())), "attributes": attributes}, unsaved


def restore(model, saved):
    """Put a snapshot back into a model of the same class, built from the same configuration and
    data.
    """
    modules = dict(model.named_modules())
    for key, value in saved["attributes"].items():
        path, _, name = key.rpartition(".")
        if path not in modules:
            raise RunError(
                f"the checkpoint has the attribute '{key}', but the model has no submodule '{path}'"
            )
        module, value = modules[path], decode(value, _device(model))
        if name in module._buffers:
            module._buffers[name] = value
        else:
            module.__dict__[name] = value
            module._parameters.pop(
                name, None
            )  # a plugin may have replaced a parameter by a plain tensor
    state = decode(saved["state_dict"], _device(model))
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [key for key in missing if key not in saved["attributes"]]
    if missing or unexpected:
        raise RunError(
            f"the checkpoint does not fit {type(model).__name__}: missing {missing}, unexpected "
            f"{unexpected}; "
            "was the model's code changed since?"
        )


def save(path, value):
    """Write a value for `load`, whole or not at all; the same value gives the same bytes."""
    with replacing(
        path
    ) as file:  # a file object: given a path, torch would write its name into the archive
        torch.save(value, file)


def load(path):
    """Read a file of `save`; RunError if it is damaged or absent."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a truncated archive
        raise RunError(
            f"{path} cannot be read ({type(error).__name__}: {error}); delete it to start afresh"
        ) from error


def encode(value):
    """A copy of `value` in the types that torch.load(weights_only=True) accepts; UnsavableError if
    there is none.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {"__array__": torch.from_numpy(np.array(value, order="C"))}
    if isinstance(value, np.generic) and isinstance(value, numbers.Number):
        return value.item()
    if isinstance(value, tuple):
        return {"__tuple__": [encode(item) for item in value]}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, set | frozenset):
        return {f"__{type(value).__name__}__": [encode(item) for item in sorted(value, key=repr)]}
    if isinstance(value, dict):
        return {"__dict__": [[encode(k), encode(v)] for k, v in value.items()]}
    raise UnsavableError(f"{type(value).__module__}.{type(value).__name__}")


def decode(value, device="cpu"):
    """The inverse of `encode`; tensors are copied to `device`."""
    if isinstance(value, torch.Tensor):
        return value.to(device, copy=True)
    if isinstance(value, list):
        return [decode(item, device) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "__array__":
        return content.numpy().copy()
    if kind == "__dict__":
        return {decode(k, device): decode(v, device) for k, v in content}
    return {"__tuple__": tuple, "__set__": set, "__frozenset__": frozenset}[kind](
        decode(item, device) for item in content
    )


def _own_attributes(module):
    persistent = module._buffers.keys() - module._non_persistent_buffers_set
    inside = MODULE_INTERNALS | persistent
    buffers = {name: value for name, value in module._buffers.items() if name not in persistent}
    return [(k, v) for k, v in {**module.__dict__, **buffers}.items() if k not in inside]


def _is_constant(value):
    """Made again by construction: code, devices, dtypes, the configuration and the loaders."""
    if isinstance(value, CONSTANT) or value is None:
        return value is not None
    module = type(value).__module__
    return module.startswith(("utils.", "logging"))


def _has_extra_state(module):
    return type(module).get_extra_state is not nn.Module.get_extra_state


def _device(model):
    device = getattr(model, "device", None)
    return (
        device
        if isinstance(device, torch.device)
        else next((p.device for p in model.parameters()), "cpu")
    )
