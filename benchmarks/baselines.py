"""What each model costs beside the products that it cannot do without, side by side in one run.

    python benchmarks/models.py --threads=1 --clock cpu           # the paper's sizes, generated
    python benchmarks/models.py --threads=1 --clock cpu -d tiktok --data_path=data/
        [--models BPR,MGCN] [--sizes tmall,hm] [--batches 20] [--keep FILE]
        [--key=value of the models ...]

Every model of src/models but LD4MRec (ld4mrec.py) and each data set get a process of their own.
Ours and the bare products (costs.py) take turns, so that a busy machine slows both. Settings are
the yamls' defaults.
- training: seconds per epoch, the median batch times the batches, one batch being a step as the
  trainer makes it. What a model does before an epoch (LATTICE, DiffMM) is timed apart, with the
  first batch, and counted once. What occurs twice in a batch is multiplied once by the bare ones.
- evaluation: of the validation and the test split. Bare: the products of the vectors and of the
  scores, and torch's top-K. A model without such vectors is measured beside its own
  `full_sort_predict` and top-K.
- start-up: CPU seconds of the process until the first batch. Bare: `import torch`.
- memory: the process's peak while the model is built, trained and evaluated; on CUDA what torch
  took at most. Bare: torch, the weights with their gradients and Adam's two moments, the model's
  fixed tensors, the scores of one batch of users.
Beside tiktok's figures stand those of a reference implementation (`REFERENCE`), CPU seconds.

--clock cpu counts the seconds of the process in place of the wall's, where other work shares the
cores (one thread: with more, their seconds add up).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import bare
import shared
import sizes
import torch
from case import IMPORTED, Case
from costs import COSTS, Parts
from shared import compare, median, start_up

from common.abstract_recommender import AbstractRecommender
from common.dot_product import DotProductRecommender
from ld4mrec.config.words import parse_overrides
from ld4mrec.plugins import sources
from ld4mrec.training.timing import WARM_UP, Steps, machine, peak

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
PEAK = "memory.peak_memory(__import__('torch').device('cpu'))['ram_bytes']"
TARGETS = {"LATTICE": 10}  # times faster on the sum; 3 for the others


def costs_of(case):
    """The bare products, None where none are declared."""
    declared = COSTS.get(case.config["model"])
    return declared and declared(Parts(case.model, case.config, next(iter(case.train))))


def evaluate(case):
    """Both splits, with the vectors of the model as it is now."""
    case.model.train()  # forgets the vectors, as an epoch makes it
    for loader in case.evaluated:
        case.trainer.evaluator.evaluate(case.model, loader)


def first_batch(case):
    """A call that does what comes before an epoch, and its first batch."""
    batch = next(iter(case.train))

    def work():
        case.model.train().pre_epoch_processing()
        case.trainer.step(batch.clone(), 0).tolist()

    return work


@torch.no_grad()
def bare_evaluation(case, vectors):
    """A call that makes the products of the vectors, then scores and top-K from ready vectors, for
    each split.
    """
    products = bare.Products(vectors, gradients=False)
    model, k = case.model.eval(), max(case.config["topk"])
    splits, score = [list(loader) for loader in case.evaluated], model.full_sort_predict
    if isinstance(model, DotProductRecommender):
        users, items = (x.clone() for x in model.vectors())

        def score(batch):
            return users[batch[0]] @ items.T

    @torch.no_grad()
    def work():
        for batches in splits:
            products()
            for batch in batches:
                score(batch).topk(k)

    return work


def patiently(clock, n, *functions):
    """n turns of functions that have been warm for long; only one if that takes too long."""
    found = clock.turns(1, *functions, warm_up=0)
    return found if sum(found[0]) > LONG else found + clock.turns(n - 1, *functions, warm_up=0)


def training(case, steps, first_batch, costs):
    """{figure: value} of epochs; costs may be None."""
    length, clock = len(case.train), case.clock
    bare_step = bare.Products(costs.step) if costs else lambda: None
    ours, others, _ = compare(clock.turns(case.batches, steps, bare_step, warm_up=1))
    optimiser = median(clock.turns(5, case.trainer.optimizer.step, warm_up=1))
    found = {"batches": length, "timed": case.batches, "optimiser": optimiser * length}
    first = ours
    if type(case.model).pre_epoch_processing is not AbstractRecommender.pre_epoch_processing:
        bare_opening = bare.Products(costs.opening if costs else [])
        first, bare_first, _ = compare(patiently(clock, OPENINGS, first_batch, bare_opening))
        others += bare_first / length
        found["opening"] = first - ours
    epoch, bare_epoch = first + ours * (length - 1), others * length
    return found | {"epoch": epoch, "bare_epoch": bare_epoch if costs else None}


def evaluation(case, costs):
    """{figure: value} of the evaluation of both splits."""
    others = bare_evaluation(case, costs.vectors if costs else [])
    turns = patiently(case.clock, EVALUATIONS, lambda: evaluate(case), others)
    ours, others, ratio = compare(turns)
    users = sum(len(loader.eval_users) for loader in case.evaluated)
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
    users = min(case.config["eval_batch_size"], max(len(x.eval_users) for x in case.evaluated))
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
        first, steps = first_batch(case), Steps(case.trainer, case.train)
        first()
        for _ in range(min(WARM_UP, case.batches)):
            steps()
    evaluate(case)
    found = {
        "model": name,
        "data": dataset,
        "peak": peak(case.device),  # before anything bare exists
        "needed": needed_memory(case),
        "parameters": sum(p.numel() for p in all_weights(case.model)),
        "machine": machine(case.device, clock),
        "imports": IMPORTED,
        "loading": case.loaded - IMPORTED,
        "building": case.built - case.loaded,
        "start": case.built,
    }
    costs = costs_of(case)
    if trained:
        found |= training(case, steps, first, costs)
    return found | evaluation(case, costs) | sparse_ways(case, costs)


def report(results, torch_seconds, torch_bytes):
    """Print the tables."""
    more = {"torch": torch_seconds}
    results = [r | more | {"bare": r["needed"] + torch_bytes} for r in results]

    def table(title, columns, of=results):
        """columns: {head: key, or function, of a model's figures}."""
        readers = [c if callable(c) else lambda r, c=c: r.get(c) for c in columns.values()]
        rows = [[r["model"], r["data"], *(read(r) for read in readers)] for r in of]
        shared.table(title, ["model", "data", *columns], rows)

    def ratio(ours, others):
        return lambda r: r[ours] / r[others] if r[others] else None

    def mebibytes(key):
        return lambda r: f"{r[key] / 2**20:,.0f}"

    def few(r):
        return f"{FEW_BATCHES[r['model']]} batches timed" if r["model"] in FEW_BATCHES else ""

    trained = [r for r in results if "epoch" in r]
    epochs = {"batches": "batches", "ours": "epoch", "bare": "bare_epoch"}
    epochs |= {"ratio": ratio("epoch", "bare_epoch"), "of ours: opening": "opening"}
    table("training, seconds per epoch", epochs | {"Adam": "optimiser", "": few}, trained)
    evaluations = {"users": "users", "ours": "evaluation", "bare": "bare_evaluation"}
    table("evaluation of validation and test, seconds", evaluations | {"ratio": "ratio"})
    parts = {part: part for part in ("imports", "loading", "building")}
    parts |= {"sum": "start", "import torch": "torch", "ratio": ratio("start", "torch")}
    table("start-up, CPU seconds", parts)
    memories = {"parameters": lambda r: f"{r['parameters']:,}"}
    memories |= {"ours": mebibytes("peak"), "bare": mebibytes("bare")}
    table("parameters, and peak memory, MiB", memories | {"ratio": ratio("peak", "bare")})
    if sparse := [r for r in results if "csr" in r]:
        ways = {"CSR matrices": lambda r: r["csr"] * 1e3}
        ways |= {"sum of weighted rows": lambda r: r["rows"] * 1e3, "ratio": "csr_ratio"}
        table("one sparse product, milliseconds", ways, sparse)
    if compared := [r for r in trained if r["data"] == "tiktok" and r["model"] in REFERENCE]:
        head = ["model", "reference", "ours", "times faster", "target", "with start-up"]
        shared.table(
            "beside the reference: epoch + evaluation, seconds", head, map(speed_up, compared)
        )


def speed_up(r):
    """A row of a model that the reference was timed on."""
    theirs, ours = sum(REFERENCE[r["model"]]), r["epoch"] + r["evaluation"]
    started = (theirs + REFERENCE_START) / (ours + r["start"])
    return [r["model"], theirs, ours, theirs / ours, TARGETS.get(r["model"], 3), started]


def alone(name, dataset, words, options):
    """`measure` in a process of its own; None if it failed."""
    command = [sys.executable, __file__, "--alone", "--models", name, "-d", dataset]
    command += ["--batches", str(options.batches), "--clock", options.clock, *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(f"{name} on {dataset} failed", file=sys.stderr)
        return None
    found = json.loads(done.stdout.splitlines()[-1])
    seconds = {key: found[key] for key in ("epoch", "evaluation") if key in found}
    print(name, dataset, seconds, file=sys.stderr)
    return found


def kept(path):
    """{(model, data set): figures} of a file of --keep; a killed run's half line is left out."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path and path.is_file() else ():
        with suppress(ValueError):
            figures = json.loads(line)
            found[figures["model"], figures["data"]] = figures
    return found


def measure_all(names, options, words, folder):
    """Measure each model on each data set and print; the exit status."""
    torch_seconds = start_up("import torch")
    torch_bytes = start_up("import torch; from ld4mrec.training import memory", PEAK)
    done, failed = [], 0
    before = kept(options.keep)
    for dataset in options.datasets:
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


@shared.in_words
def main(arguments=None):
    there = [name for name in sources.model_names() if name not in ELSEWHERE]
    parser = shared.parser(__doc__)
    parser.add_argument("--models", default=",".join(there), help="comma-separated")
    shared.cost_arguments(parser, sizes.SIZES)
    parser.add_argument(
        "--keep", type=Path, help="a file of figures, a line each: added to, and not timed again"
    )
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options, words = shared.parse_costs(parser, arguments, sizes.SIZES)
    names = shared.known(parser, "model", options.models.split(","), there)
    overrides = parse_overrides(words)
    if options.alone:
        (name,) = names
        found = measure(name, options.dataset, overrides, options.clock, options.batches)
        print(json.dumps(found))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        return measure_all(names, options, words, Path(temporary))


if __name__ == "__main__":
    sys.exit(main())
