"""The words of a command line: overrides of keys, seeds, metrics."""

from collections.abc import Iterable
from pathlib import Path

from ld4mrec.config.configuration import Config
from ld4mrec.config.kinds import shown
from ld4mrec.config.schema import model_yamls, read_word
from ld4mrec.errors import ConfigError, nearest

FLAGS = (
    *("--model", "--dataset", "--grid", "--resume", "--mg", "--plugin", "--help"),
    *("--check-plugin", "--traceback", "--search", "--trials", "--search-seed", "--first-rung"),
    *("--dry-run", "--engine", "--address", "--workers", "--gpus-per-trial"),
)
MOST_SEEDS = 10_000  # of one command


def parse_overrides(words: Iterable[str], yamls: Iterable[Path] | None = None) -> dict:
    """{key: value} of --key=value or --key value, each read as its kind of the schema; ConfigError
    for anything else.

    yamls: those of the models whose keys may be given, None: of all of ours.
    """
    overrides, words = {}, list(words)
    yamls = model_yamls() if yamls is None else yamls
    while words:
        word = words.pop(0)
        key, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not key.isidentifier():
            meant = f" Did you mean --{word}?" if equals and key.isidentifier() else ""
            if word.startswith("-k"):
                meant = " Lengths of the lists are --topk=[10,20]; -k belongs to recommend"
            raise ConfigError(f"'{word}' is no option; options look like --key=value.{meant}")
        if not equals:
            if not words or words[0].startswith("--"):
                raise ConfigError(f"--{key} has no value; write --{key}=value.{_similar(word)}")
            text = words.pop(0)
        if key in overrides:
            raise ConfigError(f"--{key} is given twice")
        overrides[key] = read_word(key, text, yamls)
    return overrides


def _similar(word):
    close = nearest(word, FLAGS)
    return close if "Did you mean" in close else ""


def seeds_of(text: str) -> list[int]:
    """[1, ..., N] of "N", or the listed seeds of "a,b,c"; ConfigError for anything else."""
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    count = len(numbers) == 1 and "," not in text
    if count and numbers[0] > MOST_SEEDS:
        raise ConfigError(f"--seeds is {shown(numbers[0])}; wanted {MOST_SEEDS} at most")
    if count and numbers[0] > 0:
        return list(range(1, numbers[0] + 1))
    if count or not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise ConfigError(f"--seeds is {text!r}; wanted a number from 1, or different seeds: 1,2,3")
    return numbers


def metrics_of(text: str, config: Config) -> list[str]:
    """The metrics of a comma-separated list; ConfigError for one that the runs do not measure."""
    measured = [f"{metric}@{k}".lower() for metric in config["metrics"] for k in config["topk"]]
    found = text.lower().split(",")
    for metric in found:
        if metric not in measured:
            close = nearest(metric, measured)
            raise ConfigError(
                f"the report has '{metric}', which these runs do not measure.{close} They measure "
                "the keys topk and metrics (the latter in --settings, as --metrics is the report's)"
            )
    return found
