"""Image files that Pillow reads but does not write: 16-bit colours, TIFFs of any number of bands and pages."""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

PNG_GREY, PNG_RGB, PNG_GREY_ALPHA, PNG_RGB_ALPHA = 0, 2, 4, 6
"""Colour types of PNG."""


def write_png16(path: Path, array: npt.NDArray[Any], colour_type: int) -> Path:
    """Write (H, W, bands) as a PNG of 16 bits a channel."""
    height, width = array.shape[:2]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


def write_tiff(
    path: Path,
    *pages: npt.NDArray[Any],
    photometric: int = 2,
    extra: Sequence[int] = (),
    subfile: Sequence[int] = (),
    orientation: int = 1,
) -> Path:
    """Write pages of (H, W) or (H, W, bands) as an uncompressed TIFF.

    Args:
        path: The file.
        pages: Unsigned integers of 1 or 2 bytes.
        photometric: 1 grey, 2 RGB, 5 CMYK.
        extra: ExtraSamples of the bands beyond those of `photometric`: 0 unspecified, 2 alpha.
        subfile: NewSubfileType of each page: 1 is a smaller copy.
        orientation: Of each page.
    """
    data = b"II*\0" + struct.pack("<I", 8)
    for index, page in enumerate(pages):
        height, width = page.shape[:2]
        bands = page.shape[2] if page.ndim == 3 else 1
        pixels = page.astype(page.dtype.newbyteorder("<")).tobytes()
        values: dict[int, tuple[str, Sequence[int]]] = {
            254: ("I", [subfile[index] if subfile else 0]),
            256: ("I", [width]),
            257: ("I", [height]),
            258: ("H", [8 * page.dtype.itemsize] * bands),
            259: ("H", [1]),
            262: ("H", [photometric]),
            273: ("I", [0]),  # where the pixels begin, below
            274: ("H", [orientation]),
            277: ("H", [bands]),
            278: ("I", [height]),
            279: ("I", [len(pixels)]),
            284: ("H", [1]),
            **({338: ("H", extra)} if extra else {}),
        }
        begin = len(data) + 2 + 12 * len(values) + 4
        packed = {tag: struct.pack(f"<{len(found)}{kind}", *found) for tag, (kind, found) in values.items()}
        outside = {tag: raw for tag, raw in packed.items() if len(raw) > 4}
        packed[273] = struct.pack("<I", begin + sum(map(len, outside.values())))
        entries, at = b"", begin
        for tag, (kind, found) in values.items():
            entries += struct.pack("<HHI", tag, {"H": 3, "I": 4}[kind], len(found))
            entries += struct.pack("<I", at) if tag in outside else packed[tag].ljust(4, b"\0")
            at += len(outside.get(tag, b""))
        end = at + len(pixels) if index + 1 < len(pages) else 0
        directory = struct.pack("<H", len(values)) + entries + struct.pack("<I", end)
        data += directory + b"".join(outside.values()) + pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def corners(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return an image without symmetry, uint8 (H, W, 3): each pixel holds its row, its column and a constant."""
    row, col = np.indices((height, width), dtype=np.uint8)
    return np.stack([row, col, np.full_like(row, 200)], axis=2)
