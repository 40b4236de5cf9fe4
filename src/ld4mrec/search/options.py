"""The words of a command line on a search."""

import argparse
from dataclasses import dataclass, replace

from ld4mrec.errors import ConfigError

METHODS = ("random", "tpe", "asha")


@dataclass(frozen=True)
class Search:
    """method: random, tpe, or asha (random's points, the bad ones stopped early). trials: how many.
    seed: of the draws. at_once: how many trials are open at a time, None: as many as the engine
    trains. first_rung: epochs before asha may stop a trial.
    """

    method: str
    trials: int
    seed: int = 0
    at_once: int | None = None
    first_rung: int = 10

    def __post_init__(self):
        if self.method not in METHODS:
            raise ConfigError(f"--search is '{self.method}'; wanted one of {', '.join(METHODS)}")
        given = {"trials": self.trials, "workers": self.at_once, "first-rung": self.first_rung}
        for name, value in (given | {"search-seed": self.seed}).items():
            least = int(name != "search-seed")
            if value is not None and value < least:
                raise ConfigError(f"--{name} is {value}; wanted a whole number of at least {least}")


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Give an argparse parser --search, --trials, --search-seed and --first-rung."""
    parser.add_argument(
        "--search",
        metavar="METHOD",
        help="instead of the grid, points of the yaml's search block: random, tpe (drawn where "
        "earlier trials were good), asha (random, bad ones stopped early)",
    )
    parser.add_argument("--trials", type=int, metavar="N", help="with --search: how many")
    parser.add_argument(
        "--search-seed", type=int, metavar="S", help="with --search: of the draws; default: 0"
    )
    parser.add_argument(
        "--first-rung",
        type=int,
        metavar="E",
        help="with --search asha: epochs before a trial may be stopped, then 3 and 9 times as many "
        "and so on; default: 10",
    )


def search_of(options: argparse.Namespace) -> Search | None:
    """The Search that the options of `add_search_options` name, None without; ConfigError."""
    names = "trials", "search_seed", "first_rung"
    given = {n: value for n in names if (value := getattr(options, n)) is not None}
    if options.search is None:
        for name in given:
            raise ConfigError(f"--{name.replace('_', '-')} belongs to --search; add that")
        return None
    if "trials" not in given:
        raise ConfigError(f"--search {options.search} needs --trials N: how many points to try")
    if "first_rung" in given and options.search != "asha":
        raise ConfigError("--first-rung belongs to --search asha; leave it out")
    found = Search(options.search, given["trials"], given.get("search_seed", 0), options.workers)
    return replace(found, first_rung=given.get("first_rung", found.first_rung))
