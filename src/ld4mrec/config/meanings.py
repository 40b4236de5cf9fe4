"""What the keys mean, for --help: kinds from the schema, words from the yaml files' comments.

In a yaml file the comment behind a value, with the indented comment lines that follow, is its key's
meaning; `# --- name ---` begins a group of keys.
"""

import functools
import re
import shutil
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ld4mrec.config.schema import HOST, MIRROR, OF_MODELS, kind_of, model_yamls, nearest_key
from ld4mrec.config.yaml_files import parse_yaml, read_yaml
from ld4mrec.errors import ConfigError
from ld4mrec.places import CONFIGS

LINE = re.compile(r"([A-Za-z_]\w*):(?:\s+(.*))?$")
GROUP = re.compile(r"# --- (.*?) -*$")
COMMENT = re.compile(r"(?:^|\s+)#\s*")
QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
HEAD = "any of these keys as --key=value; --help KEY explains one"


class Meaning(NamedTuple):
    """group: the heading of the key. value: as the file writes it. text: the meaning in words."""

    group: str
    value: str
    text: str


@functools.cache
def meanings(path: Path) -> dict[str, Meaning]:
    """{key: Meaning} of a yaml file, in its order."""
    found, group, last = {}, "", None
    for line in path.read_text(encoding="utf-8").splitlines():
        if heading := GROUP.match(line):
            group, last = heading[1], None
        elif key := LINE.match(line):
            value, text = _cut(key[2] or "")
            last = key[1]
            found[last] = Meaning(group, value, text)
        elif last and line[:1] == " " and line.strip():
            value, text = _cut(line.strip())
            kept = found[last]
            between = " " if kept.value[:1] in ("[", "{") else "\n"  # of a list, of a block
            joined = (f"{kept.value}{between}{value}".strip(), f"{kept.text} {text}".strip())
            found[last] = Meaning(kept.group, *joined)
        else:
            last = None
    return found


def _cut(rest):
    """(value, comment) of what follows a key."""
    hidden = QUOTED.sub(lambda quoted: "_" * len(quoted[0]), rest)
    place = COMMENT.search(hidden)
    return (rest, "") if place is None else (rest[: place.start()], rest[place.end() :])


def _host() -> dict[str, Meaning]:
    files = meanings(CONFIGS / "overall.yaml"), meanings(CONFIGS / "mg.yaml")
    mirror = {
        key: found._replace(group="mirror gradient, with --mg") for key, found in files[1].items()
    }
    return {key: found for key, found in (files[0] | mirror).items() if key not in OF_MODELS}


def _models() -> dict[str, dict[str, Meaning]]:
    """{model: {key: Meaning}} of our models."""
    return {path.stem: meanings(path) for path in model_yamls()}


def listed_keys() -> str:
    """All keys by group, the host's with the beginning of their meaning."""
    width = min(shutil.get_terminal_size().columns, 120)
    lines, group = [f"{HEAD}:"], None
    for key, found in _host().items():
        if found.group != group:
            group = found.group
            lines += ["", f"{group}:"]
        lines.append(_line(key, found.text, width))
    for model, keys in _models().items():
        own = [key for key in keys if key not in HOST and key not in OF_MODELS]
        if own:
            text = f"{model}: {' '.join(own)}"
            lines += [
                "",
                *textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False),
            ]
    return "\n".join(lines)


def _line(key, text, width):
    """A key and as much of its meaning as fits."""
    room = width - 30
    text = text if len(text) <= room else f"{text[: room - 3].rstrip()}..."
    return f"  {key:27} {text}"


def explained(key: str, options: Iterable[str] = ()) -> str:
    """All about a key. ConfigError, naming the nearest, for a word that is none; options: other
    words that may be meant.
    """
    host, models = _host(), _models()
    having = {model: keys[key] for model, keys in models.items() if key in keys}
    if key in OF_MODELS or not (key in host or having):
        known = {*host, *options, *(key for keys in models.values() for key in keys)}
        close = nearest_key(key, known - set(OF_MODELS))
        raise ConfigError(f"there is no key '{key}'.{close} --help alone lists all")
    lines = []
    if key in host:
        found = host[key]
        lines = [f"{key}: {kind_of(key, None, mirrored=True).wanted}", *_wrapped(found.text)]
        lines.append(f"  default: {found.value}")
    for model, found in having.items():
        chosen = _default(models[model], key)
        example = parse_yaml(found.value, "a value") if chosen is None else chosen
        wanted = "" if key in HOST else f": {kind_of(key, example).wanted}"
        lines += ["" if lines else None, f"{key} of {model}{wanted}", *_wrapped(found.text)]
        lines.append(f"  default: {found.value if chosen is None else chosen}")
        if chosen is not None:
            lines.append(f"  searched with --grid: {found.value}")
        block = read_yaml(CONFIGS / "model" / f"{model}.yaml").get("search") or {}
        if key in block:
            lines.append(f"  searched with --search: {block[key]}")
    entry = HOST.get(key) or MIRROR.get(key)
    if entry and entry.shared:
        lines.append("  all points of a grid share it")
    elif key not in MIRROR:
        lines.append("  a list of values with --grid or --search is tried")
    return "\n".join(line for line in lines if line is not None)


def _wrapped(text):
    width = min(shutil.get_terminal_size().columns, 100)
    indents = {"initial_indent": "  ", "subsequent_indent": "  "}
    return textwrap.wrap(text, width, break_on_hyphens=False, **indents)


def _default(keys, key):
    """What a model's `defaults:` has for a key, None if nothing."""
    if "defaults" not in keys:
        return None
    return (parse_yaml(keys["defaults"].value, "defaults") or {}).get(key)
