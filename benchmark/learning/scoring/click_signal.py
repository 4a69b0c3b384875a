"""The signal `predicted-clicks`: what a region would cost in clicks if the prediction were the truth.

Axes: B images, H W pixels, r c grid rows and columns.
"""

import numpy as np
import torch
from torch import Tensor

from quadrat.benchmark.data.clicks import contour_vertices, count_clicks
from quadrat.benchmark.learning.scoring.signals import Outputs, Signal

__all__ = ["predicted_clicks"]


def _predicted_clicks(outputs: Outputs, region_size: int) -> Tensor:
    # OpenCV on the CPU, image by image: the very count that the oracle charges, with contours for want of polygons.
    masks_BHW = outputs.predicted_BHW.to(torch.uint8).cpu().numpy()
    height, width = masks_BHW.shape[1:]
    clicks = [count_clicks(mask, region_size, contour_vertices(mask)) for mask in masks_BHW]
    values = np.stack(clicks).reshape(len(clicks), -(-height // region_size), -(-width // region_size))
    return torch.from_numpy(values).float()


# Components + crossings + outline vertices of the predicted label map, at least 1; see benchmark/data/clicks.py.
predicted_clicks = Signal(
    per_region=_predicted_clicks, summary="Clicks that a region would cost if the prediction were the truth"
)
