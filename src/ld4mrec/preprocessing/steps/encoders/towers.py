"""Networks of sentence-transformers and transformers as encoders; hub.py says what is a vector."""

import json
import logging
import threading
from pathlib import Path

import numpy as np

from ld4mrec.preprocessing.steps.encoders.base import EncoderError, needed, versions_of
from ld4mrec.preprocessing.steps.encoders.inference import TorchEncoder

MAX_TOKENS = {"chinese_clip": 52}  # what it was trained with; its positions would allow 512
LONGEST_TEXT = 8192  # tokens, for a model that names no limit
PAD_TO_MAXIMUM = ("siglip",)  # trained on padded texts, without a mask
# keys of a processor's settings that act before scaling
RESIZING = ("resize", "crop", "resample", "size", "pad", "rgb")


class SentenceEncoder(TorchEncoder):
    """A sentence-transformers model for texts.

    source: local folder or hub id; revision: of a folder a digest, of a hub id the commit.
    """

    modality = "text"

    def __init__(self, name: str, source: str | Path, revision: str, device: str):
        super().__init__(device)
        package = needed("sentence_transformers", name)
        _quiet()
        self.name, self.revision = name, revision
        pinned = {} if Path(source).is_dir() else {"revision": revision}
        model = package.SentenceTransformer(
            str(source), device=self.device, trust_remote_code=False, **pinned
        )
        self._model = model.float().eval()
        # what the model wants in front of a text to be found, or None
        names = ("document", "passage", "corpus", model.default_prompt_name)
        self._prompt = next(filter(None, (model.prompts.get(name) for name in names)), None)
        self._lock = threading.Lock()
        self.dimension = self.forward(["text"]).shape[1]
        self.item_bytes = 64 * 4 * (model.max_seq_length or 512) * self.dimension
        self.preprocessing = {
            "max_tokens": model.max_seq_length,
            "prompt": self._prompt,
            "modules": [type(module).__name__ for module in model],
        }

    def network_output(self, inputs):
        with self._lock:  # a tokenizer may not be used by two threads at once
            tokens = self._model.preprocess(inputs, prompt=self._prompt)
        tokens = {k: v.to(self.device) if hasattr(v, "to") else v for k, v in tokens.items()}
        return self._model(tokens)["sentence_embedding"]

    def versions(self):
        return versions_of("torch", "transformers", "sentence-transformers")


class _Tower(TorchEncoder):
    """One side of a transformers model."""

    def __init__(self, model, device):
        super().__init__(device)
        import transformers

        _quiet()
        self.name, self.revision = model.name, model.revision()
        network, report = transformers.AutoModel.from_pretrained(
            model.source, output_loading_info=True, **model.arguments()
        )
        missing = sorted(report["missing_keys"])
        self.has_pooler = not any("pooler" in key for key in missing)
        missing = [key for key in missing if "pooler" not in key]
        if missing:
            raise EncoderError(
                f"{model.given} lacks weights ({len(missing)} of them, first {missing[0]}), so "
                "part of the network would be random; fetch the whole model"
            )
        self.network = network.float().eval().to(self.device)
        self.kind = network.config.model_type

    def versions(self):
        return versions_of("torch", "transformers", "pillow")


class ImageTower(_Tower):
    """The image side of CLIP, SigLIP and the like, or a ViT, DINOv2, ConvNeXt, ..."""

    modality = "image"

    def __init__(self, model, device):
        super().__init__(model, device)
        from transformers import AutoImageProcessor

        self._processor = AutoImageProcessor.from_pretrained(
            model.source, backend="pil", **model.arguments()
        )
        settings = json.loads(self._processor.to_json_string())
        for key in ("_processor_class", "processor_class", "image_processor_type"):
            settings.pop(key, None)
        self.preprocessing = {"processor": type(self._processor).__name__, **settings}
        self.pixel_preprocessing = {
            "processor": type(self._processor).__name__,
            "decode": "RGB, transparent parts white, EXIF ignored",
            **{k: v for k, v in settings.items() if any(word in k for word in RESIZING)},
        }
        self.pixel_shape = self._shape_of_pixels(model.given)
        self.dimension = self.forward([np.zeros(self.pixel_shape, np.uint8)]).shape[1]
        self.item_bytes = 64 * 4 * int(np.prod(self.pixel_shape))

    def pixels(self, picture):
        made = self._processor(
            images=picture, do_rescale=False, do_normalize=False, return_tensors="np"
        )["pixel_values"][0]
        return np.ascontiguousarray(np.clip(np.rint(made), 0, 255).astype(np.uint8))

    def network_output(self, inputs):
        import torch

        values = torch.from_numpy(self.scaled(np.stack(inputs))).to(self.device)
        if hasattr(self.network, "get_image_features"):
            return _vector(self.network.get_image_features(pixel_values=values))
        output = self.network(pixel_values=values)
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None and self.has_pooler:
            return pooled.flatten(1)
        last = output.last_hidden_state
        return last[:, 0] if last.ndim == 3 else last.mean(dim=(2, 3))

    def scaled(self, pixels: np.ndarray) -> np.ndarray:
        """(B, 3, H, W) uint8 as the network wants it: the processor's scale, mean and deviation."""
        processor = self._processor
        scale = np.float64(processor.rescale_factor) if processor.do_rescale else 1
        values = (pixels * scale).astype(np.float32)
        if processor.do_normalize:
            mean = np.asarray(processor.image_mean, np.float32).reshape(-1, 1, 1)
            deviation = np.asarray(processor.image_std, np.float32).reshape(-1, 1, 1)
            values = (values - mean) / deviation
        return values

    def _shape_of_pixels(self, name):
        from PIL import Image

        shapes = {self.pixels(Image.new("RGB", size)).shape for size in ((90, 60), (60, 90))}
        if len(shapes) != 1 or len(next(iter(shapes))) != 3:
            raise EncoderError(
                f"{name}: its {type(self._processor).__name__} makes arrays of the shapes "
                f"{sorted(shapes)}; wanted (3, height, width), the same for every picture"
            )
        return shapes.pop()


class TextTower(_Tower):
    """The text side of CLIP, SigLIP and the like, or a BERT, averaged over its tokens."""

    modality = "text"

    def __init__(self, model, device):
        super().__init__(model, device)
        from transformers import AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(model.source, **model.arguments())
        config = getattr(self.network.config, "text_config", self.network.config)
        limits = [
            self._tokenizer.model_max_length,
            getattr(config, "max_position_embeddings", None),
            MAX_TOKENS.get(self.kind),
            LONGEST_TEXT,
        ]
        self._max_tokens = min(limit for limit in limits if limit)
        self._padding = "max_length" if self.kind.startswith(PAD_TO_MAXIMUM) else True
        self._lock = threading.Lock()
        self.dimension = self.forward(["text"]).shape[1]
        self.item_bytes = 64 * 4 * self._max_tokens * self.dimension
        self.preprocessing = {
            "tokenizer": type(self._tokenizer).__name__,
            "max_tokens": self._max_tokens,
            "padding": "to the maximum" if self._padding == "max_length" else "none",
        }

    def network_output(self, inputs):
        with self._lock:  # a tokenizer may not be used by two threads at once
            tokens = self._tokenizer(
                inputs,
                truncation=True,
                max_length=self._max_tokens,
                padding=self._padding,
                return_tensors="pt",
            )
        tokens = tokens.to(self.device)
        if hasattr(self.network, "get_text_features"):
            return _vector(self.network.get_text_features(**tokens))
        states = self.network(**tokens).last_hidden_state  # (B, tokens, D)
        mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
        return (states * mask).sum(dim=1) / mask.sum(dim=1)


def _vector(output):
    """transformers 5 gives an object with the projected vector, 4 gave the vector."""
    return getattr(output, "pooler_output", output)


def _quiet():
    """No bars and reports of the libraries' own while loading; their warnings stay."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    for library in ("sentence_transformers", "httpx", "httpx2"):
        logging.getLogger(library).setLevel(logging.WARNING)
