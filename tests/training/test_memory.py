import ctypes

import pytest

from ld4mrec.training import memory


class Library:
    """A C library whose mallopt takes thresholds up to `limit` and keeps what was set."""

    def __init__(self, limit):
        self.set = {}

        def mallopt(option, value):
            if option == memory.M_MMAP_THRESHOLD and value > limit:
                return 0
            self.set[option] = value
            return 1

        self.mallopt = mallopt


@pytest.mark.parametrize(
    ("limit", "threshold"), [(2**40, memory.OWN_PAGES), (2**25, memory.OLDER_LIMIT)]
)
def test_thresholds_are_the_largest_that_are_taken(limit, threshold, monkeypatch):
    library = Library(limit)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    memory.keep_freed_memory()
    assert library.set[memory.M_MMAP_THRESHOLD] == threshold
    assert library.set[memory.M_TRIM_THRESHOLD] == memory.KEPT


def test_without_a_threshold_nothing_else_is_set(monkeypatch):
    library = Library(0)  # a trim threshold alone would switch glibc's own choice off
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    memory.keep_freed_memory()
    assert library.set == {}


@pytest.mark.parametrize("error", [OSError, TypeError])
def test_another_system_is_left_alone(error, monkeypatch):
    def refuse(name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    memory.keep_freed_memory()
    memory.release_freed_memory()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())  # a library without mallopt
    memory.keep_freed_memory()
    memory.release_freed_memory()


def test_freed_memory_goes_back(monkeypatch):
    library, given = Library(0), []
    library.malloc_trim = given.append
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    memory.release_freed_memory()
    assert given == [0]
