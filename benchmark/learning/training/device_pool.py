"""The labelled images of a fit on the device, and windows cut there.

Axes: B images, S side of the largest window, P pixels of all images that are kept.

Cutting a batch on the host and copying it takes as long as an iteration of a small network on a GPU. Where images and
labels fit into a small part of its memory they are copied once a fit, and an iteration copies a few numbers.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from quadrat.benchmark.learning.inputs import Images, Labels, labelled_images
from quadrat.benchmark.learning.training.augment import Windows, empty_labels
from quadrat.benchmark.learning.training.memory import memory_of
from quadrat.benchmark.learning.training.sampler import Draw

__all__ = ["DevicePool", "fits"]

_SHARE_OF_MEMORY: Final = 32
"""One of so many parts of the device's memory may be taken: several trials share a device."""


def fits(images: Images, labels: Labels, device: torch.device) -> bool:
    """Return whether the images with labels, and their labels, take a small part of the memory of `device`."""
    num_px = int(np.prod(images.sizes[labelled_images(labels)].astype(np.int64), axis=1).sum())
    bytes_a_label = 1 if labels.sets_KC is None else 4
    return num_px * (3 + bytes_a_label) * _SHARE_OF_MEMORY <= memory_of(device)


class DevicePool:
    """Cuts windows as `cut_windows` does, on the device."""

    def __init__(self, images: Images, labels: Labels, mean_colour: Sequence[int], device: torch.device) -> None:
        """Copy the images that have labels, and these labels, to the device.

        Args:
            images: The pool's images.
            labels: The labelled regions.
            mean_colour: RGB, 0 .. 255, fill colour outside an image.
            device: Of the windows.
        """
        self._device = device
        kept = labelled_images(labels)
        self._sizes = images.sizes[kept].astype(np.int64)
        self._place = {image: place for place, image in enumerate(kept.tolist())}
        self._starts = np.concatenate([[0], np.cumsum(np.prod(self._sizes, axis=1))])
        num_px = int(self._starts[-1])
        # The last pixel is what lies outside: the mean colour, and void.
        self._image_Px = torch.empty((num_px + 1, 3), dtype=torch.uint8, device=device)
        self._label_P = empty_labels(labels, (num_px + 1,)).to(device)
        self._image_Px[-1] = torch.tensor(mean_colour, dtype=torch.uint8)
        for image, place in self._place.items():
            height, width = self._sizes[place].tolist()
            own = slice(int(self._starts[place]), int(self._starts[place + 1]))
            self._image_Px[own] = torch.from_numpy(np.array(images.image(image))).reshape(-1, 3).to(device)
            label_HW = np.ascontiguousarray(labels.crop(image, 0, 0, height, width))
            self._label_P[own] = torch.from_numpy(label_HW).reshape(-1).to(device)

    def windows(self, draws: Sequence[Draw]) -> Windows:
        """Return the windows of a batch, each in the upper left corner of an S x S buffer that is filled all over."""
        places = [self._place[draw.image] for draw in draws]
        rows = [
            (self._starts[place], *self._sizes[place], draw.top, draw.left, draw.side, draw.flip)
            for place, draw in zip(places, draws, strict=True)
        ]
        numbers = torch.tensor(rows, dtype=torch.int64, pin_memory=self._device.type == "cuda").T
        start_B, height_B, width_B, top_B, left_B, side_B, flip_B = numbers.to(self._device, non_blocking=True)
        position_S = torch.arange(max(draw.side for draw in draws), device=self._device)
        row_BS, is_row_BS = _inside(position_S, top_B, height_B, side_B)
        column_BS, is_column_BS = _inside(position_S, left_B, width_B, side_B)
        index_BSS = (start_B[:, None] + row_BS * width_B[:, None])[:, :, None] + column_BS[:, None, :]
        index_BSS = torch.where(is_row_BS[:, :, None] & is_column_BS[:, None, :], index_BSS, len(self._label_P) - 1)
        return Windows(self._image_Px[index_BSS], self._label_P[index_BSS], side_B, flip_B.bool())


def _inside(position_S: Tensor, first_B: Tensor, length_B: Tensor, side_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return the positions of windows along one axis of their images, (B, S), and which lie in image and window."""
    in_image_BS = position_S + first_B[:, None]
    is_inside_BS = (in_image_BS >= 0) & (in_image_BS < length_B[:, None]) & (position_S < side_B[:, None])
    return in_image_BS, is_inside_BS
