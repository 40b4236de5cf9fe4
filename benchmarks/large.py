"""LD4MRec on catalogues beyond rows of users x items: seconds and memory, and how they grow.

    python benchmarks/large.py [--sizes hm_whole,million] [--steps 50] [--key=value ...]
    python benchmarks/large.py --grow 62500,125000,250000,500000,1000000 --plot FILE [...]

Data are generated (sizes.py). --grow: as many users as items, ten interactions a user, no features;
--plot draws seconds and memory over the items (FILE.svg or .png). Each size is measured in a
process of its own, in CPU seconds: to read the data, to build the model, of the median training
step, of an epoch (that step times the batches), of the 50 best of all items for 1,024 users, scored
in blocks. MiB is the peak of all of these.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import shared
import sizes

from ld4mrec.config.words import parse_overrides
from ld4mrec.paper.sizes import FEATURES, Size, write

TOP, SCORED = 50, 1024
BLOCK = 2**26  # scores at a time, as the evaluator has it
PER_USER = 10  # interactions, of --grow
SECONDS = ("read", "build", "step", "epoch", "top-50")


def measure(name: str, overrides: dict, steps: int) -> dict[str, float]:
    """{what: seconds} of SECONDS and the peak in MiB, of LD4MRec on a data set."""
    import torch
    from case import Case

    from common.largest import largest
    from ld4mrec.training.timing import Steps, peak

    started = time.process_time()
    case = Case("LD4MRec", name, overrides, "cpu")
    step = shared.median(case.clock.turns(steps, Steps(case.trainer, case.train)))
    model = case.model.eval()
    users = torch.from_numpy(case.evaluated[0].eval_users[:SCORED]).to(case.device)

    def rank():
        for block in users.split(max(1, BLOCK // model.n_items)):
            largest(model.full_sort_predict([block, None]), TOP)

    best = shared.median(case.clock.turns(1, rank, warm_up=0))
    seconds = (case.loaded - started, case.build_seconds, step, step * len(case.train), best)
    return dict(zip(SECONDS, seconds, strict=True)) | {"MiB": peak(case.device) / 2**20}


def measured_apart(name: str, words: list[str], steps: int) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--one", name, "--steps", str(steps), *words]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def plot(rows: list[dict], path: Path) -> None:
    """Seconds and MiB over the items, each beside a line that grows as the items do."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots(1, 2)
    items = [row["items"] for row in rows]
    for ax, names, unit in zip(
        axes, (("build", "epoch"), ("MiB",)), ("CPU seconds", "MiB"), strict=True
    ):
        for name in names:
            values = [row[name] for row in rows]
            ax.loglog(items, values, marker="o", label="peak memory" if name == "MiB" else name)
        first = max(rows[0][name] for name in names)
        ax.loglog(items, [first * n / items[0] for n in items], ":", color="grey", label="linear")
        ax.set_xticks(items, [f"{n:,}" for n in items], rotation=30)
        ax.minorticks_off()
        ax.set(xlabel="items, as many users, ten interactions a user", ylabel=unit)
        ax.legend()
    figure.savefig(path)


@shared.in_words
def main(arguments=None):
    parser = shared.parser(__doc__)
    parser.add_argument("--sizes", default=",".join(sizes.LARGE), help="comma-separated")
    parser.add_argument("--grow", type=shared.integers, metavar="ITEMS,...")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--steps", type=int, default=50, help="of training; default: 50")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options, words = parser.parse_known_args(arguments)
    if options.steps < 1:
        parser.error(f"--steps is {options.steps}; wanted a number from 1")
    if options.one:
        print(json.dumps(measure(options.one, parse_overrides(words), options.steps)))
        return 0
    if options.grow:
        chosen = {f"{n}": Size(n, n, PER_USER * n) for n in options.grow}
    else:
        names = shared.known(parser, "size", options.sizes.split(","), sizes.ALL)
        chosen = {name: sizes.ALL[name] for name in names}
    rows = []
    for name, size in chosen.items():
        features = {} if options.grow or name in sizes.BARE else FEATURES
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), name, size, features=features)
            found = measured_apart(name, [f"--data_path={folder}/", *words], options.steps)
        rows.append({"data": name} | vars(size) | found)
        print(f"{name} measured: {found}", file=sys.stderr, flush=True)
    print(shared.cores(), " ".join(words), end="\n\n")
    cells = [[f"{x:,}" if isinstance(x, int) else x for x in row.values()] for row in rows]
    shared.table("LD4MRec, CPU seconds and peak memory", list(rows[0]), cells)
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    sys.exit(main())
