"""Values of the host's own keys that no run can use."""

import math
import sys

from ld4mrec.config.yaml_files import parse_yaml
from ld4mrec.errors import ConfigError, nearest

LEARNERS = ("adam", "sgd", "adagrad", "rmsprop")
METRICS = ("recall", "recall2", "ndcg", "precision", "map")


def check_values(values: dict, mg: bool = False) -> None:
    """ConfigError for a value of the host's own keys that no run can use. mg: those of mg.yaml are
    among them; else a model may have keys of these names.
    """

    def check(key, fits, wanted, known=()):
        if not fits:
            hint = f".{nearest(values[key], known)}" if known else ""
            raise ConfigError(f"{key} is {values[key]!r}; wanted {wanted}{hint}")

    least = dict.fromkeys(("epochs", "train_batch_size", "eval_batch_size", "eval_step"), 1)
    least |= dict.fromkeys(("stopping_step", "threads", "gpu_id", "seed"), 0)
    for key, low in least.items():
        whole = isinstance(values[key], int) and not isinstance(values[key], bool)
        check(key, whole and values[key] >= low, f"a whole number of at least {low}")
    check("seed", values["seed"] < 2**32, "a seed below 2**32")
    rate = values["learning_rate"]
    check("learning_rate", is_number(rate) and 0 < rate < math.inf, "a positive number")
    decay = values["weight_decay"]
    if isinstance(decay, str):  # MMRec's yamls may hold it as text
        decay = parse_yaml(decay, "weight_decay")
    check("weight_decay", not decay or (is_number(decay) and decay > 0), "a number from 0")
    check("checkpoint_seconds", is_number(values["checkpoint_seconds"]), "a number of seconds")
    schedule = values["learning_rate_scheduler"]
    fits = isinstance(schedule, list) and len(schedule) == 2 and all(map(is_number, schedule))
    fits = fits and schedule[0] > 0 and schedule[1] != 0
    wanted = "[a, b] with a > 0: the rate is multiplied by a ** (epoch / b)"
    check("learning_rate_scheduler", fits, wanted)
    clip = values["clip_grad_norm"]
    known = ("max_norm", "norm_type", "error_if_nonfinite", "foreach")
    fits = not clip or (isinstance(clip, dict) and "max_norm" in clip and set(clip) <= set(known))
    check("clip_grad_norm", fits, f"keywords such as {{max_norm: 5.0}}, of {', '.join(known)}")
    if mg:
        every = values["beta"]
        check("beta", type(every) is int and every > 0, "a whole number of at least 1")
    learner = str(values["learner"]).lower()
    check("learner", learner in LEARNERS, f"one of {', '.join(LEARNERS)}", LEARNERS)
    topk, metrics = values["topk"], values["metrics"]
    counts = isinstance(topk, list) and all(type(k) is int and k > 0 for k in topk)
    counts = counts and topk and len(set(topk)) == len(topk)
    check("topk", counts, "a list of different positive whole numbers")
    check("metrics", bool(metrics) and isinstance(metrics, list), "a list of metrics")
    for metric in metrics:
        wanted = f"only {', '.join(METRICS)}, '{metric}' is none of them"
        check("metrics", str(metric).lower() in METRICS, wanted)
    keys = [f"{metric}@{k}".lower() for metric in metrics for k in topk]
    wanted = "one of the metrics x topk of this run"
    check("valid_metric", str(values["valid_metric"]).lower() in keys, wanted, keys)


def is_number(value: object) -> bool:
    """Whether it is a number that a float can hold; yaml's True and False are none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= sys.float_info.max
    return isinstance(value, float)
