"""Small raw downloads of TMALL, Microlens and H&M, to try the whole way without the real ones.

    python preprocessing/sample.py tmall|microlens|hm --out DIR [--users 500 --items 300 --seed 0]

Files, names, columns, separators, encodings and defects are those of the real downloads; the
content is made up. Tastes are planted (samples/world.py): titles tell an item's subject, drawn
pictures its look, and users prefer one of each. The folder's manifest.json has the truth. Same
options, and same numpy and pillow, give the same pictures and rows.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ld4mrec.data.counts import Counts
from ld4mrec.errors import UserError
from ld4mrec.preprocessing.samples import hm, microlens, tmall
from ld4mrec.preprocessing.samples.world import FEWEST, LOOKS, SUBJECTS, core_counts, draw_world
from ld4mrec.preprocessing.steps import writing
from ld4mrec.preprocessing.steps.report import table_row

GENERATOR = "preprocessing/sample.py, version 1"
WRITERS = {"tmall": tmall.write, "microlens": microlens.write, "hm": hm.write}
# MicroLens-50k holds users with at least 5 interactions
FEWEST_OF = {"microlens": 5}


def generate(
    data_set: str,
    out: str | Path,
    users: int = 500,
    items: int = 300,
    seed: int = 0,
    force: bool = False,
    **how: str,
) -> tuple[dict, bool]:
    """Write the sample into `out`; returns its manifest, and whether it was made now.

    how: `packing` of tmall (zip, txt, tar.gz), `image_folder` of hm. A folder that holds the same
    sample is left alone. UserError for a bad option or a folder that holds something else; `force`
    replaces one made by preprocessing.
    """
    if data_set not in WRITERS:
        raise UserError(f"there is no sample of '{data_set}'; known: {', '.join(WRITERS)}")
    options = {"users": users, "items": items, "seed": seed, **how}

    def make(folder):
        rng = np.random.default_rng(seed)
        world = draw_world(users, items, rng, FEWEST_OF.get(data_set, FEWEST))
        core, everything = core_counts(world)
        planted = WRITERS[data_set](folder, world, rng, **how)
        ids = planted.pop("ids")
        return {
            "clicks": everything._asdict(),
            "5-core": core._asdict(),
            "planted": planted,
            "kinds": {
                "subjects": SUBJECTS,
                "looks": LOOKS,
                "users": dict(zip(ids["users"], world.user_kind.tolist(), strict=True)),
                "items": dict(zip(ids["items"], world.item_kind.tolist(), strict=False)),
            },
        }

    asked = {"generator": GENERATOR, "name": data_set, "options": options}
    return writing.made_once(out, asked, force, make)


def summary(manifest: dict) -> Iterator[str]:
    """Lines that tell what was planted."""
    yield f"{manifest['name']}, a generated sample; manifest.json has the truth"
    for name in ("clicks", "5-core"):
        counts = Counts(**manifest[name])
        row = {"step": f"planted: {name}", "density": counts.density, **manifest[name]}
        yield table_row(row)
    yield (
        f"each item has one of {SUBJECTS} subjects (its title tells) and one of {LOOKS} looks (its "
        "picture shows); each user prefers one of each"
    )
    for name, value in manifest["planted"].items():
        yield f"  {name}: {value}"


def main(arguments: list[str] | None = None, prog: str = "sample.py") -> int:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("data_set", choices=list(WRITERS))
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--packing", choices=tmall.PACKINGS, help="of tmall's files (default zip, as downloaded)"
    )
    parser.add_argument(
        "--image-folder", choices=("images", "images_128_128"), help="of hm (default the re-pack's)"
    )
    parser.add_argument("--force", action="store_true", help="replace a folder made before")
    given = parser.parse_args(arguments)
    how = {
        name: getattr(given, name) for name in ("packing", "image_folder") if getattr(given, name)
    }
    try:
        for name, owner in (("packing", "tmall"), ("image_folder", "hm")):
            if name in how and given.data_set != owner:
                raise UserError(f"--{name.replace('_', '-')} is for {owner}, not {given.data_set}")
        manifest, made = generate(
            given.data_set, given.out, given.users, given.items, given.seed, given.force, **how
        )
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is needed: pip install -e '.[preprocessing]'", file=sys.stderr)
        return 2
    print(f"{given.out}: " + ("made" if made else "is there already, the same; nothing done"))
    print(*summary(manifest), sep="\n")
    return 0
