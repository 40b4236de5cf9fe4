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
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 89_478_485  # Pillow's own limit against decompression bombs
MAX_FILE_BYTES = 256 * 2**20


class BrokenImageError(ValueError):
    """An image that is there and cannot be read or decoded; the message says why."""


class ImageFolder:
    """Images that are files below a folder.

    relative: item id (str) -> the file's path below `root`. A path that leads out of the folder
    counts as no image.
    """

    def __init__(self, root: str | Path, relative: Callable[[str], str]):
        self.root = Path(root)
        self.relative = relative
        if not self.root.is_dir():
            what = "is a file" if self.root.exists() else "does not exist"
            raise DataError(f"{self.root} {what}; the images should be files below this folder")

    def where(self, item_id: str) -> str:
        """The place where the image is looked for, for messages."""
        return str(self.root / self.relative(item_id))

    def __contains__(self, item_id: str) -> bool:
        return self._inside(item_id) and os.path.isfile(self.where(item_id))

    def read(self, item_id: str) -> bytes | None:
        """The file's bytes, or None if there is no such file. Raises BrokenImageError."""
        if item_id not in self:
            return None
        try:
            size = os.path.getsize(self.where(item_id))
            _limit(size)
            return Path(self.where(item_id)).read_bytes()
        except OSError as error:
            raise BrokenImageError(f"cannot be read ({error.strerror or error})") from error

    def describe(self) -> dict:
        """What the manifest says of the source."""
        return {"kind": "folder", "path": str(self.root)}

    def _inside(self, item_id):
        path = Path(self.relative(item_id))
        return not path.is_absolute() and ".." not in path.parts


class ImageZip:
    """Images that are members of a zip file, read without unpacking it.

    member: item id (str) -> the member's name. Raises DataError for a file that is no whole zip.
    """

    def __init__(self, path: str | Path, member: Callable[[str], str]):
        self.path = Path(path)
        self.member = member
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{self.path} cannot be opened as a zip file ({error}); "
                "was its download complete? Compare its size with the source's"
            ) from error
        self.names = set(self._zip.namelist())

    def where(self, item_id: str) -> str:
        """The place where the image is looked for, for messages."""
        return f"{self.path}:{self.member(item_id)}"

    def __contains__(self, item_id: str) -> bool:
        return self.member(item_id) in self.names

    def read(self, item_id: str) -> bytes | None:
        """The member's bytes, or None if the zip has no such member. Raises BrokenImageError.

        May be called from several threads.
        """
        if item_id not in self:
            return None
        try:
            info = self._zip.getinfo(self.member(item_id))
            _limit(info.file_size)
            return self._zip.read(info)
        except BrokenImageError:
            raise
        except Exception as error:  # a damaged member: wrong checksum, zlib, encryption, seek, ...
            raise BrokenImageError(f"cannot be read from the zip ({error})") from error

    def describe(self) -> dict:
        """What the manifest says of the source."""
        return {"kind": "zip", "path": str(self.path)}


Images = ImageFolder | ImageZip


def _limit(size):
    if size > MAX_FILE_BYTES:
        raise BrokenImageError(f"has {size:,} bytes, the limit is {MAX_FILE_BYTES:,}")


def decode(content: bytes):
    """The first frame of an encoded image as an RGB `PIL.Image`, in the file's own orientation.

    EXIF is ignored, its rotation included. Transparent parts become white; 16-bit grey is scaled
    to 8 bits. Raises BrokenImageError for content that is empty, truncated, no image, or larger
    than MAX_PIXELS.
    """
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise BrokenImageError("the file is empty")
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise BrokenImageError(f"has {width} x {height} pixels, the limit is {MAX_PIXELS:,}")
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
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")
