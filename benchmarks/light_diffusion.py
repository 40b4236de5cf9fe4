"""What LD4MRec costs beside the matrix products that it cannot do without, side by side in one run.

    python benchmarks/ld4mrec.py [--sizes tmall,microlens,hm] [--threads N] [--batches 20]
        [--clock wall] [--key=value of the model ...]
    python benchmarks/ld4mrec.py -d baby --data_path=data/      # a real data folder

Without -d the data is generated (sizes.py). Ours and the bare products (bare.py) take turns, batch
by batch, so that a busy machine slows both; a ratio is the median over the turns.
- training: seconds per epoch, the median batch times the batches of an epoch. Ours is a step as the
  trainer makes it: the next batch of the loader, loss, backward, optimiser. The bare products are
  forward and the gradients that are needed, without optimiser, noise, loss or penalty.
- inference: seconds to score all items for all users, scaled up from SCORED users. Bare: FC in as a
  sum of item rows. Top-K is timed apart, for both the same.
- memory: the process's peak while the model is built, trained and asked for scores, before anything
  bare exists; on CUDA what torch took at most.
- reverse chain: the same network run T times for each user, on the noised row with e_t + E_u, each
  time followed by the posterior mean x <- c1 x_hat + c2 x; in units of the forward-free inference.
  (4T - 2) / 2 is the expectation from the products with the large matrices alone. Such a product
  has B I d multiplications and as many additions, so 2 B I d operations. A network call has two, FC
  in and FC out: 4. T calls make 4T, less the 2 of the first FC in, if the chain starts from the
  clean, sparse row. The forward-free pass has only FC out: 2. The chain timed here starts from a
  noised row, and both have the CG and PG blocks too: "counted" is the same division with them
  (and without the 2 taken off). Below 0.7 of the expectation, the forward-free pass is too slow.
On CUDA the absolute seconds follow, with TF32, bf16 and torch.compile.

--clock cpu counts the seconds of the process in place of the wall's, where other work shares the
cores (one thread: with more, their seconds add up).
"""

import argparse
import copy
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

SOURCE = Path(__file__).resolve().parents[1] / "src"
sys.path[:0] = [str(SOURCE), str(Path(__file__).parent)]

import bare  # noqa: E402 (the path comes first)
import sizes  # noqa: E402
from timing import WARM_UP, Clock, Steps, compare, machine, peak, table  # noqa: E402

from common.diffusion import GaussianDiffusion, step_code  # noqa: E402
from ld4mrec.config.configuration import Config  # noqa: E402
from ld4mrec.config.words import parse_overrides  # noqa: E402
from ld4mrec.data.batches import EvalDataLoader  # noqa: E402
from ld4mrec.data.interactions import RecDataset  # noqa: E402
from ld4mrec.errors import UserError  # noqa: E402
from ld4mrec.plugins import sources  # noqa: E402
from ld4mrec.runs import opening  # noqa: E402
from ld4mrec.training import memory, randomness  # noqa: E402
from ld4mrec.training.trainer import Trainer  # noqa: E402

SCORED = 2048  # users
SCORINGS = 7
CHAIN_USERS, CHAINS = 512, 3
CHAIN_STEPS = (5, 10, 40)
PRECISIONS = {  # of float32 products; is bf16 used in their place?
    "float32": ("highest", False),
    "TF32": ("high", False),
    "bf16": ("highest", True),
}


class Scoring:
    """Scores of all items for some users, as the evaluator asks for them."""

    def __init__(self, model, batch):
        self.model, self.batch = model, batch

    @torch.no_grad()
    def __call__(self):
        self.model.eval()
        self.scores = None  # the evaluator has let go of the batch before
        self.scores = self.model.full_sort_predict(self.batch)


class Chain:
    """The network run as a reverse chain of T steps for some users (module docstring)."""

    def __init__(self, model, config, users, steps):
        self.model, self.users, self.steps = model, users, steps
        names = ("noise_scale", "noise_min", "noise_max", "beta_fixed")
        self.process = GaussianDiffusion(steps, *(config[name] for name in names)).to(users.device)
        codes = step_code(torch.arange(steps + 1), config["step_size"])
        self.codes = codes.to(users.device)
        kept, beta = self.process.alpha_bar, self.process.beta  # (T,)
        before = torch.cat([torch.ones_like(kept[:1]), kept[:-1]])
        # the mean of q(x_{t-1} | x_t, x_0)
        self.of_estimate = (before.sqrt() * beta / (1 - kept)).tolist()  # c1
        self.of_state = ((1 - beta).sqrt() * (1 - before) / (1 - kept)).tolist()  # c2

    @torch.no_grad()
    def __call__(self):
        model, users = self.model.eval(), self.users
        conditions = model.conditions(users)
        last = torch.full_like(users, self.steps - 1)
        x = self.process.q_sample(model.history.dense(users), last)  # (B, I)
        for k in reversed(range(self.steps)):
            estimate = model.net(x, self.codes[k + 1] + model.user_step[users], *conditions)
            x = estimate.mul_(self.of_estimate[k]).add_(x, alpha=self.of_state[k])
        return x


@dataclass
class Case:
    """One data set at work. scale: of the scored users to all users."""

    config: Config
    trainer: Trainer
    train: object
    scoring: Scoring
    clock: Clock
    build_seconds: float
    build_memory: int

    @property
    def scale(self):
        return self.trainer.model.n_users / len(self.scoring.batch[0])


def prepare(config, clock):
    """The Case of a configuration: data, loaders, model and trainer, as a run makes them."""
    splits = RecDataset(config).split()
    train, _, _ = opening.make_loaders(config, splits)
    model_class = sources.load_model_class(sources.find_model("LD4MRec"))
    memory.reset_peak_memory(config["device"])
    started = clock.now()
    model = opening.build(model_class, config, train)
    seconds, peaked = clock.now() - started, peak(config["device"])
    batch = next(iter(EvalDataLoader(config, splits[1], splits[0], SCORED)))
    trainer = Trainer(config, model)
    return Case(config, trainer, train, Scoring(model, batch), clock, seconds, peaked)


def shapes_of(case):
    """(FC in, [the blocks'], FC out)."""
    model, config = case.trainer.model, case.config
    features = [getattr(model, f"preference_{name}").shape[1] for name in model.modalities]
    inside = bare.blocks(config, model.collaborative.shape[1], features)
    return bare.fc_in(config, model.n_items), inside, bare.fc_out(config, model.n_items)


def all_shapes(case):
    first, inside, last = shapes_of(case)
    return [first, *inside, last]


def peaks(case):
    """Peak memory in bytes of training steps, and of a scoring."""
    steps, found = Steps(case.trainer, case.train), []
    for function, times in ((steps, WARM_UP), (case.scoring, 1)):
        memory.reset_peak_memory(case.config["device"])
        for _ in range(times):
            function()
        found.append(peak(case.config["device"]))
    return found


def training(case, n):
    """Ours and bare in seconds per epoch, and their ratio."""
    steps = Steps(case.trainer, case.train)
    products = bare.Training(all_shapes(case), steps.rows, case.config["device"])
    ours, others, ratio = compare(case.clock.turns(n, steps, products))
    return [ours * len(case.train), others * len(case.train), ratio]


def inference(case):
    """Ours and bare in seconds for all users, their ratio, seconds of top-K."""
    scoring, model = case.scoring, case.trainer.model
    bags = model.history.bags(scoring.batch[0])
    products = bare.Inference(all_shapes(case), *bags, case.config["device"])
    ours, others, ratio = compare(case.clock.turns(SCORINGS, scoring, products))
    largest = max(case.config["topk"])
    top = case.clock.turns(WARM_UP, lambda: torch.topk(scoring.scores, largest, dim=-1))
    top = statistics.median(seconds for (seconds,) in top)
    return [ours * case.scale, others * case.scale, ratio, top * case.scale]


def chains(case):
    """Rows, one per T: seconds for all users, ratio to forward-free, (4T - 2) / 2, counted."""
    model, users = case.trainer.model, case.scoring.batch[0][:CHAIN_USERS]
    scale = model.n_users / len(users)
    free = Scoring(model, [users, None])
    first, inside, last = shapes_of(case)
    within = sum(shape.multiply_adds for shape in inside)
    call = first.multiply_adds + within + last.multiply_adds
    rows = []
    for steps in CHAIN_STEPS:
        chain = Chain(model, case.config, users, steps)
        warm = Chain(model, case.config, users, 2)
        warm(), free()
        turns = [[case.clock.seconds(chain), case.clock.seconds(free)] for _ in range(CHAINS)]
        seconds, _, ratio = compare(turns)
        counted = steps * call / (call - first.multiply_adds)
        rows.append([steps, seconds * scale, ratio, (4 * steps - 2) / 2, counted])
    return rows


def on_cuda(case, n):
    """Rows: name, seconds per epoch, per inference, for each precision, plain and compiled.

    bf16 trains under autocast and scores with a copy of the model in bf16.
    """
    plain = case.scoring
    low = Scoring(copy.deepcopy(plain.model).bfloat16(), plain.batch)
    device, before = case.config["device"].type, torch.get_float32_matmul_precision()
    rows = []
    for how in ("", ", compiled"):
        if how:
            for scoring in (plain, low):
                net = scoring.model.net
                net.compile()
                net.hidden = torch.compile(net.hidden)  # inference calls the blocks alone
        for name, (precision, bf16) in PRECISIONS.items():
            torch.set_float32_matmul_precision(precision)
            with torch.autocast(device, torch.bfloat16, enabled=bf16):
                epoch = case.clock.turns(n, Steps(case.trainer, case.train))
            scores = case.clock.turns(SCORINGS, low if bf16 else plain)
            seconds = [statistics.median(s for (s,) in turns) for turns in (epoch, scores)]
            rows.append([name + how, seconds[0] * len(case.train), seconds[1] * case.scale])
    torch.set_float32_matmul_precision(before)
    return rows


def configuration(name, folder, overrides):
    """The yaml's defaults with overrides; data in folder, or where the overrides say."""
    paths = {"data_path": f"{folder}/", "cache_dir": None}
    return Config("LD4MRec", name, paths | overrides).points(grid=False)[0]


def measure(config, options):
    """{title: (head, rows)} for one data set; the tables of all data sets are joined by title."""
    if config["ablation"] != "none":
        raise UserError(
            f"ablation is {config['ablation']}; the bare products are the whole model's"
        )
    clock = Clock(options.clock, config["device"])
    case = prepare(config, clock)
    name = config["dataset"]
    peaked = [f"{x / 2**20:,.0f}" for x in (case.build_memory, *peaks(case))]  # before bare's
    epoch, scores = training(case, options.batches), inference(case)
    tables = {
        "training, seconds per epoch": (
            ["data", "batches", "ours", "bare products", "ratio"],
            [[name, len(case.train), *epoch]],
        ),
        "inference, seconds for all users": (
            ["data", "users", "ours", "bare products", "ratio", "top-K apart"],
            [[name, f"{case.trainer.model.n_users:,}", *scores]],
        ),
        "build once (seconds), peak memory (MiB)": (
            ["data", "build", "memory: build", "training", "inference"],
            [[name, case.build_seconds, *peaked]],
        ),
        "reverse chain": (
            ["data", "T", "seconds", "times forward-free", "(4T - 2) / 2", "of it", "counted"],
            [
                [name, steps, seconds, ratio, plain, ratio / plain, counted]
                for steps, seconds, ratio, plain, counted in chains(case)
            ],
        ),
    }
    if config["device"].type == "cuda":
        tables["on CUDA, seconds"] = (
            ["data", "how", "training, per epoch", "inference, all users"],
            [[name, *row] for row in on_cuda(case, options.batches)],
        )
    return tables


def measure_all(options, overrides, folder):
    """Measure each data set and print the tables."""
    names = [options.dataset] if options.dataset else options.sizes.split(",")
    joined = {}
    for name in names:
        if not options.dataset:
            sizes.write(folder, name, sizes.SIZES[name])
        config = configuration(name, folder, overrides)
        randomness.set_threads(config["threads"] or torch.get_num_threads())
        memory.keep_freed_memory()  # as a run does
        for title, (head, rows) in measure(config, options).items():
            joined.setdefault(title, (head, []))[1].extend(rows)
        print(f"{name} measured", file=sys.stderr)
    print(machine(config["device"], options.clock))
    print(*(f"{key}={value}" for key, value in overrides.items()), end="\n\n")
    for title, (head, rows) in joined.items():
        print(f"**{title}**\n")
        table(head, rows)


def main(arguments=None):
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--sizes", default=",".join(sizes.SIZES), help="comma-separated")
    parser.add_argument("-d", "--dataset", help="a data folder in --data_path instead")
    parser.add_argument("--batches", type=int, default=20, help="training steps; default: 20")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options, rest = parser.parse_known_args(arguments)
    if unknown := set(options.sizes.split(",")) - sizes.SIZES.keys():
        parser.error(f"no size {', '.join(sorted(unknown))}; there are {', '.join(sizes.SIZES)}")
    if options.batches < 1:
        parser.error(f"--batches is {options.batches}; wanted a number from 1")
    try:
        overrides = parse_overrides(rest)
        with tempfile.TemporaryDirectory() as temporary:
            measure_all(options, overrides, Path(temporary))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
