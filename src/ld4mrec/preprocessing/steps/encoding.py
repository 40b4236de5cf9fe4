"""Encoding the texts or images of a data set into the store, so that it can stop and go on.

Inputs are known by the hash of their content. The distinct hashes of a data set, sorted, are cut
into batches at fixed positions; of each batch, what the store lacks is encoded and stored in one
transaction. So a stopped run loses one batch at most, goes on with the same batches, and ends with
the same bytes; what another data set or another k-core has encoded is not encoded again.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from ld4mrec.errors import DataError
from ld4mrec.preprocessing.steps.encoders.base import Encoder, EncoderError
from ld4mrec.preprocessing.steps.encoders.inference import (
    default_batch_size,
    threads,
    vectors,
    workers,
)
from ld4mrec.preprocessing.steps.images import BrokenImageError, Images, decode
from ld4mrec.preprocessing.steps.stores import Space, content_key
from ld4mrec.progress import Display

# (keys, pool) to the encoder's inputs, aligned with keys; BrokenImageErrors among them
Load = Callable[[Sequence[bytes], ThreadPoolExecutor], list]
HASHED_AT_ONCE = 1024


@dataclass
class Contents:
    """What the items of a data set hold in one modality.

    keys: per item the content's hash, None for an item without a usable one. broken: {row: why}.
    source: {key: the text, or the id of an item whose image it is}.
    """

    keys: list[bytes | None]
    broken: dict[int, str] = field(default_factory=dict)
    source: dict[bytes, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """batch_size: None for one that fits the memory. resume: leave alone what the store has.

    limit: called with the Contents when something was found broken; raises when it is too much.
    """

    batch_size: int | None
    resume: bool
    limit: Callable[[Contents], None]


@dataclass
class Outcome:
    """encoded: how many distinct inputs were encoded now; seconds: the time that took."""

    encoded: int = 0
    seconds: float = 0.0
    batch_size: int = 0


def text_contents(texts: list[str | None]) -> Contents:
    """The Contents of texts (str or None); blank ones have none, white space is collapsed."""
    contents = Contents([])
    for text in texts:
        clean = clean_text(text)
        key = content_key(clean) if clean else None
        contents.keys.append(key)
        contents.source.setdefault(key, clean)
    contents.source.pop(None, None)
    return contents


def clean_text(text: str | None) -> str:
    """White space collapsed to single blanks, none at the ends; what UTF-8 cannot hold becomes ?"""
    return " ".join((text or "").split()).encode("utf-8", "replace").decode()


def text_loader(contents: Contents) -> Load:
    """What `encode_contents` needs as `load` for texts."""
    return lambda keys, _pool: [contents.source[key] for key in keys]


def image_contents(items: list[str], images: Images, limit: Callable[[Contents], None]) -> Contents:
    """The Contents of the items' images, all of them read once.

    limit: called with the contents; raises when too many are broken.
    """
    contents = Contents([])

    def key_of(item):
        try:
            content = images.read(item)
            if content == b"":
                return "the file is empty"
            return None if content is None else content_key(content)
        except BrokenImageError as error:
            return str(error)

    with (
        ThreadPoolExecutor(threads()) as pool,
        Display("reading images", len(items), "images") as shown,
    ):
        for start in range(0, len(items), HASHED_AT_ONCE):
            chunk = items[start : start + HASHED_AT_ONCE]
            for row, (item, key) in enumerate(
                zip(chunk, pool.map(key_of, chunk), strict=True), start
            ):
                if isinstance(key, str):
                    contents.broken[row], key = key, None
                contents.keys.append(key)
                contents.source.setdefault(key, item)
            shown.advance(len(chunk))
            shown.show()
    contents.source.pop(None, None)
    limit(contents)
    return contents


def encode_contents(
    contents: Contents, encoder: Encoder, space: Space, load: Load, settings: Settings
) -> Outcome:
    """Encode into `space` the contents that it lacks; returns the Outcome.

    The items whose input cannot be loaded become broken in `contents`.
    """
    size = settings.batch_size or default_batch_size(encoder)
    outcome = Outcome(batch_size=size)
    keys = sorted(contents.source)
    started = time.monotonic()
    label = f"{encoder.modality}: {encoder.name}"
    with workers(encoder) as pool, Display(label, len(keys), f"{encoder.modality}s") as shown:
        for start in range(0, len(keys), size):
            batch = keys[start : start + size]
            wanted = space.absent(batch) if settings.resume else batch
            if wanted:
                inputs = load(wanted, pool)
                good = [
                    (key, one)
                    for key, one in zip(wanted, inputs, strict=True)
                    if not isinstance(one, BrokenImageError)
                ]
                if len(good) < len(wanted):
                    _note_broken(contents, dict(zip(wanted, inputs, strict=True)))
                    settings.limit(contents)
                if good:
                    done, ready = zip(*good, strict=True)
                    space.write(done, vectors(encoder, list(ready), pool, size))
                    outcome.encoded += len(good)
            shown.advance(len(batch), worked=len(wanted))
            shown.show()
    outcome.seconds = time.monotonic() - started
    return outcome


def _note_broken(contents, inputs):
    """Take the items whose input is a BrokenImageError out of `keys` and into `broken`."""
    why = {key: str(one) for key, one in inputs.items() if isinstance(one, BrokenImageError)}
    for row, key in enumerate(contents.keys):
        if key in why:
            contents.keys[row] = None
            contents.broken[row] = why[key]


def pixel_loader(
    contents: Contents, encoder: Encoder, images: Images, covers: Space | None
) -> Load:
    """What `encode_contents` needs as `load` for images: decoded covers, out of the space `covers`
    or decoded now and put there; covers may be None.
    """

    def decoded(key):
        item = contents.source[key]
        try:
            content = images.read(item)
            if content is None or content_key(content) != key:
                raise DataError(f"{images.where(item)} changed while it was read; run again")
            return _pixels(encoder, decode(content))
        except BrokenImageError as error:
            return error

    def load(keys, pool):
        absent = list(keys if covers is None else covers.absent(keys))
        made = dict(zip(absent, pool.map(decoded, absent), strict=True))
        held = [key for key in keys if key not in made]
        found = dict(zip(held, covers.read(held), strict=True)) if held else {}
        if covers is not None:
            whole = [key for key in keys if isinstance(made.get(key), np.ndarray)]
            covers.write(whole, [made[key] for key in whole])
        return [found[key] if key in found else made[key] for key in keys]

    return load


def _pixels(encoder, picture):
    pixels = encoder.pixels(picture)
    if pixels.shape != encoder.pixel_shape:
        raise EncoderError(
            f"{encoder.name} made pixels of shape {pixels.shape} from a picture of {picture.size}, "
            f"wanted {encoder.pixel_shape}"
        )
    return pixels


def filled(keys: list[bytes | None], space: Space) -> np.ndarray:
    """(I, D) float32: each item's vector, and the mean of those for items whose key is None."""
    distinct = sorted({key for key in keys if key is not None})
    place = {key: row for row, key in enumerate(distinct)}
    where = np.fromiter((place.get(key, -1) for key in keys), np.int64, len(keys))
    return fill(space.read(distinct), where)


def fill(vectors: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(I, D) float32: vectors[where[r]] in row r, and the mean of these rows where it is -1."""
    present = where >= 0
    rows = vectors[where]
    rows[~present] = rows[present].mean(axis=0, dtype=np.float64).astype(np.float32)
    return rows
