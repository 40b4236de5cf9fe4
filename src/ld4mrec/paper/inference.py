"""Fig. 3: forward-free inference against 1, 2, 5, ... steps of noise put on the history first.

One trained model, nothing retrained: the same weights are asked in each way.
"""

import statistics

import torch

from common.largest import largest
from ld4mrec.comparison.findings import over_seeds, shown
from ld4mrec.evaluation.evaluator import TopKEvaluator
from ld4mrec.paper.colophon import colophon
from ld4mrec.paper.measured import measured
from ld4mrec.paper.runs import METRICS, OURS, cell_of, entry_of, planned, why_missing
from ld4mrec.report.panels import Panels
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Cell, Table
from ld4mrec.training.timing import Clock

TITLE = "Inference strategies (Fig. 3)"
VERSION = 2  # of what is measured
STEPS = (0, 1, 2, 5, 10, 20, 40, 100)  # as far as the model has them
TURNS = 3  # timed passes of each strategy, after one that is not
FREE = "forward-free"
CODED = "forward-free, step code 0 added"  # the other reading of the text: E_u + code(0)
TIME = "full inference, s"


def rows(setup):
    return planned(setup, [entry_of(setup, changes={"inference_steps": 0})])


def report(setup, rows):
    (row,) = rows
    found, gone = measured(rows, "inference", VERSION, measure)
    table = strategies(found, why_missing(row) or gone)
    drawn = [f"test {shown(metric)}" for metric in ("recall@20", "ndcg@20")] + [TIME]
    drawn = [name for name in drawn if table.is_numeric(name)]
    figure = Panels(
        name="inference",
        caption="The same weights asked with and without noise on the history: accuracy, mean and "
        "standard deviation over seeds, and seconds to rank all items for all users.",
        table=table,
        columns=tuple(drawn),
        highlight=(FREE,),
    )
    return Report(
        title=f"{TITLE}: {setup.dataset}",
        lead=(
            "The paper's inference reads the history as it is; the other strategies put t steps of "
            "noise on it and tell the network so, still in one pass. The paper's figure has no "
            "numbers in its text.",
        ),
        sections=(Section("Strategies", (table, *([figure] if drawn else []))),),
        colophon=colophon(setup, rows),
    )


def name_of(steps):
    return FREE if steps == 0 else f"{steps} forward step{'s' * (steps > 1)}"


def measure(one, model, loaders):
    """{strategy: {valid, test: {metric: value}, seconds}} of a model with its weights."""
    _, valid, test = loaders
    evaluator = TopKEvaluator(one.config)
    ways = {name_of(t): (t, "init_only") for t in STEPS if t <= model.diffusion.steps}
    ways[CODED] = (0, "zero")
    seconds, before = timed(model, ways, one.config), _way(model)
    found = {}
    for name, way in ways.items():
        model.inference_steps, model.infer_step = way
        metrics = [evaluator.evaluate(model, split).metrics for split in (valid, test)]
        found[name] = {"valid": metrics[0], "test": metrics[1], "seconds": seconds[name]}
    model.inference_steps, model.infer_step = before
    return found


def _way(model):
    return model.inference_steps, model.infer_step


@torch.no_grad()
def timed(model, ways, config):
    """{name: median seconds to score all items and take the top K, for all users}; the strategies
    take turns, so that a busy machine slows all alike. ways: {name: (steps, infer_step)}.
    """
    users = torch.arange(model.n_users, device=config["device"])
    k, before = max(config["topk"]), _way(model)

    def asked(way):
        def score():
            model.inference_steps, model.infer_step = way
            for batch in users.split(config["eval_batch_size"]):
                largest(model.full_sort_predict([batch, None]), k)

        return score

    clock = Clock("wall", users.device)
    turns = clock.turns(TURNS, *map(asked, ways.values()), warm_up=1)
    model.inference_steps, model.infer_step = before
    return dict(zip(ways, map(statistics.median, zip(*turns, strict=True)), strict=True))


def strategies(found, why):
    """A row per strategy. found: {seed: what `measure` gave}."""
    names = list(dict.fromkeys(name for by_name in found.values() for name in by_name)) or [FREE]
    columns = {"validation Recall@20": ("valid", "recall@20")}
    columns |= {f"test {shown(metric)}": ("test", metric) for metric in METRICS}
    lines = []
    for name in names:
        of_name = [by_name[name] for by_name in found.values() if name in by_name]
        cells = [
            cell_of([one[split][metric] for one in of_name], why)
            for split, metric in columns.values()
        ]
        seconds = [one["seconds"] for one in of_name]
        cells.append(over_seeds(seconds, ".3f") if seconds else Cell(None, note=why))
        lines.append((name, tuple(cells)))
    notes = (
        f"{OURS}; mean and standard deviation over seeds. {TIME}: scores of all items and their "
        f"top K for all users, the median of {TURNS} passes, strategies taking turns.",
    )
    title = "Accuracy and time of the inference strategies"
    table = Table("inference", title, (*columns, TIME), tuple(lines), notes, row_title="strategy")
    return table.marked(dict.fromkeys(columns, True) | {TIME: False})
