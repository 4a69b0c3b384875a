"""Previews: what a round's model says of a few fixed images of the pool, kept small for the galleries of the report."""

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.errors import ResultsError

if TYPE_CHECKING:
    from quadrat.benchmark.learning.scoring.preview import Preview

__all__ = ["MAX_EDGE", "NUM_IMAGES", "StoredPreview", "fixed_images", "pack_previews", "previews_path", "read_previews"]

NUM_IMAGES = 4
MAX_EDGE = 240
"""Longest edge of a stored map, pixels; four images of CamVid are then about 55 kB a round."""


@dataclass(frozen=True, kw_only=True)
class StoredPreview:
    """What the model of one round said of one image of the pool.

    Attributes:
        image: Index of the image in the pool.
        height: Of the image, pixels.
        width: Of the image, pixels.
        predicted: uint8 (h, w), class ids, thinned out.
        entropy: uint8 (h, w), 0 (certain) to 255 (all classes alike).
    """

    image: int
    height: int
    width: int
    predicted: npt.NDArray[np.uint8]
    entropy: npt.NDArray[np.uint8]


def fixed_images(num_images: int, num: int = NUM_IMAGES) -> list[int]:
    """Return up to `num` images, evenly spaced over the pool: the same ones in every trial and round.

    Examples:
        >>> fixed_images(100)
        [12, 37, 62, 87]
        >>> fixed_images(3)
        [0, 1, 2]
    """
    num = min(num, num_images)
    return [(2 * place + 1) * num_images // (2 * num) for place in range(num)]


def previews_path(results_dir: Path, trial_id: str, round_: int) -> Path:
    """Return where the previews of a round lie; only trials of the suite's first seed have them."""
    return Path(results_dir) / "previews" / trial_id / f"round-{round_}.npz"


def pack_previews(images: Sequence[int], sizes: npt.NDArray[np.int32], previews: Sequence["Preview"]) -> bytes:
    """Return the content of a previews file.

    Args:
        images: Index of each image in the pool.
        sizes: int32 (K, 2), height and width of each image.
        previews: What the model says of each.
    """
    buffer = io.BytesIO()
    arrays = {f"predicted-{place}": preview.predicted for place, preview in enumerate(previews)}
    arrays |= {f"entropy-{place}": preview.entropy for place, preview in enumerate(previews)}
    np.savez_compressed(buffer, images=np.array(images, dtype=np.int64), sizes=sizes, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def read_previews(path: Path) -> list[StoredPreview]:
    """Return what a previews file holds; nothing when there is no such file.

    Raises:
        ResultsError: When the file is damaged.
    """
    if not path.is_file():
        return []
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return [
                StoredPreview(
                    image=int(image),
                    height=int(height),
                    width=int(width),
                    predicted=file[f"predicted-{place}"],
                    entropy=file[f"entropy-{place}"],
                )
                for place, (image, (height, width)) in enumerate(zip(file["images"], file["sizes"], strict=True))
            ]
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ResultsError(
            f"{path}: expected prediction and entropy of a few images, got a damaged file ({error}); delete it"
        ) from error
