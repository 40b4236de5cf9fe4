"""Who trains the runs of a grid, a search or a comparison: this process, or workers of Ray."""

import logging

from utils.errors import ConfigError
from utils.one_run import finish

logger = logging.getLogger(__name__)

ENGINES = ("here", "ray")
PATIENCE = 10  # seconds to wait for a run that another process holds, when nothing else is left


def add_engine_options(parser):
    """Give an argparse parser --engine, --address, --workers and --gpus-per-trial."""
    parser.add_argument(
        "--engine",
        default="here",
        metavar="NAME",
        help="here: one run after the other in this process; ray: workers of Ray (docs/scaling.md)",
    )
    parser.add_argument(
        "--address", help="with --engine ray: a running cluster, host:port or auto; else local"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="with --engine ray: how many runs at a time"
    )
    parser.add_argument(
        "--gpus-per-trial",
        type=float,
        metavar="F",
        help="with --engine ray: GPUs of a run, 0 to 1, 0.5 puts two on one; default: 1 if there "
        "is a GPU",
    )


def engine_of(options, workers_here=False):
    """The engine that the options of `add_engine_options` name, a context manager.

    workers_here: --workers has a meaning without Ray too. Raises ConfigError.
    """
    if options.engine not in ENGINES:
        raise ConfigError(f"--engine is '{options.engine}'; wanted one of {', '.join(ENGINES)}")
    if options.workers is not None and options.workers < 1:
        raise ConfigError(f"--workers is {options.workers}; wanted a whole number of at least 1")
    if options.engine == "ray":
        from utils.ray_engine import RayEngine

        return RayEngine(options.address, options.workers, options.gpus_per_trial)
    for name in ("address", "gpus_per_trial", *([] if workers_here else ["workers"])):
        if getattr(options, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} belongs to --engine ray; add that")
    return InTurn()


class InTurn:
    """Trains runs in this process, one after the other. The interface of an engine.

    workers: how many runs it trains at a time, None until it is known.
    """

    workers = 1

    def __init__(self):
        self._waiting, self._busy = [], []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def settle(self, overrides):
        """The overrides with what the engine decides, such as the device."""
        return overrides

    def start(self, threads):
        """Make ready for runs of so many threads; then `workers` is known."""

    def submit(self, work, one):
        """Take a Run, with the Work it belongs to."""
        self._waiting.append((work, one))

    def collect(self):
        """Wait for the next of the submitted runs to end; that Run, in no certain order."""
        while True:
            patience = 0 if self._waiting else PATIENCE  # what another process holds comes last
            work, one = (self._waiting or self._busy).pop(0)
            if train_locked(work, one, patience):
                return one
            if patience == 0:
                logger.info("another process is training %s", one.folder.id)
            self._busy.append((work, one))


def train_locked(work, one, patience):
    """Bring a run to its end; False if another process holds it after `patience` seconds."""
    if not one.folder.lock(timeout=patience):
        return False
    try:
        finish(one, work.model_class, work.splits, True, work.seconds, in_grid=True)
    except ConfigError as error:  # a value that the model refuses
        one.failure = str(error)
        logger.error("%s", error)
    finally:
        one.folder.unlock()
    return True
