"""What is global and decides a run's numbers: random states, modes, threads."""

import logging
import operator
import os
import random

import numpy as np
import threadpoolctl
import torch

MAX_SEED = 2**32 - 1  # numpy's limit
# cuBLAS needs a fixed workspace: docs.nvidia.com/cuda/cublas, "Results reproducibility"
CUBLAS_WORKSPACE = ":4096:8"


def init_seed(seed: int) -> None:
    """Seed random, numpy and torch (the CPU and every GPU), in MMRec's order."""
    try:
        number = operator.index(seed)
    except TypeError:
        raise TypeError(f"the seed must be a whole number, got {seed!r}") from None
    if not 0 <= number <= MAX_SEED:
        raise ValueError(f"the seed must lie within 0 and {MAX_SEED}, got {number}")
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002 - plugins draw from the global generator
    torch.manual_seed(number)  # all GPUs too, at once or when CUDA starts


def deterministic(flag: bool = True) -> None:
    """Let torch use only operations that give the same result each time; others raise RuntimeError.

    Call it before the first GPU operation. On the CPU it changes nothing but refuses the same
    operations.
    """
    if flag:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)
    if flag != torch.are_deterministic_algorithms_enabled():  # the call takes a second
        torch.use_deterministic_algorithms(flag)
    torch.backends.cudnn.deterministic = flag
    torch.backends.cudnn.benchmark = False


def set_threads(n: int | None) -> None:
    """Let torch and the BLAS and OpenMP libraries use n threads; None leaves them alone.

    Libraries loaded later, and child processes, follow the environment variables set here.
    """
    if n is None:
        return
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"threads must be a whole number from 1, got {n!r}")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(n)
    threadpoolctl.threadpool_limits(limits=n)  # stays in force: nothing restores it
    torch.set_num_threads(n)


def capture_rng_state() -> dict:
    """The states of all global generators, as tensors, numbers and containers
    (`weights_only=True` loads them).
    """
    version, words, gauss = random.getstate()
    _, numpy_words, position, has_gauss, numpy_gauss = np.random.get_state()  # noqa: NPY002
    return {
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
        "numpy": {
            "words": torch.from_numpy(numpy_words.astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "gauss": float(numpy_gauss),
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_rng_state(state: dict) -> None:
    """Put back what `capture_rng_state` returned; warns of GPUs that only one machine has."""
    python, saved = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    words = saved["words"].cpu().numpy().astype(np.uint32)
    position = saved["position"], saved["has_gauss"], saved["gauss"]
    np.random.set_state(("MT19937", words, *position))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    here = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if len(state["cuda"]) != here:
        logging.getLogger(__name__).warning(
            "the random states were saved with %d GPUs, restored with %d: GPU draws will differ",
            len(state["cuda"]),
            here,
        )
    for device, gpu_state in enumerate(state["cuda"][:here]):
        torch.cuda.set_rng_state(gpu_state.cpu(), device)
