"""Losses over labelled pixels, and the two ways of upsampling."""

import pytest
import torch
import torch.nn.functional as F

from quadrat.benchmark.learning.network.upsampling import upsample, upsample_for_training
from quadrat.benchmark.learning.runtime import torch_settings
from quadrat.benchmark.learning.training.losses import (
    cell_cross_entropy,
    cell_merged_positive,
    class_counts,
    pixel_cross_entropy,
    pixel_merged_positive,
    segmentation_loss,
)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def some_labels(generator: torch.Generator, height: int = 24, width: int = 32) -> torch.Tensor:
    label_BHW = torch.randint(0, 5, (2, height, width), generator=generator, dtype=torch.uint8)
    label_BHW[torch.rand(label_BHW.shape, generator=generator) < 0.4] = 255
    return label_BHW


def test_pixel_loss_is_the_mean_over_labelled_pixels(generator: torch.Generator) -> None:
    logits_BCHW, label_BHW = torch.randn(2, 5, 24, 32, generator=generator), some_labels(generator)
    known = label_BHW != 255
    expected = F.cross_entropy(logits_BCHW.permute(0, 2, 3, 1)[known], label_BHW[known].long())
    torch.testing.assert_close(pixel_cross_entropy(logits_BCHW, label_BHW), expected)


@pytest.mark.parametrize(("height", "width"), [(24, 32), (22, 29)])
def test_cell_loss_is_the_pixel_loss_of_repeated_logits(generator: torch.Generator, height: int, width: int) -> None:
    label_BHW = some_labels(generator, height, width)
    logits_BChw = torch.randn(2, 5, 6, 8, generator=generator, requires_grad=True)
    repeated = logits_BChw.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)[:, :, :height, :width]
    expected = pixel_cross_entropy(repeated, label_BHW)
    loss = cell_cross_entropy(logits_BChw, label_BHW)
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, logits_BChw)
    (expected_gradient,) = torch.autograd.grad(expected, logits_BChw)
    torch.testing.assert_close(gradient, expected_gradient)


def test_class_counts_add_up_to_the_labelled_pixels(generator: torch.Generator) -> None:
    label_BHW = some_labels(generator, 22, 29)
    counts = class_counts(label_BHW, 5)
    assert counts.shape == (2, 5, 6, 8) and counts.max() <= 16
    for class_id in range(5):
        assert counts[:, class_id].sum() == (label_BHW == class_id).sum()


@pytest.mark.parametrize("loss_stride", [1, 4])
def test_batch_without_a_label_has_no_loss_and_no_gradient(loss_stride: int) -> None:
    logits_BChw = torch.randn(2, 5, 6, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = segmentation_loss(logits_BChw, torch.full((2, 24, 32), 255, dtype=torch.uint8), loss_stride)
    loss.backward()
    assert loss.item() == 0.0
    assert logits_BChw.grad is not None and torch.equal(logits_BChw.grad, torch.zeros_like(logits_BChw))


@pytest.mark.parametrize("loss_stride", [1, 4])
def test_padding_beyond_the_crop_is_void(generator: torch.Generator, loss_stride: int) -> None:
    logits_BChw, label_BHW = torch.randn(2, 5, 8, 12, generator=generator), some_labels(generator, 22, 29)
    padded = F.pad(label_BHW, (0, 48 - 29, 0, 32 - 22), value=255)
    torch.testing.assert_close(
        segmentation_loss(logits_BChw, label_BHW, loss_stride), segmentation_loss(logits_BChw, padded, loss_stride)
    )


def test_loss_of_a_certain_prediction_is_0_and_of_a_uniform_one_ln_c() -> None:
    label_BHW = torch.randint(0, 5, (1, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    label_BHW = label_BHW[:, ::4, ::4].repeat_interleave(4, 1).repeat_interleave(4, 2)
    sure = 50.0 * F.one_hot(label_BHW[:, ::4, ::4].long(), 5).permute(0, 3, 1, 2)
    assert segmentation_loss(sure, label_BHW, 4).item() == pytest.approx(0.0, abs=1e-6)
    for loss_stride in (1, 4):
        even = segmentation_loss(torch.zeros(1, 5, 4, 4), label_BHW, loss_stride)
        assert even.item() == pytest.approx(torch.tensor(5.0).log().item())


@pytest.mark.parametrize("factor", [2, 4])
def test_both_upsamplings_agree(generator: torch.Generator, factor: int) -> None:
    map_BChw = torch.randn(2, 3, 5, 7, generator=generator, dtype=torch.float32).requires_grad_()
    trained, inferred = upsample_for_training(map_BChw, factor), upsample(map_BChw.detach(), factor)
    torch.testing.assert_close(trained, inferred)
    weight = torch.randn(trained.shape, generator=generator)
    (gradient,) = torch.autograd.grad((trained * weight).sum(), map_BChw)
    by_torch = F.interpolate(map_BChw, scale_factor=factor, mode="bilinear", align_corners=False)
    (expected,) = torch.autograd.grad((by_torch * weight).sum(), map_BChw)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"), reason="torch rounds otherwise without FMA"
)
@pytest.mark.parametrize(("size", "threads"), [((16, 17), 1), ((23, 30), 2), ((1, 33), 1), ((92, 120), 2)])
def test_upsampling_by_four_equals_torchs_bilinear_kernel_bit_for_bit(size: tuple[int, int], threads: int) -> None:
    map_BChw = torch.randn(2, 11, *size, generator=torch.Generator().manual_seed(0)) * 7.0
    with torch_settings(torch.device("cpu"), threads):
        expected = F.interpolate(map_BChw, scale_factor=4, mode="bilinear", align_corners=False)
        assert torch.equal(upsample(map_BChw, 4), expected)


@pytest.mark.parametrize("size", [(16, 16), (1, 1), (7, 5)])
def test_upsampling_of_tiny_maps_equals_torchs_kernel_up_to_rounding(size: tuple[int, int]) -> None:
    map_BChw = torch.randn(2, 11, *size, generator=torch.Generator().manual_seed(0)) * 7.0
    expected = F.interpolate(map_BChw, scale_factor=4, mode="bilinear", align_corners=False)
    torch.testing.assert_close(upsample(map_BChw, 4), expected, rtol=1e-6, atol=1e-5)


def test_an_upsampled_pixel_depends_on_its_neighbourhood_only(generator: torch.Generator) -> None:
    map_BChw = torch.randn(1, 2, 6, 20, generator=generator)
    torch.testing.assert_close(upsample(map_BChw, 4)[..., :32], upsample(map_BChw[..., :9], 4)[..., :32])


def some_sets(generator: torch.Generator) -> torch.Tensor:
    """Return 256 sets of 5 classes: row 255 is empty, as is row 3."""
    sets_KC = torch.rand((256, 5), generator=generator) < 0.5
    sets_KC[[3, 255]] = False
    return sets_KC


@pytest.mark.parametrize("loss_stride", [1, 4])
def test_merged_positive_loss_is_minus_the_log_of_the_probability_of_the_set(
    generator: torch.Generator, loss_stride: int
) -> None:
    sets_KC, label_BHW = some_sets(generator), some_labels(generator, 22, 29).int()
    if loss_stride == 1:
        logits_BCHW = torch.randn(2, 5, 22, 29, generator=generator)
        found = pixel_merged_positive(logits_BCHW, label_BHW, sets_KC)
    else:
        logits_BChw = torch.randn(2, 5, 6, 8, generator=generator)
        logits_BCHW = logits_BChw.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)[:, :, :22, :29]
        found = cell_merged_positive(logits_BChw, label_BHW, sets_KC)
    prob_BCHW = logits_BCHW.double().softmax(dim=1)
    losses = []
    for image, row, column in torch.cartesian_prod(torch.arange(2), torch.arange(22), torch.arange(29)).tolist():
        allowed = sets_KC[label_BHW[image, row, column]]
        if allowed.any():
            losses.append(-prob_BCHW[image, allowed, row, column].sum().log())
    torch.testing.assert_close(found, torch.stack(losses).mean().float())


@pytest.mark.parametrize("loss_stride", [1, 4])
def test_merged_positive_loss_of_sets_of_one_class_is_the_cross_entropy(
    generator: torch.Generator, loss_stride: int
) -> None:
    sets_KC = torch.zeros((256, 5), dtype=torch.bool)
    sets_KC[:5] = torch.eye(5, dtype=torch.bool)
    logits_BChw, label_BHW = torch.randn(2, 5, 8, 12, generator=generator), some_labels(generator, 22, 29)
    losses, gradients = [], []
    for sets in (None, sets_KC):
        logits = logits_BChw.clone().requires_grad_()
        loss = segmentation_loss(logits, label_BHW, loss_stride, sets)
        (gradient,) = torch.autograd.grad(loss, logits)
        losses.append(loss)
        gradients.append(gradient)
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("loss_stride", [1, 4])
def test_a_batch_of_empty_sets_has_zero_loss_and_zero_gradients(generator: torch.Generator, loss_stride: int) -> None:
    logits_BChw = torch.randn(2, 5, 6, 8, generator=generator, requires_grad=True)
    label_BHW = torch.where(torch.rand(2, 24, 32, generator=generator) < 0.5, 3, 255)
    loss = segmentation_loss(logits_BChw, label_BHW, loss_stride, some_sets(generator))
    (gradient,) = torch.autograd.grad(loss, logits_BChw)
    assert loss == 0 and not gradient.any()
