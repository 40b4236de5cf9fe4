"""Generated data of the sizes of the paper's three data sets, for benchmarks of time and memory.

    python benchmarks/sizes.py --out FOLDER [tmall microlens hm] [--seed 0] [--force]

Writes FOLDER/<name>/ as the host reads it: `<name>.inter`, text_feat.npy and image_feat.npy.
src/ld4mrec/paper/sizes.py makes them and says what they are like.
"""

import shutil
import sys
from pathlib import Path

import shared

from ld4mrec.paper.sizes import SIZES, write


def main(arguments=None):
    parser = shared.parser(__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SIZES)}; all")
    parser.add_argument("--out", type=Path, required=True, help="holds one folder per data set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--force", action="store_true", help="replace folders that are there")
    options = parser.parse_args(arguments)
    names = shared.known(parser, "size", options.names or list(SIZES), SIZES)
    there = [options.out / name for name in names if (options.out / name).exists()]
    if there and not options.force:
        parser.error(f"{there[0]} is there already; --force replaces it")
    for folder in there:
        shutil.rmtree(folder)
    for name in names:
        size = SIZES[name]
        folder = write(options.out, name, size, options.seed)
        print(f"{folder}: {size.users:,} x {size.items:,} x {size.interactions:,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
