"""What LD4MRec costs beside the matrix products that it cannot do without, side by side in one run.

    python benchmarks/ld4mrec.py [--sizes tmall,microlens,hm] [--threads N] [--batches 20]
        [--clock wall] [--key=value of the model ...]
    python benchmarks/ld4mrec.py -d baby --data_path=data/      # a real data folder

Without -d the data is generated (sizes.py). Ours and the bare products (bare.py) take turns, batch
by batch, so that a busy machine slows both; a ratio is the median over the turns. --clock: as for
models.py.
- training: seconds per epoch, the median batch times the batches; a batch is a trainer's step.
- inference: seconds to score all items for all users, scaled up from SCORED users. Bare: FC in as a
  sum of item rows. Top-K is timed apart, for both the same.
- memory: the process's peak while the model is built, trained and asked for scores, before anything
  bare exists; on CUDA what torch took at most.
- reverse chain: the same network run T times for each user, on the noised row with e_t + E_u, each
  time followed by the posterior mean x <- c1 x_hat + c2 x; in units of the forward-free inference.
  Of the products with the large matrices a network call has two, FC in and FC out. T calls, less
  the first FC in where the chain starts from a clean, sparse row, are (4T - 2) / 2 times the
  forward-free pass, which has FC out alone. "counted" is this division with the CG and PG blocks
  and with the first FC in. Below 0.7 of the expectation, the forward-free pass is too slow.
On CUDA the absolute seconds follow, with TF32, bf16 and torch.compile.
"""

import copy
import sys
import tempfile
from pathlib import Path

import bare
import shared
import sizes
import torch
from case import Case
from shared import compare, median

from common.denoiser import reverse_steps
from common.diffusion import SCHEDULE, GaussianDiffusion, step_code
from ld4mrec.config.words import parse_overrides
from ld4mrec.errors import UserError
from ld4mrec.training import memory
from ld4mrec.training.timing import WARM_UP, Steps, machine, peak

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
        self.model, self.users = model, users
        schedule = {key: config[key] for key in SCHEDULE} | {"diffusion_steps": steps}
        self.process = GaussianDiffusion(**schedule).to(users.device)
        self.steps = reverse_steps(self.process)  # [(c2, c1)], the mean of q(x_{t-1} | x_t, x_0)
        self.codes = step_code(torch.arange(steps + 1), config["step_size"]).to(users.device)

    @torch.no_grad()
    def __call__(self):
        model, users = self.model.eval(), self.users
        conditions, net = model.conditions(users), model.served
        weights, bias = net.item_out()
        last = torch.full_like(users, len(self.steps) - 1)
        x = self.process.q_sample(model.history.dense(users), last)  # (B, I)
        for k, (c2, c1) in reversed(list(enumerate(self.steps))):
            e = self.codes[k + 1] + model.user_step[users]
            h = net.hidden(x @ net.item_in, e, *conditions)
            estimate = torch.addmm(bias, h, weights.T)
            x = estimate.mul_(c1).add_(x, alpha=c2)
        return x


class LightCase(Case):
    """LD4MRec on a data set. scoring: of SCORED validation users; scale: of these to all users."""

    def __init__(self, dataset, overrides, clock):
        super().__init__("LD4MRec", dataset, overrides, clock)
        users = torch.from_numpy(self.evaluated[0].eval_users[:SCORED]).to(self.device)
        self.scoring = Scoring(self.model, [users, None])
        self.scale = self.model.n_users / len(users)


def shapes(case):
    """The network's products, FC in first."""
    c, preferences = case.model.conditions(case.scoring.batch[0][:1])
    features = [signal.shape[1] for signal in preferences]
    return bare.shapes(case.config, case.model.n_items, c.shape[1], features)


def peaks(case):
    """Peak memory in bytes of training steps, and of a scoring."""
    steps, found = Steps(case.trainer, case.train), []
    for function, times in ((steps, WARM_UP), (case.scoring, 1)):
        memory.reset_peak_memory(case.device)
        for _ in range(times):
            function()
        found.append(peak(case.device))
    return found


def training(case, n):
    """Ours and bare in seconds per epoch, and their ratio."""
    steps = Steps(case.trainer, case.train)
    products = [bare.Product(x, steps.rows, case.device) for x in shapes(case)]
    products = bare.Products(products)
    ours, others, ratio = compare(case.clock.turns(n, steps, products))
    return [ours * len(case.train), others * len(case.train), ratio]


def inference(case):
    """Ours and bare in seconds for all users, their ratio, seconds of top-K."""
    scoring, model = case.scoring, case.model
    users, (first, *others) = scoring.batch[0], shapes(case)
    fc_in = bare.Bags(first, *model.history.bags(users), case.device)
    others = [bare.Product(x, len(users), case.device) for x in others]
    products = bare.Products([fc_in, *others], gradients=False)
    ours, others, ratio = compare(case.clock.turns(SCORINGS, scoring, products))
    largest = max(case.config["topk"])
    top = median(case.clock.turns(WARM_UP, lambda: torch.topk(scoring.scores, largest, dim=-1)))
    return [ours * case.scale, others * case.scale, ratio, top * case.scale]


def chains(case):
    """Rows, one per T, with the columns of the table."""
    model, users = case.model, case.scoring.batch[0][:CHAIN_USERS]
    scale = model.n_users / len(users)
    free = Scoring(model, [users, None])
    work = [shape.multiply_adds for shape in shapes(case)]
    rows = []
    for steps in CHAIN_STEPS:
        chain = Chain(model, case.config, users, steps)
        warm = Chain(model, case.config, users, 2)
        warm(), free()
        turns = [[case.clock.seconds(chain), case.clock.seconds(free)] for _ in range(CHAINS)]
        seconds, _, ratio = compare(turns)
        counted = steps * sum(work) / sum(work[1:])
        expected = (4 * steps - 2) / 2
        rows.append([steps, seconds * scale, ratio, expected, ratio / expected, counted])
    return rows


def on_cuda(case, n):
    """Rows: name, seconds per epoch, per inference, for each precision, plain and compiled.

    bf16 trains under autocast and scores with a copy of the model in bf16.
    """
    plain = case.scoring
    low = Scoring(copy.deepcopy(plain.model).bfloat16(), plain.batch)
    before = torch.get_float32_matmul_precision()
    rows = []
    for how in ("", ", compiled"):
        if how:
            for scoring in (plain, low):
                net = scoring.model.served
                net.hidden = torch.compile(net.hidden)  # training and inference call the blocks
        for name, (precision, bf16) in PRECISIONS.items():
            torch.set_float32_matmul_precision(precision)
            with torch.autocast(case.device.type, torch.bfloat16, enabled=bf16):
                epoch = case.clock.turns(n, Steps(case.trainer, case.train))
            scores = case.clock.turns(SCORINGS, low if bf16 else plain)
            rows.append([name + how, median(epoch) * len(case.train), median(scores) * case.scale])
    torch.set_float32_matmul_precision(before)
    return rows


def measure(dataset, overrides, options):
    """{title: (head, rows)} for one data set; the tables of all data sets are joined by title."""
    case = LightCase(dataset, overrides, options.clock)
    peaked = [f"{x / 2**20:,.0f}" for x in (case.build_peak, *peaks(case))]  # before bare's
    epoch, scores = training(case, options.batches), inference(case)
    tables = {
        "training, seconds per epoch": (
            ["data", "batches", "ours", "bare products", "ratio"],
            [[dataset, len(case.train), *epoch]],
        ),
        "inference, seconds for all users": (
            ["data", "users", "ours", "bare products", "ratio", "top-K apart"],
            [[dataset, f"{case.model.n_users:,}", *scores]],
        ),
        "build once (seconds), peak memory (MiB)": (
            ["data", "build", "memory: build", "training", "inference"],
            [[dataset, case.build_seconds, *peaked]],
        ),
        "reverse chain": (
            ["data", "T", "seconds", "times forward-free", "(4T - 2) / 2", "of it", "counted"],
            [[dataset, *row] for row in chains(case)],
        ),
    }
    if case.device.type == "cuda":
        tables["on CUDA, seconds"] = (
            ["data", "how", "training, per epoch", "inference, all users"],
            [[dataset, *row] for row in on_cuda(case, options.batches)],
        )
    return tables, machine(case.device, options.clock)


def measure_all(options, overrides, folder):
    """Measure each data set and print the tables."""
    if overrides.get("ablation", "none") != "none":
        raise UserError(
            f"ablation is {overrides['ablation']}; the bare products are the whole model's"
        )
    joined = {}
    for name in options.datasets:
        if not options.dataset:
            sizes.write(folder, name, sizes.SIZES[name])
        tables, where = measure(name, {"data_path": f"{folder}/"} | overrides, options)
        for title, (head, rows) in tables.items():
            joined.setdefault(title, (head, []))[1].extend(rows)
        print(f"{name} measured", file=sys.stderr)
    print(where)
    print(*(f"{key}={value}" for key, value in overrides.items()), end="\n\n")
    for title, (head, rows) in joined.items():
        shared.table(title, head, rows)


@shared.in_words
def main(arguments=None):
    parser = shared.parser(__doc__)
    shared.cost_arguments(parser, sizes.SIZES)
    options, words = shared.parse_costs(parser, arguments, sizes.SIZES)
    overrides = parse_overrides(words)
    with tempfile.TemporaryDirectory() as temporary:
        measure_all(options, overrides, Path(temporary))


if __name__ == "__main__":
    sys.exit(main())
