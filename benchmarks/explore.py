"""LD4MRec's defaults by validation: one change at a time, the mean over seeds, nothing from test.

    python benchmarks/explore.py -d tiktok [--data_path=data/] [--seeds 1,2,3]
        [--minutes 60] [--only dropout,l2_weight=0.3] [--report FILE] [--key=value ...]

Every setting of SPACE is the yaml's defaults with one change; --key=value changes the base that all
of them share (here a patience of 5 epochs, unless said otherwise). Each setting and seed is a run,
whose folder in runs_dir is the ledger: finished runs are reused, a stopped one goes on, so the same
command goes on where it was. --minutes: no run starts later than that. --list prints the settings.
Only validation Recall@20 is read and shown; a gap counts against the standard error of the
difference, which a column gives for runs paired by seed.
"""

import statistics
import sys
import time
from pathlib import Path

import shared

from ld4mrec.config.words import parse_overrides
from ld4mrec.errors import DivergedError
from ld4mrec.search.train import run
from ld4mrec.terminal import quiet_terminal

METRIC = "recall@20"
BASE = {"stopping_step": 5, "keep_last": False}
SPACE = {
    "learning_rate": [1e-3, 1e-4],
    "output_init": ["xavier"],
    "negative_weight": [1.0, 0.1, 0.01, 0.003],
    "item_dropout": [0.0, 0.8, 0.9],
    "l2_weight": [0.005, 0.05],
    "dropout": [0.5],
    "svd_rank": [100, 200, 400, 800, 1200, 1600],
    "item_block": ["none", "paper"],
    "signal_scale": ["column"],
    "svd_input": ["raw"],
    "activation": ["leaky_relu"],
    "diffusion_steps": [2, 40],
    "noise_scale": [1e-3, 1e-2],
    "noise_min": [0.1],
    "soft_gamma": [0.0, 0.2],
    "soft_prob": [0.2],
    "step_losses": ["row"],
    "loss_weight": ["snr"],
    "loss_reduction": ["mean"],
    "pg_transform": ["lowrank"],
    "step_size": [100],
    "hidden_size": [100],
    "weight_decay": [1e-2],
}


def settings(only=None):
    """[(name, changed keys)], the unchanged base first. only: keys, or names like key=value."""
    changes = [
        (f"{key}={value}", {key: value})
        for key, values in SPACE.items()
        for value in values
        if only is None or key in only or f"{key}={value}" in only
    ]
    return [("base", {}), *changes]


def explore(dataset, base, named, seeds, minutes):
    """{name: {seed: result or None}}; a line per run. None: it diverged or was refused."""
    found = {name: {} for name, _ in named}
    deadline = time.monotonic() + 60 * minutes
    for seed in seeds:
        for name, changes in named:
            if time.monotonic() > deadline:
                print(f"{minutes:g} minutes are over; the same command goes on from here")
                return found
            print(f"{name}, seed {seed}: ", end="", flush=True)
            try:
                with quiet_terminal():  # the log of a run tells its test metrics
                    keys = base | changes | {"seed": seed}
                    (trained,) = run("LD4MRec", dataset, keys, resume=True)
                found[name][seed] = result = trained.result
                print(f"{result['valid'][METRIC]:.4f} at epoch {result['best_epoch'] + 1}")
            except DivergedError as error:
                print("diverged")
                print(f"{name}, seed {seed}: {error}", file=sys.stderr)
                found[name][seed] = None
    return found


def table(found):
    """Markdown lines: the settings by their mean on validation, best first."""
    base = found["base"]
    rows = []
    for name, by_seed in found.items():
        done = {s: r["valid"][METRIC] for s, r in by_seed.items() if r}
        if not done:
            rows.append((-1.0, f"| {name} | {'failed' if by_seed else 'not run'} | | | | |"))
            continue
        mean = statistics.mean(done.values())
        pairs = [value - base[s]["valid"][METRIC] for s, value in done.items() if base.get(s)]
        gap = "" if name == "base" or not pairs else f"{statistics.mean(pairs):+.4f}"
        if gap and len(pairs) > 1:
            gap += f" ± {statistics.stdev(pairs) / len(pairs) ** 0.5:.4f}"
        results = [r for r in by_seed.values() if r]
        epochs = statistics.mean(r["best_epoch"] + 1 for r in results)
        seconds = statistics.mean(sum(r["seconds"].values()) for r in results)
        values = " ".join(f"{value:.4f}" for value in done.values())
        text = f"| {name} | {mean:.4f} | {values} | {gap} | {epochs:.0f} | {seconds:.0f} |"
        rows.append((mean, text))
    head = "| setting | mean | seeds | to base ± s.e. | best epoch | seconds |"
    best_first = sorted(rows, key=lambda row: -row[0])
    return [head, "|---|---|---|---|---|---|", *(text for _, text in best_first)]


@shared.in_words
def main(arguments=None):
    parser = shared.parser(__doc__)
    parser.add_argument("-d", "--dataset", required=True)
    shared.seeds_argument(parser)
    parser.add_argument("--minutes", type=float, default=60, help="default: 60")
    parser.add_argument(
        "--only", help="comma-separated keys of SPACE, or settings as --list names them"
    )
    parser.add_argument("--report", type=Path, help="also write the table to this file")
    parser.add_argument("--list", action="store_true", help="print the settings and stop")
    options, words = parser.parse_known_args(arguments)
    only = options.only.split(",") if options.only else None
    named = settings(only)
    if unknown := set(only or ()) - {*SPACE, *(name for name, _ in settings())}:
        parser.error(f"--only has {', '.join(sorted(unknown))}; --list prints what there is")
    if options.list:
        print(*(name for name, _ in named), sep="\n")
        return 0
    base = BASE | parse_overrides(words)
    try:
        found = explore(options.dataset, base, named, options.seeds, options.minutes)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130
    keys = " ".join(f"{key}={value}" for key, value in base.items())
    lines = [f"validation Recall@20 on {options.dataset}; base: {keys}", "", *table(found)]
    print("", *lines, sep="\n")
    if options.report:
        options.report.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
