"""Labels of every type, with and without errors: right by brute force, whatever was selected and in which order."""

import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from support.learning_fakes import FakeMasks
from support.region_maps import Drawn, ragged, scenes

from quadrat.benchmark.config.trial import Annotator, DatasetSpec, LabelType, TrialSpec
from quadrat.benchmark.data import VOID, RegionGrid
from quadrat.benchmark.data.region_arrays import class_counts
from quadrat.benchmark.data.shapes import pack_regions
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.trial.annotation import MIN_SHARE, Annotation, annotate, draw_names
from quadrat.benchmark.trial.labels import LabelState
from quadrat.benchmark.trial.oracle import Oracle, RevealedLabels

SIZES = ((13, 22), (16, 9))  # neither divisible by the region size
NUM_CLASSES = FakeMasks.num_classes
PRECISE_CLICKS = 7


def spec_of(labels: LabelType, **changes: Any) -> TrialSpec:
    values: dict[str, Any] = {
        "label": "random",
        "strategy": "random",
        "seed": 0,
        "dataset": DatasetSpec(name="scenes"),
        "region_size": 4,
        "budgets": (5, 10),
        "learner": Recipe(iterations=5),
        "labels": labels,
    }
    return TrialSpec(**{**values, **changes})


@pytest.fixture
def masks() -> FakeMasks:
    """Random classes with one region that is wholly void, one with ties, one with a class of few pixels."""
    generator = np.random.default_rng(0)
    found = [generator.choice([0, 1, 2, VOID], size=size, p=(0.4, 0.2, 0.2, 0.2)).astype(np.uint8) for size in SIZES]
    found[0][:4, :4] = VOID
    found[0][:4, 4:8] = [[2, 2, 1, 1]] * 4
    found[1][:4, :4] = 2
    return FakeMasks(found)


@pytest.fixture
def grid(masks: FakeMasks) -> RegionGrid:
    return RegionGrid(masks.sizes, 4)


def pixels_of(masks: FakeMasks, grid: RegionGrid, region: int) -> list[int]:
    """Return the classes of a region's pixels, void left out, pixel by pixel."""
    box, mask = grid.box(region), masks.mask(int(grid.image[region]))
    inside = itertools.product(range(box.top, box.bottom), range(box.left, box.right))
    return [int(mask[place]) for place in inside if mask[place] != VOID]


def counts_of(masks: FakeMasks, grid: RegionGrid) -> npt.NDArray[np.int32]:
    rows = [Counter(pixels_of(masks, grid, region)) for region in range(grid.num_regions)]
    return np.array([[row[index] for index in range(NUM_CLASSES)] for row in rows], dtype=np.int32)


def annotation_of(masks: FakeMasks, grid: RegionGrid, spec: TrialSpec) -> Annotation | None:
    precise = np.full(grid.num_regions, PRECISE_CLICKS)
    return annotate(spec, lambda: counts_of(masks, grid), grid.image, lambda: precise)


def oracle_of(masks: FakeMasks, grid: RegionGrid, spec: TrialSpec) -> Oracle:
    found = annotation_of(masks, grid, spec)
    clicks = np.full(grid.num_regions, PRECISE_CLICKS) if found is None else found.clicks_R
    is_void = np.array([not pixels_of(masks, grid, region) for region in range(grid.num_regions)])
    return Oracle(masks, grid, LabelState(grid.num_regions), clicks, is_void, annotation=found)  # type: ignore[arg-type]


def shown(labels: RevealedLabels, grid: RegionGrid) -> dict[int, set[Any]]:
    """Return the labels that the pixels of each region show: classes, or sets of classes."""
    found: dict[int, set[Any]] = {}
    for region in range(grid.num_regions):
        image, box = int(grid.image[region]), grid.box(region)
        crop = labels.crop(image, box.top - 2, box.left - 1, box.bottom - box.top + 2, box.right - box.left + 1)
        values = set(np.unique(crop[2:, 1:]).tolist())
        sets = labels.sets_KC
        found[region] = values if sets is None else {frozenset(np.flatnonzero(sets[value])) for value in values}
    return found


def test_precise_labels_without_errors_need_no_annotation(masks: FakeMasks, grid: RegionGrid) -> None:
    assert annotation_of(masks, grid, spec_of("precise")) is None
    assert oracle_of(masks, grid, spec_of("precise")).label_accuracy() == 1


def test_a_dominant_label_is_the_class_of_most_pixels_all_over_the_region(masks: FakeMasks, grid: RegionGrid) -> None:
    oracle = oracle_of(masks, grid, spec_of("dominant"))
    cost = oracle.label(np.arange(0, grid.num_regions, 2))
    right = total = 0
    for region, values in shown(oracle.reveal(), grid).items():
        if region % 2:
            assert values == {VOID}
            continue
        pixels = pixels_of(masks, grid, region)
        expected = min(set(pixels), key=lambda one: (-pixels.count(one), one)) if pixels else VOID
        assert values == {expected}
        right, total = right + pixels.count(expected), total + len(pixels)
    assert oracle.label_accuracy() == right / total < 1
    assert cost.clicks == cost.regions
    assert cost.class_px == oracle_of(masks, grid, spec_of("precise")).label(np.arange(0, grid.num_regions, 2)).class_px


def test_a_multi_class_label_is_the_set_of_classes_above_the_share(masks: FakeMasks, grid: RegionGrid) -> None:
    oracle = oracle_of(masks, grid, spec_of("multi-class"))
    cost = oracle.label(np.arange(grid.num_regions))
    clicks = right = total = 0
    for region, values in shown(oracle.reveal(), grid).items():
        pixels = pixels_of(masks, grid, region)
        expected = {one for one in pixels if pixels.count(one) > MIN_SHARE * len(pixels)}
        assert values == {frozenset(expected)}
        clicks += max(1, len(expected))
        right, total = right + sum(pixel in expected for pixel in pixels), total + len(pixels)
    assert cost.clicks == clicks
    assert oracle.label_accuracy() == right / total


def test_a_class_of_few_pixels_is_not_seen() -> None:
    mask = np.zeros((10, 10), dtype=np.uint8)
    mask[0, :2] = 1  # 2 of 100 pixels: at the share, not above
    mask[1, :3] = 2
    masks, grid = FakeMasks([mask]), RegionGrid([(10, 10)], 10)
    oracle = oracle_of(masks, grid, spec_of("multi-class"))
    oracle.label(np.array([0]))
    assert shown(oracle.reveal(), grid) == {0: {frozenset({0, 2})}}
    assert oracle.label_accuracy() == 0.98


def test_hundreds_of_sets_are_numbered_around_void() -> None:
    from quadrat.benchmark.trial.oracle import number_sets

    sets = np.array(list(itertools.product([False, True], repeat=10)))  # 1023 sets, and the empty one
    order = np.random.default_rng(0).permutation(2 * len(sets)) % len(sets)
    label, table = number_sets(sets[order])
    assert np.array_equal(table[label], sets[order])
    assert len(set(label.tolist())) == 1024 and not table[VOID].any() and len(table) % 256 == 0
    assert set(label[~sets[order].any(axis=1)].tolist()) == {VOID}


TYPES: tuple[LabelType, ...] = ("precise", "dominant", "multi-class")


@pytest.mark.parametrize("labels", TYPES)
def test_a_reveal_depends_neither_on_the_strategy_nor_on_the_order(
    masks: FakeMasks, grid: RegionGrid, labels: LabelType
) -> None:
    error = Annotator(error_rate=0.5, kind="confused")
    order = np.random.default_rng(1).permutation(grid.num_regions)
    first, second = (
        oracle_of(masks, grid, spec_of(labels, annotator=error, strategy=strategy))
        for strategy in ("random", "entropy")
    )
    first.label(order)
    for region in order[::-1]:
        second.label(order[order == region])
    assert shown(first.reveal(), grid) == shown(second.reveal(), grid)
    assert first.label_accuracy() == second.label_accuracy() < 1
    assert first.cost() == second.cost()
    other = oracle_of(masks, grid, spec_of(labels, annotator=error, seed=1))
    other.label(order)
    assert shown(other.reveal(), grid) != shown(first.reveal(), grid)
    assert first.cost().clicks == other.cost().clicks  # errors cost what right names cost


def test_errors_of_precise_labels_rename_a_class_of_a_region_and_move_nothing(
    masks: FakeMasks, grid: RegionGrid
) -> None:
    oracle = oracle_of(masks, grid, spec_of("precise", annotator=Annotator(error_rate=0.3)))
    oracle.label(np.arange(grid.num_regions))
    labels = oracle.reveal()
    names: dict[tuple[int, int], set[int]] = {}
    wrong = total = 0
    for image, (height, width) in enumerate(SIZES):
        crop, truth = labels.crop(image, 0, 0, height, width), masks.mask(image)
        assert np.array_equal(crop == VOID, truth == VOID)
        for y, x in zip(*np.nonzero(truth != VOID), strict=True):
            region = int(grid.first[image]) + y // 4 * math.ceil(width / 4) + x // 4
            names.setdefault((region, int(truth[y, x])), set()).add(int(crop[y, x]))
            wrong, total = wrong + int(crop[y, x] != truth[y, x]), total + 1
    assert all(len(found) == 1 for found in names.values())
    assert oracle.label_accuracy() == pytest.approx(1 - wrong / total)
    assert 0 < wrong < total
    assert oracle.cost().clicks == PRECISE_CLICKS * grid.num_regions


def test_types_of_labels_share_the_errors_of_a_seed(masks: FakeMasks, grid: RegionGrid) -> None:
    noisy = Annotator(error_rate=0.4)
    precise, dominant = (
        annotation_of(masks, grid, spec_of(labels, annotator=noisy)) for labels in ("precise", "dominant")
    )
    assert precise is not None and precise.names_RC is not None and dominant is not None
    true = counts_of(masks, grid).argmax(axis=1)
    regions = np.flatnonzero(counts_of(masks, grid).any(axis=1))
    assert dominant.class_R is not None
    assert np.array_equal(dominant.class_R[regions], precise.names_RC[regions, true[regions]])


@pytest.mark.parametrize("kind", ["uniform", "confused"])
def test_names_are_wrong_at_the_error_rate_and_with_the_stated_distribution(kind: str) -> None:
    """Binomial bounds of 1 in a million; the distribution of wrong names by a chi-squared test of the same level."""
    num_regions, weights = 20_000, np.array([1, 2, 4, 8])
    counts = np.tile(weights, (num_regions, 1)).astype(np.int32)
    images = np.zeros(num_regions, dtype=np.int32)
    names = draw_names(Annotator(error_rate=0.1, kind=kind), counts, images, seed=3)
    is_wrong = names != np.arange(4)
    low, high = stats.binom.ppf([5e-7, 1 - 5e-7], num_regions, 0.1)
    assert all(low <= num <= high for num in is_wrong.sum(axis=0))
    for true in range(4):
        expected = np.ones(4) if kind == "uniform" else weights.astype(float)
        expected[true] = 0
        found = np.bincount(names[is_wrong[:, true], true], minlength=4)
        assert found[true] == 0
        others = np.arange(4) != true
        expected *= found.sum() / expected.sum()
        assert stats.chisquare(found[others], expected[others]).pvalue > 1e-6


def test_confused_names_are_of_the_same_image() -> None:
    counts = np.array([[5, 3, 0], [5, 3, 0], [0, 4, 2], [0, 0, 9]], dtype=np.int32)
    images = np.array([0, 0, 1, 2], dtype=np.int32)
    names = {
        tuple(draw_names(Annotator(error_rate=1, kind="confused"), counts, images, seed)[[0, 2, 3], [0, 1, 2]].tolist())
        for seed in range(30)
    }
    assert {name[:2] for name in names} == {(1, 2)}
    assert {name[2] for name in names} == {0, 1}  # an image of one class: any other


def test_a_higher_rate_adds_errors_to_those_of_a_lower_one() -> None:
    counts, images = np.ones((500, 5), dtype=np.int32), np.zeros(500, dtype=np.int32)
    low, high = (draw_names(Annotator(error_rate=rate), counts, images, 0) for rate in (0.1, 0.3))
    is_wrong = low != np.arange(5)
    assert is_wrong.any() and np.array_equal(low[is_wrong], high[is_wrong])
    assert (high != np.arange(5)).sum() > is_wrong.sum()
    assert np.array_equal(draw_names(Annotator(), counts, images, 0), np.tile(np.arange(5), (500, 1)))


@pytest.mark.parametrize("labels", TYPES)
def test_labels_of_regions_of_any_shape_are_those_of_their_pixels(tmp_path: Path, labels: LabelType) -> None:
    """Voronoi cells that leave a third of the pixels in no region; the annotator errs, but not about borders."""
    split = scenes(tmp_path, num_train=2)
    layout = pack_regions(split, Drawn(draw=ragged), 12)
    counts = class_counts(split, layout)
    spec = spec_of(labels, annotator=Annotator(error_rate=0.2, kind="confused"))
    found = annotate(spec, lambda: counts, layout.image, lambda: np.ones(layout.num_regions, dtype=np.int64))
    assert found is not None
    oracle = Oracle(
        split.masks, layout, LabelState(layout.num_regions), found.clicks_R, counts.sum(axis=1) == 0, annotation=found
    )
    chosen = np.arange(0, layout.num_regions, 2)
    oracle.label(chosen)
    revealed = oracle.reveal()
    names = draw_names(spec.annotator, counts, layout.image, spec.seed)
    right = total = 0
    for image in range(2):
        crop, truth = revealed.crop(image, 0, 0, 48, 64), split.masks.mask(image)
        region_of = layout.window(image, 0, 0, 48, 64)
        assert (region_of == -1).any()
        for y, x in np.ndindex(48, 64):
            region, true, shown_ = int(region_of[y, x]), int(truth[y, x]), int(crop[y, x])
            if region < 0 or region % 2:
                assert shown_ == VOID
                continue
            named = names[region]
            if labels == "precise" and true == VOID:
                assert shown_ == VOID
                said = set()
            elif labels == "precise":
                assert shown_ == named[true]
                said = {shown_}
            elif labels == "dominant":
                assert shown_ == (named[counts[region].argmax()] if counts[region].any() else VOID)
                said = {shown_}
            else:
                assert revealed.sets_KC is not None
                seen = np.flatnonzero(counts[region] > MIN_SHARE * counts[region].sum())
                said = set(np.flatnonzero(revealed.sets_KC[shown_]).tolist())
                assert said == set(named[seen].tolist())
            right, total = right + (true in said), total + (true != VOID)
    assert oracle.label_accuracy() == right / total < 1


def test_classes_are_counted_in_regions_of_any_shape(tmp_path: Path) -> None:
    split = scenes(tmp_path, num_train=2)
    for layout in (pack_regions(split, Drawn(draw=ragged), 12), RegionGrid(split.sizes, 20)):
        counts = class_counts(split, layout)
        assert np.array_equal(class_counts(split, layout), counts)  # from the cache
        for region in range(layout.num_regions):
            image = int(layout.image[region])
            pixels = split.masks.mask(image)[layout.window(image, 0, 0, 48, 64) == region]
            expected = np.bincount(pixels[pixels != VOID], minlength=counts.shape[1])
            assert np.array_equal(counts[region], expected)
