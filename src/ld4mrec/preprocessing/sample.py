"""Small raw downloads of TMALL, Microlens and H&M, to try the whole way without the real ones.

    python preprocessing/sample.py tmall|microlens|hm --out DIR [--users 500 --items 300 --seed 0]

Files, names, columns, separators, encodings and defects are those of the real downloads; the
content is made up. Tastes are planted (samples/world.py): titles tell an item's subject, drawn
pictures its look, and users prefer one of each. The folder's manifest.json has the truth. Same
options, and same numpy and pillow, give the same pictures and rows.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

from prepare import writing
from prepare.report import table_row
from samples import hm, microlens, tmall
from samples.world import FEWEST, LOOKS, SUBJECTS, core_counts, draw_world
from utils.errors import UserError
from utils.files import sha256

GENERATOR = "preprocessing/sample.py, version 1"
WRITERS = {"tmall": tmall.write, "microlens": microlens.write, "hm": hm.write}
# MicroLens-50k holds users with at least 5 interactions
FEWEST_OF = {"microlens": 5}


def generate(data_set, out, users=500, items=300, seed=0, force=False, **how):
    """Write the sample into `out`; returns its manifest, and whether it was made now.

    how: `packing` of tmall (zip, txt, tar.gz), `image_folder` of hm. A folder that holds the same
    sample is left alone. UserError for a bad option or a folder that holds something else; `force`
    replaces one made by preprocessing.
    """
    if data_set not in WRITERS:
        raise UserError(f"there is no sample of '{data_set}'; known: {', '.join(WRITERS)}")
    if not 0 <= seed < 2**63:
        raise UserError(f"--seed is {seed}; wanted a whole number from 0")
    options = {"users": users, "items": items, "seed": seed, **how}
    there = None if force else same_sample(Path(out), data_set, options)
    if there is not None:
        return there, False
    rng = np.random.default_rng(seed)
    world = draw_world(users, items, rng, FEWEST_OF.get(data_set, FEWEST))
    core, everything = core_counts(world)
    with writing.staged(Path(os.path.abspath(out)), force) as folder:
        planted = WRITERS[data_set](folder, world, rng, **how)
        ids = planted.pop("ids")
        manifest = {
            "generator": GENERATOR,
            "name": data_set,
            "options": options,
            "clicks": named(everything),
            "5-core": named(core),
            "planted": planted,
            "kinds": {
                "subjects": SUBJECTS,
                "looks": LOOKS,
                "users": dict(zip(ids["users"], world.user_kind.tolist(), strict=True)),
                "items": dict(zip(ids["items"], world.item_kind.tolist(), strict=False)),
            },
        }
        writing.write_manifest(folder, manifest)
    return manifest, True


def same_sample(folder, data_set, options):
    """The manifest of a folder that holds this sample, complete and unchanged; else None."""
    if not writing.made_here(folder):
        return None
    manifest = json.loads((folder / writing.MANIFEST).read_text(encoding="utf-8"))
    asked = {"generator": GENERATOR, "name": data_set, "options": options}
    if any(manifest.get(key) != value for key, value in asked.items()):
        return None
    for name, facts in manifest.get("outputs", {}).items():
        path = folder / name
        if not path.is_file() or sha256(path) != facts["sha256"]:
            return None
    return manifest


def named(counts):
    return dict(zip(("users", "items", "interactions"), counts, strict=True))


def summary(manifest):
    """Lines that tell what was planted."""
    yield f"{manifest['name']}, a generated sample; manifest.json has the truth"
    for name in ("clicks", "5-core"):
        density = manifest[name]["interactions"] / max(
            1, manifest[name]["users"] * manifest[name]["items"]
        )
        yield table_row({"step": f"planted: {name}", "density": density, **manifest[name]})
    yield (
        f"each item has one of {SUBJECTS} subjects (its title tells) and one of {LOOKS} looks (its "
        "picture shows); each user prefers one of each"
    )
    for name, value in manifest["planted"].items():
        yield f"  {name}: {value}"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
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


if __name__ == "__main__":
    sys.exit(main())
