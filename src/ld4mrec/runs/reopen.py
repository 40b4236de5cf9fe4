"""Finished runs, opened again: the model with its best weights, the loaders it was trained with."""

from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import RunError
from ld4mrec.plugins import sources
from ld4mrec.runs.one_run import build, make_loaders
from ld4mrec.training import checkpoint


def load(one):
    """(model, (train, valid, test) loaders) of a finished Run of one of our own models.

    The model has the weights of the best epoch. Seeds the process as the run did. Raises RunError
    if the run is not finished or its weights are gone.
    """
    best = one.folder.path / "best.pt"
    if not one.result or not best.is_file():
        raise RunError(f"{one.folder.path} has no finished run with best.pt; train it first")
    source = sources.find_model(one.config["model"])
    loaders = make_loaders(one.config, RecDataset(one.config).split())
    model = build(sources.load_model_class(source), one.config, loaders[0])
    checkpoint.restore(model, checkpoint.load(best)["model"])
    return model.eval(), loaders
