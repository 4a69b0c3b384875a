"""Predictions compared with ground truth: the confusion matrix of a test set, and the error of every region of a pool.

Axes: B images of one size, C classes, H W pixels, P pixels of a batch, r c grid rows and columns, R regions.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quadrat.benchmark.data import Layout
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.learning.inputs import VOID, Masks
from quadrat.benchmark.learning.network.model import CELL
from quadrat.benchmark.learning.network.upsampling import upsample
from quadrat.benchmark.learning.runtime import to_device
from quadrat.benchmark.learning.scoring.pooling import pooling
from quadrat.benchmark.learning.scoring.predict import OnImage, Predict, same_size_batches

__all__ = ["confusion_matrix", "count_confusion", "region_errors"]


@torch.inference_mode()
def confusion_matrix(
    predict: Predict,
    masks: Masks,
    num_classes: int,
    *,
    device: torch.device,
    on_image: OnImage | None = None,
) -> NDArray[np.int64]:
    """Return pixels by truth (rows) and prediction (columns) over the whole set, int64 (C, C).

    Every image is predicted whole, at one scale and at its own resolution; void pixels are left out.

    Args:
        predict: Indices of images of one size to their prediction, on `device`.
        masks: The ground truth of the same images.
        num_classes: C.
        device: Where to compute.
        on_image: Called with (images done, images in total).

    Raises:
        DataError: A mask holds a class id that is neither below C nor void.
    """
    counts_CC = torch.zeros((num_classes, num_classes), dtype=torch.int64, device=device)
    for indices in same_size_batches(masks.sizes, device):
        truth = np.stack([masks.mask(index) for index in indices])
        wrong = truth[(truth >= num_classes) & (truth != VOID)]
        if wrong.size:
            raise DataError(
                f"mask {indices[0]} holds class id {int(wrong[0])}: expected ids below {num_classes}, or {VOID}, void"
            )
        height, width = truth.shape[1:]
        predicted_BHW = _predicted_classes(predict, indices, height, width)
        counts_CC += count_confusion(to_device(truth, device), predicted_BHW, num_classes)
        if on_image is not None:
            on_image(indices[-1] + 1, len(masks))
    counts: NDArray[np.int64] = counts_CC.cpu().numpy()
    return counts


@torch.inference_mode()
def region_errors(
    predict: Predict, layout: Layout, masks: Masks, *, device: torch.device, on_image: OnImage | None = None
) -> NDArray[np.float32]:
    """Return the share of each region's pixels that are misclassified, float32 (R,); void pixels are left out.

    For oracle strategies, through the oracle only. A region that is void all over has error 0.

    Args:
        predict: As for `confusion_matrix`, of the pool's images.
        layout: Regions of the pool.
        masks: Ground truth of the pool.
        device: Where to compute.
        on_image: Called with (images done, images in total).
    """
    errors_R = np.empty(layout.num_regions, dtype=np.float32)
    means = pooling(layout, device)
    for indices in same_size_batches(masks.sizes, device):
        height, width = (int(side) for side in masks.sizes[indices[0]])
        truth_BHW = torch.from_numpy(np.stack([masks.mask(index) for index in indices])).to(device)
        is_known_BHW = truth_BHW != VOID
        is_wrong_BHW = is_known_BHW & (_predicted_classes(predict, indices, height, width) != truth_BHW)
        both_R2 = means(torch.stack([is_wrong_BHW, is_known_BHW], dim=3).float(), indices, stride=1)
        share_R = both_R2[:, 0] / both_R2[:, 1].clamp(min=torch.finfo(torch.float32).tiny)
        regions = slice(int(layout.first[indices[0]]), int(layout.first[indices[-1] + 1]))
        errors_R[regions] = share_R.cpu().numpy()
        if on_image is not None:
            on_image(indices[-1] + 1, len(masks))
    return errors_R


def count_confusion(truth_BHW: Tensor, predicted_BHW: Tensor, num_classes: int) -> Tensor:
    """Return pixels by truth (rows) and prediction (columns), int64 (C, C), without void.

    Void is counted in an extra row that is dropped, which is cheaper than masking it out first.
    """
    row_BHW = truth_BHW.long().clamp(max=num_classes)
    index_P = (row_BHW * num_classes + predicted_BHW).reshape(-1)
    num_counts = (num_classes + 1) * num_classes
    counts = _count_on_device(index_P, num_counts) if index_P.is_cuda else torch.bincount(index_P, minlength=num_counts)
    return counts.reshape(num_classes + 1, num_classes)[:num_classes]


def _count_on_device(index_P: Tensor, num_counts: int) -> Tensor:
    """Return how often each index occurs; `bincount` would synchronise with the device to learn the largest index."""
    counts = torch.zeros(num_counts, dtype=torch.int64, device=index_P.device)
    return counts.index_put_((index_P,), torch.ones((), dtype=torch.int64, device=index_P.device), accumulate=True)


def _predicted_classes(predict: Predict, indices: list[int], height: int, width: int) -> Tensor:
    logits_BCHW = upsample(predict(indices).logits_BChw, CELL)[:, :, :height, :width]
    return logits_BCHW.max(dim=1).indices  # on a CPU six times faster than argmax
