"""Conformance tests for kinds of regions: subclass RegionKindContract.

    class TestMyRegions(RegionKindContract):
        name = "my-regions"
        params: ClassVar[dict[str, Any]] = {"fineness": 2}

Run them with pytest, after installing the distribution that declares the entry point.
"""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data.shapes.kind import RegionKind, load_kind
from quadrat.benchmark.data.shapes.packing import cut_image
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.storage.atomic import canonical_json

__all__ = ["RegionKindContract", "example_image"]


def example_image(height: int = 60, width: int = 90, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Return an image of coloured blocks with noise, uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(30, 226, size=(-(-height // 20), -(-width // 20), 3))
    image = blocks.repeat(20, axis=0).repeat(20, axis=1)[:height, :width] + rng.integers(
        -9, 10, size=(height, width, 3)
    )
    return image.astype(np.uint8)


class RegionKindContract:
    """The contract of a kind of regions as tests; a subclass sets ``name`` and, where needed, the other attributes."""

    name: ClassVar[str]
    """The registered name."""
    params: ClassVar[dict[str, Any]] = {}
    """Parameters to test with."""
    image_id: ClassVar[str] = "image"
    """Name of the image; a kind that reads files has one for it."""
    region_size: ClassVar[int] = 16
    """Edge of a square of the intended area, pixels."""

    def kind(self) -> RegionKind:
        """Return the kind under test, found through its entry point."""
        return load_kind(self.name, **self.params)

    def image(self) -> npt.NDArray[np.uint8]:
        """Return the image that is cut; a kind that reads files returns one of their size."""
        return example_image()

    def cut(self) -> npt.NDArray[np.integer[Any]]:
        """Return the regions of the image."""
        return self.kind().cut(self.image(), region_size=self.region_size, id=self.image_id)

    def test_the_regions_are_valid(self) -> None:
        """Ids are whole numbers of the image's size, of at least 2 pixels each, and not all 0."""
        cut = cut_image(self.kind(), self.image(), region_size=self.region_size, id=self.image_id)
        assert len(cut.shapes.pixels) > 1, "one region an image leaves nothing to select"

    def test_equal_arguments_give_equal_regions(self) -> None:
        """Nothing is drawn, and nothing is kept from an earlier image."""
        first = self.cut().copy()
        self.kind().cut(self.image()[::-1].copy(), region_size=self.region_size, id=self.image_id)
        np.testing.assert_array_equal(self.cut(), first)

    def test_the_image_is_not_changed(self) -> None:
        """The image is a read-only view of the packed split."""
        image = self.image()
        before = image.copy()
        image.setflags(write=False)
        self.kind().cut(image, region_size=self.region_size, id=self.image_id)
        np.testing.assert_array_equal(image, before)

    def test_parameters_are_plain(self) -> None:
        """Parameters survive JSON and make the same kind; the digests of files belong to parameters."""
        kind = self.kind()
        canonical_json(kind.params())
        assert load_kind(self.name, **kind.params()) == kind
        assert set(kind.contents()) <= set(kind.params())

    def test_an_unknown_parameter_is_refused(self) -> None:
        """A parameter that there is not is named."""
        try:
            load_kind(self.name, **self.params, no_such_parameter=1)
        except DataError as error:
            assert "no_such_parameter" in str(error)
        else:
            raise AssertionError("expected a DataError")
