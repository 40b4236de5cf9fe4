"""Encoding texts and images: one input at a time, as we do on a CPU, beside batches; the store.

    python benchmarks/encoding.py [--items 256] [--batch 32]

Inputs per CPU second, on one core, of generated pictures (JPEG, 350 x 500) and titles. "batches"
is the same network with `--batch` inputs at once. "decode" is from the file's bytes to pixels.
"again" is the CPU seconds of the whole feature step when the store has everything: loading the
encoder, hashing the contents, reading and writing the vectors.
"""

import argparse
import io
import os
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy comes

import numpy as np
import shared

from ld4mrec.preprocessing.steps import features
from ld4mrec.preprocessing.steps.encoders.base import OFFLINE
from ld4mrec.preprocessing.steps.encoders.inference import vectors, workers
from ld4mrec.preprocessing.steps.encoders.registry import load_encoder
from ld4mrec.preprocessing.steps.images import ImageFolder, decode

ENGLISH = ["dress", "shirt", "trousers", "summer", "winter", "red", "blue", "cotton", "hearts"]
CHINESE = ["夏款", "洋装", "孕妇装", "雪纺", "连衣裙", "男士", "运动鞋", "童装", "包邮", "手机壳"]


def titles(n, words, generator):
    return [" ".join(generator.choice(words, generator.integers(4, 30))) for _ in range(n)]


def write_pictures(folder, n, generator):
    """Smooth random colours, so that the files have the size of photographs."""
    from PIL import Image

    for number in range(n):
        coarse = generator.integers(0, 256, (30, 20, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((350, 500), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number}.jpg", quality=90)
    return ImageFolder(folder, lambda item: f"{item}.jpg")


def cpu_seconds(work):
    started = time.process_time()
    work()
    return time.process_time() - started


def per_second(n, work):
    return n / cpu_seconds(work)


def forward_rates(encoder, inputs, batch):
    """Inputs per CPU second, one at a time and in batches."""
    with workers(encoder) as pool:
        vectors(encoder, inputs[:2], pool, 2)  # warm
        alone = per_second(len(inputs), lambda: vectors(encoder, inputs, pool, len(inputs)))
        starts = range(0, len(inputs), batch)
        together = per_second(
            len(inputs), lambda: [encoder.forward(inputs[s : s + batch]) for s in starts]
        )
    return alone, together


def again(name, items, texts, images, folder):
    """CPU seconds of the feature step, the store being full."""
    parser = argparse.ArgumentParser()
    features.add_arguments(parser, "none", "none")
    modality = OFFLINE[name].modality
    chosen = parser.parse_args(["--store", str(folder / "store"), f"--{modality}-encoder", name])
    chosen.resume = True
    with redirect_stdout(io.StringIO()):
        features.encode(chosen, items, texts, images, folder)
        return cpu_seconds(lambda: features.encode(chosen, items, texts, images, folder))


def measure(name, images, items, batch, folder, generator):
    """A row of the table: a default encoder on the items' pictures or on made-up titles."""
    modality = OFFLINE[name].modality
    encoder = load_encoder(name, modality, "cpu")
    texts, decoding = None, ""
    if modality == "image":
        contents, inputs = [images.read(item) for item in items], []

        def decode_all():
            inputs.extend(encoder.pixels(decode(content)) for content in contents)

        decoding = f"{per_second(len(items), decode_all):.0f}"
    else:
        words = CHINESE if name.startswith("fast-universal") else ENGLISH
        inputs = texts = titles(len(items), words, generator)
    alone, together = forward_rates(encoder, inputs, batch)
    full = again(name, items, texts, images, folder)
    rates = f"{alone:9.1f}{together:9.1f}{alone / together:7.2f}"
    return f"{name:34}{rates}{decoding:>9}{full:10.2f}"


def main():
    parser = shared.parser(__doc__)
    parser.add_argument("--items", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    given = parser.parse_args()
    generator = np.random.default_rng(0)
    print(f"{shared.cores()}, one used; {given.items} items")
    print(f"{'':34}{'alone':>9}{'batches':>9}{'ratio':>7}{'decode':>9}{'again, s':>10}")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "images").mkdir()
        images = write_pictures(folder / "images", given.items, generator)
        items = [str(number) for number in range(given.items)]
        for name in OFFLINE:
            print(measure(name, images, items, given.batch, folder, generator), flush=True)


if __name__ == "__main__":
    main()
