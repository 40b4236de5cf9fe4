"""LD4MRec's results on a data set: the model, its ablations (Fig. 5), its inferences (Fig. 3).

    python benchmarks/results.py -d tiktok [--data_path=../shared/data/] [--seeds 1,2,3,4,5]
        [--ablations no_pg,no_cg,no_sr] [--report FILE] [--key=value ...]

Trains LD4MRec, "w/o PG", "w/o CG" and "w/o SR" once per seed (finished runs are reused, stopped
ones go on) and prints markdown: mean ± standard deviation over seeds on validation and test. The
inference variants are evaluated with the trained models' weights. Popularity stands beside them.
"""

import argparse
import statistics
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"
sys.path.insert(0, str(SOURCE))

from main import parse_overrides  # noqa: E402 (the path comes first)
from utils.configurator import CONFIGS, read_yaml  # noqa: E402
from utils.errors import UserError  # noqa: E402
from utils.features import modality_files  # noqa: E402
from utils.finished import load  # noqa: E402
from utils.runs import run  # noqa: E402
from utils.topk_evaluator import TopKEvaluator  # noqa: E402

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
ABLATIONS = {"LD4MRec": "none", "w/o PG": "no_pg", "w/o CG": "no_cg", "w/o SR": "no_sr"}
STEPS = (0, 1, 2, 5, 10, 20, 40)


def train(dataset, keys, seeds, ablations):
    """{name: [Run per seed]} of the model and its ablations; without modalities none is w/o PG."""
    runs = {}
    for name, value in ABLATIONS.items():
        if value != "none" and value not in ablations:
            continue
        if value == "no_pg" and not modality_files(runs["LD4MRec"][0].config):
            continue
        changes = keys | {"ablation": value}
        runs[name] = [
            run("LD4MRec", dataset, changes | {"seed": seed}, resume=True)[0] for seed in seeds
        ]
    return runs


def inferences(runs):
    """{name: [(validation, test) per seed]}: the same weights with other inferences."""
    found = {}
    for one in runs:
        model, (_, valid, test) = load(one)
        evaluator = TopKEvaluator(one.config)

        def both(name, evaluator=evaluator, model=model, valid=valid, test=test):
            values = [evaluator.evaluate(model, split).metrics for split in (valid, test)]
            found.setdefault(name, []).append(values)

        for infer_step in ("init_only", "zero"):
            model.infer_step = infer_step
            for steps in STEPS if infer_step == "init_only" else (0,):
                if steps <= model.diffusion.steps:
                    model.inference_steps = steps
                    name = f"{steps} forward steps" if steps else "forward-free"
                    both(name + (", E + code(0)" if infer_step == "zero" else ""))
    return found


def cell(values):
    """Mean ± standard deviation over seeds."""
    mean = f"{statistics.mean(values):.4f}"
    return f"{mean} ± {statistics.stdev(values):.4f}" if len(values) > 1 else mean


def table(rows):
    """Markdown lines of {name: [(validation metrics, test metrics) per seed]}."""
    lines = [
        "| | validation Recall@20 | " + " | ".join(f"test {_shown(m)}" for m in METRICS) + " |",
        "|---" * (2 + len(METRICS)) + "|",
    ]
    for name, by_seed in rows.items():
        cells = [cell([valid["recall@20"] for valid, _ in by_seed])]
        cells += [cell([test[metric] for _, test in by_seed]) for metric in METRICS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _shown(metric):
    return metric.replace("recall", "Recall").replace("ndcg", "NDCG")


def report(dataset, keys, seeds, ablations):
    """Markdown lines: both tables, and what the runs took."""
    of_the_host = read_yaml(CONFIGS / "overall.yaml")
    popularity = run("Pop", dataset, {k: v for k, v in keys.items() if k in of_the_host})
    trained = train(dataset, keys, seeds, ablations)
    rows = {
        name: [(one.result["valid"], one.result["test"]) for one in runs]
        for name, runs in ({"popularity": popularity} | trained).items()
    }
    ours = [one.result for one in trained["LD4MRec"]]
    minutes = [sum(result["seconds"].values()) / 60 for result in ours]
    epochs = [result["epochs"] for result in ours]
    best = [result["best_epoch"] + 1 for result in ours]
    return [
        *table(rows),
        "",
        f"LD4MRec: {ours[0]['parameters']:,} parameters, best epochs {_list(best)} of "
        f"{_list(epochs)}, {statistics.mean(minutes):.1f} minutes a run, threads: "
        f"{trained['LD4MRec'][0].config['threads']}.",
        "",
        *table(inferences(trained["LD4MRec"])),
    ]


def _list(numbers):
    return ", ".join(map(str, numbers))


def main(arguments=None):
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("-d", "--dataset", required=True)
    parser.add_argument("--seeds", default="1,2,3,4,5", help="comma-separated")
    parser.add_argument(
        "--ablations", default="no_pg,no_cg,no_sr", help="comma-separated; default: all three"
    )
    parser.add_argument("--report", type=Path, help="also write the tables to this file")
    options, rest = parser.parse_known_args(arguments)
    try:
        seeds = [int(seed) for seed in options.seeds.split(",")]
        keys = {"keep_last": False} | parse_overrides(rest)
        lines = report(options.dataset, keys, seeds, options.ablations.split(","))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("", *lines, sep="\n")
    if options.report:
        options.report.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
