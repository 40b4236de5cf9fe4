"""When training ends: the patience rule."""

import math
from dataclasses import dataclass

from ld4mrec.config.configuration import Config


@dataclass
class Patience:
    """Counts evaluations since the best one.

    Training ends when MORE than `limit` evaluations in a row brought no better value (contract
    section 9): a patience of s needs s + 1 of them.
    """

    limit: int
    best: float = -math.inf
    waited: int = 0

    def improves(self, value: float) -> bool:
        """Count an evaluation; is its value strictly better than all before? NaN never is."""
        if value > self.best:
            self.best, self.waited = value, 0
            return True
        self.waited += 1
        return False

    @property
    def is_over(self) -> bool:
        return self.waited > self.limit


def fewest_epochs(config: Config) -> int:
    """Epochs of the shortest training: the first evaluation is the best, then patience runs out."""
    return min(config["epochs"], (config["stopping_step"] + 2) * config["eval_step"])


def early_stopping(
    value: float, best: float, cur_step: int, max_step: int, bigger: bool = True
) -> tuple[float, int, bool, bool]:
    """MMRec's form of the rule: (best value, evaluations without improvement, whether to stop,
    whether it improved). bigger: whether larger values are better.
    """
    sign = 1 if bigger else -1
    patience = Patience(max_step, sign * best, cur_step)
    better = patience.improves(sign * value)
    return sign * patience.best, patience.waited, patience.is_over, better
