"""Values of attributes as torch.load(weights_only=True) can read them, and back."""

import itertools
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import torch

# Types that come back as they were. A subclass (namedtuple, np.matrix) would come back as less, and
# torch.load would refuse np.float64, which is a float.
PLAIN = (type(None), bool, int, float, str)
SEQUENCES = {"__tuple__": tuple, "__Size__": torch.Size, "__set__": set, "__frozenset__": frozenset}
MAPPINGS = {"__dict__": dict, "__OrderedDict__": OrderedDict, "__Counter__": Counter}
TAGS = {kind: tag for tag, kind in (SEQUENCES | MAPPINGS).items()}
FACTORIES = {kind.__name__: kind for kind in (list, dict, set, int, float)}  # of a defaultdict
# {kind: what it is made of}; made again of (data, ...) and shape
MATRICES = {
    **dict.fromkeys(
        (sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.csc_array), ("indices", "indptr")
    ),
    **dict.fromkeys((sp.coo_matrix, sp.coo_array), ("row", "col")),
}
OBJECT = "__object__"  # of the state of an object that is there already
StateOf = Callable[[object], list | None]
PutState = Callable[[object, str, object], object]


class UnsavableError(TypeError):
    """A value that a snapshot cannot hold."""


def encode(value: object, copies: dict | None = None, state_of: StateOf | None = None) -> object:
    """A copy in types that torch.load(weights_only=True) accepts; UnsavableError if none is.

    copies: {id of a tensor: (its copy, the tensor)}; one met twice is copied and stored once.
    state_of: [kind, state] of an object that is not copied, but of which the state is; None of
    others.
    """
    kind, copies = type(value), {} if copies is None else copies
    if kind in PLAIN:
        return (
            sys.intern(value) if kind is str else value
        )  # equal values have equal bytes in a file
    if isinstance(value, torch.Tensor):
        if id(value) not in copies:  # the value is kept, lest another one get its id
            copies[id(value)] = value.detach().to("cpu", copy=True), value
        return copies[id(value)][0]
    if kind is np.ndarray or isinstance(value, np.generic):
        try:
            content = torch.from_numpy(np.array(value, order="K"))
        except (TypeError, ValueError) as error:  # texts, objects, foreign byte order
            raise UnsavableError(f"array of {value.dtype}") from error
        return {"__array__" if kind is np.ndarray else "__scalar__": content}
    if kind in MAPPINGS.values():
        pairs = [[encode(item, copies, state_of) for item in pair] for pair in value.items()]
        return {TAGS[kind]: pairs}
    if kind is defaultdict and value.default_factory in FACTORIES.values():
        content = encode(dict(value), copies, state_of)
        return {"__defaultdict__": [value.default_factory.__name__, content]}
    if kind is deque:
        return {"__deque__": [value.maxlen, encode(list(value), copies, state_of)]}
    if kind in MATRICES:
        parts = [encode(getattr(value, name), copies) for name in ("data", *MATRICES[kind])]
        return {"__matrix__": [kind.__name__, list(value.shape), parts]}
    if kind not in (list, *SEQUENCES.values()):
        if state_of and (state := state_of(value)) is not None:
            return {OBJECT: [state[0], encode(state[1], copies, state_of)]}
        raise UnsavableError(f"{kind.__module__}.{kind.__name__}")
    items = [encode(item, copies, state_of) for item in value]
    if kind is list:
        return items
    return {TAGS[kind]: sorted(items, key=repr) if kind in (set, frozenset) else items}


def decode(
    value: object,
    device: torch.device | str = "cpu",
    copies: dict | None = None,
    present: object = None,
    put_state: PutState | None = None,
) -> object:
    """The inverse of `encode`; tensors are copied to `device`, one met twice once.

    present: what has the value's place now, which keeps its objects: put_state(object, kind, state)
    gives them their state and returns them.
    """
    copies = {} if copies is None else copies
    if isinstance(value, torch.Tensor):
        if id(value) not in copies:
            copies[id(value)] = value.to(device, copy=True)
        return copies[id(value)]
    if isinstance(value, list):
        return _items(value, device, copies, present, put_state)
    if not isinstance(value, dict):
        return value
    ((tag, content),) = value.items()
    if tag == "__array__":
        return content.numpy().copy(order="K")
    if tag == "__scalar__":
        return content.numpy()[()]
    if tag == OBJECT:
        kind, state = content
        inside = getattr(present, "__dict__", None)
        return put_state(present, kind, decode(state, device, copies, inside, put_state))
    if tag == "__matrix__":
        kind, shape, parts = content
        data, *places = decode(parts)
        made_of = (data, tuple(places)) if kind.startswith("coo") else (data, *places)
        return getattr(sp, kind)(made_of, shape=tuple(shape))
    if tag in ("__defaultdict__", "__deque__"):
        how, inner = content
        inner = decode(inner, device, copies, present, put_state)
        return deque(inner, how) if tag == "__deque__" else defaultdict(FACTORIES[how], inner)
    if tag in SEQUENCES:
        return SEQUENCES[tag](_items(content, device, copies, present, put_state))
    pairs, known = [], present if isinstance(present, dict) else {}
    for key, inner in content:
        key = decode(key, device, copies)
        pairs.append((key, decode(inner, device, copies, known.get(key), put_state)))
    return MAPPINGS[tag](dict(pairs))


def _items(values, device, copies, present, put_state):
    known = present if isinstance(present, list | tuple) and len(present) == len(values) else ()
    each = itertools.zip_longest(values, known)
    return [decode(value, device, copies, inside, put_state) for value, inside in each]
