"""What each key of the yaml files takes: one table for files, command line, settings and --help.

The host's keys stand here with their kinds and limits; what they mean and their defaults stand in
configs/overall.yaml. A model's keys and their meaning stand in its own yaml, their kinds follow
from the values there, and their limits are the model's to check, as it runs without us as well.
"""

import difflib
import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ld4mrec.config.kinds import (
    Choice,
    Decay,
    Flag,
    Kind,
    ListOf,
    Mapping,
    Name,
    Number,
    Rate,
    Schedule,
    Separator,
    Text,
    kind_like,
)
from ld4mrec.config.yaml_files import read_yaml
from ld4mrec.errors import ConfigError, nearest
from ld4mrec.places import CONFIGS

LEARNERS = ("adam", "sgd", "adagrad", "rmsprop")
METRICS = ("recall", "recall2", "ndcg", "precision", "map")
CLIP = ("max_norm", "norm_type", "error_if_nonfinite", "foreach")
MANY = 10**9  # of epochs, evaluations, rows: nothing that is meant has more
# of a model of ours: widths, neighbours and steps beyond it need more than any machine has
LARGEST, MOST_LAYERS = 10**6, 10**3
ALIKE = 0.87  # similarity of a mistyped key to the one that is meant


@dataclass(frozen=True)
class Key:
    """kind: of its value. shared: all points of a grid have the same value, as one process reads
    the data once, has one device and measures all points alike. path: of a folder.
    """

    kind: Kind
    shared: bool = False
    path: bool = False


def _count(low: int, high: int = MANY) -> Key:
    return Key(Number(low, high, whole=True, optional=False))


def _shared(kind: Kind) -> Key:
    return Key(kind, shared=True)


def _text(example: str, optional: bool = True) -> Key:
    return _shared(Text(example, literal=True, optional=optional))


def _file(example: str) -> Key:
    return _shared(Name(example, literal=True))


def _folder(example: str, optional: bool = False) -> Key:
    return Key(Name(example, literal=True, optional=optional), shared=True, path=True)


FLAG = Key(Flag(optional=False))
SHARED_FLAG = _shared(Flag(optional=False))
HOST = {
    "use_gpu": SHARED_FLAG,
    "gpu_id": _shared(Number(0, 1023, whole=True, optional=False)),
    "threads": _shared(Number(0, 1024, whole=True, optional=False)),
    "deterministic": FLAG,
    "seed": Key(Number(0, 2**32 - 1, whole=True, optional=False)),
    "data_path": _folder("../data/"),
    "runs_dir": _folder("../runs/"),
    "run_dir": _folder("../runs/mine/", optional=True),
    "cache_dir": _folder("../cache/", optional=True),
    "USER_ID_FIELD": _text("userID", optional=False),
    "ITEM_ID_FIELD": _text("itemID", optional=False),
    "RATING_FIELD": _text("rating"),
    "TIME_FIELD": _text("timestamp"),
    "inter_splitting_label": _text("x_label", optional=False),
    "inter_file_name": _file("tiktok.inter"),
    "field_separator": _shared(Separator("\t", literal=True)),
    "filter_out_cod_start_users": SHARED_FLAG,
    "NEG_PREFIX": _text("neg__", optional=False),
    "modalities": _shared(Mapping(Name("image_feat.npy"), "{name: file}, of the data folder")),
    "vision_feature_file": _file("image_feat.npy"),
    "text_feature_file": _file("text_feat.npy"),
    "user_graph_dict_file": _file("user_graph_dict.npy"),
    "how_to_get": _text("a sentence"),
    "is_multimodal_model": FLAG,
    "end2end": FLAG,
    "train_batch_size": _count(1),
    "use_neg_sampling": FLAG,
    "use_full_sampling": FLAG,
    "use_neighborhood_loss": FLAG,
    "req_training": FLAG,
    "epochs": _count(1),
    "stopping_step": _count(0),
    "patience_steps": _count(0),
    "eval_step": _count(1),
    "learner": Key(Choice(LEARNERS, optional=False)),
    "learning_rate": Key(Rate(0.0, math.inf, above=True, optional=False)),
    "learning_rate_scheduler": Key(
        Schedule(
            Number(optional=False),
            "[a, b] with a > 0 and b not 0: the rate is multiplied by a ** (epoch / b)",
            2,
            optional=False,
        )
    ),
    "weight_decay": Key(Decay(0.0)),
    "clip_grad_norm": Key(
        Mapping(
            what=f"keywords such as {{max_norm: 5.0}}, of {', '.join(CLIP)}",
            known=CLIP,
            needed="max_norm",
        )
    ),
    "checkpoint_seconds": Key(Number(0, optional=False)),
    "keep_last": FLAG,
    "metrics": _shared(
        ListOf(
            Choice(METRICS, optional=False), f"a list of metrics of {', '.join(METRICS)}",
            optional=False,
        )
    ),
    "topk": _shared(
        ListOf(
            Number(1, MANY, whole=True, optional=False),
            "a list of different positive whole numbers",
            optional=False,
        )
    ),
    "valid_metric": _shared(Text("Recall@20", literal=True, optional=False)),
    "eval_batch_size": _count(1),
    "mask_valid_at_test": SHARED_FLAG,
    "save_recommended_topk": FLAG,
    "tensorboard": FLAG,
}  # fmt: skip
# of configs/mg.yaml, which --mg adds
MIRROR = {
    "alpha1": Key(Number(optional=False)),
    "alpha2": Key(Number(optional=False)),
    "beta": _count(1),
}
ABOUT_KEYS = ("hyper_parameters", "defaults")  # of every yaml: what is searched, what is not
# what other programs call a key of ours
ELSEWHERE = {
    **{"lr": "learning_rate", "batch_size": "train_batch_size", "batchsize": "train_batch_size"},
    **{"patience": "stopping_step", "early_stop": "stopping_step", "optimizer": "learner"},
    **{"device": "use_gpu", "gpu": "use_gpu", "metric": "valid_metric", "wd": "weight_decay"},
    **{"k": "topk", "top_k": "topk", "cutoffs": "topk"},
    **{"n_epochs": "epochs", "num_epochs": "epochs", "dataset_path": "data_path"},
}
PATH_KEYS = tuple(name for name, key in HOST.items() if key.path)
SHARED_KEYS = tuple(name for name, key in HOST.items() if key.shared)


def nearest_key(key: object, known: Iterable) -> str:
    """`nearest`, which also knows what other programs call our keys."""
    meant = ELSEWHERE.get(str(key).lower())
    return f" Did you mean '{meant}'?" if meant in {*known} else nearest(key, known)


def kind_of(key: str, example: object, ours: bool = True, mirrored: bool = False) -> Kind:
    """The kind of a key. example: what the yaml files show, for a key that is the model's. ours:
    whether the model is. mirrored: with configs/mg.yaml.
    """
    if known := HOST.get(key) or (MIRROR.get(key) if mirrored else None):
        return known.kind
    largest = MOST_LAYERS if key.endswith("layers") else LARGEST
    return kind_like(example, largest if ours else math.inf)


def read_word(key: str, text: str, yamls: Iterable[Path]) -> object:
    """The value of --key=text. yamls: of the models whose key it may be. ConfigError if it has no
    value or cannot be read.
    """
    if not text.strip():
        raise ConfigError(f"--{key} has no value; write --{key}=value, or leave it out")
    if key == "hyper_parameters":
        kind = ListOf(Text())
    else:
        kind = kind_of(key, None if key in HOST else _example(key, yamls), mirrored=True)
    try:
        return kind.read(text)
    except ConfigError as error:
        raise ConfigError(f"the value of --{key} {error}") from error


def _example(key, yamls):
    """What the first of the yaml files that has the key shows of its value."""
    for path in yamls:
        values = read_yaml(path)
        if key in values:
            listed = values.get("hyper_parameters")
            value = values[key]
            if isinstance(listed, list) and key in listed and isinstance(value, list) and value:
                return value[0]
            return value
    return None


@functools.cache
def model_yamls() -> tuple[Path, ...]:
    """The yaml files of our models."""
    return tuple(sorted((CONFIGS / "model").glob("*.yaml")))


def check_overall(values: dict, where: str) -> None:
    """ConfigError unless overall.yaml has the host's keys, all of them and no other."""
    for key in values:
        if key not in HOST and key not in ABOUT_KEYS:
            raise ConfigError(
                f"{where} has '{key}', which is no key of the host.{nearest(key, HOST)} A model's "
                "keys stand in its own yaml"
            )
    for key in HOST:
        if key not in values:
            raise ConfigError(f"{where} lacks '{key}'; every key of the host has its line there")


def check_model(values: dict, where: str, source: Path) -> None:
    """ConfigError for a key of a yaml file of ours that the model's `source` does not name and that
    looks like a mistyped one of the host.
    """
    for key in values:
        if key in HOST or key in ABOUT_KEYS:
            continue
        close = difflib.get_close_matches(str(key), HOST, cutoff=ALIKE)
        if close and source.is_file() and f'"{key}"' not in source.read_text(encoding="utf-8"):
            raise ConfigError(
                f"{where} has '{key}', which nothing reads. Did you mean '{close[0]}'?"
            )


def check_data_set(values: dict, where: str, also: Iterable[str], strict: bool) -> None:
    """ConfigError for a key of a data set's yaml that neither host nor model has. also: the model's
    keys. strict: refuse all of these; else only what looks like a mistyped one.
    """
    known = {*HOST, *ABOUT_KEYS, *also}
    for key in values:
        if key in known:
            continue
        if strict or difflib.get_close_matches(str(key), known, cutoff=ALIKE):
            close = nearest(key, known)
            raise ConfigError(f"{where} has '{key}', which is no key of a data set.{close}")
