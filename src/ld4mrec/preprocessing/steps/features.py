"""The feature step: text_feat.npy and image_feat.npy of a data set, row r for item r.

An item without text or image, or with a broken image, gets the mean of the other items' vectors,
as in MMRec; `<modality>_missing.csv` (TAB-separated: itemID, item_id, why) and the manifest list
these items. Vectors and decoded covers are kept in a store, see stores.py, and reused.
"""

import argparse
import csv
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ld4mrec.errors import DataError
from ld4mrec.files import replacing
from ld4mrec.places import from_yaml
from ld4mrec.preprocessing.steps import encoding
from ld4mrec.preprocessing.steps.encoders.base import (
    FILE,
    MODALITIES,
    NONE,
    EncoderError,
    how_to_install,
    offline_names,
    versions_of,
)
from ld4mrec.preprocessing.steps.encoders.inference import choose_device
from ld4mrec.preprocessing.steps.encoders.own_vectors import OwnVectors
from ld4mrec.preprocessing.steps.encoders.registry import check_encoder, load_encoder
from ld4mrec.preprocessing.steps.feature_report import summary
from ld4mrec.preprocessing.steps.images import Images
from ld4mrec.preprocessing.steps.stores import ArrayStore

DEFAULT_STORE = from_yaml("../cache/encoded")
MAX_BROKEN = 0.05
FEWEST_OWN = 0.02  # below this share of items with a vector, the file is another data set's
SHOWN = 5


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


def add_arguments(parser, text_default: str, image_default: str) -> None:
    """Add the options of the feature step to an argparse parser or group of arguments."""
    names = (
        "a hub id or local folder of a sentence-transformers or transformers model, "
        f"{FILE}PATH for your own vectors by original item id (.npz, .csv, .tsv), or {NONE}"
    )
    for modality, default in (("text", text_default), ("image", image_default)):
        known = ", ".join(offline_names(modality))
        parser.add_argument(
            f"--{modality}-encoder",
            default=default,
            metavar="NAME",
            help=f"{known}, {names}; default {default}",
        )
    parser.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="items stored together, and on a GPU encoded together; default: by memory",
    )
    parser.add_argument(
        "--device", default="auto", help="auto (a GPU if there is one), cpu, cuda, cuda:1, mps"
    )
    parser.add_argument(
        "--store",
        default=str(DEFAULT_STORE),
        metavar="DIR",
        help="where finished vectors and decoded covers are kept for the next run; a local disk; "
        f"default {DEFAULT_STORE.parent.name}/{DEFAULT_STORE.name} in the project's folder",
    )
    parser.add_argument(
        "--no-covers",
        action="store_true",
        help="keep no decoded covers in the store (saves disk; another encoder then decodes again)",
    )
    parser.add_argument(
        "--max-broken",
        type=share,
        default=MAX_BROKEN,
        metavar="SHARE",
        help=f"share of the images that may be broken; default {MAX_BROKEN}",
    )
    parser.add_argument(
        "--no-features", action="store_true", help="write the interactions only, encode nothing"
    )


def check(options: argparse.Namespace) -> None:
    """Raise UserError where it can be seen at once that `encode` would fail; loads no weights."""
    if options.no_features:
        return
    for modality in MODALITIES:
        name = encoder_name(options, modality)
        if name == NONE:
            continue
        check_encoder(name, modality)
        if not name.startswith(FILE):
            choose_device(options.device)
            _need_packages("lmdb", *(["PIL"] if modality == "image" else []))


def _need_packages(*modules):
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise EncoderError(
                f"encoding needs the package {module}: {how_to_install('preprocessing')}"
            )


def encoder_name(options: argparse.Namespace, modality: str) -> str:
    """The encoder that the options name for a modality."""
    return getattr(options, f"{modality}_encoder")


def encode(
    options: argparse.Namespace,
    items: list[str],
    texts: list[str | None] | None,
    images: Images | None,
    out: str | Path,
) -> dict:
    """Encode a data set's items; returns the manifest's part, {modality: facts}.

    options: namespace of `add_arguments`, and `resume`; False encodes anew what the store has.
    items: I original item ids, item r has itemID r. texts: I texts, None or blank where there is
    none, or None for no text modality. images: None for no image modality.
    out: existing folder; gets <modality>_feat.npy, (I, D) float32, and <modality>_missing.csv.
    Raises UserError: an encoder that cannot be loaded, a store that cannot be used, no content at
    all, more broken images than --max-broken.
    """
    if options.no_features:
        return {}
    items = [str(item) for item in items]
    if texts is not None and len(texts) != len(items):
        raise ValueError(f"{len(texts)} texts for {len(items)} items")
    part = {}
    for modality, content in (("text", texts), ("image", images)):
        name = encoder_name(options, modality)
        if name.startswith(FILE):
            made = _own(load_encoder(name, modality), items)
        elif content is None or name == NONE:
            continue
        else:
            made = _encoded(options, modality, items, content)
        part[modality] = made.facts
        _write(Path(out), modality, items, made)
        print(summary(modality, made), flush=True)
    return part


@dataclass
class Made:
    """features: (I, D) float32. facts: for the manifest. missing, broken: {row: why}."""

    features: np.ndarray
    facts: dict
    missing: dict[int, str]
    broken: dict[int, str] = field(default_factory=dict)


def _encoded(options, modality, items, content):
    """The features of an encoder that computes, out of the store or made now."""
    encoder = load_encoder(encoder_name(options, modality), modality, options.device)
    settings = encoding.Settings(
        batch_size=options.batch_size,
        resume=options.resume,
        limit=lambda contents: _limit_broken(contents, items, content, options.max_broken),
    )
    made_with = {**encoder.versions(), "device": encoder.device}
    store = Path(options.store)
    with ArrayStore(store / "vectors") as vectors, ArrayStore(store / "covers") as covers:
        space = vectors.space(encoder.identity(), (encoder.dimension,), np.float32, made_with)
        if modality == "text":
            contents = encoding.text_contents(content)
            load = encoding.text_loader(contents)
        else:
            contents = encoding.image_contents(items, content, settings.limit)
            held = None if options.no_covers else _cover_space(covers, encoder)
            load = encoding.pixel_loader(contents, encoder, content, held)
        outcome = encoding.encode_contents(contents, encoder, space, load, settings)
        _refuse_nothing(contents.keys, modality)
        features = encoding.filled(contents.keys, space)
        first_made_with = space.record()["first made with"]
    missing = {
        row: "missing"
        for row, key in enumerate(contents.keys)
        if key is None and row not in contents.broken
    }
    distinct = len(set(contents.keys) - {None})
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
    return _with_fill(Made(features, facts, missing, contents.broken), items, content)


def _cover_space(store, encoder):
    """Decoded covers are shared by all encoders that want the same pixels."""
    made_with = versions_of("pillow")
    return store.space(encoder.pixel_preprocessing, encoder.pixel_shape, np.uint8, made_with)


def _own(vectors: OwnVectors, items):
    """The features of a `file:PATH` encoder."""
    where = vectors.rows_of(items)
    found = int((where >= 0).sum())
    if found < FEWEST_OWN * len(items) or not found:
        raise DataError(
            f"{vectors.path} has vectors for {found} of {len(items)} items; its ids look like "
            f"{vectors.ids[0]!r}, the data set's like {items[0]!r}. Wanted original item ids, as "
            "text (leading zeros count)"
        )
    missing = {int(row): "missing" for row in np.flatnonzero(where < 0)}
    facts = {
        "encoder": vectors.name,
        "revision": vectors.revision,
        "dimension": vectors.dimension,
        "vectors of other items": len(vectors.ids) - found,
    }
    return _with_fill(Made(encoding.fill(vectors.vectors, where), facts, missing), items, None)


def _with_fill(made, items, images):
    """The same, whose facts also list the rows that were filled in."""
    made.facts |= {
        "fill": "mean of the available vectors",
        "missing": {"count": len(made.missing), "itemIDs": sorted(made.missing)},
        "broken": {
            "count": len(made.broken),
            "images": [
                {"itemID": row, "image": images.where(items[row]), "why": why}
                for row, why in sorted(made.broken.items())
            ],
        },
    }
    return made


def _limit_broken(contents, items, images, allowed):
    """DataError if more than the allowed share of the images is broken."""
    broken = contents.broken
    n_images = len(contents.keys) - contents.keys.count(None) + len(broken)
    if len(broken) <= allowed * n_images:
        return
    first = "\n  ".join(
        f"{images.where(items[row])}: {why}" for row, why in sorted(broken.items())[:SHOWN]
    )
    raise DataError(
        f"{len(broken)} of {n_images} images are broken so far, more than --max-broken {allowed} "
        f"allows; the first:\n  {first}\nFetch them again, or allow more"
    )


def _refuse_nothing(keys, modality):
    if all(key is None for key in keys):
        raise DataError(
            f"no item has a usable {modality}, so there is no mean to fill in; "
            f"leave it out with --{modality}-encoder {NONE}"
        )


def _write(out, modality, items, made):
    with replacing(out / f"{modality}_feat.npy") as file:
        np.save(file, made.features, allow_pickle=False)
    with replacing(out / f"{modality}_missing.csv", "w") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["itemID", "item_id", "why"])
        for row in sorted({**made.missing, **made.broken}):
            writer.writerow([row, items[row], "broken" if row in made.broken else "missing"])
