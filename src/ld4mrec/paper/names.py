"""The experiments' names, for the command line."""

from ld4mrec.errors import ConfigError, nearest

EXPERIMENTS = (  # in the order in which they are run
    *("datasets", "ablation", "inference", "bound"),
    *("sensitivity", "noise", "tables", "efficiency"),
)
OF_MODELS = ("noise", "tables", "efficiency")  # where -m chooses


def experiments_of(text: str | None) -> list[str]:
    """The names of a comma-separated list, all for None; ConfigError naming the nearest."""
    names = text.split(",") if text else list(EXPERIMENTS)
    for name in names:
        if name not in EXPERIMENTS:
            raise ConfigError(
                f"--only names '{name}', which is no experiment.{nearest(name, EXPERIMENTS)}"
            )
    return list(dict.fromkeys(names))
