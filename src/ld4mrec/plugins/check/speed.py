"""How long a training step of a model takes, and how much memory, on data of tiktok's size."""

import statistics
from pathlib import Path

from ld4mrec.data.interactions import RecDataset
from ld4mrec.errors import counted
from ld4mrec.plugins import sources
from ld4mrec.plugins.check.toy_data import write_large_data
from ld4mrec.runs.opening import open_model
from ld4mrec.runs.request import shims_for
from ld4mrec.runs.run import own_view
from ld4mrec.training import memory
from ld4mrec.training.timing import Clock, Steps, peak
from ld4mrec.training.trainer import Trainer

NAME = "large"
STEPS, SECONDS = 10, 20  # whichever is over first
OF_THE_CHECK = ("train_batch_size", "eval_batch_size", "data_path", "cache_dir")


def measure_speed(source: sources.ModelSource, overrides: dict, folder: Path) -> str:
    """A sentence; also where the model does not run on such data, for that is no failure.

    overrides: {key: value} of the configuration; the batches are the model's own. folder: empty.
    """
    what = write_large_data(folder, NAME)
    keys = {key: value for key, value in overrides.items() if key not in OF_THE_CHECK}
    keys |= {"data_path": f"{folder}/", "cache_dir": str(folder / "cache")}
    try:
        config = sources.config_of(source, NAME, keys).points()[0]
        if not config["req_training"]:
            return ""
        model_class = sources.load_model_class(source)
        splits = RecDataset(config).split()
        with shims_for(config), own_view(config, "speed", splits[0]) as config:
            memory.reset_peak_memory(config["device"])
            opened = open_model(config, splits, model_class)
            clock, steps = (
                Clock("wall", config["device"]),
                Steps(Trainer(config, opened.model), opened.train),
            )
            opened.model.train()
            opened.model.pre_epoch_processing()
            steps()
            taken = []
            while len(taken) < STEPS and sum(taken) < SECONDS:
                taken.append(clock.seconds(steps))
    except Exception as error:  # whatever a plugin's code may raise
        return f"not measured on {what}: {type(error).__name__}: {error}"
    seconds, mib = statistics.median(taken), peak(config["device"]) / 2**20
    return (
        f"{seconds:.3f} s a step of {counted(steps.rows, 'row')}, "
        f"{counted(len(opened.train), 'step')} an epoch, {mib:,.0f} MiB at most, on {what}"
    )
