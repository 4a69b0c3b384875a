"""Validation of a data set: counts, sizes, class frequencies, and all problems at once."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data.dataset import VOID, Dataset, Item, decode
from quadrat.benchmark.data.loaders.pairs import FileDataset
from quadrat.benchmark.data.parallel import in_order
from quadrat.benchmark.errors import DataError

__all__ = ["Report", "SplitReport", "check"]


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """Counts of one split.

    Attributes:
        split: Its name.
        num_images: Number of intact images.
        sizes: Number of images of each (height, width).
        pixels: int64 (C,), pixels of each class.
        images: int64 (C,), images in which each class occurs.
        void_px: Pixels of no class.
    """

    split: str
    num_images: int
    sizes: Counter[tuple[int, int]]
    pixels: npt.NDArray[np.int64]
    images: npt.NDArray[np.int64]
    void_px: int

    def size_range(self) -> str:
        """Return e.g. `360 x 480` or `3 sizes, 84 x 112 to 108 x 144` (height x width)."""
        if not self.sizes:
            return "no intact image"
        by_area = sorted(self.sizes, key=lambda size: size[0] * size[1])
        low, high = (f"{height} x {width}" for height, width in (by_area[0], by_area[-1]))
        return low if len(self.sizes) == 1 else f"{len(self.sizes)} sizes, {low} to {high}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """Result of `check`.

    Attributes:
        name: Registered name of the data set.
        classes: Names of the classes.
        splits: One report for each split that could be listed.
        problems: Why packing or a fair result is impossible, one sentence each; empty for a valid data set.
        notes: Valid but notable facts, such as a class that does not occur.
    """

    name: str
    classes: tuple[str, ...]
    splits: tuple[SplitReport, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    def render(self) -> str:
        """Return the report as text for a terminal."""
        lines = [f"{self.name}: {len(self.classes)} classes"]
        for found in self.splits:
            labelled, total = int(found.pixels.sum()), int(found.pixels.sum()) + found.void_px
            void = 100 * found.void_px / max(total, 1)
            lines += [
                "",
                f"{found.split}: {found.num_images} images, {found.size_range()}; {total:,} pixels, {void:.2f} % void",
            ]
            if found.num_images:
                wide = max(len(name) for name in self.classes)
                lines.append(f"  {'class':<{wide}}  % of labelled pixels  images")
                for name, pixels, images in zip(
                    self.classes, found.pixels.tolist(), found.images.tolist(), strict=True
                ):
                    lines.append(f"  {name:<{wide}}  {100 * pixels / max(labelled, 1):21.3f}  {images:6d}")
        lines += [f"\nnote: {note}" for note in self.notes]
        lines += [f"\nproblem: {problem}" for problem in self.problems]
        lines += ["", f"{len(self.problems)} problems" if self.problems else "no problems"]
        return "\n".join(lines)


class _Summary(NamedTuple):
    """Id, size, histogram of mask values (256,) and digest of the pixels of one item."""

    id: str
    size: tuple[int, int]
    histogram: npt.NDArray[np.int64]
    digest: str


def check(
    dataset: Dataset, splits: Sequence[str] | None = None, on_progress: Callable[[str, int, int], None] | None = None
) -> Report:
    """Return counts and all problems of `dataset`, after decoding every image and mask once.

    Args:
        dataset: The data set.
        splits: Which of its splits; None means all.
        on_progress: Called with (split, images done, images in total).

    Raises:
        DataError: When the folder is missing, or the names of the classes can't be read.
    """
    if isinstance(dataset, FileDataset):
        dataset.require_folder()
    num_classes, problems, notes = len(dataset.classes), [], []
    reports: list[SplitReport] = []
    places: dict[str, list[tuple[str, str]]] = defaultdict(list)

    def summarise(item: Item) -> _Summary | str:
        try:
            image, mask = decode(item, num_classes)
        except DataError as error:
            return str(error)
        digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).hexdigest()
        height, width = mask.shape
        return _Summary(item.id, (height, width), np.bincount(mask.ravel(), minlength=256), digest)

    for split in dict.fromkeys(dataset.splits if splits is None else splits):
        try:
            items = _listed(dataset, split)
        except DataError as error:
            problems.append(str(error))
            continue
        histogram, occurs = np.zeros(256, dtype=np.int64), np.zeros(256, dtype=np.int64)
        sizes: Counter[tuple[int, int]] = Counter()
        for done, summary in enumerate(in_order(summarise, items), start=1):
            if isinstance(summary, str):
                problems.append(f"{split}: {summary}")
            else:
                histogram += summary.histogram
                occurs += summary.histogram > 0
                sizes[summary.size] += 1
                places[summary.digest].append((split, summary.id))
            if on_progress is not None:
                on_progress(split, done, len(items))
        report = SplitReport(
            split=split,
            num_images=sizes.total(),
            sizes=sizes,
            pixels=histogram[:num_classes],
            images=occurs[:num_classes],
            void_px=int(histogram[VOID]),
        )
        reports.append(report)
        if absent := [name for name, count in zip(dataset.classes, report.pixels, strict=True) if count == 0]:
            if len(absent) == num_classes and report.num_images:
                problems.append(f"{split}: every pixel is void, so there is nothing to learn or to evaluate.")
            elif report.num_images:
                notes.append(f"{split}: no pixel of {', '.join(absent)}.")
    _add_duplicates(places, problems, notes)
    if not reports and not problems:
        problems.append(f"{dataset.name} has no split.")
    return Report(
        name=dataset.name,
        classes=dataset.classes,
        splits=tuple(reports),
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _listed(dataset: Dataset, split: str) -> Sequence[Item]:
    """Return the items of `split`, including pairs with a missing file, so that all problems are found."""
    if isinstance(dataset, FileDataset) and (pairs := dataset.pairs(split)):
        return pairs
    return dataset.items(split)


def _add_duplicates(places: dict[str, list[tuple[str, str]]], problems: list[str], notes: list[str]) -> None:
    """Report images with equal pixels: a problem (leak) between splits, a note within one split."""
    for same in places.values():
        names = ", ".join(f"{split}/{name}" for split, name in same[:4])
        if len({split for split, _ in same}) > 1:
            problems.append(f"the same image is in more than one split: {names}. Results would be too good.")
        elif len(same) > 1:
            notes.append(f"{len(same)} images are pixel for pixel the same: {names}.")
