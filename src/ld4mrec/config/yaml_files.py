"""Yaml texts and files."""

import copy
import functools
import re
from pathlib import Path

import yaml

from ld4mrec.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-4 as a number, as YAML 1.2 does."""

    yaml_implicit_resolvers = copy.deepcopy(yaml.SafeLoader.yaml_implicit_resolvers)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def parse_yaml(text: str, where: str):
    """The value of a yaml text; ConfigError naming `where` and the line if it is not yaml."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        text = str(error).replace('in "<unicode string>", ', "")  # `where` says it better
        raise ConfigError(f"{where} is not valid yaml: {text}") from error


def read_yaml(path: str | Path) -> dict:
    """The keys of a yaml file, {} where the file is empty or absent.

    A file is parsed once in this process as long as it keeps its size and time.
    """
    path = Path(path)
    if not path.is_file():
        return {}
    stat = path.stat()
    stamp = stat.st_size, stat.st_mtime_ns, stat.st_ino
    return copy.deepcopy(_parsed(path.resolve(), stamp, str(path)))


@functools.lru_cache(maxsize=256)
def _parsed(path, stamp, shown):
    values = parse_yaml(path.read_text(encoding="utf-8"), shown) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{shown} holds a {type(values).__name__}; wanted lines of 'key: value'")
    return values
