import io
import sys

import pytest

from ld4mrec import progress as module
from ld4mrec.progress import progress
from ld4mrec.terminal import log_to


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def heartbeats(caplog):
    return [record.getMessage() for record in caplog.records if record.name == module.__name__]


def test_a_terminal_gets_a_bar_that_goes_away(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stderr", Screen())
    with log_to(tmp_path / "log.txt"):
        assert list(progress(range(5), "epoch 7", 5)) == [0, 1, 2, 3, 4]
    shown = sys.stderr.getvalue()
    assert "epoch 7" in shown
    assert "\r" in shown
    assert shown.split("\r")[-1].strip() == ""  # cleared
    assert (tmp_path / "log.txt").read_text() == ""


def test_no_terminal_gets_nothing_while_it_is_quick(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert list(progress(iter("abc"), "epoch 0")) == ["a", "b", "c"]
    assert sys.stderr.getvalue() == ""
    assert heartbeats(caplog) == []


def test_a_log_file_gets_a_line_now_and_then(monkeypatch, caplog, clock, tmp_path):
    caplog.set_level("INFO")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with log_to(tmp_path / "log.txt"):
        for _ in progress(range(10), "epoch 2", 10):
            clock[0] += 25
    # 75 s and 150 s after the start, each the first moment more than a minute after the last line
    expected = [
        "epoch 2: 3 of 10, 175 s left",
        "epoch 2: 6 of 10, 100 s left",
        "epoch 2: 9 of 10, 25 s left",
    ]
    assert heartbeats(caplog) == expected
    text = (tmp_path / "log.txt").read_text()
    assert [line.split("INFO    ")[1] for line in text.splitlines()] == expected
    assert "\r" not in text
    assert sys.stderr.getvalue() == ""


def test_a_line_without_a_total_tells_no_end(monkeypatch, caplog, clock):
    caplog.set_level("INFO")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    for _ in progress(iter(range(3)), "reading"):
        clock[0] += 61
    assert heartbeats(caplog) == ["reading: 1 of ?", "reading: 2 of ?"]


def test_a_slow_start_divides_by_nothing(monkeypatch, caplog, clock):
    def slow():
        clock[0] += 1000
        yield "first"

    caplog.set_level("INFO")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert list(progress(slow(), "epoch 0", 1)) == ["first"]
    assert heartbeats(caplog) == ["epoch 0: 0 of 1"]


def test_a_loop_left_early_leaves_the_terminal_clean(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Screen())
    bar = progress(range(5), "epoch 1", 5)
    next(bar)
    bar.close()
    assert sys.stderr.getvalue().split("\r")[-1].strip() == ""
