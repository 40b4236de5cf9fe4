"""What is compared: one entry per row of the report, a model with its settings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ld4mrec.config.configuration import Config
from ld4mrec.config.kinds import shown
from ld4mrec.config.yaml_files import parse_file
from ld4mrec.errors import ConfigError, nearest
from ld4mrec.plugins.sources import (
    ModelSource,
    config_of,
    find_model,
    find_plugins,
    keys_read,
    model_names,
)
from ld4mrec.runs.request import Request
from ld4mrec.search.train import plan

Keys = dict[str, Any]
VARIANTS = ("faithful", "repaired")  # of models whose reference computes something else than meant

NAMED = re.compile(r"(\w+) \((\w+)\)")  # a model and its variant, as reports label them


@dataclass(frozen=True)
class Entry:
    """A row. model: its class. origin: of the settings, whose choice may give warnings. plugin: a
    third party's file or folder that holds the model, None for one of ours.
    """

    label: str
    model: str
    settings: Keys
    origin: str
    warnings: tuple[str, ...] = ()
    plugin: str | None = None

    @property
    def source(self) -> ModelSource:
        """Where the model is."""
        return find_model(self.model, self.plugin)


def entries(
    names: list[str] | None,
    dataset: str,
    keys: Keys,
    settings_file: Path | None = None,
    plugins: Sequence[str | Path] = (),
) -> list[Entry]:
    """The entries of model names and of a settings file, those with variants once per variant.

    names: labels of the file or class names, one variant as `LD4MRec (paper)`, in the report's
    order; None: all labels of the file.
    keys: overrides of all runs. plugins: third parties' files or folders, see `theirs`. Raises
    ConfigError for a name that is none of these, or given twice.
    """
    listed = read_settings(settings_file) if settings_file else {}
    known = theirs(names, plugins)
    shown = list(names or listed)
    meant = {listed.get(name, {}).get("model", name) for name in shown}
    shown += [label for label in known if label not in meant]
    found = []
    for name in shown:
        given = dict(listed.get(name, {}))
        model = given.pop("model", name)
        if (named := NAMED.fullmatch(name)) and name not in (*listed, *known):
            model, given["variant"] = named.groups()
        origin = f"settings of {Path(settings_file).name}" if name in listed else "yaml defaults"
        source, plugin = known.get(model, (None, None))
        if source is None:
            find_model(model)  # the error names the nearest
        else:
            model = source.name
        entry = Entry(name, model, given, origin, plugin=plugin)
        found += [entry] if plugin else _variants(entry, dataset, keys)
    labels = [entry.label for entry in found]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise ConfigError(f"{', '.join(twice)} given twice; each row of a comparison has one label")
    if unused := [name for name in listed if names and name not in names]:
        close = nearest(unused[0], names)
        raise ConfigError(f"{settings_file} has settings for '{unused[0]}', not compared.{close}")
    return found


def theirs(
    names: list[str] | None, plugins: Sequence[str | Path]
) -> dict[str, tuple[ModelSource, str]]:
    """{label: (where the model is, the plugin)} of the rows that plugins bring.

    A file brings its model; a folder or checkout those that `names` has, or its only one. One that
    is called like one of ours is labelled `NAME (plugin)`. ConfigError for a folder none of whose
    several models is named.
    """
    found = {}
    for plugin in plugins:
        sources = {_label(source): source for source in find_plugins(plugin)}
        if len(sources) > 1:
            wanted = {label: source for label, source in sources.items() if label in (names or ())}
            if not wanted:
                raise ConfigError(
                    f"--plugin {plugin} has {len(sources)} models and -m names none of them: "
                    f"{', '.join(sources)}"
                )
            sources = wanted
        if twice := sorted(found.keys() & sources.keys()):
            raise ConfigError(
                f"{twice[0]} is in {found[twice[0]][1]} and in {plugin}; leave one out"
            )
        found |= {label: (source, str(plugin)) for label, source in sources.items()}
    return found


def _label(source):
    return source.name + " (plugin)" * (source.name in model_names())


def declared(model: str, dataset: str, keys: Keys, source: ModelSource | None = None) -> set[str]:
    """Names of the keys that a run of a model on a data set has; keys: overrides, for data_path.

    source: where a third party's model is.
    """
    where = {"data_path": keys["data_path"]} if "data_path" in keys else {}
    if source is None:
        return set(Config(model, dataset, where).final_config_dict)
    return set(config_of(source, dataset, where).final_config_dict) | keys_read(source)


def keys_of(model: str, dataset: str, keys: Keys) -> Keys:
    """Those of the overrides that a model has."""
    known = declared(model, dataset, keys)
    return {key: value for key, value in keys.items() if key in known}


def check_shared(found: list[Entry], dataset: str, keys: Keys) -> None:
    """ConfigError for an override that some of the entries' models have and others have not."""
    known = {
        entry.label: declared(entry.model, dataset, keys, entry.plugin and entry.source)
        for entry in found
    }
    for key in keys:
        having = [label.partition(" (")[0] for label, names in known.items() if key in names]
        lacking = [label for label, names in known.items() if key not in names]
        if having and lacking:
            raise ConfigError(
                f"--{key} would be for all rows, and {lacking[0]} has no such key; give it in "
                f"--settings, to {', '.join(dict.fromkeys(having))}"
            )


def check_common(keys: Keys) -> None:
    """ConfigError for overrides that cannot be shared by the runs of several seeds and models."""
    if "seed" in keys:
        raise ConfigError(f"--seed={keys['seed']}: give --seeds {keys['seed']}")
    if keys.get("run_dir"):
        raise ConfigError("--run_dir is the folder of one run; give --runs_dir=FOLDER")


def read_settings(path: str | Path) -> dict[str, Keys]:
    """{label: {key: value}} of a settings file; `model` is the class where the label is not."""
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"there is no settings file {path}")
    found = parse_file(path, str(path))
    if (
        not found
        or not isinstance(found, dict)
        or not all(isinstance(v, dict) for v in found.values())
    ):
        raise ConfigError(f"{path} must hold lines of 'Model: {{key: value, ...}}'")
    for label, values in found.items():
        if not isinstance(values.get("model", ""), str):
            raise ConfigError(
                f"{path}: the model of {label} is {shown(values['model'])}; wanted a model's name"
            )
        for key, instead in (("seed", "--seeds 1,2,3"), ("run_dir", "--runs_dir=FOLDER")):
            if key in values:
                raise ConfigError(f"{path} gives {label} a {key}; leave it out and give {instead}")
    return {str(label): values for label, values in found.items()}


def _variants(entry: Entry, dataset: str, keys: Keys) -> list[Entry]:
    """The entry, or one for each variant where the model has variants and none was chosen."""
    if "variant" in entry.settings or "variant" in keys:
        return [entry]
    shared = keys_of(entry.model, dataset, keys)
    (first, *_) = plan(Request(entry.model, dataset, shared | entry.settings), grid=True)
    if "variant" not in first.config or first.config["variant"] not in VARIANTS:
        return [entry]
    labels = {variant: f"{entry.label} ({variant})" for variant in VARIANTS}
    return [
        replace(entry, label=label, settings=entry.settings | {"variant": variant})
        for variant, label in labels.items()
    ]
