"""Pictures of picks: this round's in orange, earlier ones in blue, in fixed images of the pool."""

from pathlib import Path

import numpy as np
import pytest

from quadrat.benchmark.data import PackedSplit, RegionGrid, pack
from quadrat.benchmark.data.loaders.scenes import Scenes
from quadrat.benchmark.results.selections import selection_path, write_selection
from quadrat.benchmark.tracking.pictures import draw_picks, open_pool
from quadrat.strategies import Selection


@pytest.fixture
def pool(tmp_path: Path) -> PackedSplit:
    return pack(Scenes(num_train=4, num_test=1, height=48, width=64, varied_sizes=False), "train", tmp_path / "cache")


def pick(results_dir: Path, pool: PackedSplit, round_: int, regions: list[int]) -> None:
    picks = Selection(regions=np.array(regions), potential=np.ones(len(regions)))
    write_selection(selection_path(results_dir, "t", round_), picks, RegionGrid(pool.sizes, 16))


def test_a_region_turns_from_orange_to_blue_when_the_next_round_begins(tmp_path: Path, pool: PackedSplit) -> None:
    pick(tmp_path, pool, 0, [0])  # the top left region of the first image
    pick(tmp_path, pool, 1, [11])  # its bottom right one
    first, second = (np.asarray(picture.image).astype(int) for picture in draw_picks(tmp_path, "t", 3, pool))
    # Images are 256 px wide in the picture, so a region is 64.
    assert first[32, 32, 0] > first[32, 32, 2] + 50
    assert second[32, 32, 2] > second[32, 32, 0] + 20
    assert second[160, 224, 0] > second[160, 224, 2] + 50
    assert np.array_equal(first[:, 260:], second[:, 260:])


def test_rounds_end_with_the_last_selection_that_is_there(tmp_path: Path, pool: PackedSplit) -> None:
    assert list(draw_picks(tmp_path, "t", 3, pool)) == []
    pick(tmp_path, pool, 0, [0])
    assert [picture.round for picture in draw_picks(tmp_path, "t", 3, pool)] == [0]


def test_a_pool_that_is_gone_or_another_one_is_not_drawn_on(tmp_path: Path, pool: PackedSplit) -> None:
    assert open_pool(tmp_path, {"path": "nowhere", "fingerprint": "0"}) is None
    assert open_pool(tmp_path, {"path": str(pool.path), "fingerprint": "0"}) is None
    found = open_pool(tmp_path, {"path": str(pool.path), "fingerprint": pool.fingerprint})
    assert found is not None and found.ids == pool.ids
