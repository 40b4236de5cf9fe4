"""Running an encoder: on which device, in what batches, and so that a vector depends on its input.

On a CPU every input goes through the network alone, in one thread, several inputs side by side: to
the last bit its vector does not depend on batch, data set or number of cores, and for images this
is faster than batches (docs/performance.md). On a GPU a whole batch goes through at once, the last
one filled up to the same size: the same batches give the same bits, others may not.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from ld4mrec.errors import counted
from ld4mrec.preprocessing.steps.encoders.base import Encoder, EncoderError, versions_of

LARGEST_BATCH, LARGEST_ON_GPU, SMALLEST_BATCH = 64, 256, 8
SHARE_OF_MEMORY = 8  # a batch may take one eighth of it


def threads() -> int:
    """How many inputs to work on at once: OMP_NUM_THREADS, or the cores this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def workers(encoder: Encoder) -> Iterator[ThreadPoolExecutor]:
    """The pool of threads in which `encoder` is used, each computing with one core."""
    from threadpoolctl import threadpool_limits

    with (
        threadpool_limits(1),
        encoder.session(),
        ThreadPoolExecutor(threads(), initializer=encoder.prepare_thread) as pool,
    ):
        yield pool


def vectors(
    encoder: Encoder, inputs: list, pool: ThreadPoolExecutor, batch_size: int
) -> np.ndarray:
    """(n, D) float32 array of the vectors of n inputs, n at most batch_size.

    Raises EncoderError if the encoder gives another shape or something not finite.
    """
    if encoder.device == "cpu":
        rows = list(pool.map(lambda item: encoder.forward([item])[0], inputs))
    else:
        filling = [inputs[-1]] * (batch_size - len(inputs))
        rows = encoder.forward([*inputs, *filling])[: len(inputs)]
    rows = np.asarray(rows, dtype=np.float32)
    if rows.shape != (len(inputs), encoder.dimension):
        got = f"an array of shape {rows.shape} for {counted(len(inputs), 'input')}"
        raise EncoderError(
            f"{encoder.name} gave {got}, wanted {counted(encoder.dimension, 'number')} each"
        )
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        first = inputs[int(finite.argmin())]
        what = repr(first[:80]) if isinstance(first, str) else "an image"
        raise EncoderError(
            f"{encoder.name} gave NaN or infinite values for {what}; its weights may be damaged"
        )
    return rows


def default_batch_size(encoder: Encoder) -> int:
    """Power of two that fits the memory of the encoder's device, the same on every run there."""
    largest = LARGEST_BATCH if encoder.device == "cpu" else LARGEST_ON_GPU
    fitting = device_memory(encoder.device) // SHARE_OF_MEMORY // encoder.item_bytes
    return min(largest, max(SMALLEST_BATCH, 2 ** max(0, int(fitting).bit_length() - 1)))


def device_memory(device: str) -> int:
    """Bytes of memory, all of it and not only what is free, so that it does not change."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_properties(device).total_memory
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 4 * 2**30


def choose_device(name: str) -> str:
    """ "auto" made concrete, any other name checked; a string that torch knows."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise EncoderError(
            f"--device {name} cannot be used ({str(error).splitlines()[0]}); "
            "wanted auto, cpu, cuda, cuda:1 or mps, as this machine and its torch have them"
        ) from error
    return str(device)


class TorchEncoder(Encoder):
    """An encoder with a torch network: float32, evaluation mode, no gradients, deterministic."""

    def __init__(self, device: str):
        self.device = choose_device(device)

    def forward(self, inputs):
        import torch

        try:
            with torch.inference_mode():
                return self.network_output(inputs).float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise EncoderError(
                f"{self.name} ran out of memory on {self.device} with "
                f"{counted(len(inputs), 'input')} at once; give a smaller --batch-size. What is "
                "encoded is kept"
            ) from error

    def network_output(self, inputs):
        """(n, D) tensor."""
        raise NotImplementedError

    @contextmanager
    def session(self):
        import torch

        threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
        cudnn = torch.backends.cudnn
        torch.set_num_threads(1)
        torch.set_float32_matmul_precision("highest")
        try:
            with cudnn.flags(enabled=cudnn.enabled, deterministic=True, allow_tf32=False):
                yield
        finally:
            torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(precision)

    def prepare_thread(self):
        import torch

        torch.set_num_threads(1)

    def versions(self):
        return versions_of("torch")
