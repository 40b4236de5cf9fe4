"""How the process keeps memory that tensors have freed."""

import ctypes
import gc

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
OWN_PAGES = 2**29  # bytes from which a tensor gets pages of its own, returned when it is freed
OLDER_LIMIT = 2**25  # the most that older glibc takes for that
KEPT = 2**30  # bytes that may lie free at the heap's end


def keep_freed_memory():
    """Let glibc's malloc keep what a step frees for the next one's tensors.

    Without it the memory of each step goes back to the system and is asked for again, page by page:
    up to a third of a step's or an evaluation's time on the CPU (docs/performance.md). No number
    changes; more memory is held at the peak. With another C library nothing happens.
    """
    mallopt = _of_libc("mallopt")
    if mallopt and (mallopt(M_MMAP_THRESHOLD, OWN_PAGES) or mallopt(M_MMAP_THRESHOLD, OLDER_LIMIT)):
        mallopt(M_TRIM_THRESHOLD, KEPT)


def release_freed_memory():
    """Give back what lies free, so that a peak measured from now on is not an earlier run's."""
    gc.collect()
    if trim := _of_libc("malloc_trim"):
        trim(0)


def _of_libc(name):
    """A function of the C library, None where there is no such."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):
        return None
