"""How wrong a trained network is in each region of the pool: for the oracle's answers to references, nobody else's.

Axes: B images of one size, H W pixels, r c grid rows and columns, R regions.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from quadrat.benchmark.learning.inputs import VOID, Grid, Masks
from quadrat.benchmark.learning.network.model import CELL
from quadrat.benchmark.learning.network.upsampling import upsample
from quadrat.benchmark.learning.scoring.pooling import overlap, region_means
from quadrat.benchmark.learning.scoring.predict import Predict
from quadrat.benchmark.learning.scoring.score import OnImage, images_per_batch, same_size_batches

__all__ = ["region_errors"]


@torch.inference_mode()
def region_errors(
    predict: Predict, grid: Grid, masks: Masks, *, device: torch.device, on_image: OnImage | None = None
) -> NDArray[np.float32]:
    """Return the share of each region's pixels that are predicted wrongly, void left out, (R,).

    Compared on the device; one number per region leaves it. A region that is void all over has no error.

    Args:
        predict: As for `score_regions`, of the pool's images.
        grid: Regions of the pool.
        masks: Ground truth of the pool.
        device: Where to compute.
        on_image: Told (images done, images in all).
    """
    errors_R = np.empty(grid.num_regions, dtype=np.float32)
    for indices in same_size_batches(masks.sizes, lambda height, width: images_per_batch(device, height, width)):
        height, width = (int(side) for side in masks.sizes[indices[0]])
        truth_BHW = torch.from_numpy(np.stack([masks.mask(index) for index in indices])).to(device)
        logits_BCHW = upsample(predict(indices).logits_BChw, CELL)[:, :, :height, :width]
        is_known_BHW = truth_BHW != VOID
        is_wrong_BHW = is_known_BHW & (logits_BCHW.max(dim=1).indices != truth_BHW)
        both_BHW2 = torch.stack([is_wrong_BHW, is_known_BHW], dim=3).float()
        shares = (overlap(length, grid.region_size, 1, length) for length in (height, width))
        both_Brc2 = region_means(both_BHW2, *(torch.from_numpy(share).float().to(device) for share in shares))
        share_Brc = both_Brc2[..., 0] / both_Brc2[..., 1].clamp(min=torch.finfo(torch.float32).tiny)
        regions = slice(int(grid.first[indices[0]]), int(grid.first[indices[-1] + 1]))
        errors_R[regions] = share_Brc.reshape(-1).cpu().numpy()
        if on_image is not None:
            on_image(indices[-1] + 1, len(masks))
    return errors_R
