"""Train and evaluate one model on one data set, or search its hyper-parameter grid.

    python src/main.py -m LD4MRec -d tiktok
        one run with the yaml's defaults
    python src/main.py -m LD4MRec -d tiktok --learning_rate=5e-4
        the same, one key changed
    python src/main.py -m LD4MRec -d tiktok --grid
        every combination of the hyper-parameters' lists
    python src/main.py -m LD4MRec -d tiktok --grid --soft_prob=[0.005,0.01] --seed=[1,2,3]
        other lists
    python src/main.py -m THEIRS -d baby --plugin path/to/theirs.py
        a model file written for MMRec

Any key of configs/overall.yaml, of the data set's yaml and of the model's yaml can be given as
--key=value; lists are written as in yaml. The winner of a grid is chosen on validation.
"""

import argparse
import sys

from utils.configurator import dataset_names, parse_yaml
from utils.errors import ConfigError, UserError, nearest
from utils.plugins import model_names
from utils.runs import run

FLAGS = ("--model", "--dataset", "--grid", "--resume", "--mg", "--plugin", "--help")


def parser():
    layout = argparse.RawDescriptionHelpFormatter
    usage = (
        "main.py -m MODEL -d DATASET [--grid] [--resume] [--mg] [--plugin PATH] [--key=value ...]"
    )
    one = argparse.ArgumentParser(
        usage=usage, description=__doc__, formatter_class=layout, allow_abbrev=False
    )
    models = f"one of {', '.join(model_names())}, or a plugin's class"
    data_sets = f"one of {', '.join(dataset_names())}, or your own folder in data_path"
    one.add_argument("-m", "--model", required=True, help=models)
    one.add_argument("-d", "--dataset", required=True, help=data_sets)
    one.add_argument("--grid", action="store_true", help="search the hyper-parameters' lists")
    one.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    one.add_argument("--mg", action="store_true", help="mirror gradient, see configs/mg.yaml")
    one.add_argument("--plugin", metavar="PATH", help="a MMRec model file, or a folder of such")
    return one


def parse_overrides(words):
    """{key: value} of --key=value or --key value; ConfigError for anything else."""
    overrides, words = {}, list(words)
    while words:
        word = words.pop(0)
        key, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not key.isidentifier():
            meant = f" Did you mean --{word}?" if equals and key.isidentifier() else ""
            raise ConfigError(f"'{word}' is no option; options look like --key=value.{meant}")
        if not equals:
            if not words or words[0].startswith("--"):
                raise ConfigError(f"--{key} has no value; write --{key}=value.{_similar(word)}")
            text = words.pop(0)
        if key in overrides:
            raise ConfigError(f"--{key} is given twice")
        overrides[key] = parse_yaml(text, f"the value of --{key}")
    return overrides


def _similar(word):
    close = nearest(word, FLAGS)
    return close if "Did you mean" in close else ""


def main(arguments=None):
    options, rest = parser().parse_known_args(arguments)
    try:
        runs = run(
            options.model,
            options.dataset,
            parse_overrides(rest),
            grid=options.grid or None,
            resume=options.resume,
            mg=options.mg,
            plugin=options.plugin,
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "interrupted; the same command with --resume goes on (a grid goes on by itself)",
            file=sys.stderr,
        )
        return 130
    best = runs[0]
    for split in ("valid", "test"):
        print(
            f"{split:>5}: "
            + "  ".join(f"{key} {value:.4f}" for key, value in best.result[split].items())
        )
    print(f"best epoch {best.result['best_epoch']}; results in {best.folder.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
