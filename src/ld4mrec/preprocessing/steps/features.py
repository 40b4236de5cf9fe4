"""The feature step: text_feat.npy and image_feat.npy of a data set, row r for item r.

An item without text or image, or with a broken image, gets the mean of the other items' vectors,
as in MMRec; `<modality>_missing.csv` (TAB-separated: itemID, item_id, why) and the manifest list
these items. Vectors and decoded covers are kept in a store, see stores.py, and reused.
"""

import argparse
import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ld4mrec.errors import DataError, counted
from ld4mrec.files import replacing
from ld4mrec.places import from_yaml
from ld4mrec.preprocessing.steps import encoding
from ld4mrec.preprocessing.steps.encoders.base import (
    FILE,
    MODALITIES,
    NONE,
    OFFLINE,
    need_packages,
    offline_names,
    versions_of,
)
from ld4mrec.preprocessing.steps.encoders.inference import choose_device, threads
from ld4mrec.preprocessing.steps.encoders.own_vectors import OwnVectors
from ld4mrec.preprocessing.steps.encoders.registry import check_encoder, load_encoder
from ld4mrec.preprocessing.steps.images import Images
from ld4mrec.preprocessing.steps.stores import ArrayStore
from ld4mrec.terminal import say

DEFAULT_STORE = from_yaml("../cache/encoded")
MAX_BROKEN = 0.05
SHOWN = 5  # broken images that the summary names
PAGE = 4096  # LMDB keeps a large value in pages of its own, after a header of 16 bytes
MUCH_FILLED = 0.2  # share of items without content beyond which the summary warns
FEWEST_OWN = 0.02  # below this share of items with a vector, the file is another data set's


def share(text: str) -> float:
    """An argument between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; wanted a number from 0 to 1")
    return value


def positive(text: str) -> int:
    """An argument that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number; wanted 1 or more")
    return int(text)


def add_arguments(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, text_default: str, image_default: str
) -> None:
    """Add the options of the feature step to an argparse parser or group of arguments."""
    names = (
        "a hub id or local folder of a sentence-transformers or transformers model, "
        f"{FILE}PATH for your own vectors by original item id (.npz, .csv, .tsv), or {NONE}"
    )
    add = parser.add_argument
    for modality, default in (("text", text_default), ("image", image_default)):
        what = f"{', '.join(offline_names(modality))}, {names}; default {default}"
        add(f"--{modality}-encoder", default=default, metavar="NAME", help=what)
    add(
        "--batch-size",
        type=positive,
        metavar="N",
        help="items stored together, and on a GPU encoded together; default: by memory",
    )
    add("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda, cuda:1, mps")
    add(
        "--store",
        default=str(DEFAULT_STORE),
        metavar="DIR",
        help="where finished vectors and decoded covers are kept for the next run; a local disk; "
        f"default {DEFAULT_STORE.parent.name}/{DEFAULT_STORE.name} in the project's folder",
    )
    add(
        "--no-covers",
        action="store_true",
        help="keep no decoded covers in the store (saves disk; another encoder then decodes again)",
    )
    add(
        "--max-broken",
        type=share,
        default=MAX_BROKEN,
        metavar="SHARE",
        help=f"share of the images that may be broken; default {MAX_BROKEN}",
    )
    add("--no-features", action="store_true", help="write the interactions only, encode nothing")


def check(options: argparse.Namespace) -> None:
    """Raise UserError where it can be seen at once that `encode` would fail; loads no weights."""
    for modality in MODALITIES:
        name = getattr(options, f"{modality}_encoder")
        if not options.no_features and name != NONE:
            check_encoder(name, modality)
        if wants(modality, options):
            choose_device(options.device)
            need_packages("encoding", {"text": ["lmdb"], "image": ["lmdb", "PIL"]}[modality])


def wants(modality: str, options: argparse.Namespace) -> bool:
    """Whether a modality, `text` or `image`, is to be encoded from the download's own content."""
    encoder = getattr(options, f"{modality}_encoder")
    return not (options.no_features or encoder == NONE or encoder.startswith(FILE))


class Made(NamedTuple):
    """Features (I, D) float32; facts for the manifest; rows filled in, of the broken ones why."""

    features: np.ndarray
    facts: dict
    missing: list[int]
    broken: dict[int, str]


def encode(
    options: argparse.Namespace,
    items: list[str],
    texts: list[str | None] | None,
    images: Images | None,
    out: str | Path,
    vectors: dict[str, OwnVectors] | None = None,
) -> dict:
    """Encode a data set's items; returns the manifest's part, {modality: facts}.

    options: of `add_arguments`, and `resume`; False encodes anew what the store has. items: I
    original item ids, item r has itemID r. texts: I texts, None or blank where there is none. None
    for texts or images leaves the modality out. vectors: ready ones of further modalities, by name,
    in place of an encoder where they have its name. out: existing folder; gets <modality>_feat.npy,
    (I, D) float32, and <modality>_missing.csv. UserError for an encoder or a store that cannot be
    used, no content at all, more broken images than --max-broken.
    """
    if options.no_features:
        return {}
    part = {}
    for modality, content in (("text", texts), ("image", images)):
        name = getattr(options, f"{modality}_encoder")
        if name == NONE or (content is None and not name.startswith(FILE)):
            continue
        encoder = load_encoder(name, modality, options.device)
        if isinstance(encoder, OwnVectors):
            made = _own(encoder, items)
        else:
            made = _encoded(options, encoder, items, content)
        part[modality] = made.facts
        _write(Path(out), modality, items, made)
        say(summary(modality, made))
    for modality, ready in (vectors or {}).items():
        made = _own(ready, items)
        part[modality] = made.facts
        _write(Path(out), modality, items, made)
        say(summary(modality, made))
    return part


def _encoded(options, encoder, items, content):
    """The features of an encoder that computes, out of the store or made now."""
    modality, made_with = encoder.modality, {**encoder.versions(), "device": encoder.device}
    store = Path(options.store)
    with ArrayStore(store / "vectors") as vectors, ArrayStore(store / "covers") as covers:
        space = vectors.space(encoder.identity(), (encoder.dimension,), np.float32, made_with)
        if modality == "text":
            contents = encoding.Texts(content)
        else:
            # shared by all encoders that want the same pixels
            form = encoder.pixel_preprocessing, encoder.pixel_shape, np.uint8
            held = None if options.no_covers else covers.space(*form, versions_of("pillow"))
            contents = encoding.Pictures(items, content, options.max_broken, encoder, held)
        outcome = contents.encode(encoder, space, options.batch_size, options.resume)
        keys = contents.keys
        distinct = len(set(keys) - {None})
        if not distinct:
            raise DataError(
                f"no item has a usable {modality}, so there is no mean to fill in; "
                f"leave it out with --{modality}-encoder {NONE}"
            )
        features = encoding.filled(keys, space)
        first_made_with = (space.record() or {}).get("first made with")
    facts = {
        "encoder": encoder.name,
        "revision": encoder.revision,
        "dimension": encoder.dimension,
        "preprocessing": encoder.preprocessing,
        "computed with": made_with,
        "store first made with": first_made_with,
        "batch size": outcome.batch_size,
        "distinct contents": distinct,
        "encoded now": outcome.encoded,
        "from the store": distinct - outcome.encoded,
        "seconds": round(outcome.seconds, 1),
    }
    if modality == "image":
        facts["source"] = content.describe()
    missing = [row for row, key in enumerate(keys) if key is None and row not in contents.broken]
    return _made(features, facts, missing, contents.broken, items, content)


def _own(vectors: OwnVectors, items):
    """The features of a `file:PATH` encoder."""
    where = vectors.rows_of(items)
    found = int((where >= 0).sum())
    if found < FEWEST_OWN * len(items) or not found:
        raise DataError(
            f"{vectors.path} has vectors for {found} of {counted(len(items), 'item')}; its ids "
            f"look like {vectors.ids[0]!r}, the data set's like {items[0]!r}; leading zeros count"
        )
    facts = {
        "encoder": vectors.name,
        "revision": vectors.revision,
        "dimension": vectors.dimension,
        "vectors of other items": len(vectors.ids) - found,
    }
    missing = np.flatnonzero(where < 0).tolist()
    return _made(encoding.fill(vectors.vectors, where), facts, missing, {}, items, None)


def _made(features, facts, missing, broken, items, images):
    """The Made, whose facts also list the rows that were filled in."""
    facts |= {
        "fill": "mean of the available vectors",
        "missing": {"count": len(missing), "itemIDs": missing},
        "broken": {
            "count": len(broken),
            "images": [
                {"itemID": row, "image": images.where(items[row]), "why": why}
                for row, why in sorted(broken.items())
            ],
        },
    }
    return Made(features, facts, missing, broken)


def _write(out, modality, items, made):
    with replacing(out / f"{modality}_feat.npy") as file:
        np.save(file, made.features, allow_pickle=False)
    with replacing(out / f"{modality}_missing.csv", "w") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["itemID", "item_id", "why"])
        for row in sorted([*made.missing, *made.broken]):
            writer.writerow([row, items[row], "broken" if row in made.broken else "missing"])


def summary(modality: str, made: Made) -> str:
    """Lines on what a Made holds."""
    n_items, facts = len(made.features), made.facts
    line = f"{modality}: {counted(n_items, 'item')}, {facts['encoder']}, {facts['dimension']}-d"
    encoded = facts.get("encoded now")
    if encoded is not None:
        rate = encoded / max(facts["seconds"], 0.1)
        time = f" in {facts['seconds']:.0f} s ({rate:.0f}/s)" if encoded else ""
        line += f"; {encoded:,} encoded{time}, {facts['from the store']:,} from the store"
    n_filled = len(made.missing) + len(made.broken)
    line += (
        f"; filled with the mean: {n_filled:,} ({n_filled / n_items:.2%}), "
        f"{len(made.missing):,} missing and {len(made.broken):,} broken"
    )
    if n_filled > MUCH_FILLED * n_items:
        line += (
            f"\n  warning: {n_filled / n_items:.0%} of the items have the same vector, the mean; "
            f"--require {modality} leaves such items out"
        )
    for image in facts["broken"]["images"][:SHOWN]:
        line += f"\n  broken: {image['image']}: {image['why']}"
    rest = len(made.broken) - SHOWN
    return line + (f"\n  and {rest:,} more, see the manifest" if rest > 0 else "")


def estimate(options: argparse.Namespace, n_items: int, n_images: int) -> list[str]:
    """Lines on the time, memory and disk that `encode` will take at most; for --dry-run.

    Loads and writes nothing. What the store has already is not subtracted.
    """
    if options.no_features:
        return ["features: none (--no-features)"]
    counts = (("text", n_items), ("image", n_images))
    return [_estimate_of(options, modality, n) for modality, n in counts]


def _estimate_of(options, modality, n):
    name = getattr(options, f"{modality}_encoder")
    if name.startswith(FILE):
        return f"{modality}: vectors are read from {name.removeprefix(FILE)}"
    if name == NONE or n == 0:
        return f"{modality}: no features"
    facts = OFFLINE.get(name)
    if facts is None:
        return (
            f"{modality}: {n:,} to encode with {name}; its time and size are not known before it "
            "runs (the progress bar tells after the first batches)"
        )
    cores = threads()
    hours = n / (facts.per_second * cores) / 3600
    time = f"{hours:.1f} h" if hours > 1.5 else f"{max(1, hours * 60):.0f} min"
    disk = n * _stored_bytes(4 * facts.dimension)
    if facts.pixel_bytes and not options.no_covers:
        disk += n * _stored_bytes(facts.pixel_bytes)
    return (
        f"{modality}: {n:,} to encode with {name}, at most {time} on a CPU with "
        f"{cores} core{'s' if cores > 1 else ''} ({facts.per_second:.0f}/s each), "
        f"{facts.memory / 1024:.1f} GB of memory, {disk / 1e9:.2f} GB of disk in {options.store}, "
        f"{n * 4 * facts.dimension / 1e9:.2f} GB for {modality}_feat.npy"
    )


def _stored_bytes(size):
    return -(-(size + 16) // PAGE) * PAGE if size > PAGE // 2 else size + 64
