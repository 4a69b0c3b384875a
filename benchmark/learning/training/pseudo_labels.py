"""Pseudo labels: the class of every pixel of regions of which only the set of classes is known [Hwang2023].

A network that was trained on the sets decides. In a region the pixel with the highest probability of a class is that
class's prototype; a pixel gets the class of the prototype whose features are most similar to its own (cosine). Pixels
of the regions around it get labels too where they are similar enough: above the median similarity of the region's own
pixels of a prototype's class.

The same as in the authors' code (`trainer/eval_save_cosplbl_prop_includeonehot.py`), but for two things: features are
those of a pixel's cell and not interpolated, and regions of several classes keep their border, which their code trims
by two pixels.

Axes: C classes, D features, H W pixels, h w cells, P pixels of a region and of those around it, K classes of a region.

References:
    [Hwang2023] Hwang, Lee, Kim, Oh, Ok, Kwak, "Active learning for semantic segmentation with multi-class label query",
        NeurIPS 2023, section 4.2 and code (MulActSeg).
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from quadrat.benchmark.data import Layout
from quadrat.benchmark.learning.inputs import VOID, Labels, labelled_images
from quadrat.benchmark.learning.network.model import CELL
from quadrat.benchmark.learning.network.upsampling import upsample
from quadrat.benchmark.learning.scoring.predict import Predict

__all__ = ["PseudoLabels", "disambiguate", "label_image"]

_AROUND: Final = np.ones((3, 3), np.uint8)
"""Pixels that count as neighbours: also those that touch at a corner."""


class PseudoLabels:
    """Class ids in and around the labelled regions, in the place of sets of classes.

    Attributes:
        layout: The regions of the pool.
        num_classes: C.
        regions: int64 (L,), labelled regions, ascending; crops are drawn as for the sets.
        key: What distinguishes these labels from precise ones of the same regions.
        sets_KC: None: labels are class ids.
    """

    sets_KC: NDArray[np.bool_] | None = None

    def __init__(self, labels: Labels, folder: Path) -> None:
        """Allocate the labels of the images that have some, in an unnamed file that is deleted with this object.

        Args:
            labels: The sets.
            folder: Where the file lies; one byte a pixel.
        """
        self.layout, self.num_classes, self.regions = labels.layout, labels.num_classes, labels.regions
        self.key: dict[str, Any] = {**labels.key, "pseudo": True}
        images = labelled_images(labels)
        num_px = np.prod(labels.layout.sizes[images].astype(np.int64), axis=1)
        self._start = dict(zip(images.tolist(), (np.cumsum(num_px) - num_px).tolist(), strict=True))
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(int(num_px.sum()))
            self._label_P = np.memmap(file, np.uint8, "r+", shape=(int(num_px.sum()),))

    def of_image(self, image: int) -> NDArray[np.uint8]:
        """Return the labels of an image that has some, (H, W); writable."""
        height, width = self.layout.sizes[image].tolist()
        start = self._start[image]
        labels_HW: NDArray[np.uint8] = self._label_P[start : start + height * width].reshape(height, width)
        return labels_HW

    def crop(self, image: int, top: int, left: int, height: int, width: int, /) -> NDArray[np.uint8]:
        """Return the labels of a window, uint8 (height, width), void where there is none and outside the image."""
        window = np.full((height, width), VOID, dtype=np.uint8)
        if image not in self._start:
            return window
        label_HW = self.of_image(image)
        bottom, right = min(top + height, label_HW.shape[0]), min(left + width, label_HW.shape[1])
        first_row, first_column = max(top, 0), max(left, 0)
        if first_row < bottom and first_column < right:
            inside = label_HW[first_row:bottom, first_column:right]
            window[first_row - top : bottom - top, first_column - left : right - left] = inside
        return window


@torch.inference_mode()
def disambiguate(predict: Predict, labels: Labels, folder: Path) -> PseudoLabels:
    """Return pseudo labels in the place of sets of classes.

    Args:
        predict: Indices of images of the pool to their prediction by the network that was trained on the sets.
        labels: The sets, with `sets_KC`.
        folder: Where they are kept.
    """
    assert labels.sets_KC is not None
    found = PseudoLabels(labels, folder)
    for image in labelled_images(labels).tolist():
        height, width = labels.layout.sizes[image].tolist()
        prediction = predict([image])
        prob_CHW = upsample(prediction.logits_BChw, CELL)[0, :, :height, :width].softmax(dim=0)
        set_HW = labels.crop(image, 0, 0, height, width)
        found.of_image(image)[:] = label_image(
            prediction.features_BDhw[0].cpu().numpy(),
            prob_CHW.cpu().numpy(),
            labels.layout,
            image,
            set_HW,
            labels.sets_KC,
        )
    return found


def label_image(
    features_Dhw: NDArray[np.float32],
    prob_CHW: NDArray[np.float32],
    layout: Layout,
    image: int,
    set_HW: NDArray[np.int32] | NDArray[np.uint8],
    sets_KC: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Return the pseudo labels of an image, uint8 (H, W), void where there is none.

    Regions are taken in ascending order: where two of them reach the same pixel around them, the later one decides. A
    pixel of a labelled region has a class of that region's set.

    Args:
        features_Dhw: Features of the cells of 4 pixels; they may reach beyond the image.
        prob_CHW: Class probabilities of the pixels.
        layout: The regions of the pool.
        image: The image.
        set_HW: Row of `sets_KC` of every pixel, VOID where none is known.
        sets_KC: Sets of classes.
    """
    height, width = set_HW.shape
    region_HW = layout.window(image, 0, 0, height, width)
    unit_hwD = np.moveaxis(features_Dhw, 0, 2)
    lengths = np.linalg.norm(unit_hwD, axis=2, keepdims=True)
    unit_hwD = unit_hwD / np.maximum(lengths, np.finfo(np.float32).tiny)
    around_HW = np.full((height, width), VOID, dtype=np.uint8)
    own_HW = np.full((height, width), VOID, dtype=np.uint8)
    has_class_K = np.asarray(sets_KC.any(axis=1))
    for region in np.unique(region_HW[has_class_K[set_HW] & (region_HW >= 0)]).tolist():
        rows, columns = _pixels(region_HW, layout, [region])
        class_K = np.flatnonzero(sets_KC[set_HW[rows[0], columns[0]]])
        best_K = prob_CHW[class_K[:, None], rows, columns].argmax(axis=1)
        prototype_KD = unit_hwD[rows[best_K] // CELL, columns[best_K] // CELL]
        similarity_PK = unit_hwD[rows // CELL, columns // CELL] @ prototype_KD.T
        nearest_P, own_P = similarity_PK.argmax(axis=1), similarity_PK.max(axis=1)
        own_HW[rows, columns] = class_K[nearest_P]
        threshold_K = np.array([_median(own_P[nearest_P == number]) for number in range(len(class_K))])
        rows, columns = _pixels(region_HW, layout, _neighbours(region_HW, layout, region))
        similarity_PK = unit_hwD[rows // CELL, columns // CELL] @ prototype_KD.T
        is_similar_P = (similarity_PK > threshold_K).any(axis=1)
        around_HW[rows[is_similar_P], columns[is_similar_P]] = class_K[similarity_PK[is_similar_P].argmax(axis=1)]
    return np.where(own_HW != VOID, own_HW, around_HW)


def _pixels(
    region_HW: NDArray[np.int64], layout: Layout, regions: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and columns of the pixels of some regions, row by row."""
    if not regions:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    boxes = [layout.box(region) for region in regions]
    top, left = min(box.top for box in boxes), min(box.left for box in boxes)
    bottom, right = max(box.bottom for box in boxes), max(box.right for box in boxes)
    rows, columns = np.nonzero(np.isin(region_HW[top:bottom, left:right], regions))
    return rows + top, columns + left


def _neighbours(region_HW: NDArray[np.int64], layout: Layout, region: int) -> list[int]:
    """Return the regions that touch one, also at a corner."""
    import cv2  # here: reading a suite needs none

    box = layout.box(region)
    window = region_HW[max(box.top - 1, 0) : box.bottom + 1, max(box.left - 1, 0) : box.right + 1]
    grown = cv2.dilate((window == region).view(np.uint8), _AROUND).view(np.bool_)
    return [int(other) for other in np.unique(window[grown]) if other not in (region, -1)]


def _median(values: NDArray[np.float32]) -> float:
    """Return the lower median, as torch has it; 1, which no similarity exceeds, where there are no values."""
    return float(np.partition(values, (len(values) - 1) // 2)[(len(values) - 1) // 2]) if len(values) else 1.0
