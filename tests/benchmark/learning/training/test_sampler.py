"""Sampling of crops: on labelled regions, uniform, and a function of seed, round and step only."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats
from support.learning_fakes import SIZES, FakeMasks, label, make_grid, make_set

from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning.training.sampler import Draw, Sampler, place_on_region, place_uniformly
from quadrat.benchmark.trial.oracle import RevealedLabels

IMAGES, MASKS = make_set()


def sampler(labels: RevealedLabels, **changes: Any) -> Sampler:
    settings: dict[str, Any] = {
        "batch_size": 3,
        "crop": 32,
        "scale": (0.5, 2.0),
        "flip": True,
        "placement": "uniform",
        "align": 1,
        "seed": 0,
        "round": 1,
    }
    return Sampler(labels, **(settings | changes))


def some_labels(num_regions: int = 9, region_size: int = 12) -> RevealedLabels:
    grid = make_grid(MASKS, region_size)
    return label(MASKS, grid, np.random.default_rng(3).choice(grid.num_regions, num_regions, replace=False))


@pytest.mark.parametrize("align", [1, 16])
@pytest.mark.parametrize("region_size", [5, 12, 40])
def test_every_crop_on_a_labelled_region_touches_one(align: int, region_size: int) -> None:
    labels = some_labels(6, region_size)
    # Scales down to half: windows up to 64 pixels, larger than some images; up to double: 16, smaller than a region.
    scale = (1.0, 1.0) if align > 1 else (0.5, 2.0)
    draws = sampler(labels, align=align, scale=scale, placement="labelled")
    for step in range(60):
        for draw in draws.draws(step):
            window = labels.layout.window_mask(
                draw.image,
                np.isin(np.arange(labels.layout.num_regions), labels.regions),
                *draw[1:3],
                draw.side,
                draw.side,
            )
            assert window.any()
            assert draw.top % align == 0 and draw.left % align == 0


def test_window_holds_the_region_it_is_placed_on_where_it_can() -> None:
    generator = np.random.default_rng(0)
    for _ in range(500):
        length, region, side = (int(value) for value in generator.integers(1, 60, size=3))
        start = int(generator.integers(length))
        stop = min(start + region, length)
        begin = place_on_region(start, stop, length, side, 1, generator)
        if side >= stop - start:
            assert begin <= start and stop <= begin + side
        else:
            assert start <= begin and begin + side <= stop
        assert min(0, length - side) <= begin <= max(0, length - side)


def test_every_position_that_holds_the_region_is_reached() -> None:
    generator = np.random.default_rng(0)
    assert {place_on_region(20, 24, 40, 8, 1, generator) for _ in range(200)} == {16, 17, 18, 19, 20}
    assert {place_on_region(20, 24, 48, 16, 4, generator) for _ in range(200)} == {8, 12, 16, 20}


@pytest.mark.parametrize(
    ("length", "side", "align", "expected"),
    [
        (24, 6, 1, range(19)),
        (48, 16, 8, [0, 8, 16, 24, 32]),
        (12, 18, 1, range(-6, 1)),  # a window larger than the image contains it
        (16, 48, 16, [-32, -16, 0]),
        (32, 32, 1, [0]),
    ],
)
def test_uniform_crops_take_every_position_equally_often(
    length: int, side: int, align: int, expected: Sequence[int]
) -> None:
    generator = np.random.default_rng(0)
    drawn = Counter(place_uniformly(length, side, align, generator) for _ in range(100 * len(expected)))
    assert set(drawn) == set(expected)
    assert len(expected) == 1 or stats.chisquare([drawn[start] for start in expected]).pvalue > 1e-3


@pytest.mark.parametrize(("placement", "low", "high"), [("uniform", 0.9, 1.1), ("labelled", 3.0, 6.0)])
def test_a_lone_label_weighs_as_much_as_one_among_sixteen_with_uniform_crops_only(
    placement: str, low: float, high: float
) -> None:
    """How often a labelled pixel is trained on in an image with one label, relative to one with sixteen."""
    masks = FakeMasks([np.zeros((96, 128), np.uint8)] * 2)
    grid, generator = make_grid(masks, 16), np.random.default_rng(1)
    shown = np.zeros(2)
    for lone in range(grid.num_regions // 2):  # each cell once, so that no place in the image counts more
        sixteen = grid.first[1] + generator.choice(grid.num_regions // 2, 16, replace=False)
        labels = label(masks, grid, [lone, *(int(region) for region in sixteen)])
        crops = sampler(labels, crop=48, scale=(1.0, 1.0), placement=placement, batch_size=8, seed=lone)
        for draw in crops.draws(0):
            window = labels.crop(draw.image, draw.top, draw.left, draw.side, draw.side)
            shown[draw.image] += (window != 255).sum()
    assert low < 16 * shown[0] / shown[1] < high


def test_a_batch_depends_on_its_number_only() -> None:
    labels = some_labels()
    forwards = [sampler(labels).draws(step) for step in range(8)]
    one = sampler(labels)
    assert [one.draws(step) for step in reversed(range(8))] == forwards[::-1]


def test_seed_and_round_change_the_batches() -> None:
    labels = some_labels()
    batches = [sampler(labels, seed=seed, round=round_).draws(0) for seed, round_ in ((0, 1), (1, 0), (0, 0), (1, 1))]
    assert all(first != second for i, first in enumerate(batches) for second in batches[:i])


def test_a_pass_shows_every_labelled_image_once_and_no_other() -> None:
    grid = make_grid(MASKS)
    regions = [int(grid.first[0]), int(grid.first[0]) + 3, int(grid.first[1]), int(grid.first[3])]
    draws = sampler(label(MASKS, grid, regions), batch_size=2)
    assert draws.num_images == 3
    shown = [draw.image for step in range(9) for draw in draws.draws(step)]
    for number in range(6):
        assert sorted(shown[3 * number : 3 * number + 3]) == [0, 1, 3]
    assert len({tuple(shown[3 * number : 3 * number + 3]) for number in range(6)}) > 1


def test_labelled_regions_of_an_image_are_equally_likely() -> None:
    grid = make_grid(MASKS)
    far_apart = [int(grid.first[3]), int(grid.first[4]) - 1]
    draws = sampler(label(MASKS, grid, far_apart), crop=16, scale=(1.0, 1.0), placement="labelled")
    left = Counter(draw.left < SIZES[3][1] // 2 for step in range(200) for draw in draws.draws(step))
    assert 0.45 < left[True] / 600 < 0.55


def test_windows_are_the_crop_over_the_scale() -> None:
    sides = [draw.side for step in range(100) for draw in sampler(some_labels()).draws(step)]
    assert min(sides) in (16, 17) and 60 <= max(sides) <= 64
    assert {draw.side for draw in sampler(some_labels(), scale=(1.0, 1.0)).draws(0)} == {32}


def test_half_of_the_crops_are_flipped_and_none_without_flip() -> None:
    flips = [draw.flip for step in range(100) for draw in sampler(some_labels()).draws(step)]
    assert 0.4 < np.mean(flips) < 0.6
    assert not any(draw.flip for draw in sampler(some_labels(), flip=False).draws(0))


def test_flip_does_not_move_the_windows() -> None:
    with_flip, without = (sampler(some_labels(), flip=flip).draws(5) for flip in (True, False))
    assert [Draw(*draw[:4], flip=False) for draw in with_flip] == without


def test_sampling_without_labels_is_an_error() -> None:
    with pytest.raises(TrainingError, match="expected at least one labelled region"):
        sampler(label(MASKS, make_grid(MASKS), []))
