"""What each model costs beside the products that it cannot do without, side by side in one run.

    python benchmarks/models.py --threads=1 --clock cpu           # the paper's sizes, generated
    python benchmarks/models.py --threads=1 --clock cpu -d tiktok --data_path=data/
        [--models BPR,MGCN] [--sizes tmall,hm] [--batches 20] [--keep FILE]
        [--key=value of the models ...]

Every model of src/models but LD4MRec (ld4mrec.py) and each data set get a process of their own.
Ours and the bare products (costs.py has a few lines for each model) take turns, so that a busy
machine slows both. Settings are the yamls' defaults; nothing comes from the cache.
- training: seconds per epoch, the median batch times the batches, one batch being a step as the
  trainer makes it: the next batch of the loader, loss, backward, optimiser. Where a model has work
  to do before an epoch (LATTICE, DiffMM), that and the first batch are timed apart and counted
  once. Bare: products of sparse and of dense matrices, forward and the gradients that are needed,
  and the rows of tables that a batch reads and writes; no optimiser, loss, activation or noise.
  What occurs twice in a batch is multiplied once.
- evaluation: of the validation and the test split, as the trainer asks for it. Bare: the products
  of the vectors of all users and items, of the scores, and torch's top-K. A model without such
  vectors is measured beside its own `full_sort_predict` and top-K.
- start-up: seconds of the process until the first batch. Bare: `import torch`.
- memory: the process's peak while the model is built, trained and evaluated, before anything bare
  exists; on CUDA what torch took at most. Bare: torch, the weights with their gradients and Adam's
  two moments, the model's fixed tensors, the scores of one batch of users. Parameters and weights:
  those of DiffMM's denoisers and MMSSL's critic among them.
Beside tiktok's figures stand those of a reference implementation (`REFERENCE`), CPU seconds.

--clock cpu counts the seconds of the process in place of the wall's, where other work shares the
cores (one thread: with more, their seconds add up). Start-up is CPU seconds always.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import torch

SOURCE = Path(__file__).resolve().parents[1] / "src"
sys.path[:0] = [str(SOURCE), str(Path(__file__).parent)]

import bare  # noqa: E402 (the path comes first)
import sizes  # noqa: E402
from costs import COSTS, Parts  # noqa: E402
from timing import WARM_UP, Clock, Steps, compare, machine, peak, start_up, table  # noqa: E402

from common.abstract_recommender import AbstractRecommender  # noqa: E402
from common.dot_product import DotProductRecommender  # noqa: E402
from ld4mrec.config.configuration import Config  # noqa: E402
from ld4mrec.config.words import parse_overrides  # noqa: E402
from ld4mrec.data.interactions import RecDataset  # noqa: E402
from ld4mrec.errors import UserError  # noqa: E402
from ld4mrec.plugins import sources  # noqa: E402
from ld4mrec.runs import opening  # noqa: E402
from ld4mrec.training import memory, randomness  # noqa: E402
from ld4mrec.training.trainer import Trainer  # noqa: E402

IMPORTED = time.process_time()
ELSEWHERE = {"LD4MRec"}  # has a benchmark of its own
FEW_BATCHES = {"MMSSL": 3}  # whose batch takes seconds
PRIVATE = {  # networks with an optimiser of their own, not among the model's parameters
    "DiffMM": lambda model: model.drawer.modules,
    "MMSSL": lambda model: model.critic.network,
}
EVALUATIONS = OPENINGS = 3
LONG = 20.0  # seconds of one, which is then timed once
REFERENCE_START = 2.3
REFERENCE = {  # on tiktok, one thread: seconds of a training epoch, of validation and test
    "BPR": (0.32, 1.5),
    "LightGCN": (1.27, 1.5),
    "VBPR": (0.59, 1.5),
    "BM3": (2.1, 1.45),
    "MGCN": (5.75, 1.5),
    "SLMRec": (8.2, 1.6),
    "LATTICE": (61.0, 58.0),
}
TARGETS = {"LATTICE": 10}  # times faster on the sum; 3 for the others


class Case:
    """One model on one data set, as a run makes it."""

    def __init__(self, name, dataset, overrides, clock):
        paths = {"cache_dir": None} | overrides
        self.config = Config(name, dataset, paths).points(grid=False)[0]
        randomness.set_threads(self.config["threads"] or torch.get_num_threads())
        memory.keep_freed_memory()
        self.device = self.config["device"]
        self.clock = Clock(clock, self.device)
        memory.reset_peak_memory(self.device)
        splits = RecDataset(self.config).split()
        self.train, *self.splits = opening.make_loaders(self.config, splits)
        self.loaded = time.process_time()
        model_class = sources.load_model_class(sources.find_model(name))
        self.model = opening.build(model_class, self.config, self.train)
        self.built = time.process_time()
        self.trainer = Trainer(self.config, self.model)

    def costs(self):
        """The bare products, None where none are declared."""
        declared = COSTS.get(self.config["model"])
        return declared and declared(Parts(self.model, self.config, next(iter(self.train))))


class Opening:
    """What comes before an epoch, and its first batch."""

    def __init__(self, case):
        self.case = case
        self.batch = next(iter(case.train))

    def __call__(self):
        model = self.case.model.train()
        model.pre_epoch_processing()
        self.case.trainer.step(self.batch.clone(), 0).tolist()


class Evaluation:
    """Both splits evaluated, with the vectors of the model as it is now."""

    def __init__(self, case):
        self.case = case

    def __call__(self):
        self.case.model.train()  # forgets the vectors, as an epoch makes it
        for loader in self.case.splits:
            self.case.trainer.evaluator.evaluate(self.case.model, loader)


class BareEvaluation:
    """Scores and top-K of both splits from ready vectors, after the products of the vectors."""

    @torch.no_grad()
    def __init__(self, case, vectors):
        self.products = bare.Products(vectors, gradients=False)
        model, self.k = case.model.eval(), max(case.config["topk"])
        self.batches = [list(loader) for loader in case.splits]
        self.score = model.full_sort_predict
        if isinstance(model, DotProductRecommender):
            users, items = (x.clone() for x in model.vectors())
            self.score = lambda batch: users[batch[0]] @ items.T

    @torch.no_grad()
    def __call__(self):
        for batches in self.batches:
            self.products()
            for batch in batches:
                self.score(batch).topk(self.k)


def patiently(clock, n, *functions):
    """n turns of functions that have been warm for long; only one if that takes too long."""
    found = clock.turns(1, *functions, warm_up=0)
    return found if sum(found[0]) > LONG else found + clock.turns(n - 1, *functions, warm_up=0)


def training(case, steps, opening, costs):
    """{figure: value} of epochs; costs may be None."""
    length, clock = len(case.train), case.clock
    bare_step = bare.Products(costs.step) if costs else lambda: None
    ours, others, _ = compare(clock.turns(case.batches, steps, bare_step, warm_up=1))
    optimiser = clock.turns(5, case.trainer.optimizer.step, warm_up=1)
    optimiser = statistics.median(seconds for (seconds,) in optimiser)
    found = {"batches": length, "timed": case.batches, "optimiser": optimiser * length}
    first = ours
    if type(case.model).pre_epoch_processing is not AbstractRecommender.pre_epoch_processing:
        bare_opening = bare.Products(costs.opening if costs else [])
        first, bare_first, _ = compare(patiently(clock, OPENINGS, opening, bare_opening))
        others += bare_first / length
        found["opening"] = first - ours
    epoch, bare_epoch = first + ours * (length - 1), others * length
    return found | {"epoch": epoch, "bare_epoch": bare_epoch if costs else None}


def evaluation(case, costs):
    """{figure: value} of the evaluation of both splits."""
    others = BareEvaluation(case, costs.vectors if costs else [])
    turns = patiently(case.clock, EVALUATIONS, Evaluation(case), others)
    ours, others, ratio = compare(turns)
    users = sum(len(loader.eval_users) for loader in case.splits)
    return {"users": users, "evaluation": ours, "bare_evaluation": others, "ratio": ratio}


def sparse_ways(case, costs):
    """Seconds of torch's product of CSR matrices and of the sum of weighted rows."""
    found = next((x for x in costs.step if isinstance(x, bare.Sparse)), None) if costs else None
    if found is None:
        return {}
    matrix, x = found.matrices[0], found.x
    ways = (lambda: matrix @ x), (lambda: bare.weighted_rows(matrix, x))
    csr, rows, ratio = compare(case.clock.turns(20, *ways))
    return {"csr": csr, "rows": rows, "csr_ratio": ratio}


def all_weights(model):
    """The model's parameters and those of its private networks."""
    private = PRIVATE.get(type(model).__name__)
    return [*model.parameters(), *(private(model).parameters() if private else [])]


def needed_memory(case):
    """Bytes of the weights four times, of fixed tensors and of a batch of scores."""
    weights = sum(p.nbytes for p in all_weights(case.model))
    fixed = sum(map(nbytes, case.model.buffers()))
    users = min(case.config["eval_batch_size"], max(len(x.eval_users) for x in case.splits))
    return 4 * weights + fixed + 4 * users * case.model.n_items


def nbytes(tensor):
    if tensor.layout != torch.sparse_csr:
        return tensor.nbytes
    return sum(x.nbytes for x in (tensor.crow_indices(), tensor.col_indices(), tensor.values()))


def measure(name, dataset, overrides, clock="wall", batches=20):
    """All figures of a model on a data set, in this process."""
    case = Case(name, dataset, overrides, clock)
    case.batches = FEW_BATCHES.get(name, batches)
    trained = case.trainer.optimizer is not None
    if trained:
        opening, steps = Opening(case), Steps(case.trainer, case.train)
        opening()
        for _ in range(min(WARM_UP, case.batches)):
            steps()
    Evaluation(case)()
    found = {"model": name, "data": dataset, "peak": peak(case.device)}
    found["parameters"] = sum(p.numel() for p in all_weights(case.model))
    found |= {"needed": needed_memory(case), "machine": machine(case.device, clock)}
    found |= {"imports": IMPORTED, "loading": case.loaded - IMPORTED}
    found |= {"building": case.built - case.loaded, "start": case.built}
    costs = case.costs()
    if trained:
        found |= training(case, steps, opening, costs)
    return found | evaluation(case, costs) | sparse_ways(case, costs)


def report(results, torch_seconds, torch_bytes):
    """Print the tables."""

    def rows(*keys, of=results):
        return [[r["model"], r["data"], *(key(r) for key in keys)] for r in of]

    def ratio(ours, others):
        return lambda r: r[ours] / r[others] if r[others] else "-"

    def or_dash(key):
        return lambda r: "-" if r.get(key) is None else r[key]

    trained = [r for r in results if "epoch" in r]
    few = {name: f"{n} batches timed" for name, n in FEW_BATCHES.items()}
    print("**training, seconds per epoch**\n")
    table(
        ["model", "data", "batches", "ours", "bare", "ratio", "of ours: opening", "Adam", ""],
        rows(
            lambda r: r["batches"],
            lambda r: r["epoch"],
            or_dash("bare_epoch"),
            ratio("epoch", "bare_epoch"),
            or_dash("opening"),
            lambda r: r["optimiser"],
            lambda r: few.get(r["model"], ""),
            of=trained,
        ),
    )
    print("**evaluation of validation and test, seconds**\n")
    table(
        ["model", "data", "users", "ours", "bare", "ratio"],
        rows(*(lambda r, k=k: r[k] for k in ("users", "evaluation", "bare_evaluation", "ratio"))),
    )
    print("**start-up, CPU seconds**\n")
    table(
        ["model", "data", "imports", "loading", "building", "sum", "import torch", "ratio"],
        rows(
            *(lambda r, k=k: r[k] for k in ("imports", "loading", "building", "start")),
            lambda r: torch_seconds,
            lambda r: r["start"] / torch_seconds,
        ),
    )
    print("**parameters, and peak memory, MiB**\n")
    table(
        ["model", "data", "parameters", "ours", "bare", "ratio"],
        rows(
            lambda r: f"{r['parameters']:,}",
            lambda r: f"{r['peak'] / 2**20:,.0f}",
            lambda r: f"{(r['needed'] + torch_bytes) / 2**20:,.0f}",
            lambda r: r["peak"] / (r["needed"] + torch_bytes),
        ),
    )
    if sparse := [r for r in results if "csr" in r]:
        print("**one sparse product, milliseconds**\n")
        table(
            ["model", "data", "CSR matrices", "sum of weighted rows", "ratio"],
            rows(
                lambda r: r["csr"] * 1e3,
                lambda r: r["rows"] * 1e3,
                lambda r: r["csr_ratio"],
                of=sparse,
            ),
        )
    compared = [r for r in trained if r["data"] == "tiktok" and r["model"] in REFERENCE]
    if compared:
        print("**beside the reference: epoch + evaluation, seconds**\n")

        def sums(r):
            theirs, ours = sum(REFERENCE[r["model"]]), r["epoch"] + r["evaluation"]
            started = (theirs + REFERENCE_START) / (ours + r["start"])
            return [r["model"], theirs, ours, theirs / ours, TARGETS.get(r["model"], 3), started]

        head = ["model", "reference", "ours", "times faster", "target", "with start-up"]
        table(head, map(sums, compared))


def alone(name, dataset, words, options):
    """`measure` in a process of its own; None if it failed."""
    command = [sys.executable, __file__, "--alone", "--models", name, "-d", dataset]
    command += ["--batches", str(options.batches), "--clock", options.clock, *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(f"{name} on {dataset} failed", file=sys.stderr)
        return None
    found = json.loads(done.stdout.splitlines()[-1])
    print(
        name, dataset, {k: found[k] for k in ("epoch", "evaluation") if k in found}, file=sys.stderr
    )
    return found


def kept(path):
    """{(model, data set): figures} of a file of --keep; a killed run's half line is left out."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path and path.is_file() else ():
        with suppress(ValueError):
            one = json.loads(line)
            found[one["model"], one["data"]] = one
    return found


def measure_all(names, options, words, folder):
    """Measure each model on each data set and print; the exit status."""
    torch_seconds = start_up("import torch")
    torch_bytes = start_up("import torch; from ld4mrec.training import memory", PEAK)
    done, failed = [], 0
    before = kept(options.keep)
    for dataset in [options.dataset] if options.dataset else options.sizes.split(","):
        if not options.dataset and any((name, dataset) not in before for name in names):
            sizes.write(folder, dataset, sizes.SIZES[dataset])
        where = [] if options.dataset else [f"--data_path={folder}/"]
        for name in names:
            found = before.get((name, dataset)) or alone(name, dataset, [*words, *where], options)
            failed += found is None
            done += [found] if found else []
            if options.keep and found and (name, dataset) not in before:
                with open(options.keep, "a", encoding="utf-8") as file:
                    file.write("\n" + json.dumps(found))  # whatever a killed run left before it
    if done:
        print(done[0]["machine"])
        print(*words, end="\n\n")
        report(done, torch_seconds, torch_bytes)
    return 1 if failed else 0


PEAK = "memory.peak_memory(__import__('torch').device('cpu'))['ram_bytes']"


def main(arguments=None):
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    known = [name for name in sources.model_names() if name not in ELSEWHERE]
    parser.add_argument("--models", default=",".join(known), help="comma-separated")
    parser.add_argument("--sizes", default=",".join(sizes.SIZES), help="comma-separated")
    parser.add_argument("-d", "--dataset", help="a data folder in --data_path instead")
    parser.add_argument("--batches", type=int, default=20, help="training steps; default: 20")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument(
        "--keep", type=Path, help="a file of figures, a line each: added to, and not timed again"
    )
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options, words = parser.parse_known_args(arguments)
    names = options.models.split(",")
    if unknown := set(names) - set(known):
        parser.error(f"no model {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if unknown := set(options.sizes.split(",")) - sizes.SIZES.keys():
        parser.error(f"no size {', '.join(sorted(unknown))}; there are {', '.join(sizes.SIZES)}")
    if options.batches < 1:
        parser.error(f"--batches is {options.batches}; wanted a number from 1")
    try:
        overrides = parse_overrides(words)
        if options.alone:
            (name,) = names
            print(
                json.dumps(
                    measure(name, options.dataset, overrides, options.clock, options.batches)
                )
            )
            return 0
        with tempfile.TemporaryDirectory() as temporary:
            return measure_all(names, options, words, Path(temporary))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
