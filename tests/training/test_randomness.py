import io
import os
import random

import numpy as np
import pytest
import threadpoolctl
import torch

from ld4mrec.training.randomness import (
    capture_rng_state,
    deterministic,
    init_seed,
    restore_rng_state,
    set_threads,
)


@pytest.fixture(autouse=True)
def leave_no_trace(monkeypatch):
    state, threads = capture_rng_state(), torch.get_num_threads()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with threadpoolctl.threadpool_limits():
        yield
    restore_rng_state(state)
    torch.set_num_threads(threads)
    deterministic(False)


def draws():
    ours = [random.random(), random.gauss(0, 1), torch.rand(()).item()]
    return [*ours, np.random.rand(), np.random.randn()]  # noqa: NPY002 - the global generator is meant


def test_one_seed_for_all_generators():
    init_seed(7)
    first = draws()
    init_seed(np.int64(7))
    assert draws() == first
    init_seed(8)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


def test_seeds_are_those_of_the_libraries():
    init_seed(999)
    expected = [random.Random(999).random(), np.random.RandomState(999).rand()]
    assert [random.random(), np.random.rand()] == expected  # noqa: NPY002
    assert torch.rand(()) == torch.rand((), generator=torch.Generator().manual_seed(999))


@pytest.mark.parametrize("seed", [None, "7", 1.5, [999]])
def test_seed_of_a_wrong_kind(seed):
    with pytest.raises(TypeError, match="the seed must be a whole number"):
        init_seed(seed)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match=f"the seed must lie within 0 and 4294967295, got {seed}"):
        init_seed(seed)


def test_random_states_survive_a_checkpoint():
    init_seed(3)
    draws()  # leaves half a pair of normal deviates behind, in random and in numpy
    file = io.BytesIO()
    torch.save(capture_rng_state(), file)
    expected = draws()
    init_seed(4)
    file.seek(0)
    restore_rng_state(torch.load(file, weights_only=True))
    assert draws() == expected


def test_capturing_draws_nothing():
    init_seed(5)
    expected = draws()
    init_seed(5)
    capture_rng_state()
    assert draws() == expected


def test_other_number_of_gpus_is_reported(caplog):
    state = capture_rng_state()
    state["cuda"] = [*state["cuda"], torch.get_rng_state()]
    restore_rng_state(state)
    n = len(state["cuda"])
    assert f"saved with {n} GPUs, restored with {n - 1}" in caplog.text


def test_deterministic_mode_is_set_and_left():
    deterministic(True)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.deterministic
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"  # the user's own choice stays
    deterministic(False)
    assert not torch.are_deterministic_algorithms_enabled()


def test_deterministic_mode_sets_the_cublas_workspace(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    deterministic(True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_threads_of_torch_and_blas():
    for n in (2, 1):
        set_threads(n)
        assert torch.get_num_threads() == n
        assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {n}
        assert os.environ["OMP_NUM_THREADS"] == str(n)
    set_threads(None)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("n", [0, -1, 1.5, "2", True])
def test_threads_of_a_wrong_kind(n):
    with pytest.raises(ValueError, match="threads must be a whole number from 1"):
        set_threads(n)
