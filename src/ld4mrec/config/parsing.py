"""The parser of a command, which is called as `ld4mrec train` or, in a checkout, as main.py."""

import argparse
import re

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

    def format_help(self) -> str:
        text = super().format_help()
        if self.prog in SCRIPTS:
            return text
        return NAMED.sub(lambda found: f"ld4mrec {SCRIPTS[found[1]]}", text)
