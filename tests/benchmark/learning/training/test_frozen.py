"""A frozen encoder: features computed once, cached whole or not at all, cropped like images."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from support.learning_fakes import SIZES, FakeImages, label, make_grid, make_learner, make_set, tiny_recipe

from quadrat.benchmark.errors import DataError, ResultsError
from quadrat.benchmark.learning import Learner
from quadrat.benchmark.learning.network.model import Encoded, build_encoder
from quadrat.benchmark.learning.training.feature_cache import (
    FeatureMaps,
    cut_feature_crops,
    feature_key,
    open_or_encode,
)
from quadrat.benchmark.learning.training.sampler import Draw

CPU = torch.device("cpu")
IMAGES, MASKS = make_set()
ENCODER = build_encoder(tiny_recipe(), None, seed=0).eval()


@torch.inference_mode()
def encode(index: int) -> Encoded:
    return ENCODER(ENCODER.prepare(torch.from_numpy(IMAGES.image(index))[None]))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def maps(cache: Path) -> FeatureMaps:
    return open_or_encode(IMAGES, encode, {"images": "a"}, cache)


def test_cache_holds_every_images_features_in_float16(maps: FeatureMaps) -> None:
    for index, (height, width) in enumerate(SIZES):
        expected = encode(index)
        assert maps.low(index).shape[:2] == (-(-height // 16) * 4, -(-width // 16) * 4)
        found = maps.encoded([index], CPU)
        assert found.low.is_contiguous(memory_format=torch.channels_last) and found.low.dtype == torch.float32
        torch.testing.assert_close(found.low, expected.low.half().float())
        torch.testing.assert_close(found.high, expected.high.half().float())


def test_cached_features_are_not_encoded_again(cache: Path, maps: FeatureMaps) -> None:
    def refuse(index: int) -> Encoded:
        raise AssertionError("encoded again")

    again = open_or_encode(IMAGES, refuse, {"images": "a"}, cache)
    np.testing.assert_array_equal(again.high(3), maps.high(3))
    with pytest.raises(AssertionError, match="encoded again"):
        open_or_encode(IMAGES, refuse, {"images": "b"}, cache)


def test_interrupted_encoding_leaves_no_cache(tmp_path: Path) -> None:
    def stop(index: int) -> Encoded:
        if index == 2:
            raise KeyboardInterrupt
        return encode(index)

    with pytest.raises(KeyboardInterrupt):
        open_or_encode(IMAGES, stop, {"images": "a"}, tmp_path)
    assert not [path for path in (tmp_path / "features").iterdir() if path.is_dir()]
    assert len(open_or_encode(IMAGES, encode, {"images": "a"}, tmp_path)) == len(IMAGES)


def test_a_full_disk_is_an_error_and_leaves_no_cache(tmp_path: Path) -> None:
    import errno

    def fill(index: int) -> Encoded:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ResultsError, match="No space left on device"):
        open_or_encode(IMAGES, fill, {"images": "a"}, tmp_path)
    assert not (tmp_path / "features" / feature_key({"images": "a"})).exists()


@pytest.mark.parametrize("damage", ["short", "flipped", "empty meta", "flipped meta", "missing"])
def test_damaged_cache_is_named_when_opened_and_computed_again(
    tmp_path: Path, cache: Path, maps: FeatureMaps, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(cache, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "features" / feature_key({"images": "a"})
    low, meta = path / "low.f16", path / "meta.json"
    data, text = bytearray(low.read_bytes()), meta.read_text()
    if damage == "short":
        low.write_bytes(data[:-2])
    elif damage == "flipped":
        data[100] ^= 1
        low.write_bytes(data)
    elif damage == "empty meta":
        meta.write_text(json.dumps({}))
    elif damage == "flipped meta":
        meta.write_text(text.replace('"low_shapes": [[1', '"low_shapes": [[2'))
    else:
        low.unlink()
    with pytest.raises(DataError, match="damaged feature cache"):
        FeatureMaps(path)
    again = open_or_encode(IMAGES, encode, {"images": "a"}, tmp_path)
    assert np.array_equal(again.low(0), maps.low(0))
    assert "is damaged: the features are computed again" in caplog.text


def test_feature_crop_is_the_window_of_features_and_labels(maps: FeatureMaps) -> None:
    labels = label(MASKS, make_grid(MASKS))
    draws = [Draw(0, 16, 32, 32, False), Draw(0, 16, 32, 32, True)]
    crops = cut_feature_crops(maps, labels, draws, 16, CPU)
    expected = maps.encoded([0], CPU)
    torch.testing.assert_close(crops.encoded.low[0], expected.low[0, :, 4:12, 8:16])
    torch.testing.assert_close(crops.encoded.high[0], expected.high[0, :, 1:3, 2:4])
    np.testing.assert_array_equal(crops.label_BHW[0].numpy(), MASKS.mask(0)[16:48, 32:64])
    torch.testing.assert_close(crops.encoded.low[1], crops.encoded.low[0].flip(-1))
    torch.testing.assert_close(crops.encoded.high[1], crops.encoded.high[0].flip(-1))
    assert torch.equal(crops.label_BHW[1], crops.label_BHW[0].flip(-1))


def test_feature_crop_larger_than_the_image_is_void_and_zero_outside(maps: FeatureMaps) -> None:
    labels = label(MASKS, make_grid(MASKS))
    crops = cut_feature_crops(maps, labels, [Draw(1, -16, -32, 96, False)], 16, CPU)
    height = SIZES[1][0]
    np.testing.assert_array_equal(crops.label_BHW[0, 16:80, 32:80].numpy(), MASKS.mask(1))
    assert (crops.label_BHW[0, :16] == 255).all() and (crops.label_BHW[0, :, :32] == 255).all()
    assert (crops.encoded.low[0, :, :4] == 0).all() and (crops.encoded.high[0, :, 1 + height // 16 :] == 0).all()
    torch.testing.assert_close(crops.encoded.high[0, :, 1:5, 2:5], maps.encoded([1], CPU).high[0])


def test_images_are_encoded_once_for_all_rounds_and_processes(tmp_path: Path) -> None:
    def learner(images: FakeImages) -> Learner:
        return make_learner(tiny_recipe(frozen=True, iterations=1), tmp_path, train=images, test=images)

    images, masks = make_set()
    events: list[tuple[int, int]] = []
    first = learner(images)
    first.prepare(on_step=lambda *event: events.append(event))
    reads = images.reads
    assert reads == len(images) and events[-1][1] == 2 * len(images)
    labels = label(masks, make_grid(masks))
    fits = [one.fit(labels, seed=0, round=0).loss for one in (first, learner(images))]
    assert images.reads == reads and fits[0] == fits[1]


def test_features_are_cached_per_thread_count(tmp_path: Path) -> None:
    for threads in (1, 2, 1):
        recipe = tiny_recipe(frozen=True, iterations=1)
        make_learner(recipe, tmp_path, train=IMAGES, test=IMAGES, threads=threads).prepare()
    assert len([path for path in (tmp_path / "features").iterdir() if path.is_dir()]) == 2


def test_frozen_scores_equal_those_of_the_whole_network_up_to_float16(tmp_path: Path) -> None:
    recipe = tiny_recipe(frozen=True, iterations=3)
    one = make_learner(recipe, tmp_path, train=IMAGES, test=IMAGES)
    grid = make_grid(MASKS)
    fitted = one.fit(label(MASKS, grid), seed=0, round=0)
    scores = one.score(fitted, grid, signals=["entropy"], features=True, seed=0, round=0)
    unfrozen = make_learner(tiny_recipe(iterations=3), tmp_path, train=IMAGES, test=IMAGES)
    state = {f"encoder.{name}": tensor for name, tensor in one._variant._encoder.state_dict().items()}
    state |= {f"decoder.{name}": tensor for name, tensor in fitted.state.items()}
    whole = type(fitted)(state=state, steps=3, loss=fitted.loss)
    direct = unfrozen.score(whole, grid, signals=["entropy"], features=True, seed=0, round=0)
    np.testing.assert_allclose(scores.signals["entropy"], direct.signals["entropy"], atol=2e-3)
    np.testing.assert_allclose(scores.features, direct.features, atol=2e-2)
