"""What `--check-plugin` asks of a model's scores."""

import torch
from torch import nn

from ld4mrec.errors import counted
from ld4mrec.evaluation.evaluator import MASKED
from ld4mrec.training import randomness

RTOL = {torch.float16: 1e-2, torch.bfloat16: 5e-2}  # of sums in another order


class Wrong(Exception):
    """What a check has against the model, as a sentence."""


def predict(model: nn.Module, batch: list[torch.Tensor]) -> torch.Tensor:
    """Scores as the evaluator asks for them; the batch is the model's own."""
    if model.training:  # only then: a model may forget a cache in eval()
        model.eval()
    with torch.no_grad():
        return model.full_sort_predict([part.clone() for part in batch])


def check_scores(
    model: nn.Module, batch: list[torch.Tensor], n_items: int
) -> tuple[str, dict[str, str], bool]:
    """(sentence, {note's name: text}, whether a seed fixes the scores) of a trained model; Wrong.

    batch: [users, mask] of the evaluation's loader.
    """
    users, mask = batch
    state, notes = randomness.capture_rng_state(), {}

    def scores(of=users, masked=mask):
        randomness.restore_rng_state(state)
        return _usable(predict(model, [of, masked]), len(of), n_items)

    first = scores()
    kept = first.clone()
    seeded = same(scores(), kept)
    if 0 in first.stride():
        notes["expanded scores"] = (
            "its rows share memory; the host copies them, MMRec writes into all at once"
        )
        first = first.clone(memory_format=torch.contiguous_format)
    first[mask[0], mask[1]] = MASKED  # an error of torch's if it refuses, as in a run
    after = scores()
    if (after[mask[0], mask[1]] <= MASKED / 2).any() or (seeded and not same(after, kept)):
        raise Wrong(
            "what the host wrote into the scores came back: full_sort_predict returns its own "
            "state, or a view of it; return a copy"
        )
    text = f"{tuple(kept.shape)}, finite, no view of its state"
    if not seeded:
        notes["scores are random"] = "they differ from call to call, whatever the seed"
    elif not same(predict(model, batch), kept):
        notes["scores are random"] = "it draws at evaluation; seeded, so a run can be repeated"
    else:
        alone = scores(users[:1], mask[:, mask[0] == 0])
        back = scores(users.flip(0), torch.stack([len(users) - 1 - mask[0], mask[1]]))
        if not (close(alone, kept[:1]) and close(back.flip(0), kept)):
            raise Wrong("the rows depend on which users are asked for together, or on their order")
        text += ", a user's row the same alone and in another order"
    return text, notes, seeded


def _usable(scores, n_users, n_items):
    """The scores, if the host can use them."""
    wanted = (n_users, n_items)
    if not isinstance(scores, torch.Tensor):
        raise Wrong(f"full_sort_predict returned {in_words(scores)}; wanted a tensor {wanted}")
    if tuple(scores.shape) != wanted:
        raise Wrong(
            f"full_sort_predict returned shape {tuple(scores.shape)} for {counted(n_users, 'user')}"
            f"; wanted (users, items) = {wanted}"
        )
    if not scores.is_floating_point():
        raise Wrong(f"full_sort_predict returned {scores.dtype}; wanted floating point")
    if not scores.isfinite().all():
        bad = int((~scores.isfinite()).any(dim=1).sum())
        raise Wrong(f"the scores of {bad} of {counted(n_users, 'user')} are not finite")
    return scores


def same(scores: torch.Tensor, others: torch.Tensor) -> bool:
    """Equal scores; a GPU adds up in no fixed order."""
    return close(scores, others) if scores.is_cuda else torch.equal(scores, others)


def close(scores: torch.Tensor, others: torch.Tensor) -> bool:
    """Equal but for the order of sums, measured by the largest score."""
    if scores.shape != others.shape:
        return False
    rtol = RTOL.get(others.dtype, 1e-4)
    largest = others.nan_to_num(0, 0, 0).abs().max().item()
    return torch.allclose(scores, others, rtol=rtol, atol=rtol * largest, equal_nan=True)


def in_words(value: object) -> str:
    """A loss or a score in words."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"{value!r:.60} ({type(value).__name__})"
