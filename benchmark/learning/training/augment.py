"""Random scale, crop and flip of a whole batch in one resampling on the device.

Axes: B images, S side of the largest window, H W pixels of the crop, N either of H and W.

The host only copies windows out of the packed pool; decoding is done before, interpolation on the device.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from quadrat.benchmark.learning.inputs import VOID, Images, Labels
from quadrat.benchmark.learning.training.sampler import Draw

__all__ = ["Windows", "cut_windows", "empty_labels", "resample", "sets_on"]


class Windows(NamedTuple):
    """Square windows of a batch of images, each in the upper left corner of an S x S buffer."""

    image_BSSx: Tensor  # uint8 (B, S, S, 3) RGB, the mean colour outside the image
    label_BSS: Tensor  # as `Labels.crop` (B, S, S), void outside the image and outside labelled regions
    side_B: Tensor  # int64, pixels of each window
    is_flipped_B: Tensor  # bool

    def to(self, device: torch.device) -> "Windows":
        """Return the windows on `device`, copied asynchronously from pinned memory."""
        return Windows(*(tensor.to(device, non_blocking=True) for tensor in self))


def cut_windows(
    images: Images, labels: Labels, draws: Sequence[Draw], mean_colour: Sequence[int], *, is_pinned: bool = False
) -> Windows:
    """Copy the windows of a batch out of the packed images and the labels.

    Args:
        images: The pool's images.
        labels: The labelled regions.
        draws: One window per crop; it may reach beyond its image.
        mean_colour: RGB, 0 .. 255, fill colour outside an image.
        is_pinned: Whether to copy into pinned memory, from which CUDA copies asynchronously.
    """
    largest = max(draw.side for draw in draws)
    shape = (len(draws), largest, largest)
    image_BSSx = torch.empty((*shape, 3), dtype=torch.uint8, pin_memory=is_pinned)
    label_BSS = empty_labels(labels, shape, is_pinned=is_pinned)
    row_of_colour = np.tile(np.asarray(mean_colour, dtype=np.uint8), (largest, 1))
    image_windows, label_windows = image_BSSx.numpy(), label_BSS.numpy()
    for window, draw in enumerate(draws):
        _cut(images.image(draw.image), draw, row_of_colour, image_windows[window])
        crop = labels.crop(draw.image, draw.top, draw.left, draw.side, draw.side)
        label_windows[window, : draw.side, : draw.side] = crop
    side_B = torch.tensor([draw.side for draw in draws], pin_memory=is_pinned)
    is_flipped_B = torch.tensor([draw.flip for draw in draws], pin_memory=is_pinned)
    return Windows(image_BSSx, label_BSS, side_B, is_flipped_B)


def _cut(
    image_HWx: NDArray[np.uint8], draw: Draw, row_of_colour: NDArray[np.uint8], window_SSx: NDArray[np.uint8]
) -> None:
    """Copy a window into the upper left corner of its buffer, the colour where it lies outside the image.

    Also into the row and the column behind it, which a resampling touches with the weight of a rounding error. The rest
    of the buffer is not read. Colours are copied by rows: numpy fills three bytes at a time many times slower.
    """
    top, left = max(draw.top, 0), max(draw.left, 0)
    visible = image_HWx[top : draw.top + draw.side, left : draw.left + draw.side]
    first_row, first_column = top - draw.top, left - draw.left
    end_row, end_column = first_row + visible.shape[0], first_column + visible.shape[1]
    touched = window_SSx[: draw.side + 1, : draw.side + 1]
    colour = row_of_colour[: touched.shape[1]]
    touched[:first_row] = colour
    touched[end_row:] = colour
    touched[first_row:end_row, :first_column] = colour[:first_column]
    touched[first_row:end_row, end_column:] = colour[end_column:]
    touched[first_row:end_row, first_column:end_column] = visible


def empty_labels(labels: Labels, shape: tuple[int, ...], *, is_pinned: bool = False) -> Tensor:
    """Return void of this shape to copy crops of `labels` into."""
    dtype = torch.uint8 if labels.sets_KC is None else torch.int32
    return torch.full(shape, VOID, dtype=dtype, pin_memory=is_pinned)


def sets_on(labels: Labels, device: torch.device) -> Tensor | None:
    """Return the sets of classes that labels stand for on `device`, bool (K, C); None where they are class ids."""
    return None if labels.sets_KC is None else torch.from_numpy(labels.sets_KC).to(device)


def resample(windows: Windows, crop: int, *, is_unscaled: bool) -> tuple[Tensor, Tensor]:
    """Return a batch of crops: images bilinear, labels nearest, both from the same source positions.

    Pixel j of a crop samples position (j + 1/2) * side / crop - 1/2 of its window, clamped to the window; in a flipped
    crop j counts from the right.

    Args:
        windows: The windows, on the device of the result.
        crop: Side of the crops in pixels.
        is_unscaled: Whether all windows have the crop's side, so that pixels are copied and not interpolated.

    Returns:
        Images, float 0 .. 255 (B, crop, crop, 3), and labels of the windows' type (B, crop, crop).
    """
    device = windows.image_BSSx.device
    batch_B11 = torch.arange(len(windows.side_B), device=device)[:, None, None]
    position = torch.arange(crop, device=device)
    y_BH = position.expand(len(windows.side_B), -1)
    x_BW = torch.where(windows.is_flipped_B[:, None], crop - 1 - position, position)
    side_B1 = windows.side_B[:, None]

    row_BH = (2 * y_BH + 1) * side_B1 // (2 * crop)
    column_BW = (2 * x_BW + 1) * side_B1 // (2 * crop)
    label_BHW = windows.label_BSS[batch_B11, row_BH[:, :, None], column_BW[:, None, :]]
    if is_unscaled:
        image_BHWx = windows.image_BSSx[batch_B11, row_BH[:, :, None], column_BW[:, None, :]]
        return image_BHWx.float(), label_BHW

    buffer_side = windows.image_BSSx.shape[1]
    y_BHW = _normalised_position(y_BH, side_B1, crop, buffer_side)[:, :, None].expand(-1, -1, crop)
    x_BHW = _normalised_position(x_BW, side_B1, crop, buffer_side)[:, None, :].expand(-1, crop, -1)
    image_BxHW = F.grid_sample(
        windows.image_BSSx.permute(0, 3, 1, 2).float(),
        torch.stack([x_BHW, y_BHW], dim=-1),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return image_BxHW.permute(0, 2, 3, 1), label_BHW


def _normalised_position(index_BN: Tensor, side_B1: Tensor, crop: int, buffer_side: int) -> Tensor:
    """Return source positions in grid_sample's units, where -1 and 1 are the buffer's edges."""
    source_BN = (index_BN + 0.5) * side_B1 / crop - 0.5
    source_BN = torch.minimum(source_BN.clamp(min=0.0), side_B1 - 1.0)
    return (2.0 * source_BN + 1.0) / buffer_side - 1.0
