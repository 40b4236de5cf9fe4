"""The experiments' names, for the command line."""

from collections.abc import Collection, Iterable

from ld4mrec.errors import ConfigError, nearest

EXPERIMENTS = (  # in the order in which they are run
    *("datasets", "ablation", "inference", "bound"),
    *("sensitivity", "noise", "missing", "knockout", "tables", "efficiency"),
)
OF_MODELS = ("noise", "missing", "knockout", "tables", "efficiency")  # where -m chooses


def experiments_of(text: str | None) -> list[str]:
    """The names of a comma-separated list, all for None; ConfigError naming the nearest."""
    names = text.split(",") if text else list(EXPERIMENTS)
    check_known("--only", names, EXPERIMENTS, "experiment")
    return list(dict.fromkeys(names))


def check_known(option: str, names: Iterable[str], known: Collection[str], kind: str) -> None:
    """ConfigError, naming the nearest, for a name given with an option that is not known."""
    for name in names:
        if name not in known:
            raise ConfigError(f"{option} names '{name}', which is no {kind}.{nearest(name, known)}")
