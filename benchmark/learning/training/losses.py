"""Cross-entropy over the labelled pixels of a batch.

Axes: B images, C classes, H W pixels, h w cells of 4 pixels, P pixels of the whole batch.

Both losses are a mean over the batch's labelled pixels, and 0 (with zero gradients, not NaN) where there is none.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from quadrat.benchmark.learning.inputs import VOID
from quadrat.benchmark.learning.network.model import CELL
from quadrat.benchmark.learning.network.upsampling import upsample_for_training

__all__ = ["cell_cross_entropy", "class_counts", "pixel_cross_entropy", "segmentation_loss"]


def segmentation_loss(logits_BChw: Tensor, label_BHW: Tensor, loss_stride: int) -> Tensor:
    """Return the loss of a recipe's `loss_stride`: 1 = pixels of the upsampled logits, 4 = cells.

    The logits may cover padding at the bottom and the right, beyond the labels; it is left out.
    """
    logits_BChw = logits_BChw.float()
    height, width = label_BHW.shape[1:]
    if loss_stride == 1:
        logits_BCHW = upsample_for_training(logits_BChw, CELL)[:, :, :height, :width]
        return pixel_cross_entropy(logits_BCHW, label_BHW)
    return cell_cross_entropy(logits_BChw[:, :, : -(-height // CELL), : -(-width // CELL)], label_BHW)


def pixel_cross_entropy(logits_BCHW: Tensor, label_BHW: Tensor) -> Tensor:
    """Return the mean cross-entropy, in nats, over pixels that are not void.

    CUDA's kernel over images adds in changing order, so pixels are laid out as (P, C) there; a CPU is several times
    faster the other way.
    """
    label_BHW = label_BHW.long()
    if logits_BCHW.is_cuda:
        logits_PC = logits_BCHW.permute(0, 2, 3, 1).reshape(-1, logits_BCHW.shape[1])
        total = F.cross_entropy(logits_PC, label_BHW.reshape(-1), ignore_index=VOID, reduction="sum")
    else:
        total = F.cross_entropy(logits_BCHW, label_BHW, ignore_index=VOID, reduction="sum")
    return total / (label_BHW != VOID).sum().clamp(min=1)


def cell_cross_entropy(logits_BChw: Tensor, label_BHW: Tensor) -> Tensor:
    """Return the mean cross-entropy, in nats, of labelled pixels against the logits of the cell they lie in.

    Equal to `pixel_cross_entropy` of logits that are repeated CELL x CELL instead of interpolated, at a sixteenth of
    the softmaxes: a cell's pixels share its logits, so only their number by class matters.
    """
    count_BChw = class_counts(label_BHW, logits_BChw.shape[1])
    log_prob_BChw = F.log_softmax(logits_BChw, dim=1)
    return -(count_BChw * log_prob_BChw).sum() / count_BChw.sum().clamp(min=1.0)


def class_counts(label_BHW: Tensor, num_classes: int) -> Tensor:
    """Return how many pixels of each class every cell holds, float (B, C, h, w); void counts nowhere.

    Sides that CELL does not divide end in cells that hold fewer pixels.
    """
    bottom, right = (-label_BHW.shape[1]) % CELL, (-label_BHW.shape[2]) % CELL
    if bottom or right:
        label_BHW = F.pad(label_BHW, (0, right, 0, bottom), value=VOID)
    batch, height, width = label_BHW.shape[0], label_BHW.shape[1] // CELL, label_BHW.shape[2] // CELL
    cells = label_BHW.reshape(batch, height, CELL, width, CELL).permute(0, 2, 4, 1, 3)
    index = cells.reshape(batch, CELL * CELL, height, width).long().clamp(max=num_classes)
    # One slot more than classes takes the void pixels; integer counts are exact in float32 in any order.
    counts = torch.zeros((batch, num_classes + 1, height, width), device=index.device)
    return counts.scatter_add_(1, index, torch.ones_like(index, dtype=torch.float32))[:, :num_classes]
