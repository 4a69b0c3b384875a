"""What both sides of a comparison are given: one recipe, one pool of image files, one set of labelled regions."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.data import Item, PackedSplit, RegionGrid, load_dataset, pack
from quadrat.benchmark.data.dataset import Dataset
from quadrat.benchmark.data.loaders.pairs import FilePair
from quadrat.benchmark.data.loaders.scenes import Scenes
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.seeds import rng
from quadrat.benchmark.trial.oracle import RevealedLabels

__all__ = ["Case", "open_case", "write_street"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """All that is equal on both sides; it travels to their processes.

    Attributes:
        recipe: How a network is built and trained.
        files: Image and mask files of the pool, read by the naive baseline each time.
        packed: The same images decoded, memory-mapped by quadrat.
        cache_dir: Where a frozen encoder's features are kept.
        num_classes: C.
        region_size: Pixels.
        labelled: Ids of the labelled regions.
        device: `"cpu"` or `"cuda"`.
        threads: torch's threads of either side.
        workers: Processes that decode for the naive baseline.
    """

    recipe: Recipe
    files: tuple[FilePair, ...]
    packed: Path
    cache_dir: Path
    num_classes: int
    region_size: int
    labelled: tuple[int, ...]
    device: str
    threads: int
    workers: int

    def split(self) -> PackedSplit:
        """Return the packed pool."""
        return PackedSplit(self.packed)

    def describe(self) -> dict[str, Any]:
        """Return the setting of a measurement, JSON-plain: recipe, images, and the machine with its load now."""
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "device": self.device,
            "gpu": torch.cuda.get_device_name() if self.device != "cpu" else None,
            "threads": self.threads,
            "workers": self.workers,
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            "images": len(self.files),
            "size": self.split().sizes[0].tolist(),
            "classes": self.num_classes,
            "region_size": self.region_size,
        }

    def labels(self, split: PackedSplit) -> RevealedLabels:
        """Return what is labelled of `split`."""
        grid = RegionGrid(split.sizes, self.region_size)
        is_labelled = np.zeros(grid.num_regions, dtype=np.bool_)
        is_labelled[list(self.labelled)] = True
        return RevealedLabels(split.masks, grid, is_labelled)


def open_case(
    suite: Suite,
    folder: Path,
    *,
    num_images: int,
    size: tuple[int, int] | None,
    device: str,
    threads: int,
    workers: int,
    labelled_fraction: float = 0.05,
) -> Case:
    """Return the case of a suite's recipe on the first images of its pool, or on drawn ones.

    Args:
        suite: Its recipe, its region size and, unless `size` is given, its data set are read.
        folder: Everything written lies below it.
        num_images: How many images; where the pool holds fewer, they come again.
        size: (height, width) of street scenes that are drawn and written as PNG files in place of the data set.
        device: `"cpu"` or `"cuda"`.
        threads: torch's threads of either side.
        workers: Processes that decode for the naive baseline.
        labelled_fraction: Share of the regions that is labelled, drawn from seed 0.

    Raises:
        DataError: The data set is missing or damaged.
    """
    if size is not None:
        dataset, split = write_street(folder / "street", num_images=num_images, size=size), "train"
    else:
        dataset = load_dataset(suite.dataset.name, suite.dataset.root, **suite.dataset.params)
        split = suite.dataset.pool
        if not all(isinstance(item, FilePair) for item in dataset.items(split)[:1]):
            dataset, split = _as_files(folder / "files", dataset.items(split)[:num_images], dataset), "train"
    first = _First(dataset, num_images)
    files = tuple(first.items(split))
    packed = pack(first, split, folder / "cache")
    region_size = suite.region_sizes[0]
    num_regions = RegionGrid(packed.sizes, region_size).num_regions
    num_labelled = max(1, round(labelled_fraction * num_regions))
    labelled = rng(0, "bench", "labelled").choice(num_regions, num_labelled, replace=False)
    return Case(
        recipe=suite.learner,
        files=files,
        packed=packed.path,
        cache_dir=folder / "cache",
        num_classes=len(packed.classes),
        region_size=region_size,
        labelled=tuple(sorted(labelled.tolist())),
        device=device,
        threads=threads,
        workers=workers,
    )


def write_street(root: Path, *, num_images: int, size: tuple[int, int], num_drawn: int = 8) -> Dataset:
    """Write street scenes in the layout of Cityscapes, 19 classes, and return the data set.

    A few scenes are drawn; the others are these, shifted sideways: drawing takes longer than writing, and neither a
    decoder nor a network is faster for having seen a similar image.

    Args:
        root: A folder of its own.
        num_images: Images of split `train`.
        size: (height, width) in pixels.
        num_drawn: Different scenes.
    """
    height, width = size
    items = Scenes(num_train=min(num_drawn, num_images), height=height, width=width, varied_sizes=False).items("train")
    city = "bench"
    images, masks = root / "leftImg8bit" / "train" / city, root / "gtFine" / "train" / city
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    raw_ids = _cityscapes_raw_ids()
    drawn = [(item.read_image(), raw_ids[item.read_mask()]) for item in items]
    for number in range(num_images):
        image, mask = drawn[number % len(drawn)]
        shift = (number // len(drawn)) * 37 % width
        name = f"{city}_{number:06d}_000019"
        _save(np.roll(image, shift, axis=1), images / f"{name}_leftImg8bit.png")
        _save(np.roll(mask, shift, axis=1), masks / f"{name}_gtFine_labelIds.png")
    return load_dataset("cityscapes", root)


def _cityscapes_raw_ids() -> NDArray[np.uint8]:
    """Return a raw id of Cityscapes for each value of a scene's mask; void stays void (raw id 0)."""
    from quadrat.benchmark.data.loaders.cityscapes import RAW_IDS

    raw_id_of = np.zeros(256, dtype=np.uint8)
    raw_id_of[: len(RAW_IDS)] = RAW_IDS
    return raw_id_of


def _as_files(root: Path, items: Sequence[Item], dataset: Dataset) -> Dataset:
    """Write the images of a data set that is not on disk in the generic layout, as PNG files."""
    import json

    for number, item in enumerate(items):
        for kind, array in (("images", item.read_image()), ("masks", item.read_mask())):
            path = root / kind / "train" / f"{number:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            _save(array, path)
    (root / "manifest.json").write_text(json.dumps({"classes": list(dataset.classes)}), encoding="utf-8")
    return load_dataset("folder", root)


def _save(array: NDArray[np.uint8], path: Path) -> None:
    # The lowest compression: these files are read many times and kept for minutes.
    Image.fromarray(array).save(path, compress_level=1)


@dataclass(frozen=True)
class _First:
    """The first images of a data set; where it has fewer, they come again."""

    dataset: Dataset
    num_images: int

    @property
    def name(self) -> str:
        return self.dataset.name

    @property
    def classes(self) -> tuple[str, ...]:
        return self.dataset.classes

    @property
    def colours(self) -> tuple[tuple[int, int, int], ...]:
        return self.dataset.colours

    @property
    def splits(self) -> tuple[str, ...]:
        return self.dataset.splits

    def params(self) -> dict[str, Any]:
        return {**self.dataset.params(), "first": self.num_images}

    def items(self, split: str) -> Sequence[FilePair]:
        items = list(islice(cycle(self.dataset.items(split)), self.num_images))
        files = [item for item in items if isinstance(item, FilePair)]
        if len(files) != len(items):
            raise DataError(f"expected files on disk to decode, got a {type(items[0]).__name__}: take another data set")
        return files
