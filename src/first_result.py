"""A first result: popularity and LD4MRec on the generated data, side by side (`make demo`).

    python preprocessing/demo.py --out data/demo
    python src/first_result.py [--key=value ...]      keys as for main.py; they apply to LD4MRec

LD4MRec is narrower here than its default, 300 instead of 1000: about as good on data of this size,
in seconds instead of minutes.
"""

import json
import sys
import time

from main import parse_overrides
from utils.configurator import PATH_KEYS
from utils.errors import UserError
from utils.features import data_folder
from utils.runs import run

COLUMNS = {
    "Recall@10": "recall@10",
    "Recall@20": "recall@20",
    "NDCG@10": "ndcg@10",
    "NDCG@20": "ndcg@20",
}
NARROW = {"embedding_size": 300, "hidden_size": 300}
BOUNDS = {
    "ease": "EASE, clicks alone",
    "content_blind": "bound, clicks alone",
    "with_content": "bound, with content",
}


def table(runs):
    """Lines of a table: the test metrics of {name: Run}."""
    lines = [f"{'':20}" + "".join(f"{column:>11}" for column in COLUMNS)]
    for name, one in runs.items():
        values = (one.result["test"][key] for key in COLUMNS.values())
        lines.append(f"{name:20}" + "".join(f"{value:11.4f}" for value in values))
    return lines


def bounds(reachable):
    """Lines below the table: what the data's generator says can be reached, in the same columns."""
    for key, text in BOUNDS.items():
        recall, ndcg = reachable[key]["recall@20"], reachable[key]["ndcg@20"]
        yield f"{text:20}{'':11}{recall:11.4f}{'':11}{ndcg:11.4f}"


def main(arguments=None):
    started = time.monotonic()
    try:
        given = parse_overrides(sys.argv[1:] if arguments is None else arguments)
        paths = {key: value for key, value in given.items() if key in PATH_KEYS}
        overrides = NARROW | given
        runs = {
            "popularity": run("Pop", "demo", paths)[0],
            "LD4MRec": run("LD4MRec", "demo", overrides)[0],
        }
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    one = runs["LD4MRec"]
    print(
        f"\ntest split of the demo data, all-ranking, after {time.monotonic() - started:.0f} s:\n"
    )
    print(*table(runs), sep="\n")
    manifest = data_folder(one.config) / "manifest.json"
    print("\nfor comparison, computed when the data was generated:")
    print(*bounds(json.loads(manifest.read_text())["reachable"]), sep="\n")
    print(f"\nrun folder of LD4MRec: {one.folder.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
