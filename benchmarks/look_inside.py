"""What a trained LD4MRec uses: parts of its input shuffled among the users, its gates, its steps.

    python benchmarks/look_inside.py -d tiktok [--data_path=...] [--seeds 1,2,3] [--key=value ...]

The same keys as for main.py; a run that is finished is reused, another is trained first. Validation
Recall@20, mean and standard deviation over seeds:
- shuffled: each user gets another user's row of one part (the part's values stay as they are), so
  the fall from "as trained" is what that part carries; the history decides only what FC in reads;
- infer_step and inference_steps: the same weights with another inference (Fig. 3).
And of the parameters: the rms of E (eq. 17); that of FC in's weights beside what Xavier's rule
gave them at first (l2_weight pulls on them); for both CG blocks the mean of the gate (eq. 20) and
its spread, the standard deviation over users, averaged over channels.
"""

import statistics
import sys

import numpy as np
import shared
import torch

from ld4mrec.config.words import parse_overrides
from ld4mrec.evaluation.evaluator import TopKEvaluator
from ld4mrec.runs.reopen import load
from ld4mrec.search.train import run

METRIC = "recall@20"
SHUFFLE_SEED = 0


def parts(model):
    """Names of what can be shuffled."""
    signals = ["collaborative"] if model.ablation != "no_cg" else []
    if model.net.pg_blocks:
        signals += [f"preference_{name}" for name in model.modalities]
    graphs = [] if model.item_graph is None else ["item_graph"]
    return ["history", "user_step", *signals, *graphs]


class OthersHistories(torch.nn.Module):
    """Histories of user order[u] for user u; `asked` are the users of the last call."""

    def __init__(self, history, order):
        super().__init__()
        self.history, self.order, self.start = history, order, history.start

    def bags(self, users):
        self.asked = users
        return self.history.bags(self.order[users])


class OthersSignals(torch.nn.Module):
    """Signals of the users whose histories were asked for last, of them one of user order[u].

    place: which one, of c and the modalities' in their order; None: all are the users' own.
    """

    def __init__(self, model, histories, order, place):
        super().__init__()
        self.signals, self.histories = model.history_signals, histories
        self.order, self.place = order, place

    def of(self, users):
        c, preferences = self.signals(*self.histories.history.bags(users))
        return [c, *preferences]

    def forward(self, items, begin):
        users = self.histories.asked
        found = self.of(users)
        if self.place is not None:
            found[self.place] = self.of(self.order[users])[self.place]
        return found[0], found[1:]


class OthersGraph(torch.nn.Module):
    """Sums over the item graph of the users' own histories, or of those of users order[u]."""

    def __init__(self, graph, histories, order):
        super().__init__()
        self.graph, self.histories, self.order = graph, histories, order

    def add_to(self, scores, items, begin):
        users = self.order[self.histories.asked]
        return self.graph.add_to(scores, *self.histories.history.bags(users))


def shuffle(model, part, order):
    """Give user u the row of user order[u]; returns what undoes it."""
    replaced = ("user_step", "history", "history_signals", "item_graph")
    before = {name: getattr(model, name) for name in replaced}
    order = order.to(model.user_step.device)
    if part == "user_step":
        model.user_step = torch.nn.Parameter(before["user_step"].detach()[order])
    else:
        own = torch.arange(len(order), device=order.device)
        names = ["collaborative", *(f"preference_{name}" for name in model.modalities)]
        place = names.index(part) if part in names else None
        model.history = OthersHistories(before["history"], order if part == "history" else own)
        model.history_signals = OthersSignals(model, model.history, order, place)
        if model.item_graph is not None:
            of = order if part == "item_graph" else own
            model.item_graph = OthersGraph(before["item_graph"], model.history, of)
    return lambda: [setattr(model, name, value) for name, value in before.items()]


@torch.no_grad()
def numbers(model):
    """{what: value} of the learned step embedding, of FC in, and of the gates."""
    net = model.served
    weights = net.item_in  # (I, d)
    found = {
        "rms of E": rms(model.user_step),
        "rms of FC in": rms(weights),
        "rms of FC in at first": 1.0 if net.unit else (2 / sum(weights.shape)) ** 0.5,
    }
    if model.ablation != "no_cg":
        for k, block in enumerate(net.cg_blocks, 1):
            gate = block.gate(model.user_step).sigmoid()  # (U, d_h), at inference
            found[f"gate {k}, mean"] = float(gate.mean())
            found[f"gate {k}, spread over users"] = float(gate.std(0).mean())
    return found


def rms(tensor):
    return float(tensor.square().mean().sqrt())


def look(finished):
    """{what: number} of a finished run, Recall on validation."""
    model, _, valid, _ = load(finished)
    evaluator = TopKEvaluator(finished.config)

    def recall():
        return evaluator.evaluate(model, valid).metrics[METRIC]

    order = torch.from_numpy(np.random.default_rng(SHUFFLE_SEED).permutation(model.n_users))
    found = {"as trained": recall()}
    for part in parts(model):
        undo = shuffle(model, part, order)
        found[f"{part} shuffled"] = recall()
        undo()
    kept = model.infer_step, model.inference_steps
    model.infer_step = "zero" if kept[0] == "init_only" else "init_only"
    found[f"infer_step {model.infer_step}"] = recall()
    model.infer_step = kept[0]
    for steps in (1, 2, 5, 10, 20, 40):
        if steps <= model.diffusion.steps:
            model.inference_steps = steps
            found[f"inference_steps {steps}"] = recall()
    model.inference_steps = kept[1]
    return found | numbers(model)


@shared.in_words
def main(arguments=None):
    parser = shared.parser(__doc__)
    parser.add_argument("-d", "--dataset", required=True)
    shared.seeds_argument(parser)
    options, words = parser.parse_known_args(arguments)
    keys, found = parse_overrides(words), []
    for seed in options.seeds:
        (finished,) = run("LD4MRec", options.dataset, keys | {"seed": seed}, resume=True)
        found.append(look(finished))
    seeds = ",".join(map(str, options.seeds))
    print(f"\n{options.dataset}, seeds {seeds}; Recall@20 is validation's\n")
    print("| | mean | s.d. |\n|---|---|---|")
    for name in found[0]:
        values = [numbers_of_seed[name] for numbers_of_seed in found]
        spread = f"{statistics.stdev(values):.4f}" if len(values) > 1 else ""
        print(f"| {name} | {statistics.mean(values):.4f} | {spread} |")


if __name__ == "__main__":
    sys.exit(main())
