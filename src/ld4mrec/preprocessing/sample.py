"""Small raw downloads of TMALL, Microlens and H&M, to try the whole way without the real ones.

    python preprocessing/sample.py tmall|microlens|hm --out DIR [--users 500 --items 300 --seed 0]

Files, names, columns, separators, encodings and defects are those of the real downloads; the
content is made up. Tastes are planted (samples/world.py): titles tell an item's subject, drawn
pictures its look, and users prefer one of each. The folder's manifest.json has the truth. Same
options, and same numpy and pillow, give the same pictures and rows.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ld4mrec.data.counts import Counts
from ld4mrec.errors import UserError
from ld4mrec.preprocessing.samples import hm, microlens, tmall
from ld4mrec.preprocessing.samples.world import FEWEST, LOOKS, SUBJECTS, core_counts, draw_world
from ld4mrec.preprocessing.steps import generated
from ld4mrec.preprocessing.steps.report import table_row

GENERATOR = "preprocessing/sample.py, version 1"
WRITERS = {"tmall": tmall.write, "microlens": microlens.write, "hm": hm.write}
OPTION_OF = {"packing": "tmall", "image_folder": "hm"}
FEWEST_OF = {"microlens": 5}  # MicroLens-50k holds users with at least 5 interactions


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

    how: `packing` of tmall (zip, txt, tar.gz), `image_folder` of hm. UserError for a bad option;
    for a folder that is there see generated.made_once.
    """
    if data_set not in WRITERS:
        raise UserError(f"there is no sample of '{data_set}'; known: {', '.join(WRITERS)}")
    for name in how:
        if data_set != OPTION_OF[name]:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} is for {OPTION_OF[name]}, not {data_set}")
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
    return generated.made_once(out, asked, force, make)


def summary(manifest: dict) -> Iterator[str]:
    """Lines that tell what was planted."""
    yield f"{manifest['name']}, a generated sample; manifest.json has the truth"
    for name in ("clicks", "5-core"):
        density = Counts(**manifest[name]).density
        yield table_row({"step": f"planted: {name}", "density": density, **manifest[name]})
    yield (
        f"each item has one of {SUBJECTS} subjects (its title tells) and one of {LOOKS} looks (its "
        "picture shows); each user prefers one of each"
    )
    for name, value in manifest["planted"].items():
        yield f"  {name}: {value}"


def main(arguments: list[str] | None = None, prog: str = "sample.py") -> int:
    parser = generated.parser_of(prog, __doc__.splitlines()[0], users=500, items=300)
    add = parser.add_argument
    add("data_set", choices=list(WRITERS))
    add("--packing", choices=tmall.PACKINGS, help="of tmall's files (default zip, as downloaded)")
    add("--image-folder", choices=hm.IMAGE_FOLDERS, help="of hm (default the re-pack's)")
    return generated.run(generate, summary, parser.parse_args(arguments))
