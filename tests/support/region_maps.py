"""Region maps for tests: cut by a function, over images that are packed in a folder of the test."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from quadrat.benchmark.data import PackedSplit, load_dataset, pack
from quadrat.benchmark.data.shapes import RegionKind

CutFunction = Callable[[tuple[int, int], int], NDArray[np.integer[Any]]]


@dataclass(frozen=True, kw_only=True)
class Drawn(RegionKind):
    """Regions that a function of (height, width) and the image's number draws."""

    name: ClassVar[str] = "drawn"

    draw: CutFunction
    seed: int = 0

    def params(self) -> dict[str, Any]:
        return {"seed": self.seed, "draw": repr(self.draw)}

    def cut(self, image: NDArray[np.uint8], *, region_size: int, id: str) -> NDArray[np.integer[Any]]:
        return self.draw((image.shape[0], image.shape[1]), self.seed + int("".join(filter(str.isdigit, id)) or 0))


def ragged(size: tuple[int, int], seed: int) -> NDArray[np.int64]:
    """Return Voronoi cells of a few random seeds, a third of the image in none, ids with gaps."""
    height, width = size
    generator = np.random.default_rng(seed)
    points = generator.random((max(4, height * width // 150), 2)) * size
    y, x = np.indices(size)
    nearest: NDArray[np.int64] = ((y[..., None] - points[:, 0]) ** 2 + (x[..., None] - points[:, 1]) ** 2).argmin(
        axis=2
    )
    ids = nearest.astype(np.int64) * 3 + 5
    ids[nearest % 3 == 2] = 0
    counts = np.bincount(ids.ravel())
    ids[counts[ids] < 2] = 0
    return ids


def scenes(folder: Path, *, height: int = 48, width: int = 64, num_train: int = 4) -> PackedSplit:
    """Return a packed pool of generated scenes."""
    dataset = load_dataset("scenes", num_train=num_train, num_test=2, height=height, width=width)
    return pack(dataset, "train", folder)
