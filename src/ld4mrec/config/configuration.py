"""Configuration of a run: yaml files, command line, hyper-parameter grid.

A yaml may have a `defaults:` block: one value for each key that `hyper_parameters` lists. Its model
runs once with these unless a grid is asked for; without the block the grid is what runs. Whose the
model is decides the rest: one of ours may not read a key that no yaml declares, for a third party's
such a key is None (MMRec).
"""

import copy
import itertools
from pathlib import Path

from ld4mrec.config.checks import check_values, is_number
from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.errors import ConfigError, UndeclaredKeyError, nearest
from ld4mrec.places import CONFIGS, from_yaml

PATH_KEYS = ("data_path", "runs_dir", "run_dir", "cache_dir")
# One process reads the data once and has one device: these are the same for all points of a grid.
NOT_IN_A_GRID = (
    *PATH_KEYS,
    *("use_gpu", "gpu_id", "threads", "inter_file_name", "field_separator", "modalities"),
    *("USER_ID_FIELD", "ITEM_ID_FIELD", "inter_splitting_label", "filter_out_cod_start_users"),
    *("vision_feature_file", "text_feature_file", "user_graph_dict_file"),
)
FEATURE_KEYS = ("modalities", "text_feature_file", "vision_feature_file")
SMALLER_IS_BETTER = ("rmse", "mae", "logloss")


class Config:
    """The merged configuration, indexed by key: config['k'], 'k' in config, config['k'] = v.

    model, dataset: names. config_dict: the caller's overrides, strongest. mg: with configs/mg.yaml.
    model_yaml: the model's yaml where it is not configs/model/<model>.yaml (a plugin's).
    more_datasets: a further folder of data set yamls. ours: whether the model's file is in
    src/models (`plugins.ModelSource.in_tree`), for all that depends on whose model it is.
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
    ):
        overrides = {k: v for k, v in (config_dict or {}).items() if k not in ("model", "dataset")}
        model_yaml = model_yaml or CONFIGS / "model" / f"{model}.yaml"
        layers = [read_yaml(CONFIGS / "overall.yaml")]
        data_path = _typed("data_path", overrides.get("data_path"), "../data/")
        data_path = _absolute(data_path or layers[0]["data_path"], from_caller=bool(data_path))
        layers.append(_dataset_layer(dataset, data_path, more_datasets))
        layers.append(read_yaml(model_yaml))
        if mg:
            layers.append(read_yaml(CONFIGS / "mg.yaml"))
        self.ours = ours
        self.has_defaults = "defaults" in layers[2]
        self.mg = mg
        self.overridden = sorted(overrides)
        self.defaults = {}
        listed, values = [], {}
        for layer in layers:
            self.defaults.update(layer.pop("defaults", None) or {})
            listed += layer.pop("hyper_parameters", None) or []
            for key in PATH_KEYS:
                if layer.get(key) is not None:
                    layer[key] = _absolute(layer[key], from_caller=False)
            values.update(layer)
        listed = _as_list(overrides.pop("hyper_parameters", None)) or listed
        listed = list(dict.fromkeys(listed if "seed" in listed else [*listed, "seed"]))
        values["hyper_parameters"] = listed
        self._check_hyper_parameters(listed, values)
        self.final_config_dict = values
        for key, value in overrides.items():
            self._override(key, value)
        for key, modality in (("text_feature_file", "text"), ("vision_feature_file", "image")):
            if overrides.get(key) and values["modalities"]:  # two names for one file
                values["modalities"] = values["modalities"] | {modality: values[key]}
        metric = str(values["valid_metric"]).split("@")[0].lower()
        values["valid_metric_bigger"] = metric not in SMALLER_IS_BETTER
        values["model"], values["dataset"] = model, dataset
        values["device"] = _device(values["use_gpu"])

    def _check_hyper_parameters(self, listed, values):
        for name in listed:
            if name in NOT_IN_A_GRID:
                raise ConfigError(f"'{name}' cannot be a hyper-parameter: all points share it")
            if self.ours and name not in values:
                raise ConfigError(
                    f"hyper_parameters lists '{name}', which no yaml declares."
                    f"{nearest(name, values)}"
                )

    def _override(self, key, value):
        values = self.final_config_dict
        if key not in values:
            raise ConfigError(
                f"unknown key '{key}': no yaml of this run declares it.{nearest(key, values)}"
            )
        if key in PATH_KEYS and value is not None:
            values[key] = _absolute(_typed(key, value, ""), from_caller=True)
        elif key in values["hyper_parameters"]:
            known = values[key] if isinstance(values[key], list) else [values[key]]
            example = next((v for v in [self.defaults.get(key), *known] if v is not None), None)
            values[key] = [_typed(key, item, example) for item in _as_list(value) or [None]]
            self.defaults[key] = values[key]
        else:
            values[key] = _typed(key, value, values[key])

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
        check_values(config.final_config_dict, config.mg)
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
    """The data set's yaml: ours, one in its folder, or one in the folder `more` (a plugin's).

    None is needed where the folder follows the naming of the docs. A yaml that names no feature
    file leaves them to that naming too.
    """
    folder = Path(f"{data_path}{dataset}")
    places = [CONFIGS / "dataset", folder, *([more] if more else [])]
    files = [place / f"{dataset}.yaml" for place in places if (place / f"{dataset}.yaml").is_file()]
    layer = read_yaml(files[0]) if files else {}
    if not any(layer.get(key) for key in FEATURE_KEYS):
        names = sorted(path.name for path in folder.glob("*_feat.npy"))
        found = {name.removesuffix("_feat.npy"): name for name in names}
        two = {"text_feature_file": found.get("text"), "vision_feature_file": found.get("image")}
        layer |= {"modalities": found or None} | two
    if files or (folder / f"{dataset}.inter").is_file():
        return layer
    there = (file.parent.name for file in Path(data_path).glob("*/*.inter"))
    known = {*dataset_names(), *there}
    yaml_file, inter = CONFIGS / "dataset" / f"{dataset}.yaml", folder / f"{dataset}.inter"
    raise ConfigError(
        f"unknown data set '{dataset}': there is no {yaml_file} and no {inter}."
        f"{nearest(dataset, known)}"
    )


def _absolute(path, from_caller):
    """Absolute form of the caller's or a yaml's folder, with the trailing slash MMRec expects."""
    there = Path(path).expanduser().resolve() if from_caller else from_yaml(path)
    return f"{there}/"


def _as_list(value):
    return value if isinstance(value, list) or value is None else [value]


def _candidates(value):
    if value is None or value == []:
        return [None]
    values = value if isinstance(value, list) else [value]
    return [item for place, item in enumerate(values) if item not in values[:place]]


def _typed(key, value, declared):
    """A value of the kind that the yaml declares, converted where nothing is lost; ConfigError."""
    if value is None or declared is None:
        return value
    if isinstance(declared, list):
        example = declared[0] if declared else None
        return [_typed(key, item, example) for item in _as_list(value)]
    if is_number(declared):
        if is_number(value):
            if isinstance(declared, float):
                return float(value)  # 1 and 1.0 are the same run
            # a yaml that says 1 may mean a fraction (noise_scale: 1): `check_values` knows counts
            return int(value) if float(value).is_integer() else value
        wanted = "a number"
    elif isinstance(value, type(declared)):
        return value
    elif isinstance(declared, bool):
        wanted = "True or False"
    elif isinstance(declared, str):
        wanted = f"text such as '{declared}'"
    else:
        wanted = f"a {type(declared).__name__} such as {declared}"
    raise ConfigError(f"--{key} got {value!r} ({type(value).__name__}); wanted {wanted}")
