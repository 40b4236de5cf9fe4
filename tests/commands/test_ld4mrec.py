"""The command `ld4mrec`: what it lists and hands on, and what it answers without loading torch."""

import importlib
import os
import subprocess
import sys

import pytest

import support
from ld4mrec import __main__ as command
from ld4mrec import __version__
from ld4mrec.config.parsing import SCRIPTS

HEAVY = {"torch", "numpy", "pandas", "scipy", "optuna", "ray", "matplotlib"}
RUN = f"""
import sys
from ld4mrec.__main__ import main
try:
    status = main(sys.argv[1:])
except SystemExit as exit:
    status = exit.code
print(status, {HEAVY!r} & sys.modules.keys() or "light")
"""


def test_the_version(capsys):
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out == f"ld4mrec {__version__}\n"


@pytest.mark.parametrize(
    ("words", "known"), [([], command.COMMANDS), (["prepare"], command.PREPARE)]
)
def test_help_lists_the_commands(words, known, capsys):
    assert command.main([*words, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(" ".join(["usage: ld4mrec", *words, "COMMAND"]))
    for name, text in known.items():
        assert f"{name:11}  {text}\n" in f"{out}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "ld4mrec: there is no command 'trian'. Did you mean 'train'?"),
        (["prepare", "tmal"], "ld4mrec prepare: there is no command 'tmal'. Did you mean 'tmall'?"),
        ([], "ld4mrec: no command is given. Known: compare, experiments"),
        (["prepare"], "ld4mrec prepare: no command is given. Known: demo, hm"),
    ],
)
def test_a_mistyped_command_names_the_nearest(words, said, capsys):
    assert command.main(words) == 2
    assert f"error: {said}" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(command.COMMANDS.keys() - {"prepare"}))
def test_a_command_goes_by_the_name_it_is_called_by(name, capsys):
    module = importlib.import_module(f"ld4mrec.commands.{name}")
    (script,) = [script for script, command in SCRIPTS.items() if command == name]
    with pytest.raises(SystemExit):
        module.main(["--help"])
    as_script = capsys.readouterr().out
    with pytest.raises(SystemExit):
        module.main(["--help"], f"ld4mrec {name}")
    as_command = capsys.readouterr().out
    assert as_script.startswith(f"usage: {script} ")
    assert f"    python src/{script} " in as_script
    assert as_command.startswith(f"usage: ld4mrec {name} ")
    assert f"    ld4mrec {name} " in as_command
    assert not any(script in as_command for script in SCRIPTS)


@pytest.mark.parametrize("name", command.PREPARE)
def test_prepare_hands_on_to_each_source(name, capsys):
    with pytest.raises(SystemExit):
        command.main(["prepare", name, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: ld4mrec prepare {name} [-h]")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("--version", 0, "ld4mrec "),
        ("--help", 0, "usage: ld4mrec COMMAND"),
        ("train --help", 0, "usage: ld4mrec train"),
        ("compare --help", 0, "usage: ld4mrec compare"),
        ("plug --help", 0, "usage: ld4mrec plug"),
        ("train -m Pop -d baby --gird", 2, "Did you mean '--grid'?"),
        ("train -m LD4MRec -d baby --lerning_rate=1", 2, "Did you mean 'learning_rate'?"),
        ("train -m LD4MRek -d baby", 2, "Did you mean 'LD4MRec'?"),
        ("train -m Pop -d babi", 2, "Did you mean 'baby'?"),
        ("train -m Pop", 2, "required: -m/--model, -d/--dataset"),
        ("train -m Pop -d baby --search tpi --trials 3", 2, "wanted one of random, tpe, asha"),
        ("compare -d baby -m Pop --seeds many", 2, "--seeds is 'many'"),
        ("compare -d baby -m Pop --tune=yes", 2, "ignored explicit argument"),
    ],
)
def test_help_and_mistyped_words_are_answered_without_torch(words, status, said):
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words.split()],
        env=os.environ | {"PYTHONPATH": str(support.ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said in done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"{status} light"
