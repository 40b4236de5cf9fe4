"""The patience rule, and how a dictionary of metrics is printed."""


def early_stopping(
    value: float, best: float, cur_step: int, max_step: int, bigger: bool = True
) -> tuple[float, int, bool, bool]:
    """One more evaluation: (best value, evaluations without improvement, whether to stop, whether
    it improved).

    An improvement is strictly better than `best`; NaN and ties are none. Training stops when MORE
    than `max_step` evaluations in a row brought none (contract section 9), so a patience of s needs
    s + 1 of them.
    """
    if value > best if bigger else value < best:
        return value, 0, False, True
    cur_step += 1
    return best, cur_step, cur_step > max_step, False
