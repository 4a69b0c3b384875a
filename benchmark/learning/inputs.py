"""Structural types of the learner's inputs: images, masks, labels.

`quadrat.benchmark.data` and the oracle implement them; tests use arrays in memory. Sizes are (height, width) in pixels.
Class ids are uint8, and 255 is void: never trained on, never counted.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from quadrat.benchmark.data import VOID, Layout

__all__ = ["VOID", "Images", "Labels", "Masks", "labelled_images"]


class Images(Protocol):
    """The images of a packed split, without their labels."""

    @property
    def sizes(self) -> NDArray[np.int32]:
        """Height and width of every image, (N, 2)."""

    @property
    def fingerprint(self) -> str:
        """Hash over the decoded pixels, equal on every machine."""

    def __len__(self) -> int: ...

    def image(self, index: int, /) -> NDArray[np.uint8]:
        """Return image `index`, RGB, (H, W, 3), read-only."""


class Masks(Protocol):
    """The ground truth of a packed split, for the evaluator and the oracle only."""

    @property
    def sizes(self) -> NDArray[np.int32]:
        """Height and width of every mask, (N, 2)."""

    def __len__(self) -> int: ...

    def mask(self, index: int, /) -> NDArray[np.uint8]:
        """Return the class ids of image `index`, (H, W), 255 = void, read-only."""


class Labels(Protocol):
    """Labels of the labelled regions, the only ones the learner may read."""

    @property
    def num_classes(self) -> int:
        """Number of classes C; class ids are 0 .. C - 1."""

    @property
    def layout(self) -> Layout:
        """The regions of the pool."""

    @property
    def regions(self) -> NDArray[np.int64]:
        """Sorted ids of the labelled regions, (L,)."""

    @property
    def key(self) -> dict[str, Any]:
        """What distinguishes these labels from precise ones of the same regions, JSON-plain; empty for those."""

    @property
    def sets_KC(self) -> NDArray[np.bool_] | None:
        """The sets of classes that labels stand for, (K, C), row VOID empty; None where labels are class ids."""

    def crop(
        self, image: int, top: int, left: int, height: int, width: int, /
    ) -> NDArray[np.uint8] | NDArray[np.int32]:
        """Return the labels in a window of an image, (height, width); 255 outside labelled regions and the image.

        Class ids, uint8; or rows of `sets_KC`, int32.
        """


def labelled_images(labels: Labels) -> NDArray[np.int64]:
    """Return the images that have a labelled region, ascending."""
    return np.unique(labels.layout.image[labels.regions]).astype(np.int64)
