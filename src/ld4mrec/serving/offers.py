"""What a run's model offers of common/servable.py, or the reason why it does not."""

from common.servable import ExportParts, Exports, FoldsIn, HistoryScores, needs_history
from ld4mrec.errors import RunError
from ld4mrec.plugins.sources import get_model, model_names
from ld4mrec.serving.trained import Trained


def history_scores(trained: Trained) -> HistoryScores:
    """The model's `FoldsIn.fold_in`; RunError, with the reason, if it has none."""
    if not isinstance(trained.model, FoldsIn):
        raise RunError(
            f"{trained.name} has no scores for users who were not in the training data; --history "
            f"works with {_models_that(lambda model: issubclass(model, FoldsIn))}"
        )
    return _asked(trained.model.fold_in)


def export_parts(trained: Trained) -> ExportParts:
    """The model's `Exports.export_parts`; RunError, with the reason, if it has none."""
    if not isinstance(trained.model, Exports):
        raise RunError(
            f"{trained.name} cannot be exported: it has no method export_parts; --export works "
            f"with {_models_that(lambda model: issubclass(model, Exports))}"
        )
    return _asked(trained.model.export_parts)


def for_anybody() -> str:
    """Names of our models that need no history of a user."""
    return _models_that(lambda model: not needs_history(model))


def _models_that(can):
    return ", ".join(name for name in model_names() if can(get_model(name)))


def _asked(method):
    try:
        return method()
    except ValueError as error:  # the run's options rule it out
        raise RunError(str(error)) from error
