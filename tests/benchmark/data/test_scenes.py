"""Synthetic scenes: a pure function of their parameters, imbalanced, redundant, clustered, of varying size."""

import subprocess
import sys
import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from quadrat.benchmark.data import VOID, Dataset, Item
from quadrat.benchmark.data.loaders.scenes import SceneItem, Scenes
from quadrat.benchmark.errors import DataError

SMALL = Scenes(num_train=8, num_val=2, num_test=4, height=48, width=64)


def test_scenes_fulfil_the_protocols() -> None:
    assert isinstance(SMALL, Dataset) and isinstance(SMALL.items("train")[0], Item)


def test_every_image_is_a_function_of_its_index_alone() -> None:
    forwards = [item.read_image() for item in SMALL.items("train")]
    backwards = [item.read_image() for item in reversed(SMALL.items("train"))]
    for one, other in zip(forwards, reversed(backwards), strict=True):
        np.testing.assert_array_equal(one, other)
    more = Scenes(num_train=40, num_val=2, num_test=4, height=48, width=64)
    np.testing.assert_array_equal(more.items("train")[7].read_mask(), SMALL.items("train")[7].read_mask())


def test_a_fresh_process_draws_the_same_pixels() -> None:
    code = (
        "import zlib; from quadrat.benchmark.data.loaders.scenes import Scenes\n"
        "item = Scenes(num_train=8, num_val=2, num_test=4, height=48, width=64).items('train')[5]\n"
        "print(zlib.crc32(item.read_image().tobytes() + item.read_mask().tobytes()))"
    )
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    item = SMALL.items("train")[5]
    assert int(fresh) == zlib.crc32(item.read_image().tobytes() + item.read_mask().tobytes())


def test_the_global_generator_is_unchanged() -> None:
    before = repr(np.random.get_state(legacy=False))  # noqa: NPY002
    SMALL.items("train")[0].read_image()
    assert repr(np.random.get_state(legacy=False)) == before  # noqa: NPY002


@pytest.mark.parametrize("change", [{"seed": 1}, {"noise": 0.5}, {"height": 56}])
def test_parameters_change_the_pixels(change: dict[str, Any]) -> None:
    params = {"num_train": 8, "num_val": 2, "num_test": 4, "height": 48, "width": 64} | change
    ours, theirs = SMALL.items("train")[0].read_image(), Scenes(**params).items("train")[0].read_image()
    assert ours.shape != theirs.shape or (ours != theirs).any()


def test_splits_share_no_image() -> None:
    images = [item.read_image().tobytes() for split in SMALL.splits for item in SMALL.items(split)]
    assert len(set(images)) == len(images)


def histogram(items: Sequence[SceneItem]) -> npt.NDArray[np.int64]:
    counts = np.array([np.bincount(item.read_mask().ravel(), minlength=256) for item in items])
    total: npt.NDArray[np.int64] = counts.sum(axis=0)
    return total


def test_classes_are_as_imbalanced_as_a_street() -> None:
    scenes = Scenes(num_train=160)
    counts = histogram(scenes.items("train"))
    share = dict(zip(scenes.classes, counts[: len(scenes.classes)] / counts[: len(scenes.classes)].sum(), strict=True))
    assert share["road"] > 0.2 and share["building"] > 0.15 and share["sky"] > 0.15
    for rare in ("sign", "pedestrian", "bicyclist"):
        assert 0.002 < share[rare] < 0.012
    assert counts[VOID] > 0 and counts[len(scenes.classes) : VOID].sum() == 0


@pytest.mark.parametrize("seed", range(3))
def test_every_class_occurs_in_small_splits(seed: int) -> None:
    scenes = Scenes(num_train=40, num_test=24, seed=seed)
    for split in ("train", "test"):
        assert (histogram(scenes.items(split))[: len(scenes.classes)] > 0).all()


def test_rare_objects_are_spatially_clustered() -> None:
    """A region next to one with pedestrians holds pedestrians far more often than any region does."""
    regions = [
        np.add.reduceat(np.add.reduceat(item.read_mask() == 8, range(0, 96, 12), axis=0), range(0, 128, 16), axis=1) > 0
        for item in Scenes(num_train=100, frames=1, varied_sizes=False).items("train")
    ]
    anywhere = np.mean(regions)
    beside = np.mean(np.concatenate([region[:, 1:][region[:, :-1]] for region in regions]))
    assert beside > 5 * anywhere


def test_frames_of_a_street_are_redundant_in_train_only() -> None:
    scenes = Scenes(num_train=8, num_test=8, frames=4, varied_sizes=False)
    train, test = ([item.read_mask() for item in scenes.items(split)] for split in ("train", "test"))
    agreement = [np.mean(one == other) for one, other in pairwise(train)]
    assert min(agreement[:3] + agreement[4:]) > agreement[3]
    assert np.mean(agreement[:3]) > np.mean([np.mean(one == other) for one, other in pairwise(test)])
    assert [item.id for item in scenes.items("train")][3:5] == ["street-0000-03", "street-0001-00"]


def test_widths_vary_between_streets_unless_switched_off() -> None:
    varied, equal = (
        {item.read_mask().shape for item in Scenes(varied_sizes=flag).items("test")} for flag in (True, False)
    )
    assert varied == {(96, 96), (96, 192)} and equal == {(96, 192)}


def test_last_frame_of_a_long_sequence_is_still_a_street() -> None:
    scenes = Scenes(num_train=64, frames=16)
    shares = histogram([item for item in scenes.items("train") if item.frame == 15])[:10]
    assert (shares[:5] / shares.sum() > 0.02).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"num_train": -1}, "num_train must be a whole number from 0 .*, got -1"),
        ({"num_train": 2.5}, "num_train must be a whole number .*, got 2.5"),
        ({"height": 8}, "height must be a whole number from 32 .*, got 8"),
        ({"frames": 17}, "frames must be a whole number from 1 to 16, got 17"),
        ({"frames": True}, "frames must be a whole number .*, got True"),
        ({"noise": "much"}, "noise must be a number .*, got 'much'"),
        ({"noise": float("nan")}, "noise must be a number .*, got nan"),
        ({"varied_sizes": 1}, "varied_sizes must be true or false, got 1"),
    ],
)
def test_bad_parameter_is_named_with_its_range(params: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Scenes(**params)


def test_unknown_and_empty_split_are_errors() -> None:
    with pytest.raises(DataError, match="no split 'dev'; there is train, val, test"):
        SMALL.items("dev")
    with pytest.raises(DataError, match="split 'val' of scenes is empty: num_val is 0"):
        Scenes(num_val=0).items("val")
