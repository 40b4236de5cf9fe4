"""Encoding the texts or images of a data set into the store, so that it can stop and go on.

Inputs are known by the hash of their content. The distinct hashes, sorted, are cut into batches at
fixed positions; of each, what the store lacks is encoded and stored in one transaction. So a
stopped run loses one batch at most and ends with the same bytes, and what another data set or
another k-core has encoded is not encoded again.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ld4mrec.errors import DataError, counted
from ld4mrec.preprocessing.steps.encoders import inference
from ld4mrec.preprocessing.steps.encoders.base import Encoder, EncoderError
from ld4mrec.preprocessing.steps.images import BrokenImageError, Images, decode
from ld4mrec.preprocessing.steps.stores import Space, content_key
from ld4mrec.progress import Display

HASHED_AT_ONCE = 1024
SHOWN = 5  # broken images that a message names


class Outcome(NamedTuple):
    """encoded: how many distinct inputs were encoded now; seconds: the time that took."""

    encoded: int
    seconds: float
    batch_size: int


class Contents:
    """What the items of a data set hold in one modality.

    keys: per item the content's hash, None for an item without a usable one. broken: {row: why}.
    source: {key: the text, or the id of an item whose image it is}.
    """

    def __init__(self):
        self.keys: list[bytes | None] = []
        self.broken: dict[int, str] = {}
        self.source: dict[bytes, str] = {}

    def add(self, key: bytes | None, source: str) -> None:
        """The next item's content."""
        self.keys.append(key)
        if key is not None:
            self.source.setdefault(key, source)

    def load(self, keys: Sequence[bytes], pool: ThreadPoolExecutor) -> list:
        """The encoder's inputs, aligned with keys; BrokenImageErrors among them."""
        raise NotImplementedError

    def check_broken(self) -> None:
        """DataError where too much is broken."""

    def encode(
        self, encoder: Encoder, space: Space, batch_size: int | None, resume: bool
    ) -> Outcome:
        """Encode into `space` the contents that it lacks; without `resume` all of them.

        batch_size: None for the memory's. Items whose input cannot be loaded become broken.
        """
        size = batch_size or inference.default_batch_size(encoder)
        keys = sorted(self.source)
        encoded, started = 0, time.monotonic()
        label, unit = f"{encoder.modality}: {encoder.name}", f"{encoder.modality}s"
        with inference.workers(encoder) as pool, Display(label, len(keys), unit) as shown:
            for start in range(0, len(keys), size):
                batch = keys[start : start + size]
                wanted = space.absent(batch) if resume else batch
                inputs = dict(zip(wanted, self.load(wanted, pool), strict=True)) if wanted else {}
                why = {k: str(v) for k, v in inputs.items() if isinstance(v, BrokenImageError)}
                if why:
                    self._note_broken(why)
                good = {key: value for key, value in inputs.items() if key not in why}
                if good:
                    rows = inference.vectors(encoder, list(good.values()), pool, size)
                    space.write(list(good), rows)
                    encoded += len(good)
                shown.advance(len(batch), worked=len(wanted))
                shown.show()
        return Outcome(encoded, time.monotonic() - started, size)

    def _note_broken(self, why):
        """Take the items with these keys, {key: why}, out of `keys` and into `broken`."""
        for row, key in enumerate(self.keys):
            if key in why:
                self.keys[row], self.broken[row] = None, why[key]
        self.check_broken()


class Texts(Contents):
    """The Contents of texts (str or None); blank ones have none, white space is collapsed."""

    def __init__(self, texts: list[str | None]):
        super().__init__()
        for text in texts:
            # what UTF-8 cannot hold becomes ?
            text = " ".join((text or "").split()).encode("utf-8", "replace").decode()
            self.add(content_key(text) if text else None, text)

    def load(self, keys, pool):
        return [self.source[key] for key in keys]


class Pictures(Contents):
    """The Contents of the items' images, all of them read once.

    most_broken: share of the images that may be broken. covers: space of decoded covers, which are
    taken from there or put there; None keeps none.
    """

    def __init__(
        self,
        items: list[str],
        images: Images,
        most_broken: float,
        encoder: Encoder,
        covers: Space | None,
    ):
        super().__init__()
        self.items, self.images, self.most_broken = items, images, most_broken
        self.encoder, self.covers = encoder, covers
        with (
            ThreadPoolExecutor(inference.threads()) as pool,
            Display("reading images", len(items), "images") as shown,
        ):
            for start in range(0, len(items), HASHED_AT_ONCE):
                chunk = items[start : start + HASHED_AT_ONCE]
                for item, key in zip(chunk, pool.map(self._key_of, chunk), strict=True):
                    if isinstance(key, str):
                        self.broken[len(self.keys)], key = key, None
                    self.add(key, item)
                shown.advance(len(chunk))
                shown.show()
        self.check_broken()

    def _key_of(self, item):
        """Hash of an item's image, None where there is none, or in words why it is broken."""
        try:
            content = self.images.read(item)
        except BrokenImageError as error:
            return str(error)
        if content == b"":
            return "the file is empty"
        return None if content is None else content_key(content)

    def check_broken(self):
        n_images = len(self.keys) - self.keys.count(None) + len(self.broken)
        if len(self.broken) <= self.most_broken * n_images:
            return
        first = "\n  ".join(
            f"{self.images.where(self.items[row])}: {why}"
            for row, why in sorted(self.broken.items())[:SHOWN]
        )
        raise DataError(
            f"{len(self.broken)} of {counted(n_images, 'image')} broken so far, more than "
            f"--max-broken {self.most_broken} allows; the first:\n  {first}\n"
            "Fetch them again, or allow more"
        )

    def load(self, keys, pool):
        absent = list(keys if self.covers is None else self.covers.absent(keys))
        inputs = dict(zip(absent, pool.map(self._decoded, absent), strict=True))
        if self.covers is not None:
            held = [key for key in keys if key not in inputs]
            whole = [key for key in absent if isinstance(inputs[key], np.ndarray)]
            self.covers.write(whole, [inputs[key] for key in whole])
            inputs |= zip(held, self.covers.read(held), strict=True)
        return [inputs[key] for key in keys]

    def _decoded(self, key):
        """The pixels of the image with this key, or a BrokenImageError."""
        item, encoder = self.source[key], self.encoder
        try:
            content = self.images.read(item)
            if content is None or content_key(content) != key:
                raise DataError(f"{self.images.where(item)} changed while it was read; run again")
            picture = decode(content)
        except BrokenImageError as error:
            return error
        pixels = encoder.pixels(picture)
        if pixels.shape != encoder.pixel_shape:
            raise EncoderError(
                f"{encoder.name} made pixels of shape {pixels.shape} from a picture of "
                f"{picture.size}, wanted {encoder.pixel_shape}"
            )
        return pixels


def filled(keys: list[bytes | None], space: Space) -> np.ndarray:
    """(I, D) float32: each item's vector, and the mean of those for items whose key is None."""
    distinct = sorted(set(keys) - {None})
    place = {key: row for row, key in enumerate(distinct)}
    return fill(space.read(distinct), np.array([place.get(key, -1) for key in keys]))


def fill(vectors: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(I, D) float32: vectors[where[r]] in row r, and the mean of these rows where it is -1."""
    present = where >= 0
    rows = vectors[where]
    rows[~present] = rows[present].mean(axis=0, dtype=np.float64).astype(np.float32)
    return rows
