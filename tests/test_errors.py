"""How a command ends."""

import errno
import os
import re
import subprocess
import sys

import pytest

import support
from ld4mrec.errors import ConfigError, counted, exit_status


def raising(error):
    def command():
        raise error

    return command


def test_a_command_that_ends_by_itself():
    assert exit_status(lambda: None, "stopped") == 0
    assert exit_status(lambda: 1, "stopped") == 1


def test_what_the_user_can_mend_is_one_sentence(capsys):
    assert exit_status(raising(ConfigError("no such key")), "stopped") == 2
    assert capsys.readouterr().err == "error: no such key\n"
    error = ConfigError("no such key")
    error.trace = "  File x.py, line 1"
    assert exit_status(raising(error), "stopped") == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["error: no such key", "  File x.py, line 1", "error: no such key"]


def test_an_interruption_says_how_to_go_on(capsys):
    assert exit_status(raising(KeyboardInterrupt), "stopped; start again") == 130
    assert capsys.readouterr().err == "stopped; start again\n"


def test_another_error_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        exit_status(raising(ZeroDivisionError), "stopped")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left", "a/b"), "a/b: No space left; make room on"),
        (
            OSError(errno.EDQUOT, "Disk quota exceeded"),
            "Disk quota exceeded; make room on the disk",
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "gone/x"),
            "gone/x: No such file; look",
        ),
        (
            OSError(errno.ENAMETOOLONG, "File name too long", "n" * 999),
            "n{300}: File name too long",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "x: Permission denied; look at"),
        (OSError("something"), "error: something; look at the path"),
    ],
)
def test_errors_of_the_system_are_a_sentence(capsys, error, sentence):
    assert exit_status(raising(error), "stopped") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert re.search(sentence, line)


def test_a_reader_who_has_gone_is_no_error(capsys):
    assert exit_status(raising(BrokenPipeError()), "stopped") == 141
    assert capsys.readouterr().err == ""


PRINTS = """
import sys
from ld4mrec.errors import exit_status
from ld4mrec.terminal import say
print_a_line = say if sys.argv[1] == "say" else print
def command():
    for _ in range(20000):
        print_a_line("a line of text")
    open(sys.argv[2], "w").close()
sys.exit(exit_status(command, "interrupted"))
"""


@pytest.mark.parametrize(("how", "status", "goes_on"), [("say", 0, True), ("print", 141, False)])
def test_where_nobody_reads_a_table_ends_and_work_goes_on(tmp_path, how, status, goes_on):
    reader, writer = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", PRINTS, how, str(tmp_path / "done")],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(support.ROOT / "src")},
    )
    os.close(writer)
    os.read(reader, 10)
    os.close(reader)
    assert child.communicate(timeout=60)[1] == b""
    assert child.returncode == status
    assert (tmp_path / "done").exists() == goes_on


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_behind_standard_output_is_a_sentence(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PRINTS, "print", str(tmp_path / "done")],
            stdout=full,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(support.ROOT / "src")},
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: No space left on device; make room on the disk")
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (0, ("run",), "0 runs"),
        (1, ("run",), "1 run"),
        (2000, ("run",), "2,000 runs"),
        (1, ("batch", "batches"), "1 batch"),
        (2, ("row has", "rows have"), "2 rows have"),
    ],
)
def test_one_is_not_many(number, words, text):
    assert counted(number, *words) == text
