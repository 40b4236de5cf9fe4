"""The parser of a command, which is called as `ld4mrec train` or, in a checkout, as main.py."""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from ld4mrec.errors import ConfigError, exit_status

GOES_ON = "interrupted; the same command goes on from here"  # of what is finished run by run
SCRIPTS = {
    "main.py": "train",
    "compare.py": "compare",
    "experiments.py": "experiments",
    "recommend.py": "recommend",
    "plug.py": "plug",
}
NAMED = re.compile(rf"(?:python src/)?\b({'|'.join(map(re.escape, SCRIPTS))})")


class _Help(argparse.Action):
    """--help, or --help KEY."""

    def __call__(self, parser, namespace, values, option_string=None):
        if values is not None:
            parser.explain(values)
        more = parser.also(namespace) if parser.also else ""
        parser.show("\n\n".join(filter(None, (parser.format_help().rstrip(), more))))


class Parser(argparse.ArgumentParser):
    """prog: the command as the caller wrote it. Where that is no script, the help's texts, which
    name the scripts, name the commands. takes_keys: whether it takes the keys of the yaml files;
    --help then lists them, too. Attribute also: what it adds for the options before it.
    """

    also: Callable[[argparse.Namespace], str] | None = None

    def __init__(
        self, prog: str, description: str, usage: str | None = None, takes_keys: bool = True
    ):
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        self.takes_keys = takes_keys
        text = "this page; with a key, all about it" if takes_keys else "this page"
        how = (
            {"action": _Help, "nargs": "?", "metavar": "KEY"} if takes_keys else {"action": "help"}
        )
        self.add_argument("-h", "--help", help=text, **how)

    def explain(self, key: str) -> None:
        """Print all about a key or an option, and end the program; with 2 if there is none."""
        from ld4mrec.config.meanings import explained

        name = key.removeprefix("--")
        for action in self._actions:
            if f"--{name}" in action.option_strings and action.help:
                self.show(f"--{name}: {action.help}")
        options = (
            word.removeprefix("--") for action in self._actions for word in action.option_strings
        )
        try:
            text = explained(name, options)
        except ConfigError as error:
            print(f"error: {error}", file=sys.stderr)
            self.exit(2)
        self.show(text)

    def show(self, text: str) -> None:
        """Print a text and end the program."""
        self.exit(exit_status(lambda: print(text), "interrupted"))

    def add_report_options(self, seeds: int) -> None:
        """What the commands that report on several runs share; seeds: how many by default."""
        self.add_argument(
            "--seeds",
            default=str(seeds),
            help=f"how many (1 to N), or a comma-separated list; default: {seeds}",
        )
        self.add_argument("--out", type=Path, help="folder of reports; default: reports/<dataset>/")
        self.add_argument(
            "--ledger", type=Path, help="a further folder of finished runs, only read"
        )
        self.add_argument(
            "--archive",
            type=Path,
            help="also keep the finished runs there, without weights: a ledger",
        )
        self.add_argument("--dry-run", action="store_true", help="say what is missing, and stop")

    def format_help(self) -> str:
        text = super().format_help()
        if self.takes_keys:
            from ld4mrec.config.meanings import listed_keys

            text += f"\n{listed_keys()}\n"
        if self.prog in SCRIPTS:
            return text
        return NAMED.sub(lambda found: f"ld4mrec {SCRIPTS[found[1]]}", text)
