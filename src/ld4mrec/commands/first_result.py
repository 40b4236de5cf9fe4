"""A first result: popularity and LD4MRec, with and without content, side by side (`make demo`).

python preprocessing/sample.py tmall --out data/raw/tmall_sample
python preprocessing/tmall.py --raw data/raw/tmall_sample --out data/tmall_sample
python src/first_result.py [--key=value ...]      keys as for main.py; they apply to LD4MRec
"""

import sys
import time

from ld4mrec.config.parsing import Parser
from ld4mrec.config.schema import PATH_KEYS
from ld4mrec.config.words import parse_overrides
from ld4mrec.errors import exit_status
from ld4mrec.search.train import run

DATA_SET = "tmall_sample"
# of 381 users the yaml's 400 a batch would make one step an epoch; with six, MMRec's rule of
# patience does as well, in half the time
FEW_USERS = {"train_batch_size": 64, "patience_steps": 0}
COLUMNS = ("Recall@10", "Recall@20", "NDCG@10", "NDCG@20")


def table(runs: dict) -> list[str]:
    """Lines of a table: the test metrics of the runs."""
    lines = [f"{'':26}" + "".join(f"{column:>11}" for column in COLUMNS)]
    for name, finished in runs.items():
        values = (finished.result["test"][column.lower()] for column in COLUMNS)
        lines.append(f"{name:26}" + "".join(f"{value:11.4f}" for value in values))
    return lines


def first_result(given: dict) -> None:
    """Train the three and print their table; given: {key: value} for LD4MRec."""
    started = time.monotonic()
    paths = {key: value for key, value in given.items() if key in PATH_KEYS}
    blind, given = {"is_multimodal_model": False}, FEW_USERS | given
    runs = {
        "popularity": run("Pop", DATA_SET, paths)[0],
        "LD4MRec without content": run("LD4MRec", DATA_SET, given | blind)[0],
        "LD4MRec": run("LD4MRec", DATA_SET, given)[0],
    }
    seconds = time.monotonic() - started
    print(f"\ntest split of the generated sample, all-ranking, after {seconds:.0f} s:\n")
    print(*table(runs), sep="\n")
    print(f"\nrun folder of LD4MRec: {runs['LD4MRec'].folder.path}")


def main(arguments: list[str] | None = None, prog: str = "first_result.py") -> int:
    parser = Parser(prog, __doc__, "%(prog)s [--key=value ...]")
    _, rest = parser.parse_known_args(arguments)
    return exit_status(lambda: first_result(parse_overrides(rest)), "interrupted")


if __name__ == "__main__":
    sys.exit(main())
