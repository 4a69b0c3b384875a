"""Pointwise signals computed strip by strip equal those of whole images."""

from collections.abc import Iterator

import pytest
import torch

from quadrat.benchmark.learning.network.model import CELL
from quadrat.benchmark.learning.network.upsampling import upsample
from quadrat.benchmark.learning.scoring.signals import Outputs, Signal, load_signals
from quadrat.benchmark.learning.scoring.strips import pointwise_maps, strips

POINTWISE = ("entropy", "margin", "bvsb", "least-confidence")
# batch, classes, height, width: CamVid's, two images at once, one strip, and sides that no vector or stride divides
SIZES = [(1, 11, 360, 480), (2, 8, 108, 144), (1, 5, 37, 53), (1, 21, 333, 250)]


def make_logits(batch: int, num_classes: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    cells = (-(-height // 16) * 16 // CELL, -(-width // 16) * 16 // CELL)
    return torch.randn((batch, num_classes, *cells), generator=generator) * 3


@pytest.fixture
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("size", SIZES)
def test_maps_computed_in_strips_equal_those_of_whole_images_bit_for_bit(size: tuple[int, ...]) -> None:
    logits, (height, width) = make_logits(*size), size[2:]
    signals = load_signals(POINTWISE)
    whole = Outputs(logits_BCHW=upsample(logits, CELL)[:, :, :height, :width])

    maps = pointwise_maps(logits, height, width, signals)

    for name, signal in signals.items():
        assert signal.per_pixel is not None
        assert torch.equal(maps[name], signal.per_pixel(whole)), name


@pytest.mark.parametrize("size", SIZES)
def test_strips_cover_every_row_once_with_the_upsampled_logits(size: tuple[int, ...]) -> None:
    logits, (height, width) = make_logits(*size), size[2:]
    whole = upsample(logits, CELL)[:, :, :height, :width]
    next_row = 0

    for strip in strips(logits, height, width):
        assert strip.rows.start == next_row
        assert torch.equal(strip.logits_BCyW, whole[:, :, strip.rows])
        next_row = strip.rows.stop

    assert next_row == height


def test_a_large_image_is_processed_in_several_strips() -> None:
    assert len(list(strips(make_logits(1, 19, 512, 1024), 512, 1024))) > 4


def test_signals_of_one_pass_are_pointwise_and_those_of_several_passes_are_not() -> None:
    assert all(signal.is_pointwise for signal in load_signals(POINTWISE).values())
    assert not any(signal.is_pointwise for signal in load_signals(["bald", "mc-entropy", "predicted-clicks"]).values())


def test_a_pointwise_signal_without_a_map_is_refused() -> None:
    with pytest.raises(ValueError, match="is_pointwise to have per_pixel"):
        Signal(per_region=lambda outputs, size: torch.zeros(1), is_pointwise=True)
