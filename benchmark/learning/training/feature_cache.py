"""Features of a frozen encoder, computed once per image set and stored as memory-mapped float16.

Axes: B images, E channels, h w cells of 4 pixels, u v cells of the output stride.

A folder `<cache_dir>/features/<key>/` holds `low.f16` (stride 4) and `high.f16` (output stride), image after image,
each (rows, columns, channels), and `meta.json` with their digests, which each process checks when it opens them first.
The folder is renamed into place when it is complete. Images are padded with the mean colour to a multiple of the output
stride.
"""

import hashlib
import json
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from quadrat.benchmark.errors import DataError
from quadrat.benchmark.learning.inputs import Images, Labels
from quadrat.benchmark.learning.network.model import CELL, Encoded
from quadrat.benchmark.learning.runtime import to_device
from quadrat.benchmark.learning.training.augment import empty_labels
from quadrat.benchmark.learning.training.sampler import Draw
from quadrat.benchmark.storage.atomic import (
    atomic_directory,
    clear_disk_errors,
    discard,
    make_folders,
)
from quadrat.benchmark.storage.digest import is_intact_once, new_digest, with_digest, without_digest

__all__ = ["FeatureCrops", "FeatureMaps", "cut_feature_crops", "feature_key", "open_or_encode"]

_LOG = logging.getLogger(__name__)

# Part of the key: increase it when the same encoder and images would give other features.
_VERSION = 1
_FLOAT16_MAX = 65504.0


class FeatureMaps:
    """The two feature maps of every image of a set, as views of memory maps."""

    def __init__(self, path: Path) -> None:
        """Open what `open_or_encode` wrote.

        Raises:
            DataError: A file is missing, or has another content than was written.
        """
        try:
            meta = without_digest(json.loads((path / "meta.json").read_text()))
            if meta is None:
                raise OSError("meta.json has another content than was written")
            for name, digest in meta["digests"].items():
                if not is_intact_once(path / name, digest):
                    raise OSError(f"{name} has another content than was written")
            self._low = _map(path / "low.f16", meta["low_shapes"])
            self._high = _map(path / "high.f16", meta["high_shapes"])
        except (OSError, KeyError, AttributeError, ValueError) as error:
            raise DataError(
                f"damaged feature cache {path}: {error!r}. Delete the folder; it is computed again."
            ) from error

    def __len__(self) -> int:
        return len(self._low)

    def low(self, index: int) -> NDArray[np.float16]:
        """Return the features of image `index` at stride 4, (h, w, E_low)."""
        return self._low[index]

    def high(self, index: int) -> NDArray[np.float16]:
        """Return the features of image `index` at the output stride, (u, v, E_high)."""
        return self._high[index]

    def encoded(self, indices: Sequence[int], device: torch.device) -> Encoded:
        """Return both maps of images of one size as input of the decoder: float32, channels-last."""
        low, high = (np.stack([maps(index) for index in indices]) for maps in (self.low, self.high))
        return _to_encoded(low, high, device)


class FeatureCrops(NamedTuple):
    """A training batch of a frozen recipe."""

    encoded: Encoded
    label_BHW: Tensor  # as `Labels.crop`


def open_or_encode(
    images: Images,
    encode: Callable[[int], Encoded],
    key: dict[str, Any],
    cache_dir: Path,
    on_image: Callable[[int, int], None] | None = None,
) -> FeatureMaps:
    """Return the cached features of `images`, after computing them if they are missing or damaged.

    Concurrent processes wait for the one that computes. Where they are there and intact, nothing is written.

    Args:
        images: The image set.
        encode: Index of an image to its encoded maps, padded (batch of one).
        key: Everything that the features depend on, JSON-serialisable.
        cache_dir: Cache folder; features go into `features/`.
        on_image: Called with (images done, images in total).

    Raises:
        ResultsError: The disk is full or not writable.
    """
    path = cache_dir / "features" / feature_key(key)
    if (found := _intact(path)) is not None:
        return found
    with clear_disk_errors(path):
        make_folders(path.parent)
        with FileLock(path.with_suffix(".lock")):
            if (found := _intact(path)) is not None:  # another process was faster
                return found
            if path.exists():
                _LOG.warning("%s is damaged: the features are computed again", path)
                discard(path)
            with atomic_directory(path) as folder:
                _write(folder, images, encode, key, on_image)
    return FeatureMaps(path)


def _intact(path: Path) -> FeatureMaps | None:
    try:
        return FeatureMaps(path)
    except DataError:
        return None


def feature_key(key: dict[str, Any]) -> str:
    """Return the folder name of the features that depend on `key`."""
    payload = json.dumps({"version": _VERSION, **key}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(payload.encode()).hexdigest()[:24]


def cut_feature_crops(
    maps: FeatureMaps, labels: Labels, draws: Sequence[Draw], output_stride: int, device: torch.device
) -> FeatureCrops:
    """Return the feature crops and labels of a batch; outside the image features are 0 and labels void.

    A flipped crop holds the flipped features of the crop, not the features of the flipped image.

    Args:
        maps: Features of the pool.
        labels: The labelled regions.
        draws: Windows of equal side, position and side in multiples of `output_stride`.
        output_stride: Pixels per cell of the high map.
        device: Device of the result.
    """
    side = draws[0].side
    low_BhwE = np.stack([_crop(maps.low(draw.image), draw, CELL) for draw in draws])
    high_BuvE = np.stack([_crop(maps.high(draw.image), draw, output_stride) for draw in draws])
    label_BHW = empty_labels(labels, (len(draws), side, side)).numpy()
    for index, draw in enumerate(draws):
        label = labels.crop(draw.image, draw.top, draw.left, side, side)
        label_BHW[index] = label[:, ::-1] if draw.flip else label
    encoded = _to_encoded(low_BhwE, high_BuvE, device)
    return FeatureCrops(encoded=encoded, label_BHW=to_device(label_BHW, device))


def _crop(feature_hwE: NDArray[np.float16], draw: Draw, stride: int) -> NDArray[np.float16]:
    top, left, side = draw.top // stride, draw.left // stride, draw.side // stride
    crop = feature_hwE[max(top, 0) : top + side, max(left, 0) : left + side]
    if crop.shape[:2] != (side, side):
        above, before = max(-top, 0), max(-left, 0)
        whole = np.zeros((side, side, crop.shape[2]), dtype=np.float16)
        whole[above : above + crop.shape[0], before : before + crop.shape[1]] = crop
        crop = whole
    return crop[:, ::-1] if draw.flip else crop


def _to_encoded(low_BhwE: NDArray[np.float16], high_BuvE: NDArray[np.float16], device: torch.device) -> Encoded:
    low, high = (to_device(maps, device).float().permute(0, 3, 1, 2) for maps in (low_BhwE, high_BuvE))
    return Encoded(low=low, high=high)


def _map(path: Path, shapes: list[list[int]]) -> list[NDArray[np.float16]]:
    lengths = [math.prod(shape) for shape in shapes]
    flat = np.memmap(path, dtype=np.float16, mode="r")
    if flat.size != sum(lengths):
        raise OSError(f"{path.name} holds {flat.size} numbers, expected {sum(lengths)}")
    starts = np.concatenate([[0], np.cumsum(lengths)])
    # ndarrays on the map's memory: slicing an np.memmap costs more than copying a crop.
    base = np.asarray(flat)
    return [base[starts[i] : starts[i + 1]].reshape(shape) for i, shape in enumerate(shapes)]


def _write(
    folder: Path,
    images: Images,
    encode: Callable[[int], Encoded],
    key: dict[str, Any],
    on_image: Callable[[int, int], None] | None,
) -> None:
    shapes: dict[str, list[list[int]]] = {"low": [], "high": []}
    digests = {f"{name}.f16": new_digest() for name in shapes}
    # Written, not memory-mapped: a full disk then raises an error instead of a bus error.
    with (folder / "low.f16").open("wb") as low_file, (folder / "high.f16").open("wb") as high_file:
        for index in range(len(images)):
            encoded = encode(index)
            for name, file, feature in (("low", low_file, encoded.low), ("high", high_file, encoded.high)):
                array_hwE = _to_float16(feature)
                shapes[name].append(list(array_hwE.shape))
                data = array_hwE.tobytes()
                digests[f"{name}.f16"].update(data)
                file.write(data)
            if on_image is not None:
                on_image(index + 1, len(images))
    meta = {
        "key": key,
        "low_shapes": shapes["low"],
        "high_shapes": shapes["high"],
        "digests": {name: found.hexdigest() for name, found in digests.items()},
    }
    (folder / "meta.json").write_text(json.dumps(with_digest(meta)), encoding="utf-8")


def _to_float16(feature_1Exx: Tensor) -> NDArray[np.float16]:
    if float(feature_1Exx.abs().max()) > _FLOAT16_MAX:
        raise DataError(
            "the encoder's features are too large for float16 (above 65504): its weights do not fit the images' "
            "normalisation; take other weights, or frozen: false"
        )
    array: NDArray[np.float16] = feature_1Exx[0].permute(1, 2, 0).half().cpu().contiguous().numpy()
    return array
