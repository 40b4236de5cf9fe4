"""Values of several keys that do not go together."""

from ld4mrec.config.kinds import shown
from ld4mrec.errors import ConfigError, nearest


def check_together(values: dict) -> None:
    """ConfigError for values of the host's keys that no run can use together. values: of one point,
    each of its key's kind.
    """
    keys = [f"{metric}@{k}".lower() for metric in values["metrics"] for k in values["topk"]]
    chosen = values["valid_metric"]
    if chosen.lower() not in keys:
        raise ConfigError(
            f"valid_metric is {shown(chosen)}; wanted one of the metrics x topk of this run."
            f"{nearest(chosen, keys)} Give --valid_metric with --topk"
        )
