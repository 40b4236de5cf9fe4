import functools
import io
import logging
import os
import pickletools
import random
import subprocess
import sys
import textwrap
import zipfile
from collections import Counter, OrderedDict, defaultdict, namedtuple
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

import support
from ld4mrec.errors import DamagedError, RunError
from ld4mrec.training import checkpoint
from ld4mrec.training.checkpoint import UnsavableError, as_built, decode, encode, restore, snapshot

pytestmark = pytest.mark.filterwarnings("ignore:Sparse")  # torch's notes on its sparse tensors

TORCH_TYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int8]
TORCH_TYPES += [torch.uint8, torch.bool, torch.complex64]
NUMPY_TYPES = ["f4", "f8", "f2", "i8", "i2", "u1", "u4", "?", "c16"]
Pair = namedtuple("Pair", "left right")


def through_a_file(value):
    """What torch.load(weights_only=True) gives back."""
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def same(value, other):
    """Equal in type, value and everything that a computation could notice."""
    if type(value) is not type(other):
        return False
    if isinstance(value, torch.Tensor):
        if (value.dtype, value.shape, value.layout) != (other.dtype, other.shape, other.layout):
            return False
        if value.layout == torch.sparse_coo:
            parts = [(x._indices(), x._values()) for x in (value, other)]
            if value.is_coalesced() != other.is_coalesced():
                return False
        elif value.layout == torch.sparse_csr:
            parts = [(x.crow_indices(), x.col_indices(), x.values()) for x in (value, other)]
        else:
            parts = None
        if parts:
            return all(bytes_of(a) == bytes_of(b) for a, b in zip(*parts, strict=True))
        return value.stride() == other.stride() and bytes_of(value) == bytes_of(other)
    if isinstance(value, np.ndarray | np.generic):
        alike = (value.dtype, value.shape, value.flags.c_contiguous, value.flags.f_contiguous)
        alike_other = (other.dtype, other.shape, other.flags.c_contiguous, other.flags.f_contiguous)
        return alike == alike_other and value.tobytes() == other.tobytes()
    if isinstance(value, list | tuple):
        return len(value) == len(other) and all(map(same, value, other))
    if isinstance(value, dict):
        return same([*value.items()], [*other.items()])
    return value == other or value != value


def bytes_of(tensor):
    flat = torch.empty(tensor.numel(), dtype=tensor.dtype).copy_(tensor.flatten())
    return flat.view(torch.uint8).numpy().tobytes()


@st.composite
def tensors(draw):
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    dtype = draw(st.sampled_from(TORCH_TYPES))
    numbers = draw(hnp.arrays("i1", shape))
    tensor = torch.from_numpy(numbers).to(dtype)
    return tensor.mT if tensor.dim() > 1 and draw(st.booleans()) else tensor


@st.composite
def sparse_tensors(draw):
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    cells = st.tuples(st.integers(0, shape[0] - 1), st.integers(0, shape[1] - 1))
    places = draw(st.lists(cells, max_size=5))
    indices = torch.tensor(places, dtype=torch.int64).reshape(-1, 2).T
    matrix = torch.sparse_coo_tensor(indices, torch.arange(len(places)).double() + 1, shape)
    how = draw(st.sampled_from(["as is", "coalesced", "csr"]))
    if how == "as is":
        return matrix
    return matrix.coalesce() if how == "coalesced" else matrix.to_sparse_csr()


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
scalars = st.sampled_from(NUMPY_TYPES).flatmap(
    lambda name: st.integers(0, 1).map(np.dtype(name).type)
)
arrays = hnp.arrays(st.sampled_from(NUMPY_TYPES), hnp.array_shapes(min_dims=0, min_side=0))
leaves = plain | scalars | arrays | arrays.map(np.transpose) | tensors() | sparse_tensors()
keys = st.integers() | st.text(max_size=3) | st.tuples(st.integers(), st.booleans())
frozen = st.frozensets(keys, max_size=3)


def containers(inner):
    few = st.lists(inner, max_size=3)
    pairs = st.dictionaries(keys | frozen, inner, max_size=3)
    return few | few.map(tuple) | pairs | pairs.map(OrderedDict)


nested = st.recursive(leaves | frozen | st.sets(keys | frozen, max_size=4), containers)


@settings(max_examples=60)
@given(nested)
@example(np.float64(0.1))
@example({1: [(), {}, set(), frozenset(), OrderedDict(), torch.Size([2, 3])]})
@example([Counter({2: 1}), defaultdict(list, {3: [1]}), defaultdict(int)])
def test_values_come_back_as_they_were(value):
    assert same(decode(through_a_file(encode(value))), value)


@pytest.mark.parametrize("value", [np.arange(6)[::-2], np.broadcast_to(1.5, (2, 3))])
def test_values_of_views_come_back(value):
    assert np.array_equal(decode(encode(value)), value)
    if value.strides[0] >= 0:
        assert torch.equal(decode(encode(torch.tensor(1.5).expand(2, 3))), torch.tensor(value))


@settings(max_examples=30)
@given(nested)
def test_only_tensors_and_plain_values_are_in_the_file(value):
    file = io.BytesIO()
    torch.save(encode(value), file)
    with zipfile.ZipFile(file) as archive:
        code = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    called = {arg for op, arg, _ in pickletools.genops(code) if op.name in ("GLOBAL", "INST")}
    assert all(name.startswith(("torch", "collections OrderedDict")) for name in called)


def test_the_copy_is_independent_of_the_value():
    indices = torch.tensor([[0, 1], [1, 0]])
    sparse = torch.sparse_coo_tensor(indices, torch.ones(2), (2, 2), is_coalesced=True)
    value = {"t": torch.zeros(3), "a": np.zeros(3), "s": sparse, "c": sparse.to_sparse_csr()}
    copy = encode(value)
    again = decode(copy)
    for given_value in (value, decode(copy)):
        given_value["t"] += 1
        given_value["a"] += 1
        given_value["s"]._values().add_(1)
        given_value["c"].values().add_(1)
    assert same(decode(copy), again)
    assert not again["t"].any()
    assert not again["a"].any()
    assert again["s"]._values().tolist() == again["c"].values().tolist() == [1, 1]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (object(), "builtins.object"),
        (torch.Generator(), "torch._C.Generator"),
        (np.random.default_rng(0), "numpy.random._generator.Generator"),
        (random.Random(0), "random.Random"),
        (functools.partial(max, 1), "functools.partial"),
        (nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        (b"bytes", "builtins.bytes"),
        (1j, "builtins.complex"),
        # the next ones would come back as something less
        (Pair(1, 2), "Pair"),
        (defaultdict(lambda: 0), "collections.defaultdict"),
        (np.matrix([[1.0]]), "numpy.matrix"),
        (np.ma.masked_array([1.0], [True]), "numpy.ma.MaskedArray"),
        (np.array(["a"]), "array of <U1"),
        (np.array([None]), "array of object"),
        (np.str_("a"), "array of <U1"),
        (np.zeros(2, ">f8"), "array of >f8"),
        (np.zeros(2, np.longdouble), "array of float128"),
    ],
)
def test_other_values_are_refused_by_their_type(value, name):
    for wrapped in (value, [value], {"x": (value,)}):
        with pytest.raises(UnsavableError, match=name):
            encode(wrapped)


# --- models ---------------------------------------------------------------------------------


class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.cache = torch.zeros(2)
        self.register_buffer("mean", torch.zeros(2), persistent=False)


class Model(nn.Module):
    """One of each kind of state."""

    def __init__(self):
        super().__init__()
        self.device = torch.device("cpu")
        self.weight = nn.Parameter(torch.zeros(2, 3))
        self.part = Part()
        self.towers = nn.ModuleList([Part()])
        self.register_buffer("kept", torch.zeros(2))
        self.register_buffer("transient", torch.zeros(3), persistent=False)
        self.result = None
        self.epochs, self.temperature, self.name, self.warm = 0, 1.0, "x", False
        self.queue = np.zeros((2, 3), dtype=np.int16)
        self.seen, self.frozen, self.pair = set(), frozenset([(1, 2)]), (1, [2.0])
        self.history = {0: [torch.zeros(1)]}
        # constants
        self.graph = sp.eye(3).tocsr()
        self.logger = logging.getLogger("model")
        self.activation, self.norm = torch.tanh, nn.functional.normalize
        self.kind, self.path, self.dtype = nn.Linear, Path("x"), torch.float32
        self.np_dtype, self.bound = np.dtype("f4"), self.change

    def change(self):
        with torch.no_grad():
            for number, tensor in enumerate([*self.parameters(), *self.buffers()], start=1):
                tensor += number
        self.result = torch.full((2,), 7.0)
        self.part.cache = torch.ones(5)
        self.towers[0].cache += 3
        self.epochs, self.temperature, self.name, self.warm = 5, 0.5, "y", True
        self.queue += 4
        self.seen |= {"b", "a"}
        self.pair, self.history[3] = (2, [4.0]), [torch.ones(2)]


NAMES = ["result", "epochs", "temperature", "name", "warm", "queue", "seen", "frozen", "pair"]


def state_of(model):
    whole = dict(model.state_dict()) | {name: getattr(model, name) for name in NAMES}
    whole |= {f"buffer {name}": value for name, value in model.named_buffers()}
    whole |= {"caches": [model.part.cache, model.towers[0].cache], "history": model.history}
    return {k: v if not isinstance(v, torch.Tensor) else v.detach() for k, v in whole.items()}


def copy_of(model):
    return decode(encode(state_of(model)))


def test_everything_a_model_holds_comes_back():
    model, other = Model(), Model()
    model.change()
    saved, unsaved = snapshot(model)
    assert unsaved == []
    restore(other, through_a_file(saved))
    assert same(state_of(other), state_of(model))
    assert {n for n, _ in other.named_buffers()} == {n for n, _ in model.named_buffers()}
    assert "transient" not in other.state_dict()


def test_constants_are_left_out_and_left_alone():
    model = Model()
    saved, _ = snapshot(model)
    constants = {"device", "graph", "logger", "activation", "norm", "kind", "path", "dtype"}
    constants |= {"np_dtype", "bound"}
    assert not {name.split(".")[-1] for name in saved["attributes"]} & constants
    before = {name: vars(model)[name] for name in constants}
    restore(model, saved)
    assert all(vars(model)[name] is value for name, value in before.items())


def test_config_and_loaders_are_constants(toy):
    from ld4mrec.data.batches import TrainDataLoader
    from ld4mrec.data.interactions import RecDataset

    config = support.config_for(toy)
    model = Part()
    model.config, model.dataset = config, RecDataset(config)
    model.loader = TrainDataLoader(config, model.dataset.split()[0], batch_size=2)
    saved, unsaved = snapshot(model)
    assert unsaved == []
    assert {name.split(".")[0] for name in saved["attributes"]} == {"cache", "mean", "linear"}


def test_a_snapshot_shares_nothing_with_the_model():
    model = Model()
    before = copy_of(model)
    saved, _ = snapshot(model)
    model.change()
    restore(model, saved)
    assert same(state_of(model), before)
    model.change()
    restore(model, saved)  # the first restore handed nothing of the snapshot to the model
    assert same(state_of(model), before)


def test_the_same_state_gives_the_same_bytes(tmp_path):
    model = Model()
    model.change()
    checkpoint.save(tmp_path / "one", snapshot(model)[0])
    checkpoint.save(tmp_path / "two", snapshot(model)[0])
    other = Model()
    restore(other, checkpoint.load(tmp_path / "one"))
    checkpoint.save(tmp_path / "three", snapshot(other)[0])
    checkpoint.save(tmp_path / "four", checkpoint.load(tmp_path / "one"))
    contents = [(tmp_path / name).read_bytes() for name in ("one", "two", "three", "four")]
    assert all(content == contents[0] for content in contents)


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_how_a_process_hashes_texts(tmp_path):
    script = """
        import sys
        from ld4mrec.training.checkpoint import encode, save
        words = {"alpha", "beta", "gamma", frozenset(["delta", "epsilon", "zeta", "eta"])}
        save(sys.argv[1], encode(words))
    """
    for seed in "12":
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / seed)],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(support.ROOT / "src")},
            check=True,
        )
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


class Replacing(nn.Module):
    """Its training replaces a parameter by a plain tensor, as the plugin shims allow."""

    def __init__(self):
        super().__init__()
        self.preference = nn.Parameter(torch.zeros(2))
        self.other = nn.Parameter(torch.zeros(2))

    def change(self):
        del self.preference
        self.preference = torch.ones(2)


def test_a_parameter_replaced_by_a_plain_tensor():
    model, other = Replacing(), Replacing()
    model.change()
    saved, unsaved = snapshot(model)
    assert unsaved == []
    for target in (model, other):
        restore(target, through_a_file(saved))
        assert type(target.preference) is torch.Tensor
        assert target.preference.tolist() == [1, 1]
        assert [name for name, _ in target.named_parameters()] == ["other"]


class Naming(nn.Module):
    """Its training gives a submodule's parameter a second name, as MMRec's DualGNN does."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 1)
        self.shown = None

    def change(self):
        with torch.no_grad():
            self.inner.weight += 1
        self.shown = self.inner.weight


def test_a_parameter_that_got_a_second_name():
    model, other = Naming(), Naming()
    model.change()
    assert "shown" in model.state_dict()
    restore(other, through_a_file(snapshot(model)[0]))
    assert other.shown is other.inner.weight
    assert torch.equal(other.shown, model.shown)


class Private(nn.Module):
    """A network and an optimiser of its own that the trainer does not see."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.nets = [nn.Linear(2, 1)]
        self.alone = torch.zeros(2, requires_grad=True)
        self.optimizer = torch.optim.Adam([*self.nets[0].parameters(), self.alone], lr=0.1)
        self.steps = 0

    def train_privately(self):
        self.optimizer.zero_grad()
        (self.nets[0](self.alone + 1) - 3).square().sum().backward()
        self.optimizer.step()
        self.steps += 1

    def get_extra_state(self):
        net, optimizer = self.nets[0].state_dict(), self.optimizer.state_dict()
        return {"net": net, "optimizer": optimizer, "lr": np.float64(0.1), "steps": self.steps}

    def set_extra_state(self, state):
        assert type(state["lr"]) is np.float64
        self.nets[0].load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])


def test_private_networks_and_optimisers_go_on_from_get_extra_state():
    torch.manual_seed(0)
    model, other = Private(), Private()
    for _ in range(3):
        model.train_privately()
    saved, unsaved = snapshot(model)
    assert unsaved == []
    restore(other, through_a_file(saved))
    assert other.steps == 3
    for _ in range(3):
        model.train_privately()
        other.train_privately()
    assert same(encode(other.get_extra_state()), encode(model.get_extra_state()))
    assert torch.equal(other.alone, model.alone)
    assert other.alone.abs().min() > 0.1  # it did train


class Hiding(nn.Module):
    """State of a kind that no checkpoint holds."""

    def __init__(self, value):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.hidden = value


class Telling(Hiding):
    def get_extra_state(self):
        return {"more": [self.hidden]}

    def set_extra_state(self, state):
        raise AssertionError("there was nothing to restore")


@pytest.mark.parametrize("value", [object(), [iter("ab")], {"a": defaultdict(lambda: 0)}])
def test_attributes_that_cannot_be_saved_are_named(value):
    model = Hiding(value)
    model.inner = nn.ModuleList([Hiding(value)])
    saved, unsaved = snapshot(model)
    assert unsaved == ["hidden", "inner.0.hidden"]
    other = Hiding(value)
    other.inner = nn.ModuleList([Hiding(value)])
    restore(other, through_a_file(saved))  # the rest of it


def test_a_container_of_trained_tensors_is_named():
    """A copy of a parameter would not be trained: the container would hold it back."""
    model = nn.Linear(2, 1)
    model.regularised = [*model.parameters()]
    model.by_name = {"x": (torch.zeros(1, requires_grad=True),)}
    assert snapshot(model)[1] == ["regularised", "by_name"]


def test_what_cannot_be_saved_within_get_extra_state_is_named():
    model = nn.ModuleDict({"inner": Telling(object()), "other": Part()})
    saved, unsaved = snapshot(model)
    assert unsaved == ["inner.get_extra_state() (builtins.object)"]
    restore(model, through_a_file(saved))


def test_a_submodule_that_is_gone():
    saved, _ = snapshot(Model())
    with pytest.raises(RunError, match=r"has the attribute 'device\.x'|no submodule"):
        restore(Part(), saved)


class Wider(Part):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 3)


class Longer(Part):
    def __init__(self):
        super().__init__()
        self.more = nn.Parameter(torch.zeros(1))


def test_a_model_that_changed_since():
    saved, _ = snapshot(Part())
    changed = r"does not fit {}: .*{}(.|\n)*was the model's code changed since\?"
    with pytest.raises(RunError, match=changed.format("Wider", "Error.*")):
        restore(Wider(), saved)
    with pytest.raises(RunError, match=changed.format("Longer", r"missing \['more'\]")):
        restore(Longer(), saved)
    longer, _ = snapshot(Longer())
    with pytest.raises(RunError, match=changed.format("Part", r"unexpected \['more'\]")):
        restore(Part(), longer)


def test_a_file_that_is_absent_or_damaged(tmp_path):
    path = tmp_path / "last.pt"
    with pytest.raises(RunError, match=r"last\.pt cannot be read \(FileNotFoundError\); delete it"):
        checkpoint.load(path)
    checkpoint.save(path, snapshot(Model())[0])
    whole = path.read_bytes()
    for content in (b"", b"not a checkpoint", whole[: len(whole) // 2], whole[:-1], whole[100:]):
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"last\.pt cannot be read .*delete it to start afresh"):
            checkpoint.load(path)


def test_a_flipped_bit_is_damage_wherever_it_is(tmp_path):
    path = tmp_path / "best.pt"
    checkpoint.save(path, snapshot(Model())[0])
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    for member in members:  # in the middle of its content
        name = len(member.filename.encode())
        extra = int.from_bytes(
            whole[member.header_offset + 28 : member.header_offset + 30], "little"
        )
        place = member.header_offset + 30 + name + extra + member.file_size // 2
        if not member.file_size:
            continue
        flipped = bytearray(whole)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(RunError, match=r"best\.pt cannot be read \(BadZipFile\); delete it"):
            checkpoint.load(path)


TENSORS = [
    torch.eye(3).to_sparse(),
    torch.eye(3).t().to_sparse().t(),
    torch.eye(3).to_sparse_csr(),
    torch.eye(4).to_sparse_csc(),
    torch.zeros(2, 1).expand(2, 5),
    torch.zeros(0, 3),
    torch.tensor(2.0, dtype=torch.bfloat16),
    torch.ones(2, dtype=torch.complex64).conj(),
    torch.ones(3, dtype=torch.bool),
]


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda t: f"{t.dtype} {t.layout}")
def test_tensors_of_every_kind_are_verified(tmp_path, tensor):
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"x": [tensor, (1, None)]})
    found, _ = checkpoint.load(path)["x"]
    assert torch.equal(found.to_dense(), tensor.to_dense())
    assert checkpoint.digest(found) == checkpoint.digest(tensor)


OTHERS = [
    lambda v: v["weights"].__setitem__(0, 5.0),
    lambda v: v.update(weights=v["weights"][:-1]),
    lambda v: v.update(weights=v["weights"].reshape(2, 2)),
    lambda v: v.update(weights=v["weights"].double()),
    lambda v: v.update(epoch="3"),
    lambda v: v.update(epoch=3.0),
    lambda v: v.update(epoch=None),
    lambda v: v.pop("epoch"),
    lambda v: v.update(best=[1, (2, 4)]),
    lambda v: v.update(best=(1, [2, 3])),
]


@pytest.mark.parametrize("change", OTHERS)
def test_another_value_in_a_whole_zip_is_damage(tmp_path, change):
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"weights": torch.zeros(4), "epoch": 3, "best": [1, (2, 3)]})
    whole = torch.load(path, weights_only=True)
    change(whole["content"])
    torch.save(whole, path)
    with pytest.raises(DamagedError, match="last.pt cannot be read .*; delete it to start afresh"):
        checkpoint.load(path)
    torch.save({"content": whole["content"]}, path)  # without its checksum
    with pytest.raises(DamagedError, match="cannot be read"):
        checkpoint.load(path)


def test_a_checkpoint_of_before_there_were_checksums_is_read(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "last.pt")
    assert checkpoint.load(tmp_path / "last.pt") == {"epoch": 3}


@pytest.mark.parametrize(
    "saved", [{}, None, [], {"attributes": {}}, {"attributes": {"a.b": {}}, "tied": []}, {"x": 1}]
)
def test_what_is_no_snapshot_is_a_sentence(saved):
    with pytest.raises(RunError, match="the checkpoint ha|the checkpoint holds no snapshot of"):
        checkpoint.restore(nn.Linear(2, 2), saved)


def test_a_pickle_is_not_executed(tmp_path):
    torch.save({"x": Path("evil")}, tmp_path / "last.pt")
    with pytest.raises(RunError, match=r"cannot be read \(UnpicklingError\)"):
        checkpoint.load(tmp_path / "last.pt")


def test_a_tensor_met_twice_is_stored_once_and_stays_one(tmp_path):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.image = torch.arange(1000.0)
            self.features = {"image": self.image}

    saved, _ = snapshot(Twice())
    checkpoint.save(tmp_path / "twice.pt", saved)
    assert (tmp_path / "twice.pt").stat().st_size < 2 * 4000
    other = Twice()
    restore(other, checkpoint.load(tmp_path / "twice.pt"))
    assert other.features["image"] is other.image


class Growing(nn.Module):
    """Registers a buffer and a parameter when it is first used, as some plugins do."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.inner = nn.Module()

    def grow(self):
        self.register_buffer("mean", torch.tensor([2.0]))
        self.inner.late = nn.Parameter(torch.tensor([3.0]))


def test_what_was_registered_late_comes_back():
    model = Growing()
    built = as_built(model)
    before, _ = snapshot(model, built=built)
    model.grow()
    saved, unsaved = snapshot(model, built=built)
    assert unsaved == []
    other = Growing()
    restore(other, through_a_file(saved))
    assert same(other.state_dict(), model.state_dict())
    assert "inner.late" in dict(other.named_parameters())
    restore(model, before, built)  # what came after it stays
    assert model.mean == 2
    with pytest.raises(RunError, match=r"missing \['mean', 'inner.late'\]"):
        restore(model, before)
    with pytest.raises(RunError, match=r"unexpected \['mean', 'inner.late'\]"):
        restore(Growing(), through_a_file(snapshot(model)[0]))  # nothing said that it is late


def test_what_is_as_it_was_built_needs_no_place():
    values = [np.array(["a", None]), np.array(["c"], dtype=object), lambda: 0, object()]
    values[2] = [values[2]]  # without a pickle
    models = [Hiding(value) for value in values]
    builts = [as_built(model) for model in models]
    unsaved = [snapshot(m, built=b)[1] for m, b in zip(models, builts, strict=True)]
    assert unsaved == [[], [], ["hidden"], []]
    values[0][0], values[1][0] = "b", [3]
    unsaved = [snapshot(m, built=b)[1] for m, b in zip(models, builts, strict=True)]
    assert unsaved[:2] == [["hidden"], ["hidden"]]


def test_equal_sets_keep_the_order_of_construction():
    """Two orders of one set: a plugin may sample from it."""
    one, other = set([8, 0, 16]), set([16, 0, 8])  # noqa: C405 - a literal has an order of its own
    assert list(one) != list(other)
    model, new = Hiding({1: one}), Hiding({1: other})
    restore(new, through_a_file(snapshot(model)[0]))
    assert new.hidden[1] is other
    new = Hiding({1: {5}})
    restore(new, through_a_file(snapshot(model)[0]))
    assert new.hidden == {1: one}
