"""A model on a data set, built as a run builds it, with a clock for what is asked of it."""

import time

import shared  # noqa: F401 (puts src on the path)
import torch

from ld4mrec.config.configuration import Config
from ld4mrec.data.interactions import RecDataset
from ld4mrec.plugins import sources
from ld4mrec.runs import opening
from ld4mrec.training import memory, randomness
from ld4mrec.training.timing import Clock, peak
from ld4mrec.training.trainer import Trainer

IMPORTED = time.process_time()


class Case:
    """Configuration, device, clock, loaders, model and trainer. The peak of memory counts from the
    building of the model on. Nothing comes from the cache.

    clock: "wall" or "cpu". loaded, built: CPU seconds of the process at that point. build_seconds
    by the clock; build_peak in bytes.
    """

    def __init__(self, name: str, dataset: str, overrides: dict, clock: str):
        paths = {"cache_dir": None} | overrides
        self.config = Config(name, dataset, paths).points(grid=False)[0]
        randomness.set_threads(self.config["threads"] or torch.get_num_threads())
        memory.keep_freed_memory()
        self.device = self.config["device"]
        self.clock = Clock(clock, self.device)
        splits = RecDataset(self.config).split()
        self.train, *self.evaluated = opening.make_loaders(self.config, splits)
        memory.reset_peak_memory(self.device)
        self.loaded, started = time.process_time(), self.clock.now()
        model_class = sources.load_model_class(sources.find_model(name))
        self.model = opening.build(model_class, self.config, self.train)
        self.build_seconds, self.build_peak = self.clock.now() - started, peak(self.device)
        self.built = time.process_time()
        self.trainer = Trainer(self.config, self.model)
