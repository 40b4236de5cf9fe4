"""The command `ld4mrec`: the scripts of the checkout, under one name."""

import importlib
import sys

import ld4mrec
from ld4mrec.errors import exit_status, nearest

COMMANDS = {
    "train": "train and evaluate a model, search its hyper-parameters, check a plugin",
    "compare": "models side by side on a data set: seeds, paired tests, a report",
    "experiments": "the paper's tables and figures",
    "recommend": "top-K lists of a finished run, or an export for serving",
    "plug": "put LD4MRec into a MMRec checkout, or take it out again",
    "prepare": "raw downloads to data folders",
}
PREPARE = {
    "tmall": "TMALL, from the files as they were downloaded",
    "microlens": "MicroLens-50k, likewise",
    "hm": "H&M, likewise",
    "own": "your own data: CSV, Parquet, JSON lines, RecBole, Amazon, MovieLens, ...",
    "sample": "a small made-up raw download of one of these",
    "demo": "a small made-up data folder with known bounds",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command that the words name; the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["--version"]:
        print(f"ld4mrec {ld4mrec.__version__}")
        return 0
    if words[:1] == ["prepare"]:
        return _run("ld4mrec prepare", PREPARE, "ld4mrec.preprocessing", words[1:])
    return _run("ld4mrec", COMMANDS, "ld4mrec.commands", words)


def _run(prog, known, package, words):
    """Hand the words to the module that the first of them names."""
    word, *rest = words or [None]
    if word in ("-h", "--help"):
        return exit_status(lambda: print(_help(prog, known)), "interrupted")
    if word not in known:
        wrong = "no command is given" if word is None else f"there is no command '{word}'"
        print(f"error: {prog}: {wrong}.{nearest(word or '', known)}", file=sys.stderr)
        return 2

    def command():
        return importlib.import_module(f"{package}.{word}").main(rest, f"{prog} {word}")

    return exit_status(command, "interrupted")


def _help(prog, known):
    lines = [f"  {name:11}  {text}" for name, text in known.items()]
    return "\n".join([f"usage: {prog} COMMAND ...; COMMAND --help tells the rest", "", *lines])


if __name__ == "__main__":
    sys.exit(main())
