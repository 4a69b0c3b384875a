"""Counts of a split: pixels and images of each class, void, and a digest of every image."""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data.dataset import VOID

__all__ = ["SplitCounter", "SplitStatistics"]

# Axes: C classes, N images.


@dataclass(frozen=True, kw_only=True)
class SplitStatistics:
    """What was counted over all images of a split.

    Attributes:
        class_px: int64 (C,), pixels of each class.
        class_images: int64 (C,), images in which each class occurs.
        void_px: Pixels of no class.
        digests: A digest of the pixels and the size of each image, equal for equal images.
    """

    class_px: npt.NDArray[np.int64]
    class_images: npt.NDArray[np.int64]
    void_px: int
    digests: tuple[str, ...]

    @property
    def num_images(self) -> int:
        """Number of images that were counted."""
        return len(self.digests)

    @property
    def num_px(self) -> int:
        """Pixels of all images, void included."""
        return int(self.class_px.sum()) + self.void_px

    @property
    def void_share(self) -> float:
        """Share of the pixels that are void; 0 for no images."""
        return self.void_px / max(self.num_px, 1)

    def to_json(self) -> dict[str, Any]:
        """Return the counts, JSON-plain."""
        return {
            "class_px": self.class_px.tolist(),
            "class_images": self.class_images.tolist(),
            "void_px": self.void_px,
            "digests": list(self.digests),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Return what `to_json` wrote."""
        return cls(
            class_px=np.array(value["class_px"], dtype=np.int64),
            class_images=np.array(value["class_images"], dtype=np.int64),
            void_px=int(value["void_px"]),
            digests=tuple(value["digests"]),
        )


@dataclass
class SplitCounter:
    """Counts images one by one.

    Attributes:
        num_classes: Number of classes C.
    """

    num_classes: int
    _pixels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    _images: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    _digests: list[str] = field(default_factory=list)

    def add(self, histogram: npt.NDArray[np.int64], digest: str) -> None:
        """Count an image by the histogram of its mask, int64 (256,), and its digest."""
        self._pixels += histogram
        self._images += histogram > 0
        self._digests.append(digest)

    def statistics(self) -> SplitStatistics:
        """Return the counts so far."""
        return SplitStatistics(
            class_px=self._pixels[: self.num_classes].copy(),
            class_images=self._images[: self.num_classes].copy(),
            void_px=int(self._pixels[VOID]),
            digests=tuple(self._digests),
        )
