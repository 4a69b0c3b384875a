"""Image files as arrays: every bit, band and page of a file is used, or the file is refused with the reason.

Pillow opens files that hold more than it returns: it cuts 16 bits of a colour to 8, leaves out bands beyond the third,
shows the first page of a stack and ignores the orientation that a camera has noted. None of these is silent here.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import GifImagePlugin, Image, ImageFile, ImageOps, TiffImagePlugin

from quadrat.benchmark.errors import DataError

__all__ = [
    "DEEP",
    "IMAGE_SUFFIXES",
    "MASK_SUFFIXES",
    "deep_grey_maximum",
    "orientation_of",
    "palette_of",
    "read_mask_values",
    "read_rgb",
]

MASK_SUFFIXES: Final = (".png", ".bmp", ".tif", ".tiff")
"""Suffixes of masks. A file with another image suffix is taken where none of these is there."""

IMAGE_SUFFIXES: Final = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".avif"),
)
"""Suffixes of images: the raster formats that Pillow reads."""

DEEP: Final = "images of more than 8 bits"
"""Kind of the error of images whose bits nobody has said."""

LOSSY: Final = {"JPEG": "JPEG", "MPO": "JPEG", "JPEG2000": "JPEG 2000", "AVIF": "AVIF"}
"""Formats that a mask must not have, by Pillow's names: compression changes ids at every border."""

# Raised by Pillow on files that are no images, truncated or corrupt; a broken PNG raises SyntaxError.
DECODER_ERRORS: Final = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)

_DEEP: Final = re.compile(r";(12|16|32)[BLNSR]")
"""In the name of Pillow's raw mode: more than 8 bits a channel. `BGR;16` without a letter is 5 + 6 + 5 bits."""

_NEW_SUBFILE, _BITS, _SAMPLES, _ORIENTATION = 254, 258, 277, 274
"""TIFF tags; the orientation is also that of EXIF."""

_NOT_A_PAGE: Final = 0b101
"""Bits of the TIFF tag NewSubfileType: a smaller copy of another page, a transparency mask."""


def read_rgb(path: Path, bits_used: int | None = None) -> npt.NDArray[np.uint8]:
    """Return an image as viewers show it, uint8 (H, W, 3) RGB; grey and palette images become RGB.

    Args:
        path: The file.
        bits_used: Bits that grey values of more than 8 bits use, such as 12: those are scaled to 8 bits, rounded.

    Raises:
        DataError: When the file is missing or no intact image, has several pages, more than 8 bits a channel, more than
            three bands or transparent pixels.
    """
    with _opened(path) as picture:
        bits = _bits(path, picture)
        if bits_used is not None and picture.mode in _DEEP_GREY:
            return _scaled(path, np.array(_upright(picture)), bits_used)
        if bits > 8 or picture.mode.startswith(("I", "F")):
            found = f"{bits} bits" if bits > 8 else f"mode {picture.mode!r}"
            raise DataError(
                f"{path}: expected 8 bits a channel, got {found}: cut to 8, much would be lost (12-bit data would be "
                "nearly black). Scale all images by one factor, such as magick IN -evaluate multiply 16 -depth 8 "
                "OUT.png for 12 bits of 16, multiply 1 for all 16; for grey images of data set `folder`, manifest.json "
                'may say "bits": 12.',
                kind=DEEP,
            )
        if (bands := _num_bands(picture)) > len(picture.getbands()) or picture.mode not in _TO_RGB:
            raise DataError(
                f"{path}: expected grey, palette or RGB, got {bands} bands (mode {picture.mode!r}). Choose three, such "
                "as gdal_translate -b 1 -b 2 -b 3 IN OUT.",
                kind="images of other bands than RGB",
            )
        _refuse_transparency(path, picture)
        return np.array(_upright(picture).convert("RGB"))


_TO_RGB: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
"""Modes that become RGB without loss of a band; alpha is checked, CMYK is a way to write colours."""


_DEEP_GREY: Final = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})


def _scaled(path: Path, grey: npt.NDArray[Any], bits_used: int) -> npt.NDArray[np.uint8]:
    """Return grey values of `bits_used` bits as RGB of 8, (H, W, 3)."""
    highest = 2**bits_used - 1
    if grey.min() < 0 or grey.max() > highest:
        raise DataError(
            f"{path}: expected grey values of {bits_used} bits (manifest.json, bits), 0 to {highest}, got "
            f"{int(grey.min())} to {int(grey.max())}.",
            kind="images of more bits than the manifest says",
        )
    scaled = np.rint(grey.astype(np.float64) * (255 / highest)).astype(np.uint8)
    return np.repeat(scaled[..., None], 3, axis=2)


def deep_grey_maximum(path: Path) -> int:
    """Return the highest value of a grey image of more than 8 bits.

    Raises:
        DataError: When it is none.
    """
    with _opened(path) as picture:
        if picture.mode not in _DEEP_GREY:
            raise DataError(f"{path}: expected one channel, got mode {picture.mode!r} of more than 8 bits.", kind=DEEP)
        return int(np.array(picture).max())


def read_mask_values(path: Path, *, are_colours: bool = False) -> npt.NDArray[Any]:
    """Return the pixel values of a mask: ids (H, W), unsigned integers, or colours uint8 (H, W, 3).

    A palette counts by its indices, as in VOC's masks; a GIF by its grey values, since its encoders sort the palette.
    Grey stored as RGB is grey.

    Args:
        path: The file.
        are_colours: Whether colours have a meaning, so that grey stored as RGB is a colour too.

    Raises:
        DataError: When the file is missing or no intact image, is compressed with loss, has several pages, transparent
            pixels, or other than one or three channels of integers.
    """
    with _opened(path) as picture:
        if (lossy := _lossy(path, picture)) is not None:
            raise DataError(
                f"{path} is a {lossy} file: compression with loss changes the ids along every border. Export the masks "
                "anew from their source, as PNG.",
                kind="masks compressed with loss",
            )
        bits, bands = _bits(path, picture), _num_bands(picture)
        if picture.mode not in _MASK_MODES or bands > len(picture.getbands()) or (bits > 8 and bands > 1):
            raise DataError(
                f"{path}: expected a mask of one channel of integers, or of three with 8 bits each, got mode "
                f"{picture.mode!r}, {bands} bands, {bits} bits. Export it with one id a pixel.",
                kind="masks of other channels",
            )
        if picture.mode != "P":
            _refuse_transparency(path, picture)
        elif isinstance(picture, GifImagePlugin.GifImageFile):
            colours = np.array(_upright(picture).convert("RGB"))
            return colours if are_colours else _grey_or_colours(colours)
        picture = _upright(picture)
        if picture.mode in ("LA", "RGBA", "RGBX"):
            picture = picture.convert(picture.mode[:-1])
        values = np.array(picture)
        return values if values.ndim == 2 or are_colours else _grey_or_colours(values)


_MASK_MODES: Final = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "I", "I;16", "I;16B", "I;16L", "I;16N"})


def _grey_or_colours(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the grey values (H, W) of an image whose channels are equal, any other as it is."""
    grey: npt.NDArray[np.uint8] = colours[..., 0]
    is_grey = bool((colours == grey[..., None]).all())
    return np.ascontiguousarray(grey) if is_grey else colours


def palette_of(path: Path) -> list[tuple[int, int, int]] | None:
    """Return the colours of an image with a palette; None for any other, and for a palette of grey values alone."""
    with _opened(path) as picture:
        found = picture.getpalette("RGB") if picture.mode == "P" else None
        if found is None:
            return None
        colours = [(found[at], found[at + 1], found[at + 2]) for at in range(0, len(found) - 2, 3)]
        return None if all(red == green == blue for red, green, blue in colours) else colours


def orientation_of(path: Path) -> int:
    """Return the EXIF orientation of an image, 1 to 8; 1 where there is none or the file cannot be read."""
    try:
        with Image.open(path) as picture:
            if picture.format == "PNG" and "exif" not in picture.info:  # to look for it would decode the whole image
                return 1
            return int(picture.getexif().get(_ORIENTATION, 1))
    except (*DECODER_ERRORS, Image.DecompressionBombError):
        return 1


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image of one page.

    Raises:
        DataError: When the file is missing, no intact image, larger than Pillow's limit, or has several pages.
    """
    try:
        with Image.open(path) as picture:
            if (pages := _num_pages(picture)) > 1:
                raise DataError(
                    f"{path}: expected one image, got {pages} pages, of which only the first would be used. Write each "
                    f"to a file of its own: magick {path.name} {path.stem}-%04d.png",
                    kind="files of several pages",
                )
            yield picture
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing.", kind="missing files") from error
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{path} has more pixels than Pillow reads, {2 * (Image.MAX_IMAGE_PIXELS or 0):,}: cut image and mask into "
            "tiles, such as magick IN -crop 1024x1024 +repage OUT-%04d.png.",
            kind="images that are too large",
        ) from error
    except DECODER_ERRORS as error:
        raise DataError(f"{path} {_why_no_image(path, error)}", kind="files that cannot be read") from error


def _why_no_image(path: Path, error: Exception) -> str:
    """Return what a file is that is no image, and what to do."""
    head = _head(path) if path.is_file() else b"?"
    if not head:
        return "is empty (0 bytes). Replace it by an intact copy."
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS and not the image itself: git lfs pull."
    return f"cannot be read as an image ({error}). Replace it by an intact copy."


def _num_pages(picture: Image.Image) -> int:
    """Return the number of pages, without smaller copies of a page; the pictures beside a camera's photograph too."""
    num = int(getattr(picture, "n_frames", 1))
    if num == 1 or picture.format == "MPO":
        return 1
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return num
    pages = 0
    for page in range(num):
        picture.seek(page)
        pages += not int(picture.tag_v2.get(_NEW_SUBFILE, 0)) & _NOT_A_PAGE
    picture.seek(0)
    return pages


def _bits(path: Path, picture: Image.Image) -> int:
    """Return the bits of the deepest channel of the file, 8 for any number up to it."""
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        return max(8, *map(int, picture.tag_v2.get(_BITS, (1,))))
    if picture.format == "JPEG2000":
        return max(8, _jpeg2000_bits(path))
    for tile in picture.tile if isinstance(picture, ImageFile.ImageFile) else ():
        args = tile[3]
        if (found := _DEEP.search(str(args if isinstance(args, str) else args[0] if args else ""))) is not None:
            return int(found[1])
    return 16 if picture.mode.startswith("I;16") else 32 if picture.mode in ("I", "F") else 8


def _jpeg2000_bits(path: Path) -> int:
    """Return the depth of the first component, from the marker SIZ of the codestream (ISO 15444-1, A.5.1)."""
    head = _head(path)
    marker = head.find(b"\xff\x4f\xff\x51")
    depth = head[marker + 42 : marker + 43]
    return (depth[0] & 0x7F) + 1 if marker >= 0 and depth else 16


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(2**16)


def _num_bands(picture: Image.Image) -> int:
    """Return the bands of the file, which may be more than those that Pillow returns."""
    bands = len(picture.getbands())
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        return max(bands, int(picture.tag_v2.get(_SAMPLES, 1)))
    return bands


def _refuse_transparency(path: Path, picture: Image.Image) -> None:
    """Raise a `DataError` where a pixel is not opaque; a band of alpha that is full everywhere holds nothing."""
    has_alpha = "A" in picture.getbands() or "transparency" in picture.info
    if has_alpha and np.array(picture.convert("RGBA"))[..., 3].min() < 255:
        raise DataError(
            f"{path}: expected opaque pixels, got transparent ones (a fourth band), whose colour is up to the viewer. "
            "Flatten it, such as magick IN -background black -flatten OUT.png, or leave the fourth band out.",
            kind="transparent pixels",
        )


def _lossy(path: Path, picture: Image.Image) -> str | None:
    """Return the name of a compression with loss, None for any other."""
    if picture.format in LOSSY:
        return LOSSY[picture.format]
    if picture.format == "TIFF" and "jpeg" in str(picture.info.get("compression", "")):
        return "TIFF with JPEG compression"
    if picture.format == "WEBP":
        return None if b"VP8L" in _head(path)[:64] else "WebP"
    return None


def _upright(picture: Image.Image) -> Image.Image:
    """Return the picture turned as its EXIF orientation says, as every viewer and most annotation tools show it."""
    ImageOps.exif_transpose(picture, in_place=True)
    return picture
