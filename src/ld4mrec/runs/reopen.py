"""Finished runs, opened again: the model with its best weights, the loaders it was trained with."""

from ld4mrec.errors import DamagedError, RunError
from ld4mrec.runs.opening import OpenModel, open_model
from ld4mrec.runs.run import Run
from ld4mrec.training import checkpoint


def load(run: Run) -> OpenModel:
    """The model with the weights of its best epoch, in eval mode, and the loaders of a finished run
    of one of our own models.

    Seeds the process as the run did. Raises RunError if the run is not finished or its weights are
    gone, DamagedError if they are not those that were written.
    """
    best = run.folder.path / "best.pt"
    if not run.result or not best.is_file():
        raise RunError(f"{run.folder.path} has no finished run with best.pt; train it first")
    run.folder.check(best.name)
    saved = checkpoint.load(best)
    opened = open_model(run.config)
    if not isinstance(saved, dict):
        raise DamagedError(f"{best} holds no model; delete {best.parent} to run again")
    checkpoint.restore(opened.model, saved.get("model"))
    opened.model.eval()
    return opened
