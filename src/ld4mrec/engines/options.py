"""The command line's words on engines."""

from ld4mrec.errors import ConfigError

ENGINES = ("here", "ray")


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
        from ld4mrec.engines.ray_engine import RayEngine

        return RayEngine(options.address, options.workers, options.gpus_per_trial)
    for name in ("address", "gpus_per_trial", *([] if workers_here else ["workers"])):
        if getattr(options, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} belongs to --engine ray; add that")
    from ld4mrec.engines.in_turn import InTurn

    return InTurn()
