"""The built-in kinds of regions under their contract, and the documentation's examples."""

import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from support.paths import ROOT
from support.region_maps import ragged

from quadrat.benchmark.data import items_of, load_dataset
from quadrat.benchmark.data.shapes import check_ids, cut_image
from quadrat.benchmark.data.shapes.inspection import region_findings
from quadrat.benchmark.data.shapes.kind import load_kind
from quadrat.benchmark.data.shapes.superpixels import _closest_in_number
from quadrat.benchmark.data.shapes.testing import RegionKindContract, example_image

README = (ROOT / "benchmark/data/shapes/README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


class TestGrid(RegionKindContract):
    name = "grid"


class TestSlic(RegionKindContract):
    name = "slic"


class TestSeeds(RegionKindContract):
    name = "seeds"
    params: ClassVar[dict[str, Any]] = {"levels": 3}


class TestFiles(RegionKindContract):
    name = "files"

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "image.npz", ids=ragged((60, 90), 0))
        self.params = {"folder": str(tmp_path)}  # of this test


@pytest.mark.parametrize(("kind", "size"), [("slic", 16), ("slic", 24), ("seeds", 16)])
def test_superpixels_have_the_mean_area_that_is_asked_for(kind: str, size: int) -> None:
    dataset = load_dataset("scenes", num_train=8, num_test=1)
    areas = []
    for item in items_of(dataset, "train"):
        image = item.read_image()
        shapes = cut_image(load_kind(kind), image, region_size=size, id=item.id).shapes
        areas.append(shapes.pixels.mean())
        assert shapes.pixels.sum() == image.shape[0] * image.shape[1]
    assert np.mean(areas) == pytest.approx(size**2, rel=0.1)


@pytest.mark.parametrize(
    ("height", "width", "size", "nearest"), [(100, 100, 8, 144), (96, 128, 16, 48), (144, 192, 12, 108)]
)
def test_seeds_has_the_possible_number_that_is_closest_to_the_one_that_is_asked_for(
    height: int, width: int, size: int, nearest: int
) -> None:
    import cv2

    wanted = round(height * width / size**2)
    possible = {
        cv2.ximgproc.createSuperpixelSEEDS(width, height, 3, asked, 4).getNumberOfSuperpixels()
        for asked in range(1, 4 * wanted)
    }
    assert min(possible, key=lambda number: abs(number - wanted)) == nearest
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    found = np.unique(load_kind("seeds").cut(image, region_size=size, id="x"))
    assert len(found) == pytest.approx(nearest, rel=0.05)  # a superpixel may lose all its pixels


def test_of_the_spacings_tried_the_one_with_the_closest_number_is_taken() -> None:
    tried = []

    def cut(spacing: int) -> np.ndarray[Any, Any]:
        tried.append(spacing)
        return np.arange(1, 1 + 4000 // spacing**2)

    for wanted in (1, 7, 40, 160, 1000):
        tried.clear()
        found = _closest_in_number(cut, 10, wanted)
        assert abs(len(found) - wanted) == min(abs(4000 // spacing**2 - wanted) for spacing in range(2, 64))
        assert len(tried) == len(set(tried)) <= 5


def test_the_example_of_a_kind_cuts_stripes() -> None:
    (example,) = (code for code in EXAMPLES if "class Stripes" in code)
    names: dict[str, Any] = {"__name__": "example"}
    exec(example, names)
    cut = cut_image(names["Stripes"](thickness=0.5), example_image(), region_size=16, id="x")
    assert cut.shapes.pixels.tolist() == [8 * 90] * 7 + [4 * 90]


def masks_of_objects(mask: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    """Return overlapping masks as SAM gives them: the whole of each class with a margin, and each half of it."""
    found = []
    for value in np.unique(mask):
        y, x = np.nonzero(mask == value)
        margin = np.zeros(mask.shape, dtype=bool)
        for down, right in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
            margin[(y + down).clip(0, mask.shape[0] - 1), (x + right).clip(0, mask.shape[1] - 1)] = True
        left = margin.copy()
        left[:, mask.shape[1] // 2 :] = False
        found += [{"segmentation": one, "area": int(one.sum())} for one in (margin, left) if one.any()]
    return found


def test_masks_of_objects_run_through_files_as_the_page_says(tmp_path: Path) -> None:
    (example,) = (code for code in EXAMPLES if "def save_regions" in code)
    names: dict[str, Any] = {}
    exec(example, names)
    dataset = load_dataset("scenes", num_train=3, num_test=1, height=48, width=64)
    for item in items_of(dataset, "train"):
        masks = masks_of_objects(item.read_mask())
        names["save_regions"](tmp_path / f"{item.id}.npz", masks)
        ids = check_ids(np.load(tmp_path / f"{item.id}.npz")["ids"], (48, 64), "map")
        smallest = min(masks, key=lambda mask: mask["area"])["segmentation"]
        assert len(np.unique(ids[smallest])) == 1  # small masks stay whole
    findings = region_findings(dataset, ["train"], load_kind("files", folder=str(tmp_path)), 16)
    assert {found.severity for found in findings} == {"note"}
    assert any(re.match(r"train: \d+ regions, \d+ to \d+ an image", found.text) for found in findings)


def test_the_check_names_every_image_with_a_bad_map(tmp_path: Path) -> None:
    dataset = load_dataset("scenes", num_train=4, num_test=1, height=48, width=64)
    first, second, third, _ = (item.id for item in items_of(dataset, "train"))
    ids = np.ones((48, 64), dtype=int)
    np.savez(tmp_path / f"{first}.npz", ids=np.where(np.arange(64) < 32, ids, 2)[:, ::-1])
    ids[5, 5] = 9
    np.savez(tmp_path / f"{second}.npz", ids=ids)
    ids = np.ones((48, 64), dtype=int)
    ids[:, 20:30], ids[:4] = 2, 0
    np.savez(tmp_path / f"{third}.npz", ids=ids)
    findings = region_findings(dataset, ["train"], load_kind("files", folder=str(tmp_path)), 16)
    kinds = [(found.severity, found.kind) for found in findings]
    assert kinds == [
        ("error", "regions of one pixel"),
        ("note", "regions in several pieces"),
        ("note", "pixels in no region"),
        ("error", "region map missing"),
        ("note", "regions"),
    ]
    assert f"train/{third}: 1 region lies in several pieces" in findings[1].text
    assert f"{third}: 256 of 3,072 pixels are in no region" in findings[2].text
