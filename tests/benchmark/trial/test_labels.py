"""Labelling regions: no region twice, cost = sum over regions, revealed pixels = labelled pixels."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from quadrat.benchmark.data import VOID, RegionGrid
from quadrat.benchmark.trial.labels import LabelState
from quadrat.benchmark.trial.oracle import Oracle


class Masks:
    """In-memory ground truth of the same shape as PackedMasks."""

    num_classes = 3

    def __init__(self, sizes: list[tuple[int, int]], seed: int) -> None:
        generator = np.random.default_rng(seed)
        self._masks = [generator.integers(0, 3, size=size, dtype=np.uint8) for size in sizes]
        for mask in self._masks:
            mask[: len(mask) // 2, : mask.shape[1] // 2] = VOID

    def mask(self, image: int) -> npt.NDArray[np.uint8]:
        return self._masks[image]


def wholly_void(masks: Masks, grid: RegionGrid) -> npt.NDArray[np.bool_]:
    """Return which regions are void all over, bool (R,), region by region."""
    return np.array(
        [
            bool((masks.mask(int(grid.image[region]))[box.top : box.bottom, box.left : box.right] == VOID).all())
            for region in range(grid.num_regions)
            for box in [grid.box(region)]
        ]
    )


class LabellingRegions(RuleBasedStateMachine):
    """Any sequence of selections keeps label state, cost and revealed labels in step."""

    @initialize(
        sizes=st.lists(st.tuples(st.integers(5, 14), st.integers(5, 14)), min_size=1, max_size=3),
        region_size=st.integers(1, 5),
    )
    def start(self, sizes: list[tuple[int, int]], region_size: int) -> None:
        self.masks = Masks(sizes, seed=0)
        self.grid = RegionGrid(np.array(sizes, dtype=np.int32), region_size)
        self.state = LabelState(self.grid.num_regions)
        self.clicks = np.arange(self.grid.num_regions) + 1
        self.is_void = wholly_void(self.masks, self.grid)
        self.oracle = Oracle(self.masks, self.grid, self.state, self.clicks, self.is_void)
        self.labelled: set[int] = set()

    @rule(data=st.data())
    def label_new(self, data: st.DataObject) -> None:
        left = sorted(set(range(self.grid.num_regions)) - self.labelled)
        if not left:
            return
        chosen = data.draw(st.lists(st.sampled_from(left), unique=True, max_size=5))
        cost = self.oracle.label(np.array(chosen, dtype=np.int64))
        self.labelled |= set(chosen)
        assert cost.labelled_px == int(self.grid.pixels[sorted(self.labelled)].sum())

    @rule(data=st.data())
    def labelling_again_changes_nothing(self, data: st.DataObject) -> None:
        if not self.labelled:
            return
        before = self.oracle.cost()
        with pytest.raises(ValueError, match="not labelled yet"):
            self.oracle.label(np.array([data.draw(st.sampled_from(sorted(self.labelled)))], dtype=np.int64))
        assert self.oracle.cost() == before

    @invariant()
    def revealed_pixels_are_the_pixels_in_the_cost(self) -> None:
        if not hasattr(self, "grid"):
            return
        labels = self.oracle.reveal()
        revealed = 0
        class_px = np.zeros(3, dtype=int)
        for image, (height, width) in enumerate(self.grid.sizes):
            crop = labels.crop(image, 0, 0, int(height), int(width))
            shown = crop != VOID
            revealed += int(shown.sum())
            class_px += np.bincount(crop[shown], minlength=3)
            assert np.array_equal(crop[shown], self.masks.mask(image)[shown])
        cost = self.oracle.cost()
        assert revealed + cost.void_px == cost.labelled_px
        assert cost.void_regions == sum(bool(self.is_void[region]) for region in self.labelled)
        assert cost.class_px == tuple(class_px)
        assert cost.clicks == sum(region + 1 for region in self.labelled)
        assert cost.regions == len(self.labelled) == labels.regions.size
        assert cost.images_opened == len({int(self.grid.image[region]) for region in self.labelled})


TestLabellingRegions = LabellingRegions.TestCase
TestLabellingRegions.settings = settings(max_examples=30, stateful_step_count=12, deadline=None)


@pytest.fixture
def oracle() -> Oracle:
    grid = RegionGrid(np.array([[4, 6]], dtype=np.int32), 2)
    masks = Masks([(4, 6)], seed=1)
    masks.mask(0)[:] = 1
    clicks = np.ones(grid.num_regions, dtype=int)
    return Oracle(masks, grid, LabelState(grid.num_regions), clicks, wholly_void(masks, grid))


@pytest.mark.parametrize("regions", [[0, 0], [-1], [6]])
def test_regions_that_repeat_or_do_not_exist_are_refused_and_nothing_is_labelled(
    oracle: Oracle, regions: list[int]
) -> None:
    with pytest.raises(ValueError, match="expected"):
        oracle.label(np.array(regions, dtype=np.int64))
    assert oracle.cost().regions == 0


def test_a_window_that_sticks_out_of_the_image_is_void_there(oracle: Oracle) -> None:
    oracle.label(np.array([0], dtype=np.int64))
    window = oracle.reveal().crop(0, -1, -1, 4, 4)
    assert (window[0] == VOID).all() and (window[:, 0] == VOID).all() and (window[3] == VOID).all()
    assert (window[1:3, 1:3] != VOID).all()


def test_void_counts_as_area_and_as_no_class() -> None:
    masks, grid = Masks([(4, 6)], seed=1), RegionGrid(np.array([[4, 6]], dtype=np.int32), 2)
    masks.mask(0)[:, :] = [[0, 0, 2, VOID, 1, 1]]
    state, clicks = LabelState(grid.num_regions), np.array([1, 2, 3, 4, 5, 6])
    oracle = Oracle(masks, grid, state, clicks, np.zeros(6, dtype=bool))
    cost = oracle.label(np.array([1, 3]))
    assert (cost.labelled_px, cost.class_px, cost.clicks) == (8, (4, 0, 2), 6)
    assert (cost.void_px, cost.void_regions) == (2, 0)
    assert oracle.label(np.array([0, 2, 4, 5])).class_px == (8, 8, 4)  # all of the image, which is counted at once


def test_labels_revealed_earlier_do_not_grow_with_later_ones(oracle: Oracle) -> None:
    oracle.label(np.array([0], dtype=np.int64))
    before = oracle.reveal()
    oracle.label(np.array([1], dtype=np.int64))
    assert before.regions.tolist() == [0]
    assert (before.crop(0, 0, 2, 2, 2) == VOID).all()


def test_the_digest_depends_on_the_set_and_not_on_the_order() -> None:
    first, second = LabelState(9), LabelState(9)
    first.add(np.array([1, 5]))
    second.add(np.array([5]))
    assert first.digest != second.digest
    second.add(np.array([1]))
    assert first.digest == second.digest
