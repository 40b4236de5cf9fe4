"""When training ends: the patience rule, and what is said of an end that came too early."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ld4mrec.config.configuration import Config
from ld4mrec.errors import counted

SHARE = 3  # of the least number of steps, one in three must lie behind the best evaluation
FEW_STEPS = 100  # of the optimiser: fewer seldom learn anything
LATE = 10  # a best evaluation among the last tenth: the values were still rising
FEW_EVALUATIONS = 4  # fewer do not show that values were rising


@dataclass
class Patience:
    """Counts evaluations, and the optimiser's steps, since the best evaluation.

    Training ends when MORE than `limit` evaluations in a row brought no better value (contract
    section 9): a patience of s needs s + 1 of them. But not before `least_steps` steps in all and a
    third of them since the best evaluation: where an epoch is a few batches, evaluations run out
    before anything is learned, and models dip for ten or twenty epochs before they rise again.
    steps: in all. waited, waited_steps: since the best.
    """

    limit: int
    best: float = -math.inf
    waited: int = 0
    least_steps: int = 0
    steps: int = 0
    waited_steps: int = 0

    def improves(self, value: float, steps: int = 0) -> bool:
        """Count an evaluation after so many more steps; is its value strictly better than all
        before? NaN never is.
        """
        self.steps += steps
        if value > self.best:
            self.best, self.waited, self.waited_steps = value, 0, 0
            return True
        self.waited += 1
        self.waited_steps += steps
        return False

    @property
    def is_over(self) -> bool:
        enough = self.steps >= self.least_steps and self.waited_steps * SHARE >= self.least_steps
        return self.waited > self.limit and enough

    def state(self) -> list:
        """What `load` needs, in plain values."""
        return [self.best, self.waited, self.steps, self.waited_steps]

    def load(self, state: list) -> None:
        self.best, self.waited, self.steps, self.waited_steps = state


def fewest_epochs(config: Config, steps: int) -> int:
    """Epochs of the shortest training: the first evaluation is the best, then patience runs out.

    steps: of the optimiser in an epoch, 0 without one.
    """
    patience = Patience(config["stopping_step"], least_steps=least_steps(config))
    each = steps * config["eval_step"]
    evaluations = patience.limit + 2
    if each:
        least = patience.least_steps
        evaluations = max(evaluations, -(-least // each), 1 + -(-least // (SHARE * each)))
    return min(config["epochs"], evaluations * config["eval_step"])


def least_steps(config: Config) -> int:
    """`Patience.least_steps` of a run: none without an optimiser."""
    return config["patience_steps"] if config["req_training"] else 0


def too_early(config: Config, result: Mapping) -> list[str]:
    """Sentences on a finished run that may have ended before it had learned what it can. result:
    of result.json; runs of earlier versions lack `steps`.
    """
    if not config["req_training"]:
        return []
    epochs, steps = result["epochs"], result.get("steps")
    evaluations = max(1, epochs // config["eval_step"])
    waited = (epochs - 1 - result["best_epoch"]) // config["eval_step"]
    sentences = []
    late = waited <= evaluations // LATE and evaluations >= FEW_EVALUATIONS
    if epochs >= config["epochs"] and late:
        sentences.append(
            f"the limit of {counted(config['epochs'], 'epoch')} ended the training while it was "
            f"rising: the best is epoch {result['best_epoch'] + 1} of {epochs}; raise epochs"
        )
    elif steps is not None and epochs < config["epochs"] and steps < FEW_STEPS:
        sentences.append(
            f"patience ended the training after {counted(steps, 'step')} of the optimiser, "
            f"{steps // max(1, epochs)} an epoch; few models learn in so few: lower "
            f"train_batch_size (now {config['train_batch_size']}) or raise patience_steps (now "
            f"{config['patience_steps']}) or stopping_step (now {config['stopping_step']})"
        )
    return sentences


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
