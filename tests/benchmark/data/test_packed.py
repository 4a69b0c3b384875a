"""Packed splits: equal to the source, cached, written atomically, pickled by path."""

import errno
import hashlib
import json
import multiprocessing
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.layouts import labels, pixels, save, write_camvid, write_folder

from quadrat.benchmark.data import (
    Dataset,
    PackedSplit,
    check_against_data_set,
    load_dataset,
    open_packed,
    pack,
    packing,
)
from quadrat.benchmark.data.loaders.camvid import CamVid
from quadrat.benchmark.data.loaders.folder import Folder
from quadrat.benchmark.data.loaders.scenes import Scenes
from quadrat.benchmark.data.packed import meta_content
from quadrat.benchmark.errors import DataError, QuadratError
from quadrat.benchmark.storage import digest

SCENES = Scenes(num_train=6, num_test=2, height=32, width=40, frames=2)


def packed_folders(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "packed").iterdir() if not path.name.endswith(".lock"))


def test_packed_images_and_masks_equal_the_source_at_varying_sizes(tmp_path: Path) -> None:
    packed = pack(SCENES, "train", tmp_path)
    items = SCENES.items("train")
    assert packed.ids == tuple(item.id for item in items)
    assert len({tuple(size) for size in packed.sizes.tolist()}) > 1
    for index, item in enumerate(items):
        np.testing.assert_array_equal(packed.images.image(index), item.read_image())
        np.testing.assert_array_equal(packed.masks.mask(index), item.read_mask())
        assert packed.images.image(index).shape == (*packed.sizes[index], 3)
    assert (packed.name, packed.split, packed.classes) == ("scenes", "train", SCENES.classes)
    assert packed.colours == SCENES.colours and packed.masks.num_classes == len(SCENES.classes)
    assert len(packed) == len(packed.images) == len(packed.masks) == 6


def test_open_needs_neither_data_set_nor_root(tmp_path: Path) -> None:
    packed = pack(Folder(root=write_folder(tmp_path / "root")), "train", tmp_path)
    shutil.rmtree(tmp_path / "root")
    again = PackedSplit(packed.path)
    assert (again.fingerprint, again.ids, again.classes) == (packed.fingerprint, packed.ids, packed.classes)
    np.testing.assert_array_equal(again.images.image(2), packed.images.image(2))


def test_packed_arrays_cannot_be_written(tmp_path: Path) -> None:
    packed = pack(SCENES, "train", tmp_path)
    for array in (packed.images.image(0), packed.masks.mask(0), packed.sizes):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 0


def test_packed_images_give_no_access_to_labels(tmp_path: Path) -> None:
    images = pack(SCENES, "train", tmp_path).images
    assert {name for name in dir(images) if not name.startswith("_")} == {
        "check",
        "fingerprint",
        "image",
        "path",
        "sizes",
    }


def test_pickle_carries_the_path_and_not_the_pixels(tmp_path: Path) -> None:
    packed = pack(SCENES, "train", tmp_path)
    for value in (packed, packed.images, packed.masks):
        assert len(pickle.dumps(value)) < 500
    again = pickle.loads(pickle.dumps(packed))
    np.testing.assert_array_equal(again.masks.mask(5), packed.masks.mask(5))


def test_second_call_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pack(SCENES, "train", tmp_path)
    monkeypatch.setattr(packing, "inspect_item", lambda *_: pytest.fail("decoded again"))
    assert pack(SCENES, "train", tmp_path).fingerprint == first.fingerprint


def test_progress_counts_every_image(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    pack(SCENES, "train", tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 6) for done in range(1, 7)]


def test_fingerprint_is_independent_of_root_and_of_file_times(tmp_path: Path) -> None:
    here, there = write_camvid(tmp_path / "here"), tmp_path / "there"
    shutil.copytree(here, there, copy_function=shutil.copy)
    first, second = (pack(CamVid(root=root), "train", tmp_path) for root in (here, there))
    assert first.path != second.path
    assert first.fingerprint == second.fingerprint
    assert first.images.fingerprint == second.images.fingerprint


def test_fingerprint_of_given_pixels_never_changes(tmp_path: Path) -> None:
    """Golden: the formula (format, version, classes, ids, digests of sizes and pixels) is written out here."""
    root = tmp_path / "root"
    image, mask = pixels("x", 3, 5), labels("x", 3, 5, (0, 1))
    save(root / "images" / "train" / "x.png", image)
    save(root / "masks" / "train" / "x.png", mask)
    (root / "manifest.json").write_text('{"classes": ["p", "q"]}')
    packed = pack(Folder(root=root), "train", tmp_path)
    parts = [hashlib.sha256(b"3x5;" + array.tobytes()).hexdigest() for array in (image, mask)]
    content = json.dumps(["quadrat-packed", 1, ["p", "q"], ["x"], *parts], separators=(",", ":"))
    assert packed.fingerprint == hashlib.sha256(content.encode()).hexdigest()
    assert packed.images.fingerprint == parts[0]


@pytest.mark.parametrize("what", ["image", "mask", "id", "class"])
def test_fingerprint_changes_with(what: str, tmp_path: Path) -> None:
    before = pack(Folder(root=write_folder(tmp_path / "one")), "train", tmp_path)
    root = write_folder(tmp_path / "two", classes=("sky", "road", "bus" if what == "class" else "car"))
    if what == "image":
        save(root / "images" / "train" / "a.jpg", pixels("other", 20, 30))
    if what == "mask":
        save(root / "masks" / "train" / "a.png", np.zeros((20, 30), dtype=np.uint8))
    if what == "id":
        (root / "images" / "train" / "a.jpg").rename(root / "images" / "train" / "a2.jpg")
        (root / "masks" / "train" / "a.png").rename(root / "masks" / "train" / "a2.png")
    after = pack(Folder(root=root), "train", tmp_path)
    assert after.fingerprint != before.fingerprint
    assert (after.images.fingerprint == before.images.fingerprint) == (what != "image")


def test_changed_file_is_packed_anew(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "root")
    before = pack(Folder(root=root), "train", tmp_path)
    save(root / "masks" / "train" / "a.png", np.ones((20, 30), dtype=np.uint8))
    after = pack(Folder(root=root), "train", tmp_path)
    assert before.path != after.path and (after.masks.mask(0) == 1).all()


def test_parameters_of_a_generated_set_are_part_of_the_key(tmp_path: Path) -> None:
    paths = {
        pack(Scenes(num_train=2, seed=seed, noise=noise), "train", tmp_path).path for seed in (0, 1) for noise in (1, 2)
    }
    assert len(paths) == 4


class Broken:
    """A data set like another, but one of its items raises."""

    def __init__(self, inner: Dataset, error: BaseException) -> None:
        self.inner, self.error = inner, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def items(self, split: str) -> list[Any]:
        items: list[Any] = list(self.inner.items(split))
        items[-1] = BrokenItem(items[-1], self.error)
        return items


class BrokenItem:
    def __init__(self, inner: Any, error: BaseException) -> None:
        self.inner, self.error, self.id, self.stamp = inner, error, inner.id, inner.stamp

    def read_image(self) -> Any:
        raise self.error


def test_full_disk_leaves_no_packed_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = open

    class FullDisk:
        def __init__(self, file: Any) -> None:
            self.file, self.left = file, 5000

        def __enter__(self) -> "FullDisk":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, data: memoryview) -> int:
            self.left -= data.nbytes
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return int(self.file.write(data))

    monkeypatch.setattr(packing, "open", lambda *args: FullDisk(real_open(*args)), raising=False)
    with pytest.raises(QuadratError, match=r"No space left on device.*free some space"):
        pack(SCENES, "train", tmp_path)
    assert packed_folders(tmp_path) == []
    monkeypatch.undo()
    assert len(pack(SCENES, "train", tmp_path)) == 6


def test_error_while_packing_leaves_no_folder(tmp_path: Path) -> None:
    for error in (DataError("broken"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            pack(Broken(SCENES, error), "train", tmp_path)
        assert packed_folders(tmp_path) == []


def test_cache_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"there is a file in its way\. Give another cache folder"):
        pack(SCENES, "train", tmp_path / "file" / "cache")


def pack_in_process(cache: str, start: Any, results: Any) -> None:
    start.wait()
    packed = pack(SCENES, "train", cache)
    results.put((packed.fingerprint, int(packed.images.image(5).sum())))


@pytest.mark.slow
def test_concurrent_processes_pack_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Event(), context.Queue()
    processes = [context.Process(target=pack_in_process, args=(str(tmp_path), start, results)) for _ in range(2)]
    for process in processes:
        process.start()
    start.set()
    found = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(found) == 1 and len(packed_folders(tmp_path)) == 1


def test_without_locks_the_slower_process_uses_what_the_faster_one_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where locks do not work, both write; the rename of the slower one meets a folder that is there."""
    faster: list[PackedSplit] = []

    class NoLock:
        def __init__(self, *_: object) -> None: ...
        def acquire(self) -> None: ...
        def release(self) -> None: ...

    def overtaken(done: int, total: int) -> None:
        if done == total:
            faster.append(pack(SCENES, "train", tmp_path))

    monkeypatch.setattr(packing, "FileLock", NoLock)
    slower = pack(SCENES, "train", tmp_path, on_progress=overtaken)
    assert slower.path == faster[0].path and slower.fingerprint == faster[0].fingerprint
    assert packed_folders(tmp_path) == [slower.path.name]


def damage(packed: PackedSplit, how: str) -> None:
    meta = packed.path / "meta.json"
    meta_json = json.loads(meta.read_text())
    if how == "short":
        with open(packed.path / "images.bin", "r+b") as file:
            file.truncate(100)
    elif how == "missing":
        (packed.path / "masks.bin").unlink()
    elif how == "garbled":
        meta.write_text("{")
    elif how == "version":
        meta.write_text(json.dumps({**meta_json, "version": 99}))
    elif how == "edited":
        meta.write_text(json.dumps({**meta_json, "fingerprint": "0" * 64}))
    elif how == "zeroed":
        data = (packed.path / "masks.bin").read_bytes()
        (packed.path / "masks.bin").write_bytes(bytes(len(data) // 4) + data[len(data) // 4 :])
    elif how == "flipped":
        data = bytearray((packed.path / "images.bin").read_bytes())
        data[1000] ^= 1
        (packed.path / "images.bin").write_bytes(data)
    else:
        del meta_json["sizes"], meta_json["format"], meta_json["version"], meta_json["digest"]
        meta.write_text(json.dumps(meta_content(meta_json)))


DAMAGES = {
    "short": "images.bin should be .* bytes long, found 100",
    "missing": "masks.bin should be .* bytes long, found None",
    "garbled": "meta.json is not JSON",
    "version": "format 'quadrat-packed', version 3",
    "edited": "meta.json has another content than was written",
    "zeroed": "masks.bin has another content than was written",
    "flipped": "images.bin has another content than was written",
    "field": "lacks or garbles a field.*sizes",
}


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_folder_is_named_when_opened_and_replaced_when_packed(
    how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    packed = pack(SCENES, "train", tmp_path)
    fingerprint, image = packed.fingerprint, packed.images.image(3).copy()
    damage(packed, how)
    with pytest.raises(DataError, match=f"{packed.path.name} is damaged: .*{DAMAGES[how]}.*Delete that folder"):
        PackedSplit(packed.path).check()
    again = pack(SCENES, "train", tmp_path)
    assert again.fingerprint == fingerprint
    np.testing.assert_array_equal(again.images.image(3), image)
    assert "It is packed again now." in caplog.text


def test_the_fingerprint_is_that_of_earlier_versions(tmp_path: Path) -> None:
    """It is in published results: computed here from its definition, over pixels, masks, ids and class names."""
    packed = pack(SCENES, "train", tmp_path)
    hashes = []
    for arrays in (packed.images.image, packed.masks.mask):
        found = hashlib.sha256()
        for index, (height, width) in enumerate(packed.sizes.tolist()):
            found.update(f"{height}x{width};".encode() + arrays(index).tobytes())
        hashes.append(found.hexdigest())
    text = json.dumps(["quadrat-packed", 1, list(packed.classes), list(packed.ids), *hashes], separators=(",", ":"))
    assert packed.fingerprint == hashlib.sha256(text.encode()).hexdigest()
    assert packed.images.fingerprint == hashes[0]


def test_a_file_is_hashed_once_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pack(SCENES, "train", tmp_path)
    monkeypatch.setattr(digest, "digest_of_file", lambda path: pytest.fail(f"read {path} again"))
    assert pickle.loads(pickle.dumps(packed)).fingerprint == pack(SCENES, "train", tmp_path).fingerprint


def test_an_intact_pack_in_a_folder_that_cannot_be_written_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pack(SCENES, "train", tmp_path)
    monkeypatch.setattr(packing, "FileLock", lambda path: pytest.fail("locked"))
    assert pack(SCENES, "train", tmp_path).path == first.path


def test_a_pack_is_compared_with_the_data_set_and_not_with_what_it_says_of_itself(tmp_path: Path) -> None:
    packed = pack(SCENES, "train", tmp_path)
    check_against_data_set(packed, SCENES)
    wrong = packed.path / "masks.bin"
    data = bytearray(wrong.read_bytes())
    data[7] = (data[7] + 1) % len(packed.classes)
    wrong.write_bytes(data)
    meta = json.loads((packed.path / "meta.json").read_text())
    values = {name: value for name, value in meta.items() if name not in ("format", "version", "digest")}
    values["digests"]["masks.bin"] = digest.digest_of(bytes(data))
    (packed.path / "meta.json").write_text(json.dumps(meta_content(values)))
    with pytest.raises(DataError, match=r"expected the images and masks of scenes train in .*, got others"):
        check_against_data_set(PackedSplit(packed.path), SCENES)


def test_open_of_a_folder_without_pack_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no packed split at .*quadrat data pack"):
        PackedSplit(tmp_path)


def test_num_px_and_commonest_size_are_those_of_the_images(tmp_path: Path) -> None:
    packed = pack(Scenes(num_train=6, height=32, width=40, frames=4), "train", tmp_path)
    assert packed.num_px == sum(packed.masks.mask(index).size for index in range(6))
    assert packed.commonest_size == tuple(packed.sizes[0])  # a street of four images, then one of two


def test_open_packed_finds_the_split_of_a_results_folder(tmp_path: Path) -> None:
    packed = pack(SCENES, "train", tmp_path / "cache")
    described = {"path": str(packed.path.relative_to(tmp_path)), "fingerprint": packed.fingerprint}
    assert open_packed(tmp_path, described).path == packed.path
    assert open_packed(tmp_path / "elsewhere", {**described, "path": str(packed.path)}).path == packed.path
    assert open_packed(tmp_path / "elsewhere", described, cache_dir=tmp_path / "cache").path == packed.path


def test_open_packed_says_why_there_are_no_images(tmp_path: Path) -> None:
    packed = pack(SCENES, "train", tmp_path)
    with pytest.raises(DataError, match="not there any more"):
        open_packed(tmp_path, {"path": "nowhere", "fingerprint": packed.fingerprint}, cache_dir=tmp_path / "empty")
    with pytest.raises(DataError, match="not those that these results were computed from"):
        open_packed(tmp_path, {"path": str(packed.path), "fingerprint": "other"}, cache_dir=tmp_path)
    damage(packed, "missing")
    with pytest.raises(DataError, match="is damaged"):
        open_packed(tmp_path, {"path": str(packed.path), "fingerprint": packed.fingerprint})


def test_a_packed_part_of_a_split_is_checked_against_its_images(tmp_path: Path) -> None:
    part = f"train[{SCENES.items('train')[0].id}]"
    packed = pack(SCENES, part, tmp_path)
    assert len(packed) == 1
    check_against_data_set(packed, SCENES)


def test_statistics_of_a_packed_split_are_those_of_its_masks(tmp_path: Path) -> None:
    packed = pack(SCENES, "train", tmp_path)
    masks = [packed.masks.mask(index) for index in range(6)]
    counts = packed.statistics
    assert counts.num_images == 6 and counts.num_px == packed.num_px
    assert counts.class_px.tolist() == [sum(int((mask == c).sum()) for mask in masks) for c in range(10)]
    assert counts.class_images.tolist() == [sum(bool((mask == c).any()) for mask in masks) for c in range(10)]
    assert counts.void_px == sum(int((mask == 255).sum()) for mask in masks)
    assert len(set(counts.digests)) == 6


def test_split_of_void_alone_is_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "root")
    for name in "abc":
        save(root / "masks" / "train" / f"{name}.png", np.full((20, 30), 255, dtype=np.uint8))
    with pytest.raises(DataError, match=r"train: every pixel is void.* Take a split whose labels are public"):
        pack(load_dataset("folder", root), "train", tmp_path)


def test_released_pages_are_read_again_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from quadrat.benchmark.data import packed

    monkeypatch.setattr(packed, "_KEPT_BYTES", 1)
    split = pack(Scenes(num_train=4, height=32, width=48), "train", tmp_path)
    first = split.images.image(0)
    expected = [split.images.image(index).copy() for index in range(4)]
    for index in range(4):
        np.testing.assert_array_equal(split.images.image(index), expected[index])
    np.testing.assert_array_equal(first, expected[0])  # a view from before
