"""Pictures of selections: this round's in orange, earlier ones in blue, in fixed images of the pool."""

from pathlib import Path

import numpy as np
import pytest

from quadrat.benchmark.data import PackedSplit, RegionGrid, pack
from quadrat.benchmark.data.loaders.scenes import Scenes
from quadrat.benchmark.results.selections import selection_path, write_selection
from quadrat.benchmark.tracking.pictures import draw_selections
from quadrat.strategies import Selection


@pytest.fixture
def pool(tmp_path: Path) -> PackedSplit:
    return pack(Scenes(num_train=4, num_test=1, height=48, width=64, varied_sizes=False), "train", tmp_path / "cache")


def select(results_dir: Path, pool: PackedSplit, round_: int, regions: list[int]) -> None:
    selection = Selection(regions=np.array(regions), potential=np.ones(len(regions)))
    write_selection(selection_path(results_dir, "t", round_), selection, RegionGrid(pool.sizes, 16))


def test_a_region_turns_from_orange_to_blue_when_the_next_round_begins(tmp_path: Path, pool: PackedSplit) -> None:
    select(tmp_path, pool, 0, [0])  # the top left region of the first image
    select(tmp_path, pool, 1, [11])  # its bottom right one
    first, second = (np.asarray(picture.image).astype(int) for picture in draw_selections(tmp_path, "t", 3, pool))
    # Images are 256 px wide in the picture, so a region is 64.
    assert first[32, 32, 0] > first[32, 32, 2] + 50
    assert second[32, 32, 2] > second[32, 32, 0] + 20
    assert second[160, 224, 0] > second[160, 224, 2] + 50
    assert np.array_equal(first[:, 260:], second[:, 260:])


def test_rounds_end_with_the_last_selection_that_is_there(tmp_path: Path, pool: PackedSplit) -> None:
    assert list(draw_selections(tmp_path, "t", 3, pool)) == []
    select(tmp_path, pool, 0, [0])
    assert [picture.round for picture in draw_selections(tmp_path, "t", 3, pool)] == [0]
