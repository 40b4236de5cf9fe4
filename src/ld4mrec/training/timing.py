"""What times are taken with: clocks, steps of the trainer, memory, the machine in a line."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ld4mrec.errors import counted
from ld4mrec.training import memory

WARM_UP = 3  # calls before the first one that counts


class Clock:
    """Seconds of calls: of the wall or of this process ("cpu"), with the GPU's work finished."""

    def __init__(self, kind: str, device: torch.device):
        self.now = time.process_time if kind == "cpu" else time.perf_counter
        self.wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    def seconds(self, function: Callable[[], object]) -> float:
        self.wait()
        started = self.now()
        function()
        self.wait()
        return self.now() - started

    def turns(self, n: int, *functions: Callable, warm_up: int = WARM_UP) -> list[list[float]]:
        """Seconds (n, len(functions)) of functions that take turns, n times, after a warm-up."""
        for function in functions:
            for _ in range(warm_up):
                function()
        return [[self.seconds(function) for function in functions] for _ in range(n)]


class Steps:
    """Training steps of the trainer, one per call, over the full batches of epoch after epoch."""

    def __init__(self, trainer, loader):
        self.trainer, self.loader = trainer, loader
        self.batches, self.index = iter(()), 0
        by_user = loader.use_full_sampling and loader.neg_sampling
        self.rows = min(loader.batch_size, len(loader.all_uids if by_user else loader.users))

    def __call__(self):
        batch = next(self.batches, None)
        if batch is None or batch.shape[-1] < self.rows:  # the last one is short
            self.trainer.model.train()
            self.batches = iter(self.loader)
            batch = next(self.batches)
        self.trainer.step(batch, self.index).tolist()  # the trainer reads the loss, too
        self.index += 1


def peak(device: torch.device) -> int:
    """The peak memory in bytes since the last `memory.reset_peak_memory`."""
    found = memory.peak_memory(device)
    return found.get("cuda_bytes", found["ram_bytes"])


def machine(device: torch.device, kind: str) -> str:
    """The machine in a line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    return (
        f"{gpu}{named[0] if named else platform.processor()}, {counted(os.cpu_count(), 'core')}, "
        f"{counted(torch.get_num_threads(), 'thread')}, torch {torch.__version__}, seconds by "
        f"{kind} clock"
    )
