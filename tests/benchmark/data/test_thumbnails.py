"""Thumbnails: small, pale, and light enough to draw on."""

from pathlib import Path

import numpy as np
import pytest

from quadrat.benchmark.data import pack
from quadrat.benchmark.data.loaders.scenes import Scenes
from quadrat.benchmark.data.thumbnails import faded_thumbnail


@pytest.mark.parametrize(("max_edge", "size"), [(64, (64, 48)), (1000, (128, 96))])
def test_a_thumbnail_is_faded_and_never_enlarged(max_edge: int, size: tuple[int, int], tmp_path: Path) -> None:
    images = pack(Scenes(num_train=1, width=128, varied_sizes=False), "train", tmp_path).images
    thumbnail = faded_thumbnail(images, 0, max_edge)
    assert thumbnail.size == size
    before, after = images.image(0).astype(int), np.asarray(thumbnail, dtype=int)
    assert np.ptp(after, axis=2).mean() < 0.5 * np.ptp(before, axis=2).mean()  # colour
    assert after.std() < before.std() and after.min() >= 35  # contrast
