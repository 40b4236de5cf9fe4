"""Yaml texts and files."""

import copy
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


def parse_yaml(text, where):
    """The value of a yaml text; ConfigError naming `where` and the line if it is not yaml."""
    loader = None
    try:
        loader = _Loader(text)
        return loader.get_single_data()
    except (yaml.YAMLError, ValueError) as error:
        text = str(error).replace('in "<unicode string>", ', "")  # `where` says it better
        raise ConfigError(f"{where} is not valid yaml: {text}") from error
    finally:
        if loader is not None:
            loader.dispose()


def read_yaml(path):
    """The keys of a yaml file, {} where the file is empty or absent."""
    path = Path(path)
    if not path.is_file():
        return {}
    values = parse_yaml(path.read_text(encoding="utf-8"), path) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}; wanted lines of 'key: value'")
    return values
