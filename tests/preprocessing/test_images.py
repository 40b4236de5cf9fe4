"""Where images come from, and pictures of every kind, broken ones too, made RGB or refused."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image, features

from ld4mrec.errors import DataError
from ld4mrec.preprocessing.steps import images
from ld4mrec.preprocessing.steps.images import BrokenImageError, ImageFolder, ImageZip, decode

RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(size=(40, 30)):
    levels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(levels)


def png_of_size(width, height):
    """A PNG whose header claims a size and that has no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\r"
        + header
        + struct.pack(">I", zlib.crc32(header))
        + b"\x00\x00\x00\x00IEND\xaeB`\x82"
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "010").mkdir()
    (tmp_path / "010" / "0108775015.jpg").write_bytes(b"content")
    return ImageFolder(tmp_path, lambda item: f"{item[:3]}/{item}.jpg")


@pytest.fixture
def zipped(tmp_path):
    path = tmp_path / "covers.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("covers/1.jpg", b"content" * 1000)
    return ImageZip(path, lambda item: f"covers/{item}.jpg")


def test_folder_reads_what_is_there(folder, tmp_path):
    assert folder.read("0108775015") == b"content"
    assert "0108775015" in folder
    assert folder.read("0108775016") is None
    assert "0108775016" not in folder
    assert folder.where("0108775016") == str(tmp_path / "010" / "0108775016.jpg")
    assert folder.describe() == {"kind": "folder", "path": tmp_path.name}


@pytest.mark.parametrize("item", ["../secret", "/secret"])
def test_folder_is_not_left(item, tmp_path):
    (tmp_path / "secret.jpg").write_bytes(b"content")
    (tmp_path / "images").mkdir()
    source = ImageFolder(tmp_path / "images", lambda item: f"{item}.jpg")
    assert item not in source
    assert source.read(item) is None


def test_folder_that_does_not_exist(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist; the images should be files"):
        ImageFolder(tmp_path / "nowhere", str)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file is a file"):
        ImageFolder(tmp_path / "file", str)


def test_zip_reads_what_is_there(zipped):
    assert zipped.read("1") == b"content" * 1000
    assert "1" in zipped
    assert zipped.read("2") is None
    assert zipped.where("2").endswith("covers.zip:covers/2.jpg")
    assert zipped.describe()["kind"] == "zip"


def test_incomplete_zip(zipped):
    zipped.path.write_bytes(zipped.path.read_bytes()[:-30])
    with pytest.raises(DataError, match="cannot be opened as a zip file.*download complete"):
        ImageZip(zipped.path, str)


def test_damaged_member(zipped):
    content = bytearray(zipped.path.read_bytes())
    content[50:60] = bytes(10)
    zipped.path.write_bytes(content)
    with pytest.raises(BrokenImageError, match="cannot be read from the zip"):
        ImageZip(zipped.path, zipped.place).read("1")


def test_file_over_the_limit(folder, zipped, monkeypatch):
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 6)
    with pytest.raises(BrokenImageError, match="has 7 bytes, the limit is 6"):
        folder.read("0108775015")
    with pytest.raises(BrokenImageError, match="has 7,000 bytes"):
        zipped.read("1")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "CMYK", "YCbCr", "LA", "RGBA", "I;16"])
def test_modes(mode):
    """A white picture stays white in all colour models, within what JPEG rounds."""
    if mode == "I;16":
        picture = Image.fromarray(np.full((30, 40), 65535, dtype=np.uint16))
    else:
        picture = Image.new("RGB", (40, 30), WHITE).convert(mode)
    content = encoded(picture, "JPEG" if mode in ("CMYK", "YCbCr") else "PNG")
    made = decode(content)
    assert made.mode == "RGB"
    assert made.size == (40, 30)
    assert np.asarray(made).min() >= 253


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 100.0, 255.0]], np.float32), [0, 100, 255]),
        (np.array([[-1.0, 0.0, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0, 7, 255]], np.int32), [0, 7, 255]),
        (np.array([[0, 25700, 65535]], np.int32), [0, 100, 255]),
        (np.array([[0, 10**9, 2 * 10**9]], np.int32), [0, 128, 255]),
        (np.zeros((1, 3), np.float32), [0, 0, 0]),
    ],
)
def test_grey_of_32_bits_keeps_its_levels(levels, expected):
    made = decode(encoded(Image.fromarray(levels), "TIFF"))
    assert made.mode == "RGB"
    assert np.asarray(made)[0].tolist() == [[level] * 3 for level in expected]


def test_avif_is_read():
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    made = decode(encoded(Image.new("RGB", (40, 30), RED), "AVIF"))
    assert made.size == (40, 30)
    assert np.abs(np.subtract(made.getpixel((1, 1)), RED)).max() <= 4


def test_colour_survives():
    assert decode(encoded(Image.new("RGB", (4, 4), RED).convert("P"))).getpixel((1, 1)) == RED
    grey = Image.fromarray(np.full((3, 3), 257 * 100, dtype=np.uint16))
    assert decode(encoded(grey)).getpixel((1, 1)) == (100, 100, 100)


def test_transparent_parts_become_white():
    clear = Image.new("RGBA", (4, 4), (*RED, 0))
    clear.putpixel((0, 0), (*RED, 255))
    made = decode(encoded(clear))
    assert made.getpixel((0, 0)) == RED
    assert made.getpixel((1, 1)) == WHITE
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    assert decode(encoded(palette, "GIF", transparency=1)).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_first_of_several_pictures(kind):
    """Animations, pages, and the JPEGs with a second picture that telephones make."""
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, WHITE)]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(np.subtract(decode(content).getpixel((0, 0)), RED)).max() <= 2


def test_exif_orientation_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6  # lying on its side
    assert decode(encoded(noise((40, 30)), "JPEG", exif=exif)).size == (40, 30)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"<html>404 not found</html>", "is not one of JPEG.*begins with b'<html>404"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not one of"),
        (encoded(noise(), "JPEG")[:-300], "cannot be decoded .*truncated"),
        (encoded(noise(), "PNG")[:-900], "cannot be decoded"),
        (encoded(noise(), "JPEG")[:20], "cannot be decoded|is not one of"),
        (png_of_size(60_000, 60_000), "more than 89,478,485 pixels"),
        (png_of_size(10_000, 9_000), "10000 x 9000 pixels, the limit"),
        (encoded(Image.new("L", (3000, 1))), "has 3000 x 1 pixels, a side of more than 100 times"),
        (
            encoded(Image.fromarray(np.full((3, 3), np.nan, np.float32)), "TIFF"),
            "has pixels that are no numbers",
        ),
        (png_of_size(0, 9), "cannot be decoded|is not one of"),
    ],
    ids=[
        "empty",
        "a web page",
        "PostScript",
        "half a JPEG",
        "half a PNG",
        "a JPEG's header",
        "a bomb",
        "too large",
        "a line",
        "no numbers",
        "no width",
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_broken_images_are_refused(content, why):
    with pytest.raises(BrokenImageError, match=why):
        decode(content)
