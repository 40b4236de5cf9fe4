"""Fig. 3: forward-free inference against 1, 2, 5, ... steps of noise put on the history first.

One trained model, nothing retrained: the same weights are asked in each way.
"""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from common.largest import largest
from ld4mrec.comparison.cells import over_seeds
from ld4mrec.comparison.ledger import Row
from ld4mrec.config.configuration import Config
from ld4mrec.data.batches import users_at_once
from ld4mrec.evaluation.evaluator import TopKEvaluator
from ld4mrec.paper.accuracy import COLUMNS
from ld4mrec.paper.colophon import report_of
from ld4mrec.paper.measured import measured
from ld4mrec.paper.runs import OURS, Setup, entry_of, planned
from ld4mrec.report.panels import Panels
from ld4mrec.report.report import Report, Section
from ld4mrec.report.tables import Table
from ld4mrec.runs.run import Run
from ld4mrec.training.timing import Clock

TITLE = "Inference strategies (Fig. 3)"
LEAD = (
    "The paper's inference reads the history as it is; the other strategies put t steps of "
    "noise on it and tell the network so, still in one pass. The paper's figure has no "
    "numbers in its text.",
)
VERSION = 2  # of what is measured
STEPS = (0, 1, 2, 5, 10, 20, 40, 100)  # as far as the model has them
TURNS = 3  # timed passes of each strategy, after one that is not
FREE = "forward-free"
CODED = "forward-free, step code 0 added"  # the other reading of the text: E_u + code(0)
TIME = "full inference, s"


class Way(NamedTuple):
    """How a model is asked: its options of the same names."""

    inference_steps: int
    infer_step: str

    def put_into(self, model: nn.Module) -> None:
        """From now on the model is asked so."""
        model.inference_steps, model.infer_step = self


def rows(setup: Setup) -> list[Row]:
    """The model as it is."""
    return planned(setup, [entry_of(setup, {"inference_steps": 0})])


def report(setup: Setup, rows: list[Row]) -> Report:
    """What is missing is measured first."""
    blocks = Panels.with_table(
        strategies(*measured(*rows, "inference", VERSION, measure)),
        ("test Recall@20", "test NDCG@20", TIME),
        caption="The same weights asked with and without noise on the history: accuracy, mean and "
        "standard deviation over seeds, and seconds to rank all items for all users.",
        highlight=(FREE,),
    )
    return report_of(setup, rows, TITLE, LEAD, [Section("Strategies", blocks)])


def name_of(steps: int) -> str:
    """Of the strategy with so many forward steps."""
    return FREE if steps == 0 else f"{steps} forward step{'s' * (steps > 1)}"


def measure(run: Run, model: nn.Module, loaders: Sequence) -> dict[str, dict[str, Any]]:
    """{strategy: {valid, test: {metric: value}, seconds}} of a model with its weights."""
    _, valid, test = loaders
    evaluator = TopKEvaluator(run.config)
    ways = {name_of(t): Way(t, "init_only") for t in STEPS if t <= model.diffusion.steps}
    ways[CODED] = Way(0, "zero")
    seconds, found = timed(model, ways, run.config), {}
    before = Way(model.inference_steps, model.infer_step)
    for name, way in ways.items():
        way.put_into(model)
        on_valid, on_test = (evaluator.evaluate(model, part).metrics for part in (valid, test))
        found[name] = {"valid": on_valid, "test": on_test, "seconds": seconds[name]}
    before.put_into(model)
    return found


@torch.no_grad()
def timed(model: nn.Module, ways: dict[str, Way], config: Config) -> dict[str, float]:
    """{name: median seconds to rank all items for all users}, the strategies taking turns."""
    users = torch.arange(model.n_users, device=config["device"])
    k, before = max(config["topk"]), Way(model.inference_steps, model.infer_step)
    at_once = users_at_once(config["eval_batch_size"], model.n_items)

    def asked(way):
        def score():
            way.put_into(model)
            for batch in users.split(at_once):
                largest(model.full_sort_predict([batch, None]), k)

        return score

    clock = Clock("wall", users.device)
    turns = clock.turns(TURNS, *map(asked, ways.values()), warm_up=1)
    before.put_into(model)
    return dict(zip(ways, map(statistics.median, zip(*turns, strict=True)), strict=True))


def strategies(found: dict[int, dict[str, dict[str, Any]]], why: str | None) -> Table:
    """A row per strategy. found: {seed: what `measure` gave}. why: seeds are missing."""
    names = list(dict.fromkeys(name for by_name in found.values() for name in by_name)) or [FREE]
    lines = []
    for name in names:
        of_name = [by_name[name] for by_name in found.values() if name in by_name]
        cells = [
            over_seeds([seed[split][metric] for seed in of_name], note=why)
            for split, metric in COLUMNS.values()
        ]
        seconds = [seed["seconds"] for seed in of_name]
        cells.append(over_seeds(seconds, ".3f", None if seconds else why))
        lines.append((name, cells))
    notes = (
        f"{OURS}; mean and standard deviation over seeds. {TIME}: scores of all items and their "
        f"top K for all users, the median of {TURNS} passes, strategies taking turns.",
    )
    title = "Accuracy and time of the inference strategies"
    table = Table("inference", title, (*COLUMNS, TIME), lines, notes, "strategy")
    return table.marked(COLUMNS, smaller=[TIME])
