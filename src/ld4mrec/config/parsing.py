"""The parser of a command, which is called as `ld4mrec train` or, in a checkout, as main.py."""

import argparse
import re
from pathlib import Path

GOES_ON = "interrupted; the same command goes on from here"  # of what is finished run by run
SCRIPTS = {
    "main.py": "train",
    "compare.py": "compare",
    "experiments.py": "experiments",
    "recommend.py": "recommend",
    "plug.py": "plug",
}
NAMED = re.compile(rf"(?:python src/)?\b({'|'.join(map(re.escape, SCRIPTS))})")


class Parser(argparse.ArgumentParser):
    """prog: the command as the caller wrote it. Where that is no script, the help's texts, which
    name the scripts, name the commands.
    """

    def __init__(self, prog: str, description: str, usage: str | None = None):
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

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
        if self.prog in SCRIPTS:
            return text
        return NAMED.sub(lambda found: f"ld4mrec {SCRIPTS[found[1]]}", text)
