"""Encoders by hub id or local folder: sentence-transformers and transformers models.

What is taken as an item's vector, in float32 and not scaled to length 1 unless the model does so:

- sentence-transformers folder (with modules.json), texts: the sentence embedding; its prompt for
  documents is put in front where it has one.
- two towers (CLIP, SigLIP, Chinese-CLIP, ...), also inside a sentence-transformers folder:
  get_image_features / get_text_features, the projected vectors.
- one image tower (ViT, DINOv2, ConvNeXt, ...): the pooler's output if the weights have a pooler,
  else the first token, for feature maps their mean.
- one text tower (BERT, ...): the mean over tokens.

Hub ids are downloaded by huggingface_hub, which keeps them and respects HF_HUB_OFFLINE. Code that
comes with a model is never run, and weights are read as safetensors or with weights_only.
"""

import functools
import hashlib
import json
import os
import socket
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from ld4mrec.errors import nearest
from ld4mrec.preprocessing.steps.encoders import towers
from ld4mrec.preprocessing.steps.encoders.base import Encoder, EncoderError, needed, offline_names

WEIGHTS_AND_SETTINGS = {".json", ".txt", ".model", ".safetensors", ".bin"}


def folder_digest(folder: str | Path) -> str:
    """ "sha256:..." of the weights and settings below a model's folder, by name and content."""
    digest = hashlib.sha256()
    files = [p for p in Path(folder).rglob("*") if p.suffix in WEIGHTS_AND_SETTINGS and p.is_file()]
    for path in sorted(files, key=lambda p: p.relative_to(folder).as_posix()):
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return f"sha256:{digest.hexdigest()[:16]}"


def check(name: str, modality: str) -> None:
    """Raise EncoderError if no model of that name is at hand or can be downloaded."""
    with _explained(name, modality):
        _Model(name, modality)


def load(name: str, modality: str, device: str) -> Encoder:
    """The encoder of a hub id or folder. Raises EncoderError saying what to do."""
    with _explained(name, modality):
        model = _Model(name, modality)
        if model.is_sentence_model:
            return towers.SentenceEncoder(model.name, model.source, model.revision(), device)
        kind = towers.ImageTower if modality == "image" else towers.TextTower
        return kind(model, device)


@contextmanager
def _explained(name, modality):
    """Turn the errors of three libraries that read anybody's files into EncoderError."""
    try:
        yield
    except EncoderError:
        raise
    except ImportError as error:
        raise EncoderError(f"{name} needs a package that is absent: {error}") from error
    except Exception as error:
        raise EncoderError(
            f"{name} cannot be loaded as an encoder of {modality}s: {_first_lines(error)}"
        ) from error


def _first_lines(error):
    return " ".join(str(error).split())[:400]


@functools.cache
def _known_host(address):
    """Whether the hub's name is known here; the hub's own client tries for half a minute."""
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(urllib.parse.urlparse(address).hostname, None)
    except OSError:
        return False
    return True


class _Model:
    """Where a model's files are and of which kind they are.

    source: local folder or hub id, subfolder: inside it; commit: the hub's, None for a folder.
    """

    def __init__(self, name, modality):
        self.given, self.modality = name, modality
        needed("transformers", name)
        folder = Path(name).expanduser()
        self.is_folder = folder.is_dir()
        if not self.is_folder and (name.startswith((".", "/", "~")) or name.count("/") > 1):
            raise EncoderError(
                f"the encoder {name} is no folder; wanted a model's folder, with its config.json"
            )
        self.source = folder if self.is_folder else name
        self.name = folder.resolve().name if self.is_folder else name
        self.commit, self.subfolder = None, ""
        self.is_sentence_model = False
        modules = self._json("modules.json")
        if modules is not None:
            kinds = [module["type"] for module in modules]
            own = [kind for kind in kinds if not kind.startswith("sentence_transformers.")]
            if own:
                raise EncoderError(f"{name} brings code of its own ({own[0]}), which is not run")
            self.subfolder = modules[0]["path"]
        config = self._json(os.path.join(self.subfolder, "config.json"))
        if config is None and (modules is None or modality == "image"):
            raise self._not_at_hand("it has no config.json")
        if modules is not None and modality == "text":
            self.is_sentence_model = not modules[0]["type"].endswith(".CLIPModel")
        elif modules is not None and "vision_config" not in config:
            raise EncoderError(f"{name} is a sentence-transformers model for texts, not images")
        if not self.is_sentence_model and not (config or {}).get("model_type"):
            raise self._not_at_hand("its config.json has no model_type")
        if self.is_sentence_model:
            needed("sentence_transformers", name)

    def revision(self):
        return self.commit or folder_digest(self.source)

    def arguments(self):
        """Keyword arguments that name exactly these files to transformers."""
        pinned = {"revision": self.commit} if self.commit else {}
        return {"subfolder": self.subfolder, "trust_remote_code": False, **pinned}

    def _json(self, file):
        """Content of one of the model's files, None if the model has no such file."""
        path = self.source / file if self.is_folder else self._cached(file)
        if path is None or not Path(path).is_file():
            return None
        try:
            return json.loads(Path(path).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise EncoderError(f"{path} is not JSON ({error}); fetch the model again") from error

    def _cached(self, file):
        """Local path of a hub model's file, None if the model has no such file."""
        from huggingface_hub import constants, errors, hf_hub_download

        offline = constants.HF_HUB_OFFLINE or not _known_host(constants.ENDPOINT)
        how = {"revision": self.commit, "local_files_only": offline}
        try:
            path = hf_hub_download(str(self.source), file, **how)
        except errors.LocalEntryNotFoundError as error:
            if offline:  # all that is there is in the cache
                return None
            raise self._not_at_hand(_first_lines(error)) from error
        except errors.EntryNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._not_at_hand(_first_lines(error)) from error
        parts = Path(path).parts
        self.commit = parts[parts.index("snapshots") + 1]
        return path

    def _not_at_hand(self, why):
        if self.is_folder:
            return EncoderError(
                f"{self.given} cannot be an encoder: {why}; wanted the folder of a "
                "sentence-transformers or transformers model"
            )
        return EncoderError(
            f"no encoder {self.given!r} is at hand: there is no folder of that name, and of a hub "
            f"model neither the hub nor its cache here has the files ({why}). Give a folder, "
            "file:PATH, or a hub id where there is a network (HF_HUB_OFFLINE=1 uses the cache)."
            f"{nearest(self.given, offline_names(self.modality))}"
        )
