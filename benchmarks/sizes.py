"""Generated data of the sizes of the paper's three data sets, for benchmarks of time and memory.

    python benchmarks/sizes.py --out FOLDER [NAME ...] [--seed 0] [--force]

Writes FOLDER/<name>/ as the host reads it: `<name>.inter`, text_feat.npy and image_feat.npy; tmall,
microlens and hm unless named.
src/ld4mrec/paper/sizes.py makes them and says what they are like. Two are larger than the paper's,
for large.py: hm_whole, all of H&M after the 5-core, and million, a million users and items without
features.
"""

import shutil
import sys
from pathlib import Path

import shared

from ld4mrec.paper.sizes import FEATURES, SIZES, Size, write

LARGE = {
    "hm_whole": Size(889_000, 90_700, 26_000_000),
    "million": Size(1_000_000, 1_000_000, 10_000_000),
}
ALL = SIZES | LARGE
BARE = ("million",)  # no features


def main(arguments=None):
    parser = shared.parser(__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(ALL)}; the first three"
    )
    parser.add_argument("--out", type=Path, required=True, help="holds one folder per data set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--force", action="store_true", help="replace folders that are there")
    options = parser.parse_args(arguments)
    names = shared.known(parser, "size", options.names or list(SIZES), ALL)
    there = [options.out / name for name in names if (options.out / name).exists()]
    if there and not options.force:
        parser.error(f"{there[0]} is there already; --force replaces it")
    for folder in there:
        shutil.rmtree(folder)
    for name in names:
        size, features = ALL[name], {} if name in BARE else FEATURES
        folder = write(options.out, name, size, options.seed, features)
        print(f"{folder}: {size.users:,} x {size.items:,} x {size.interactions:,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
