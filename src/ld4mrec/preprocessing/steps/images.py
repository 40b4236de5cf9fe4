"""Where an item's image comes from, a folder or a zip, and how its bytes become an RGB picture.

The sources hand on bytes and never decode; `decode` never touches a file. An image that is there
and cannot be used is a `BrokenImageError`, an image that is not there is None.
"""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ld4mrec.errors import DataError

# Formats that product pictures come in. Pillow knows more; its EPS reader would start a program.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
MAX_PIXELS = 89_478_485  # Pillow's own limit against decompression bombs
MAX_RATIO = 100  # of a picture's sides: encoders enlarge the shorter one to some hundred pixels
MAX_FILE_BYTES = 256 * 2**20


class BrokenImageError(ValueError):
    """An image that is there and cannot be read or decoded; the message says why."""


class Images:
    """Encoded images of items, by item id (str)."""

    kind, unreadable = "", "cannot be read"

    def __init__(self, path: str | Path, place: Callable[[str], str]):
        self.path, self.place = Path(path), place

    def where(self, item_id: str) -> str:
        """The place where the image is looked for, for messages."""
        raise NotImplementedError

    def __contains__(self, item_id: str) -> bool:
        raise NotImplementedError

    def read(self, item_id: str) -> bytes | None:
        """The image's bytes, or None if there is no such image. Raises BrokenImageError.

        May be called from several threads.
        """
        if item_id not in self:
            return None
        try:
            size = self._size(item_id)
            if size > MAX_FILE_BYTES:
                raise BrokenImageError(f"has {size:,} bytes, the limit is {MAX_FILE_BYTES:,}")
            return self._content(item_id)
        except BrokenImageError:
            raise
        except Exception as error:  # of a zip's member: wrong checksum, zlib, encryption, seek, ...
            why = getattr(error, "strerror", None) or error
            raise BrokenImageError(f"{self.unreadable} ({why})") from error

    def describe(self) -> dict:
        """What the manifest says of the source."""
        return {"kind": self.kind, "path": self.path.name}


class ImageFolder(Images):
    """Images that are files below a folder.

    place: item id -> the file's path below it. A path that leads out of it counts as no image.
    """

    kind = "folder"

    def __init__(self, path: str | Path, place: Callable[[str], str]):
        super().__init__(path, place)
        if not self.path.is_dir():
            what = "is a file" if self.path.exists() else "does not exist"
            raise DataError(f"{self.path} {what}; the images should be files below this folder")

    def where(self, item_id):
        return str(self.path / self.place(item_id))

    def __contains__(self, item_id):
        path = Path(self.place(item_id))
        inside = not path.is_absolute() and ".." not in path.parts
        return inside and os.path.isfile(self.where(item_id))

    def _size(self, item_id):
        return os.path.getsize(self.where(item_id))

    def _content(self, item_id):
        return Path(self.where(item_id)).read_bytes()


class ImageZip(Images):
    """Images that are members of a zip file, read without unpacking it.

    place: item id -> the member's name. Raises DataError for a file that is no whole zip.
    """

    kind, unreadable = "zip", "cannot be read from the zip"

    def __init__(self, path: str | Path, place: Callable[[str], str]):
        super().__init__(path, place)
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{self.path} cannot be opened as a zip file ({error}); "
                "was its download complete? Compare its size with the source's"
            ) from error
        self.names = set(self._zip.namelist())

    def where(self, item_id):
        return f"{self.path}:{self.place(item_id)}"

    def __contains__(self, item_id):
        return self.place(item_id) in self.names

    def _size(self, item_id):
        return self._zip.getinfo(self.place(item_id)).file_size

    def _content(self, item_id):
        return self._zip.read(self.place(item_id))


def decode(content: bytes):
    """The first frame of an encoded image as an RGB `PIL.Image`, in the file's own orientation.

    EXIF is ignored, its rotation included. Transparent parts become white; grey of 16 or 32 bits
    and of floats is scaled to 8 bits. Raises BrokenImageError for content that is empty, truncated,
    no image, larger than MAX_PIXELS, or longer than MAX_RATIO.
    """
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise BrokenImageError("the file is empty")
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise BrokenImageError(f"has {width} x {height} pixels, the limit is {MAX_PIXELS:,}")
        if max(width, height) > MAX_RATIO * min(width, height):
            raise BrokenImageError(
                f"has {width} x {height} pixels, a side of more than {MAX_RATIO} times the other"
            )
        return _rgb(picture)
    except BrokenImageError:
        raise
    except UnidentifiedImageError as error:
        raise BrokenImageError(
            f"is not one of {', '.join(FORMATS)}; it begins with {content[:12]!r}"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BrokenImageError(f"has more than {MAX_PIXELS:,} pixels") from error
    except Exception as error:  # Pillow's readers raise all kinds of errors on damaged files
        raise BrokenImageError(f"cannot be decoded ({error})") from error


def _rgb(picture):
    from PIL import Image

    if picture.mode.startswith("I;16"):
        levels = np.asarray(picture, dtype=np.uint16)
        return Image.fromarray((levels // 257).astype(np.uint8)).convert("RGB")
    if picture.mode in ("I", "F"):
        return Image.fromarray(_levels(np.asarray(picture, dtype=np.float64), picture.mode))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def _levels(values, mode):
    """Grey of 32 bits as RGB of 8 bits: white is the first of 1 (floats), 255 and 65535 that no
    pixel passes, else the lightest pixel.
    """
    if not np.isfinite(values).all():
        raise BrokenImageError("has pixels that are no numbers")
    low, high = min(0.0, values.min()), values.max()
    white = next((white for white in (1, 255, 65535)[mode == "I" :] if high <= white), high)
    grey = np.rint((values - low) / (white - low) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
