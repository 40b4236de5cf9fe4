"""What the commands that make things up share, sample.py and demo.py: options, folder, words."""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ld4mrec.errors import UserError
from ld4mrec.preprocessing.steps import writing


def parser_of(prog: str, description: str, users: int, items: int) -> argparse.ArgumentParser:
    """The parser; users and items: the default sizes."""
    parser = argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)
    add = parser.add_argument
    add("--out", required=True, metavar="DIR", help="folder to make")
    add("--users", type=int, default=users)
    add("--items", type=int, default=items)
    add("--seed", type=int, default=0)
    add("--force", action="store_true", help="replace a folder made before")
    return parser


def made_once(
    out: str | Path, asked: dict, force: bool, make: Callable[[Path], dict]
) -> tuple[dict, bool]:
    """The manifest of a made-up folder, and whether it was made now: the same one is left alone.

    asked: its manifest's generator, name and options. make: writes the files, and returns what else
    the manifest says. UserError for a bad seed, or a folder that holds something else; `force`
    replaces one that preprocessing made.
    """
    seed = asked["options"]["seed"]
    if not 0 <= seed < 2**63:
        raise UserError(f"--seed is {seed}; wanted a whole number from 0")
    there = None if force else writing.unchanged(Path(out), asked)
    if there is not None:
        return there, False
    with writing.staged(out, force) as folder:
        return writing.write_manifest(folder, asked | make(folder)), True


def run(
    generate: Callable[..., tuple[dict, bool]],
    summary: Callable[[dict], Iterator[str]],
    given: argparse.Namespace,
) -> int:
    """Generate with the options given, and print the summary's lines. Returns the exit status."""
    options = {name: value for name, value in vars(given).items() if value is not None}
    try:
        manifest, made = generate(**options)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is needed: pip install -e '.[preprocessing]'", file=sys.stderr)
        return 2
    print(f"{given.out}: " + ("made" if made else "is there already, the same; nothing done"))
    print(*summary(manifest), sep="\n")
    return 0
