"""Synthetic street scenes: class-imbalanced, spatially clustered, redundant like video, generated in milliseconds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data.dataset import Sample
from quadrat.benchmark.data.loaders.scene_layout import CLASSES, COLOURS, draw_street
from quadrat.benchmark.data.loaders.scene_rendering import render
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.seeds import rng

__all__ = ["Scenes"]

GENERATOR_VERSION: Final = 5
"""Version of the generator; increase it when the same parameters give other pixels."""

WIDTHS: Final = (0.5, 1.0)
"""Image widths relative to the nominal one; each street has one of them.

At the default size all heights and widths are multiples of 96, so regions of 8, 12, 16, 24, 32, 48 or 96 pixels are
never clipped: equal numbers of regions are equal numbers of pixels. With clipped cells, strategies that prefer borders
would label less.
"""

PEDESTRIAN_STREETS: Final = 0.36
"""Share of the streets that have a group of pedestrians."""

BICYCLIST_STREETS: Final = 0.28
"""Share of the streets that have bicyclists."""

RANGES: Final = {
    "num_train": (0, 1_000_000),
    "num_val": (0, 1_000_000),
    "num_test": (0, 1_000_000),
    "height": (32, 4096),
    "width": (32, 4096),
    "frames": (1, 16),
    "noise": (0, 10),
    "seed": (0, 2**63 - 1),
}
"""Smallest and largest value of each parameter. After 16 frames the camera would have passed the whole street."""


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """A generated data set with the difficulties of region-based active learning.

    Ten street classes, four of which hold about 0.5 to 1.5 % of the pixels each. Pedestrians and bicyclists come in
    groups and only in some streets. Consecutive frames of `train` show the same street, so images are redundant; each
    image of `val` and `test` is another street. Widths differ between streets. The bonnet of the camera car is void.
    Every image is a pure function of the parameters, the split and its index.

    Attributes:
        num_train: Images in split `train`.
        num_val: Images in split `val`.
        num_test: Images in split `test`.
        height: Height, pixels; at least 32.
        width: Width of a wide image, pixels; at least 32.
        frames: Consecutive images of `train` that show the same street; 1 means no redundancy.
        varied_sizes: Whether half of the streets, drawn at random, are half as wide.
        noise: Scale of texture and sensor noise: higher is harder.
        seed: Seed of all images.
    """

    num_train: int = 120
    num_val: int = 24
    num_test: int = 48
    height: int = 96
    width: int = 192
    frames: int = 4
    varied_sizes: bool = True
    noise: float = 1.0
    seed: int = 0

    name: ClassVar[str] = "scenes"
    classes: ClassVar[tuple[str, ...]] = CLASSES
    colours: ClassVar[tuple[tuple[int, int, int], ...]] = COLOURS
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")

    def __post_init__(self) -> None:
        if not isinstance(self.varied_sizes, bool):
            raise DataError(f"scenes: varied_sizes must be true or false, got {self.varied_sizes!r}.")
        for key, (low, high) in RANGES.items():
            value = getattr(self, key)
            numeric = isinstance(value, int) or (key == "noise" and isinstance(value, float))
            if isinstance(value, bool) or not numeric or not low <= value <= high:
                kind = "number" if key == "noise" else "whole number"
                raise DataError(f"scenes: {key} must be a {kind} from {low} to {high}, got {value!r}.")

    def params(self) -> dict[str, Any]:
        """Return the parameters and the version of the generator."""
        return {**asdict(self), "generator": GENERATOR_VERSION}

    def items(self, split: str) -> Sequence["SceneItem"]:
        """Return the images of `split`; see `Dataset.items`."""
        if split not in self.splits:
            raise DataError(f"scenes has no split {split!r}; there is {', '.join(self.splits)}.")
        count = int(getattr(self, f"num_{split}"))
        if count == 0:
            raise DataError(f"split {split!r} of scenes is empty: num_{split} is 0. Give a positive number.")
        return [SceneItem(scenes=self, split=split, index=index) for index in range(count)]


@dataclass(frozen=True, kw_only=True)
class SceneItem:
    """One generated image.

    Attributes:
        scenes: The data set.
        split: The split.
        index: Which image of the split.
    """

    scenes: Scenes
    split: str
    index: int

    @property
    def street(self) -> int:
        """Index of the street in the split."""
        return self.index // self.scenes.frames if self.split == "train" else self.index

    @property
    def frame(self) -> int:
        """Index of the frame in its street."""
        return self.index % self.scenes.frames if self.split == "train" else 0

    @property
    def id(self) -> str:
        """Street and frame, e.g. `street-0003-01`."""
        return f"street-{self.street:04d}-{self.frame:02d}"

    def __str__(self) -> str:
        return f"scenes {self.split} {self.id}"

    def read_image(self) -> npt.NDArray[np.uint8]:
        """Return the image, uint8 (H, W, 3) RGB."""
        return self.generate().image

    def read_mask(self) -> npt.NDArray[np.uint8]:
        """Return the mask, uint8 (H, W)."""
        return self.generate().mask

    def stamp(self) -> str:
        """Return an empty string: the parameters of the data set determine the content."""
        return ""

    def generate(self) -> Sample:
        """Return image and mask; some milliseconds at 96 x 192."""
        scenes, street, frame = self.scenes, self.street, self.frame
        street_rng = rng(scenes.seed, "scenes", self.split, "street", street)
        share = float(street_rng.choice(WIDTHS)) if scenes.varied_sizes else 1.0
        layout = draw_street(
            street_rng,
            pedestrians=self._has(street, "pedestrians", PEDESTRIAN_STREETS),
            bicyclists=self._has(street, "bicyclists", BICYCLIST_STREETS),
        )
        pixel_rng = rng(scenes.seed, "scenes", self.split, "frame", street, frame)
        return render(layout, frame, scenes.height, round(scenes.width * share), scenes.noise, pixel_rng)

    def _has(self, street: int, what: str, share: float) -> bool:
        """Return whether `street` is one of the `share` of streets that have `what`.

        Multiples of the golden ratio spread them evenly over the split, so that small splits have their share too.
        """
        start = rng(self.scenes.seed, "scenes", self.split, what).random()
        return bool((start + street * 0.6180339887498949) % 1 < share)
