"""Yaml texts and files."""

import copy
import functools
import re
from pathlib import Path

import yaml

from ld4mrec.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-4 as a number, as YAML 1.2 does, and neither aliases, of which a few
    lines can mean more than any memory holds, nor tags, nor a key that stands twice.
    """

    yaml_implicit_resolvers = copy.deepcopy(yaml.SafeLoader.yaml_implicit_resolvers)

    def compose_node(self, parent, index):
        event = self.peek_event()
        what = "an alias (*)" if isinstance(event, yaml.AliasEvent) else None
        if tag := getattr(event, "tag", None):
            what = f"a tag ({tag.replace('tag:yaml.org,2002:', '!!')})"
        if what:
            line = event.start_mark.line + 1
            raise yaml.YAMLError(f"{what} at line {line}; write the value itself")
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            lines = {}
            for name, _ in node.value:
                key, line = self.construct_object(name, deep=True), name.start_mark.line + 1
                if key in lines:
                    raise yaml.YAMLError(
                        f"the key {key!r:.60} stands at line {lines[key]} and again at line "
                        f"{line}; keep one of them"
                    )
                lines[key] = line
        return found


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


class _WordLoader(_Loader):
    """For words of the command line: of plain scalars only what YAML 1.2 calls null, true, false or
    a decimal number is not text, so that no date, 010 or off becomes something else.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012 (PyYAML's way)


for tag, pattern, first in (
    ("null", r"^(?:~|null|Null|NULL|None)$", "~nN"),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    ("float", r"^[-+]?(?:[0-9]+\.[0-9]*|\.?[0-9]+)(?:[eE][-+]?[0-9]+)?$", "-+0123456789."),
    ("float", r"^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$", "-+."),
):
    _WordLoader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


def parse_word(text: str):
    """The value of a word of the command line: a scalar of YAML 1.2, or a list or mapping of such.
    ConfigError, to be read after what the word is.
    """
    return parse_yaml(text, "", _WordLoader)


def parse_yaml(text: str, where: str, how: type[yaml.SafeLoader] = _Loader):
    """The value of a yaml text; ConfigError naming `where` and the line if it is not yaml."""
    loader = None
    try:
        loader = how(text)
        return loader.get_single_data()
    except RecursionError:
        raise ConfigError(f"{where} is nested too deeply to be read".lstrip()) from None
    except (yaml.YAMLError, ValueError) as error:
        text = str(error).replace('in "<unicode string>", ', "")  # `where` says it better
        raise ConfigError(f"{where} is not valid yaml: {text}".lstrip()) from error
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
