"""Cross-entropy over the labelled pixels of a batch.

Axes: B images, C classes, H W pixels, h w cells of 4 pixels, P pixels of the whole batch.

Both losses are means over the labelled pixels of the batch, and 0 with zero gradients (not NaN) where there are none.
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

    The logits may reach beyond the labels at the bottom and the right (padding); those cells are ignored.
    """
    logits_BChw = logits_BChw.float()
    height, width = label_BHW.shape[1:]
    if loss_stride == 1:
        logits_BCHW = upsample_for_training(logits_BChw, CELL)[:, :, :height, :width]
        return pixel_cross_entropy(logits_BCHW, label_BHW)
    return cell_cross_entropy(logits_BChw[:, :, : -(-height // CELL), : -(-width // CELL)], label_BHW)


def pixel_cross_entropy(logits_BCHW: Tensor, label_BHW: Tensor) -> Tensor:
    """Return the mean cross-entropy, in nats, over pixels that are not void.

    On CUDA the kernel for images is not deterministic, so pixels are laid out as (P, C); on a CPU the layout of images
    is several times faster.
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
    bottom, right = (-label_BHW.shape[1]) % CELL, (-label_BHW.shape[2]) % CELL
    if bottom or right:
        label_BHW = F.pad(label_BHW, (0, right, 0, bottom), value=VOID)
    batch, height, width = label_BHW.shape[0], label_BHW.shape[1] // CELL, label_BHW.shape[2] // CELL
    cells = label_BHW.reshape(batch, height, CELL, width, CELL).permute(0, 2, 4, 1, 3)
    index = cells.reshape(batch, CELL * CELL, height, width).long().clamp(max=num_classes)
    # An extra slot takes the void pixels. Integer counts are exact in float32 in any order.
    counts = torch.zeros((batch, num_classes + 1, height, width), device=index.device)
    return counts.scatter_add_(1, index, torch.ones_like(index, dtype=torch.float32))[:, :num_classes]
