"""Configuration of a run: yaml files, command line, hyper-parameter grid.

A yaml may have a `defaults:` block: one value for each key that `hyper_parameters` lists. Its model
runs once with these unless a grid is asked for; without the block the grid is what runs. Whose the
model is decides the rest: one of ours may not read a key that no yaml declares, for a third party's
such a key is None (MMRec).
"""

import copy
import itertools
from collections.abc import Iterable
from pathlib import Path

from ld4mrec.config.checks import check_together
from ld4mrec.config.kinds import ListOf, Text, shown, taken
from ld4mrec.config.schema import (
    HOST,
    MIRROR,
    PATH_KEYS,
    SHARED_KEYS,
    check_data_set,
    check_model,
    check_overall,
    kind_of,
    nearest_key,
)
from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.errors import ConfigError, UndeclaredKeyError, nearest
from ld4mrec.places import CONFIGS, MODELS, from_yaml

FEATURE_KEYS = ("modalities", "text_feature_file", "vision_feature_file")
DERIVED = ("model", "dataset", "device", "valid_metric_bigger")  # keys that no yaml sets
SMALLER_IS_BETTER = ("rmse", "mae", "logloss")


class Config:
    """The merged configuration, indexed by key: config['k'], 'k' in config, config['k'] = v.

    model, dataset: names. config_dict: the caller's overrides, strongest. mg: with configs/mg.yaml.
    model_yaml: the model's yaml where it is not configs/model/<model>.yaml (a plugin's).
    more_datasets: a further folder of data set yamls. ours: whether the model's file is in
    src/models (`plugins.ModelSource.in_tree`), for all that depends on whose model it is. read: the
    keys that a third party's model reads, which may be given though no yaml declares them.
    Attributes: final_config_dict; ours; has_defaults (the model's yaml has a `defaults:` block);
    defaults; overridden. Raises ConfigError for overrides that no yaml declares or whose type does
    not fit.
    """

    def __init__(
        self,
        model: str | None = None,
        dataset: str | None = None,
        config_dict: dict | None = None,
        mg: bool = False,
        model_yaml: str | Path | None = None,
        more_datasets: Path | None = None,
        ours: bool = True,
        read: Iterable[str] = (),
    ):
        overrides = {k: v for k, v in (config_dict or {}).items() if k not in ("model", "dataset")}
        for key in overrides:
            if not isinstance(key, str):
                raise ConfigError(f"keys of a configuration are text, got {shown(key)}")
        self.ours, self.mg = ours, mg
        self.overridden = sorted(overrides)
        self.defaults = {}
        layers = self._layers(dataset, overrides, model, model_yaml, more_datasets)
        for file, layer in layers:
            _check_commas(file, layer)
        listed = self._listed(layers, overrides)
        values = {}
        unlisted = {name: self.defaults[name] for name in self.defaults if name not in listed}
        for file, layer in layers:
            layer.update((name, unlisted[name]) for name in layer.keys() & unlisted)
            self._check_layer(file, layer, listed)
            for key in PATH_KEYS:
                if layer.get(key) is not None:
                    layer[key] = _absolute(layer[key], from_caller=False)
            values.update(layer)
        values["hyper_parameters"] = listed
        self._check_hyper_parameters(listed, values)
        self.final_config_dict = values
        for key, value in overrides.items():
            self._override(key, value, sorted({*read} - {*values, *DERIVED}))
        for key, modality in (("text_feature_file", "text"), ("vision_feature_file", "image")):
            if overrides.get(key) and values["modalities"]:  # two names for one file
                values["modalities"] = values["modalities"] | {modality: values[key]}
        metric = str(values["valid_metric"]).split("@")[0].lower()
        values["valid_metric_bigger"] = metric not in SMALLER_IS_BETTER
        values["model"], values["dataset"] = model, dataset
        values["device"] = _device(values["use_gpu"])

    def _layers(self, dataset, overrides, model, model_yaml, more_datasets):
        """[(file, its keys)] in the order of merging."""
        overall = CONFIGS / "overall.yaml"
        model_yaml = model_yaml or CONFIGS / "model" / f"{model}.yaml"
        host, of_model = read_yaml(overall), read_yaml(model_yaml)
        check_overall(host, overall)
        if self.ours:
            check_model(of_model, model_yaml, MODELS / f"{model}.py".lower())
        self.has_defaults = "defaults" in of_model
        kind, given = HOST["data_path"].kind, "data_path" in overrides
        where = (overrides["data_path"], "") if given else (host["data_path"], overall)
        data_path = _absolute(taken(kind, "data_path", *where), from_caller=given)
        file, of_data, foreign = _dataset_layer(dataset, data_path, more_datasets)
        mirror = CONFIGS / "mg.yaml"
        further = [(mirror, read_yaml(mirror))] if self.mg else []
        also = {*of_model, *(MIRROR if self.mg else ())}
        check_data_set(of_data, file, also, strict=self.ours and not foreign)
        return [(overall, host), (file, of_data), (model_yaml, of_model), *further]

    def _listed(self, layers, overrides):
        """The names of the hyper-parameters; fills `defaults`, too."""
        listed = []
        for file, layer in layers:
            names = _names(layer.pop("hyper_parameters", None), file)
            listed += names
            defaults = layer.pop("defaults", None)
            if defaults is None:
                continue
            if not isinstance(defaults, dict):
                raise ConfigError(
                    f"{file}: defaults is {shown(defaults)}; wanted one value for each key of "
                    "hyper_parameters, {key: value}"
                )
            for name, value in defaults.items():
                if self.ours and name not in listed:
                    raise ConfigError(
                        f"{file}: defaults has {shown(name)}, which hyper_parameters does not list."
                        f"{nearest(name, listed)}"
                    )
                candidates = layer.get(name)
                example = candidates[0] if isinstance(candidates, list) and candidates else value
                taken(self._kind(name, example), name, value, file)
            self.defaults.update(defaults)
        listed = _names(overrides.pop("hyper_parameters", None), "") or listed
        return list(dict.fromkeys(listed if "seed" in listed else [*listed, "seed"]))

    def _kind(self, key, example, file=None):
        """The kind of a key; file: the yaml that has it, whose keys of these names are mg.yaml's in
        mg.yaml only.
        """
        mirrored = self.mg and (file is None or file == CONFIGS / "mg.yaml")
        return kind_of(key, example, self.ours, mirrored)

    def _check_layer(self, file, layer, listed):
        """ConfigError for a value of a yaml file that its key does not take; the host's keys get
        the form of their kind.
        """
        for key, value in layer.items():
            if not isinstance(key, str):
                raise ConfigError(f"{file}: the key {shown(key)} is no text; write it in quotes")
            if key in listed and isinstance(value, list):
                held = [taken(self._kind(key, item, file), key, item, file) for item in value]
            elif key in listed and not value:
                continue  # MMRec's rule: one point, None
            else:
                held = taken(self._kind(key, value, file), key, value, file)
            if key in HOST:
                layer[key] = held

    def _check_hyper_parameters(self, listed, values):
        for name in listed:
            if name in SHARED_KEYS:
                raise ConfigError(f"'{name}' cannot be a hyper-parameter: all points share it")
            if self.ours and name not in values:
                raise ConfigError(
                    f"hyper_parameters lists {shown(name)}, which no yaml declares."
                    f"{nearest(name, values)}"
                )

    def _override(self, key, value, read):
        """read: keys that no yaml declares and that may be given all the same."""
        values = self.final_config_dict
        if key in read:
            values[key] = None
        if key not in values:
            close = nearest_key(key, {*values, *read})
            also = f" Read by the model and in no yaml: {', '.join(read)}." if read else ""
            raise ConfigError(f"unknown key '{key}': no yaml of this run declares it.{close}{also}")
        listed = values["hyper_parameters"]
        if key not in listed and isinstance(value, list) and self._is_axis(key, value):
            listed.append(key)
            values[key] = [values[key]]
        if key in listed:
            known = values[key] if isinstance(values[key], list) else [values[key]]
            example = next((v for v in [self.defaults.get(key), *known] if v is not None), None)
            kind = self._kind(key, example)
            items = value if isinstance(value, list) else [value]
            values[key] = [taken(kind, key, item) for item in items or [None]]
            self.defaults[key] = values[key]
            return
        held = taken(self._kind(key, values[key]), key, value)
        if key in PATH_KEYS and held is not None:
            held = _absolute(held, from_caller=True)
        values[key] = held

    def _is_axis(self, key, value):
        """Whether a list means values to try and not one value: lists of a key whose value is one
        list are in a list.
        """
        if key in SHARED_KEYS:
            return False
        one = self._kind(key, self.final_config_dict[key])
        return not isinstance(one, ListOf) or (bool(value) and isinstance(value[0], list))

    def points(self, grid: bool | None = None) -> "list[Config]":
        """The runs this configuration means, each with one value per hyper-parameter.

        grid: True for the Cartesian product of the lists (last name fastest, as in MMRec), False
        for the defaults, None for what the model's yaml means (see the module's docstring).
        """
        names = self.final_config_dict["hyper_parameters"]
        if grid or (grid is None and not self.has_defaults):
            lists = [_candidates(self.final_config_dict.get(name)) for name in names]
        else:
            lists = [[self._default(name)] for name in names]
        points = itertools.product(*lists)
        return [self._at(dict(zip(names, point, strict=True))) for point in points]

    def _default(self, name):
        if name not in self.defaults:
            raise ConfigError(
                f"'{name}' is a hyper-parameter without a value in the yaml's defaults: block; "
                f"give --{name}=VALUE or --grid"
            )
        value = self.defaults[name]
        if name not in self.overridden:
            return value
        if len(value) != 1:
            raise ConfigError(
                f"'{name}' got the values {value}, but this is one run; add --grid to search them"
            )
        return value[0]

    def _at(self, point):
        """A copy with these values, checked."""
        config = self.replace(point)
        config.point = point
        check_together(config.final_config_dict)
        return config

    def replace(self, values: dict) -> "Config":
        """A copy with these values, {key: value}, that shares nothing with this one."""
        config = copy.copy(self)
        config.final_config_dict = copy.deepcopy(self.final_config_dict) | values
        return config

    def __getitem__(self, key):
        try:
            return self.final_config_dict[key]
        except KeyError:
            if not self.ours:
                return None
        message = f"the key '{key}' is read but no yaml declares it"
        raise UndeclaredKeyError(
            f"{message}; declare it, as null if optional.{nearest(key, self.final_config_dict)}"
        )

    def __setitem__(self, key, value):
        if not isinstance(key, str):
            raise TypeError(f"configuration keys are strings, got {key!r}")
        self.final_config_dict[key] = value

    def __contains__(self, key):
        return key in self.final_config_dict

    def __str__(self):
        lines = (f"{key} = {value}" for key, value in sorted(self.final_config_dict.items()))
        return "\n".join(lines)


def _device(use_gpu):
    import torch  # here, so that a mistyped key is told without waiting for it

    return torch.device("cuda" if use_gpu and torch.cuda.is_available() else "cpu")


def of_the_host(keys: dict) -> dict:
    """Those keys that any model knows."""
    known = read_yaml(CONFIGS / "overall.yaml")
    return {key: value for key, value in keys.items() if key in known}


def dataset_names() -> list[str]:
    return sorted(path.stem for path in (CONFIGS / "dataset").glob("*.yaml"))


def _dataset_layer(dataset, data_path, more):
    """(file, keys, whether it is a plugin's) of the data set's yaml: ours, one in its folder, or
    one in the folder `more` (a plugin's).

    None is needed where the folder follows the naming of the docs. A yaml that names no feature
    file leaves them to that naming too.
    """
    folder = Path(f"{data_path}{dataset}")
    places = [CONFIGS / "dataset", folder, *([more] if more else [])]
    files = [place / f"{dataset}.yaml" for place in places if (place / f"{dataset}.yaml").is_file()]
    layer = read_yaml(files[0]) if files else {}
    file, foreign = (files[0], files[0].parent == more) if files else (folder, False)
    if not any(layer.get(key) for key in FEATURE_KEYS):
        names = sorted(path.name for path in folder.glob("*_feat.npy"))
        found = {name.removesuffix("_feat.npy"): name for name in names}
        two = {"text_feature_file": found.get("text"), "vision_feature_file": found.get("image")}
        layer |= {"modalities": found or None} | two
    if files or (folder / f"{dataset}.inter").is_file():
        return file, layer, foreign
    there = (file.parent.name for file in Path(data_path).glob("*/*.inter"))
    known = {*dataset_names(), *there}
    yaml_file, inter = CONFIGS / "dataset" / f"{dataset}.yaml", folder / f"{dataset}.inter"
    raise ConfigError(
        f"unknown data set '{dataset}': there is no {yaml_file} and no {inter}."
        f"{nearest(dataset, known)}"
    )


def _check_commas(file, layer):
    """ConfigError for a list that a full-width comma makes one text of."""
    for key, value in layer.items():
        for item in value if isinstance(value, list) else ():
            if isinstance(item, str) and "，" in item:
                raise ConfigError(
                    f"{file}: {key} has a full-width comma in {shown(item)}, which separates "
                    "nothing in yaml; write a plain one (,)"
                )


def _names(value, where):
    """The keys that a yaml's hyper_parameters lists."""
    names = ListOf(Text(optional=False), "a list of different keys")
    if value is None or value == []:
        return []
    if isinstance(value, list) and all(isinstance(name, str) and name for name in value):
        return value  # MMRec's files may list one twice
    return taken(names, "hyper_parameters", value, where)


def _absolute(path, from_caller):
    """Absolute form of the caller's or a yaml's folder, with the trailing slash MMRec expects."""
    there = Path(path).expanduser().resolve() if from_caller else from_yaml(path)
    return f"{there}/"


def _candidates(value):
    if value is None or value == []:
        return [None]
    values = value if isinstance(value, list) else [value]
    return [item for place, item in enumerate(values) if item not in values[:place]]
