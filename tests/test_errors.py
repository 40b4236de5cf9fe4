"""How a command ends."""

import pytest

from ld4mrec.errors import ConfigError, exit_status


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
    assert exit_status(raising(OSError("disk full")), "stopped", (OSError,)) == 2
    assert capsys.readouterr().err == "error: disk full\n"


def test_an_interruption_says_how_to_go_on(capsys):
    assert exit_status(raising(KeyboardInterrupt), "stopped; start again") == 130
    assert capsys.readouterr().err == "stopped; start again\n"


def test_another_error_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        exit_status(raising(ZeroDivisionError), "stopped")
