"""A first result: popularity and LD4MRec on the generated data, side by side (what `make demo` ends
with).

python preprocessing/demo.py --out data/demo
python src/first_result.py [--key=value ...]       keys as for main.py; they apply to LD4MRec
"""

import sys
import time

from main import parse_overrides
from utils.errors import UserError
from utils.runs import run

COLUMNS = {
    "Recall@10": "recall@10",
    "Recall@20": "recall@20",
    "NDCG@10": "ndcg@10",
    "NDCG@20": "ndcg@20",
}


def table(runs):
    """Lines of a table: the test metrics of {name: Run}."""
    lines = [f"{'':12}" + "".join(f"{column:>11}" for column in COLUMNS)]
    for name, one in runs.items():
        values = (one.result["test"][key] for key in COLUMNS.values())
        lines.append(f"{name:12}" + "".join(f"{value:11.4f}" for value in values))
    return lines


def main(arguments=None):
    started = time.monotonic()
    try:
        overrides = parse_overrides(sys.argv[1:] if arguments is None else arguments)
        runs = {
            "popularity": run("Pop", "demo")[0],
            "LD4MRec": run("LD4MRec", "demo", overrides)[0],
        }
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        f"\ntest split of the demo data, all-ranking, after {time.monotonic() - started:.0f} s:\n"
    )
    print(*table(runs), sep="\n")
    print(f"\nrun folder of LD4MRec: {runs['LD4MRec'].folder.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
