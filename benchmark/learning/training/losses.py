"""The loss over the labelled pixels of a batch: cross-entropy, and its generalisation to sets of classes.

Axes: B images, C classes, K sets of classes, H W pixels, h w cells of 4 pixels, P pixels of the whole batch.

All losses are means over the labelled pixels of the batch, and 0 with zero gradients (not NaN) where there are none.

References:
    [Hwang2023] Hwang, Lee, Kim, Oh, Ok, Kwak, "Active learning for semantic segmentation with multi-class label query",
        NeurIPS 2023, and its code (MulActSeg).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from quadrat.benchmark.learning.inputs import VOID
from quadrat.benchmark.learning.network.model import CELL
from quadrat.benchmark.learning.network.upsampling import upsample_for_training

__all__ = [
    "cell_cross_entropy",
    "cell_merged_positive",
    "class_counts",
    "pixel_cross_entropy",
    "pixel_merged_positive",
    "segmentation_loss",
]


def segmentation_loss(
    logits_BChw: Tensor, label_BHW: Tensor, loss_stride: int, sets_KC: Tensor | None = None
) -> Tensor:
    """Return the loss of a recipe's `loss_stride`: 1 = pixels of the upsampled logits, 4 = cells.

    The logits may reach beyond the labels at the bottom and the right (padding); those cells are ignored.

    Args:
        logits_BChw: Logits of the decoder's cells.
        label_BHW: Class ids, 255 = void; or rows of `sets_KC`.
        loss_stride: 1 or 4.
        sets_KC: bool, the sets of classes that labels stand for; None where they are class ids.
    """
    logits_BChw = logits_BChw.float()
    height, width = label_BHW.shape[1:]
    if loss_stride == 1:
        logits_BCHW = upsample_for_training(logits_BChw, CELL)[:, :, :height, :width]
        if sets_KC is not None:
            return pixel_merged_positive(logits_BCHW, label_BHW, sets_KC)
        return pixel_cross_entropy(logits_BCHW, label_BHW)
    logits_BChw = logits_BChw[:, :, : -(-height // CELL), : -(-width // CELL)]
    if sets_KC is not None:
        return cell_merged_positive(logits_BChw, label_BHW, sets_KC)
    return cell_cross_entropy(logits_BChw, label_BHW)


def pixel_cross_entropy(logits_BCHW: Tensor, label_BHW: Tensor) -> Tensor:
    """Return the mean cross-entropy, in nats, over pixels that are not void.

    On CUDA the kernel for images is not deterministic, so pixels are laid out as (P, C), and added up apart: the kernel
    that adds them up itself does so on one multiprocessor. On a CPU the layout of images is several times faster.
    """
    label_BHW = label_BHW.long()
    if logits_BCHW.is_cuda:
        logits_PC = logits_BCHW.permute(0, 2, 3, 1).reshape(-1, logits_BCHW.shape[1])
        total = F.cross_entropy(logits_PC, label_BHW.reshape(-1), ignore_index=VOID, reduction="none").sum()
    else:
        total = F.cross_entropy(logits_BCHW, label_BHW, ignore_index=VOID, reduction="sum")
    return total / (label_BHW != VOID).sum().clamp(min=1)


def cell_cross_entropy(logits_BChw: Tensor, label_BHW: Tensor) -> Tensor:
    """Return the mean cross-entropy, in nats, of labelled pixels against the logits of the cell they lie in.

    Equals `pixel_cross_entropy` of logits repeated CELL x CELL instead of interpolated, with a sixteenth of the softmax
    evaluations: the pixels of a cell share its logits, so their counts by class suffice.
    """
    count_BChw = class_counts(label_BHW, logits_BChw.shape[1])
    log_prob_BChw = F.log_softmax(logits_BChw, dim=1)
    return -(count_BChw * log_prob_BChw).sum() / count_BChw.sum().clamp(min=1.0)


def class_counts(label_BHW: Tensor, num_classes: int) -> Tensor:
    """Return the number of pixels of each class in every cell, float (B, C, h, w), without void.

    Where CELL does not divide a side, the last cells hold fewer pixels.
    """
    index = _cells(label_BHW).long().clamp(max=num_classes)
    batch, _, height, width = index.shape
    # An extra slot takes the void pixels. Integer counts are exact in float32 in any order.
    counts = torch.zeros((batch, num_classes + 1, height, width), device=index.device)
    return counts.scatter_add_(1, index, torch.ones_like(index, dtype=torch.float32))[:, :num_classes]


def _cells(label_BHW: Tensor) -> Tensor:
    """Return the labels of the pixels of every cell, (B, CELL^2, h, w); void where a cell reaches beyond the labels."""
    bottom, right = (-label_BHW.shape[1]) % CELL, (-label_BHW.shape[2]) % CELL
    if bottom or right:
        label_BHW = F.pad(label_BHW, (0, right, 0, bottom), value=VOID)
    batch, height, width = label_BHW.shape[0], label_BHW.shape[1] // CELL, label_BHW.shape[2] // CELL
    cells = label_BHW.reshape(batch, height, CELL, width, CELL).permute(0, 2, 4, 1, 3)
    return cells.reshape(batch, CELL * CELL, height, width)


def pixel_merged_positive(logits_BCHW: Tensor, label_BHW: Tensor, sets_KC: Tensor) -> Tensor:
    """Return the merged positive loss, in nats: the mean over labelled pixels x of -log sum_{c in Y(x)} P(c | x).

    Y(x) is the set of classes that the annotator saw in the region of x; which of them x has is not known. So the
    classes of the set count as one, merged class [Hwang2023, merged positive loss; `MultiChoiceCE` in its code]. Of a
    set of one class it is the cross-entropy.

    All labelled pixels weigh the same here. The paper's code takes the means over regions of one class and of several
    apart, weighs them 16 to 8, adds a prototypical pixel loss (cross-entropy of the most probable pixel of each class
    of a region); none of that is done here. Its second stage is the recipe's `pseudo_labels`.

    Args:
        logits_BCHW: Logits.
        label_BHW: Rows of `sets_KC`.
        sets_KC: bool; a pixel of an empty set, such as row VOID, has no label.
    """
    return _merged_positive(logits_BCHW.permute(0, 2, 3, 1), label_BHW, sets_KC)


def cell_merged_positive(logits_BChw: Tensor, label_BHW: Tensor, sets_KC: Tensor) -> Tensor:
    """Return the merged positive loss, in nats, of labelled pixels against the logits of the cell they lie in.

    Equals `pixel_merged_positive` of logits repeated CELL x CELL.
    """
    return _merged_positive(logits_BChw.permute(0, 2, 3, 1)[:, None], _cells(label_BHW), sets_KC)


def _merged_positive(logits_xC: Tensor, label_x: Tensor, sets_KC: Tensor) -> Tensor:
    """Return the loss of logits (..., C) and labels (...), which are broadcast against each other."""
    set_xC = sets_KC[label_x.long()]
    has_label_x = set_xC.any(dim=-1)
    # A pixel without label merges all classes, since an empty set would give infinity, and is then left out.
    merged_xC = logits_xC.masked_fill(~(set_xC | ~has_label_x[..., None]), -torch.inf)
    loss_x = logits_xC.logsumexp(dim=-1) - merged_xC.logsumexp(dim=-1)
    return loss_x.where(has_label_x, 0).sum() / has_label_x.sum().clamp(min=1)
