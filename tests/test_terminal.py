import io
import logging
import re
import sys

import pytest
from tqdm import tqdm

from ld4mrec.terminal import _Terminal, init_logger, log_to

logger = logging.getLogger("somewhere")


@pytest.fixture(autouse=True)
def not_initialised():
    """The root logger as a fresh process has it, beside pytest's handlers."""
    root = logging.getLogger()
    level, ours = root.level, terminals()
    for handler in ours:
        root.removeHandler(handler)
    yield
    for handler in terminals():
        root.removeHandler(handler)
    for handler in ours:
        root.addHandler(handler)
    root.setLevel(level)


def terminals():
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, _Terminal)]


def test_lines_go_to_the_terminal_once_however_often_it_is_initialised(capsys):
    init_logger()
    init_logger()
    logger.info("epoch %d", 3)
    logger.debug("not shown")
    assert capsys.readouterr() == ("epoch 3\n", "")
    assert len(terminals()) == 1


def test_the_level_of_the_configuration_is_obeyed(capsys):
    init_logger({"state": "warning"})
    logger.info("not shown")
    init_logger({"state": "debug"})
    logger.debug("shown")
    init_logger({})
    logger.debug("not shown either")
    assert capsys.readouterr().out == "shown\n"


def test_a_file_gets_the_lines_of_the_block_only(tmp_path, capsys):
    init_logger()
    handlers = list(logging.getLogger().handlers)
    path = tmp_path / "log.txt"
    logger.info("before")
    for line in ("grüße", "appended"):
        with log_to(path):
            logger.info(line)

    def fail():
        logger.error("broken")
        raise KeyError

    with pytest.raises(KeyError), log_to(path):
        fail()
    logger.info("after")
    assert logging.getLogger().handlers == handlers
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line.split()[-2:] for line in lines] == [
        ["INFO", "grüße"],
        ["INFO", "appended"],
        ["ERROR", "broken"],
    ]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ", line) for line in lines)
    assert capsys.readouterr().out == "before\ngrüße\nappended\nbroken\nafter\n"


def test_the_file_handler_is_closed(tmp_path):
    with log_to(tmp_path / "log.txt"):
        handler = logging.getLogger().handlers[-1]
        logger.warning("x")
        stream = handler.stream
    assert stream.closed


def test_lines_stand_above_a_running_bar(capsys):
    init_logger()
    screen = io.StringIO()
    with tqdm(total=3, file=screen) as bar:
        bar.update(1)
        logger.info("epoch 0")
    assert capsys.readouterr().out == "epoch 0\n"


class Gone(io.StringIO):
    """An output that nobody reads any more."""

    def write(self, text):
        raise BrokenPipeError


def test_lines_that_nobody_reads_do_not_end_the_work(tmp_path, monkeypatch):
    init_logger()
    monkeypatch.setattr("sys.stdout", Gone())
    with log_to(tmp_path / "log.txt"):
        logger.info("one")
        logger.info("two")
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 2


def test_a_log_file_that_cannot_be_written_is_done_without(tmp_path, capsys):
    init_logger()
    with log_to(tmp_path / "log.txt"):
        handler = logging.getLogger().handlers[-1]
        handler.stream.close()
        handler.stream = Gone()
        logger.info("one")
        logger.info("two")
    out, err = capsys.readouterr()
    assert "log.txt: ; the log ends here" in out
    assert out.count("ends here") == 1
    assert "two" in out
    assert err == ""


def test_a_narrow_terminal_gets_the_short_line(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    init_logger()
    record = {"extra": {"short": "epoch 1 | loss 2"}}
    logger.info("epoch 1 | loss 2 (1 + 1) | validation recall@20 0.5", **record)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    logger.info("epoch 1 | loss 2 (1 + 1) | validation recall@20 0.5", **record)
    logger.info("epoch 1 | loss 2 (1 + 1)", **record)
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1 | loss 2 (1 + 1) | validation recall@20 0.5",  # to a file the whole line
        "epoch 1 | loss 2",
        "epoch 1 | loss 2 (1 + 1)",
    ]
