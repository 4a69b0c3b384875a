"""IoU and accuracy from one confusion matrix over a whole test set.

Axes: C classes. Rows are the truth, columns the prediction, entries are counts of pixels, void excluded.

Intersection and union of a class are summed over the set [Everingham2010]: averaging IoU per image would weigh a class
by the images that lack it.

[Everingham2010]  Everingham et al. The PASCAL visual object classes challenge. IJCV 88, 2010. Section 4.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["iou_per_class", "mean_iou", "pixel_accuracy"]


def iou_per_class(confusion_CC: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return intersection over union of every class, (C,); NaN for a class that the truth does not hold.

    Such a class has an IoU of 0 as soon as one pixel is predicted as it, and none before: it would measure one pixel.
    Those pixels are errors of their true class all the same.

    Examples:
        >>> iou_per_class(np.array([[3, 1, 1], [0, 2, 0], [0, 0, 0]])).round(3).tolist()
        [0.6, 0.667, nan]
    """
    intersection_C = np.diag(confusion_CC).astype(np.float64)
    union_C = confusion_CC.sum(axis=0) + confusion_CC.sum(axis=1) - np.diag(confusion_CC)
    iou_C = np.full(len(confusion_CC), np.nan)
    np.divide(intersection_C, union_C, out=iou_C, where=confusion_CC.sum(axis=1) > 0)
    return iou_C


def mean_iou(confusion_CC: NDArray[np.int64]) -> float:
    """Return the mean IoU over the classes that occur in the truth, the same for every model; NaN where none does.

    Examples:
        >>> round(mean_iou(np.array([[3, 1, 1], [0, 2, 0], [0, 0, 0]])), 4)
        0.6333
    """
    iou_C = iou_per_class(confusion_CC)
    occurs_C = ~np.isnan(iou_C)
    return float(iou_C[occurs_C].mean()) if occurs_C.any() else float("nan")


def pixel_accuracy(confusion_CC: NDArray[np.int64]) -> float:
    """Return the share of pixels whose class is predicted; NaN where there is no pixel.

    Examples:
        >>> round(pixel_accuracy(np.array([[3, 1], [0, 2]])), 4)
        0.8333
    """
    total_px = int(confusion_CC.sum())
    return float(np.trace(confusion_CC)) / total_px if total_px else float("nan")
