"""How the process keeps memory that tensors have freed."""

import ctypes
import gc
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

from ld4mrec.errors import ConfigError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
OWN_PAGES = 2**29  # bytes from which a tensor gets pages of its own, returned when it is freed
OLDER_LIMIT = 2**25  # the most that older glibc takes for that
KEPT = 2**30  # bytes that may lie free at the heap's end


def keep_freed_memory() -> None:
    """Let glibc's malloc keep what a step frees for the next one's tensors.

    Without it the memory of each step goes back to the system and is asked for again, page by page:
    up to a third of a step's or an evaluation's time on the CPU (docs/performance.md). No number
    changes; more memory is held at the peak. With another C library nothing happens.
    """
    mallopt = _of_libc("mallopt")
    if mallopt and (mallopt(M_MMAP_THRESHOLD, OWN_PAGES) or mallopt(M_MMAP_THRESHOLD, OLDER_LIMIT)):
        mallopt(M_TRIM_THRESHOLD, KEPT)


def release_freed_memory() -> None:
    """Give back what lies free, so that a peak measured from now on is not an earlier run's."""
    gc.collect()
    if trim := _of_libc("malloc_trim"):
        trim(0)


def reset_peak_memory(device: torch.device) -> None:
    release_freed_memory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # Linux: a new high-water mark, so that a run of a grid reports its own
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> dict[str, int]:
    """{'ram_bytes': ..., 'cuda_bytes': ...}: the process's peak since the run began (since its
    start where the system keeps no other), and what torch took at most on the device.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    peak = {"ram_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.is_file() else ():
        if line.startswith("VmHWM:"):
            peak["ram_bytes"] = int(line.split()[1]) * 1024
    if device.type == "cuda":
        peak["cuda_bytes"] = torch.cuda.max_memory_allocated()
    return peak


def is_exhausted(error: BaseException) -> bool:
    """Whether an error says that the memory, or the GPU's, does not suffice."""
    refused = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return refused or isinstance(error, MemoryError | torch.OutOfMemoryError)


def too_small(model: str, error: BaseException) -> ConfigError:
    """What to say of such an error."""
    whose = "GPU's memory" if isinstance(error, torch.OutOfMemoryError) else "memory"
    return ConfigError(
        f"the {whose} is too small for {model} with this configuration; lower train_batch_size, "
        f"eval_batch_size or the model's sizes ({error})"
    )


def _of_libc(name):
    """A function of the C library, None where there is no such."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):
        return None
