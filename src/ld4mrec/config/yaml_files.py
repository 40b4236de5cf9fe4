"""Yaml texts and files."""

import copy
import functools
import re
from pathlib import Path

import yaml

from ld4mrec.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-4 as a number, as YAML 1.2 does, and no aliases: a few lines of them
    can mean more than any memory holds.
    """

    yaml_implicit_resolvers = copy.deepcopy(yaml.SafeLoader.yaml_implicit_resolvers)

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.YAMLError(f"an alias (*) at line {mark.line + 1}; write the value itself")
        return super().compose_node(parent, index)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def parse_yaml(text: str, where: str):
    """The value of a yaml text; ConfigError naming `where` and the line if it is not yaml."""
    loader = None
    try:
        loader = _Loader(text)
        return loader.get_single_data()
    except RecursionError:
        raise ConfigError(f"{where} is nested too deeply to be read") from None
    except (yaml.YAMLError, ValueError) as error:
        text = str(error).replace('in "<unicode string>", ', "")  # `where` says it better
        raise ConfigError(f"{where} is not valid yaml: {text}") from error
    finally:
        if loader is not None:
            loader.dispose()


def parse_file(path: Path, where: str):
    """The value of a yaml file; ConfigError naming `where` if it is not yaml in UTF-8."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where} is not text in UTF-8 ({error}); save it as UTF-8") from error
    return parse_yaml(text, where)


def read_yaml(path: str | Path) -> dict:
    """The keys of a yaml file, {} where the file is empty or absent.

    A file is parsed once in this process as long as it keeps its size and time.
    """
    path = Path(path)
    if not path.is_file():
        return {}
    stat = path.stat()
    stamp = stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino
    return copy.deepcopy(_parsed(path.resolve(), stamp, str(path)))


@functools.lru_cache(maxsize=256)
def _parsed(path, stamp, shown):
    values = parse_file(path, shown) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{shown} holds a {type(values).__name__}; wanted lines of 'key: value'")
    return values
