"""MMRec's entry under its own name; the work is in `utils.runs`."""

from utils.runs import run


def quick_start(model, dataset, config_dict=None, save_model=True, mg=False):
    """Run the model's grid as MMRec does: every combination of the lists of the hyper-parameters.

    config_dict: {key: value} overrides. save_model: taken for MMRec's signature; weights are always
    saved. Returns the Runs of `utils.runs.run`, the winner by validation first.
    """
    return run(model, dataset, config_dict, grid=True, mg=mg)
