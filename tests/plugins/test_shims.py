# ruff: noqa: NPY001 - the old numpy names are what is tested
import builtins
import io
import json
import logging
import pickle
import random
import sys
import types
import warnings
from importlib.machinery import PathFinder
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import nn

from ld4mrec.plugins import stand_ins
from ld4mrec.plugins.data_view import private_data_view
from ld4mrec.plugins.shims import NUMPY_ALIASES, is_stand_in, plugin_shims

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="shim of machines without CUDA")


PACKAGES = ("torch_scatter", "sparsesvd", "lmdb", "torchvision")


def run(code, name="models.someone", file="/elsewhere/models/someone.py"):
    """Run code as if it stood in a third party's file; its names."""
    names = {"__name__": name, "__file__": file}
    exec(code, names)
    return names


@pytest.fixture
def absent(monkeypatch):
    """The packages that have stand-ins are not installed."""
    found = PathFinder.find_spec

    def find(name, path=None, target=None):
        return None if name.partition(".")[0] in PACKAGES else found(name, path, target)

    monkeypatch.setattr(PathFinder, "find_spec", find)
    for name in [n for n in sys.modules if n.partition(".")[0] in PACKAGES]:
        monkeypatch.delitem(sys.modules, name)


def footprint():
    """Everything the shims touch, to compare before and after."""
    owners = (np, sp.dok_matrix, sp.dok_array, torch.Tensor, nn.Module, torch, random, builtins, io)
    names = ("_update", "cuda", "to", "__setattr__", "load", "save", "sample", "open")
    names += tuple(NUMPY_ALIASES)
    patched = {(str(o), n): vars(o).get(n) for o in owners for n in names}
    wrong = ("models.common", *PACKAGES)
    return patched, list(sys.meta_path), [m for m in sys.modules if m.startswith(wrong)]


def test_all_is_undone(absent):
    before = footprint()
    with plugin_shims():
        run("from models.common.loss import BPRLoss")
        run("import torch_scatter, sparsesvd")
        assert footprint() != before
    assert footprint() == before
    assert not hasattr(sys.modules.get("models"), "common")


def test_all_is_undone_after_an_error():
    before = footprint()
    with pytest.raises(ZeroDivisionError), plugin_shims(), plugin_shims():
        raise ZeroDivisionError
    assert footprint() == before


def test_inner_block_leaves_the_outer_in_force():
    before = footprint()
    with plugin_shims():
        with plugin_shims():
            pass
        assert np.float is float
    assert footprint() == before


def test_numpy_aliases_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with plugin_shims():
            assert (np.float, np.int, np.object) == (float, int, object)
            assert np.zeros(2, dtype=np.float).dtype == np.float64
            assert np.array([0, 1], dtype=np.bool).dtype == np.bool_


def test_what_was_missing_is_logged(caplog):
    caplog.set_level(logging.INFO)
    with plugin_shims():
        pass
    assert "np.float" in caplog.text
    assert "random.sample of sets" in caplog.text


@pytest.mark.parametrize("container", [sp.dok_matrix, sp.dok_array])
def test_dok_update(container):
    with plugin_shims():
        matrix = container((3, 3), dtype=np.float32)
        matrix._update({(np.int32(0), np.int32(2)): 1, (1, 0): 2})
    np.testing.assert_array_equal(matrix.toarray(), [[0, 0, 1], [2, 0, 0], [0, 0, 0]])


def test_models_common_is_common():
    import common.loss

    with plugin_shims():
        names = run("from models.common.loss import BPRLoss\nimport models.common.init as init")
        assert names["BPRLoss"] is common.loss.BPRLoss
        assert names["init"].__name__ == "common.init"
        with pytest.raises(ModuleNotFoundError, match=r"models\.common\.nothing"):
            run("import models.common.nothing")
    assert common.loss.__spec__.name == "common.loss"
    with pytest.raises(ModuleNotFoundError, match=r"models\.common"):
        run("import models.common.loss")


@without_cuda
def test_cuda_changes_nothing_without_cuda():
    layer, tensor = nn.Linear(2, 2), torch.ones(2)
    with plugin_shims():
        assert tensor.cuda() is tensor
        assert tensor.cuda(0, non_blocking=True) is tensor
        assert layer.cuda() is layer
        assert nn.Parameter(tensor).cuda().is_leaf
        assert tensor.to("cuda:0").device.type == "cpu"
        assert tensor.to(torch.device("cuda")).device.type == "cpu"
        assert tensor.to(device="cuda", dtype=torch.float64).dtype == torch.float64
        assert layer.to("cuda").weight.device.type == "cpu"
        assert tensor.to(torch.long).dtype == torch.long
    with pytest.raises((RuntimeError, AssertionError)):
        tensor.cuda()


def test_plain_tensor_takes_a_parameters_place():
    layer = nn.Linear(2, 2)
    with plugin_shims():
        layer.weight = torch.zeros(2, 2)
        assert layer.weight.eq(0).all()
        assert set(dict(layer.named_parameters())) == {"bias"}
        layer.bias = nn.Parameter(torch.ones(2))  # a parameter stays one
        assert set(dict(layer.named_parameters())) == {"bias"}
        layer.bias = None
    with pytest.raises(TypeError, match="cannot assign"):
        nn.Linear(2, 2).weight = torch.zeros(2, 2)


def test_torch_load_takes_the_runs_device(tmp_path):
    torch.save(torch.ones(2), tmp_path / "cache.pt")
    with plugin_shims(device="meta"):
        assert torch.load(tmp_path / "cache.pt").device.type == "meta"
        with plugin_shims():  # loading inside a run knows no device of its own
            assert torch.load(tmp_path / "cache.pt").device.type == "meta"
        assert torch.load(tmp_path / "cache.pt", map_location="cpu").device.type == "cpu"


@pytest.mark.parametrize("value", [Path("x"), np.array([Path("x")])])
def test_torch_load_does_not_execute(value, tmp_path):
    torch.save(value, tmp_path / "code.pt")
    with plugin_shims(), pytest.raises(pickle.UnpicklingError, match=r"[Ww]eights only"):
        torch.load(tmp_path / "code.pt")


@pytest.mark.parametrize("kind", ["f8", "f4", "i8", "?", "U3", "c8", "O"])
def test_torch_load_knows_arrays_and_numbers(kind, tmp_path):
    array = np.array([[0, 1]], dtype=kind)
    torch.save({"array": array, "number": array[0, 1]}, tmp_path / "cache.pt")
    with plugin_shims():
        found = torch.load(tmp_path / "cache.pt")
    assert (found["array"].dtype, found["array"].tolist()) == (array.dtype, array.tolist())
    assert found["number"] == array[0, 1]
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "cache.pt")


def test_sample_from_a_set():
    items = {50, 3, 8, 1000}
    with plugin_shims():
        random.seed(1)
        drawn = random.sample(items, 2)
        random.seed(1)
        assert drawn == random.sample(tuple(items), 2)  # what Python 3.10 did
        random.seed(1)
        words = random.sample({"c", "a", "b"}, 3)
        random.seed(1)
        assert words == random.sample(["a", "b", "c"], 3)  # not by their hash
        assert random.sample(set(), 0) == []
        assert sorted(random.sample([1, 2], k=2)) == [1, 2]
    with pytest.raises(TypeError, match="must be a sequence"):
        random.sample(items, 2)


class TestStandIns:
    def test_only_third_party_files_see_them(self, absent):
        import ld4mrec.errors

        with plugin_shims():
            with pytest.raises(ImportError, match="sparsesvd"):
                import sparsesvd  # noqa: F401
            with pytest.raises(ImportError, match="torch_scatter"):
                run("import torch_scatter", "json.tool", "/usr/lib/json/tool.py")
            with pytest.raises(ImportError, match="lmdb"):
                run("import lmdb", "ld4mrec.errors", ld4mrec.errors.__file__)
            names = run("import lmdb", "utils.theirs", "/elsewhere/utils/theirs.py")
            assert is_stand_in(names["lmdb"])

    def test_installed_package_is_found_first(self, tmp_path, monkeypatch):
        monkeypatch.delitem(sys.modules, "sparsesvd", raising=False)
        (tmp_path / "sparsesvd.py").write_text("real = True")
        monkeypatch.syspath_prepend(tmp_path)
        with plugin_shims():
            assert run("import sparsesvd")["sparsesvd"].real
        del sys.modules["sparsesvd"]  # by monkeypatch it would come back

    def test_unused_packages_import_and_refuse_to_work(self, absent, caplog):
        caplog.set_level(logging.INFO)
        with plugin_shims():
            names = run("import lmdb, torchvision.transforms as T\nfrom torchvision import models")
            with pytest.raises(ImportError, match=r"lmdb\.open was called.*pip install lmdb"):
                names["lmdb"].open("x")
            with pytest.raises(ImportError, match=r"torchvision\.transforms\.Resize was called"):
                names["T"].Resize(3)
        assert "lmdb is not installed; a stand-in takes its place" in caplog.text

    def test_unknown_name_has_none(self):
        assert stand_ins.stand_in("numpy") is None
        with plugin_shims(), pytest.raises(ModuleNotFoundError, match="geometry_of_nowhere"):
            run("import geometry_of_nowhere")


def slow_scatter(src, index, size, reduce):
    """Along dimension 0."""
    out = torch.zeros(size, *src.shape[1:])
    for group in range(size):
        rows = src[index == group]
        if len(rows):
            reduced = getattr(rows, reduce)(0)
            out[group] = reduced[0] if reduce in ("max", "min") else reduced
    return out


@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize("shape", [(6,), (6, 3), (6, 3, 2)])
def test_scatter_against_a_loop(reduce, shape):
    src = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    index = torch.tensor([2, 0, 2, 4, 0, 0])  # nothing in 1 and 3
    expected = slow_scatter(src, index, 6, reduce)
    torch.testing.assert_close(
        stand_ins.scatter(src, index, dim=0, dim_size=6, reduce=reduce), expected
    )
    last = stand_ins.scatter(
        src.movedim(0, -1), index, reduce=reduce
    )  # dim -1, size from the index
    torch.testing.assert_close(last.movedim(-1, 0), expected[:5])


def test_scatter_max_tells_where():
    value, place = stand_ins.scatter_max(
        torch.tensor([1.0, 5.0, 5.0, 2.0]), torch.tensor([0, 0, 0, 2])
    )
    assert value.tolist() == [5, 0, 2]
    assert place.tolist() == [1, 4, 3]
    value, place = stand_ins.scatter_min(torch.tensor([1, 5]), torch.tensor([1, 1]), dim_size=2)
    assert (value.tolist(), place.tolist()) == ([0, 1], [2, 0])


def test_scatter_of_integers_of_nothing_and_into_out():
    assert stand_ins.scatter_mean(torch.tensor([1, 4]), torch.tensor([0, 0])).tolist() == [2]
    assert stand_ins.scatter_add(torch.zeros(0), torch.zeros(0, dtype=torch.long)).shape == (0,)
    out = torch.ones(2)
    assert stand_ins.scatter_add(torch.tensor([2.0]), torch.tensor([1]), out=out) is out
    assert out.tolist() == [1, 3]
    assert stand_ins.scatter_mul(torch.tensor([2.0, 3.0]), torch.tensor([0, 0])).tolist() == [6]


def test_scatter_softmax_sums_to_one_and_has_a_gradient():
    src = torch.tensor([1.0, 3.0, 100.0], requires_grad=True)
    weight = stand_ins.scatter_softmax(src, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(weight[:2], torch.softmax(torch.tensor([1.0, 3.0]), 0))
    assert weight[2] == 1
    weight[0].backward()
    assert src.grad.isfinite().all()


def test_scatter_with_an_unknown_reduction():
    with pytest.raises(
        ValueError, match="reduce must be sum, add, mul, mean, min or max, got 'std'"
    ):
        stand_ins.scatter(torch.ones(1), torch.tensor([0]), reduce="std")


@pytest.mark.parametrize("k", [2, 4])
def test_sparsesvd_gives_the_leading_triplets(k):
    dense = np.random.default_rng(0).random((6, 4))
    ut, s, vt = stand_ins.sparsesvd(sp.csc_matrix(dense), k)
    assert (ut.shape, s.shape, vt.shape) == ((k, 6), (k,), (k, 4))
    u, values, v = np.linalg.svd(dense, full_matrices=False)
    np.testing.assert_allclose(s, values[:k])
    np.testing.assert_allclose(ut.T * s @ vt, u[:, :k] * values[:k] @ v[:k], atol=1e-10)


class TestPrivateWrites:
    @pytest.fixture
    def view(self, tmp_path):
        folder = tmp_path / "toy"
        folder.mkdir()
        np.save(folder / "a.npy", np.arange(3))
        (folder / "b.json").write_text("1")
        view = private_data_view(folder, tmp_path / "cache", "key")
        return types.SimpleNamespace(source=folder, path=view)

    def test_writing_over_a_link_leaves_the_data_folder_alone(self, view):
        with plugin_shims():
            np.save(view.path / "a.npy", np.zeros(1))
            with open(view.path / "b.json", "w") as file:
                json.dump(2, file)
        assert len(np.load(view.source / "a.npy")) == 3
        assert len(np.load(view.path / "a.npy")) == 1
        assert (view.source / "b.json").read_text() == "1"
        assert (view.path / "b.json").read_text() == "2"

    def test_appending_starts_from_a_copy(self, view):
        with plugin_shims(), (view.path / "b.json").open("a") as file:
            file.write("23")
        assert (view.source / "b.json").read_text() == "1"
        assert (view.path / "b.json").read_text() == "123"

    def test_torch_save(self, view):
        with plugin_shims():
            torch.save(torch.ones(1), str(view.path / "b.json"))
        assert (view.source / "b.json").read_text() == "1"

    def test_links_elsewhere_are_followed(self, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path / "file")
        with plugin_shims():
            (tmp_path / "link").write_text("x")
        assert (tmp_path / "file").read_text() == "x"


def test_samples_from_the_keys_of_a_dictionary():
    with plugin_shims():
        drawn = run("import random\nx = random.sample({1: 'a', 2: 'b', 3: 'c'}.keys(), 2)")["x"]
    assert len(set(drawn)) == 2
    assert set(drawn) < {1, 2, 3}


@without_cuda
def test_waiting_for_a_gpu_that_is_not_there():
    with plugin_shims():
        run("import torch\ntorch.cuda.synchronize()\ntorch.cuda.set_device(0)")
    with pytest.raises((AssertionError, RuntimeError)):  # as without the shims
        torch.cuda.synchronize()


def test_what_a_plugin_sets_for_the_process_is_undone(tmp_path):
    before = torch.get_default_dtype(), torch.is_grad_enabled(), Path.cwd()
    with plugin_shims():
        run("import torch\ntorch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)")
        run(f"import os\nos.chdir({str(tmp_path)!r})")
    assert (torch.get_default_dtype(), torch.is_grad_enabled(), Path.cwd()) == before
