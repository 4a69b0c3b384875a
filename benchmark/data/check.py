"""Looking over a data set: counts, sizes, class frequencies, and everything that is wrong with it."""

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
    """What one split holds.

    Attributes:
        split: Its name.
        num_images: Number of images, intact ones only.
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
    """What `check` found.

    Attributes:
        name: Registered name of the data set.
        classes: Names of the classes.
        splits: One report for each split that could be listed.
        problems: What makes packing or a fair result impossible, a sentence each; empty for a sound data set.
        notes: What is legal but worth knowing, such as a class that does not occur.
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


class _Seen(NamedTuple):
    """What is kept of a decoded item: its id, size, histogram of mask values (256,), and a digest of its pixels."""

    id: str
    size: tuple[int, int]
    histogram: npt.NDArray[np.int64]
    digest: str


def check(
    dataset: Dataset, splits: Sequence[str] | None = None, on_progress: Callable[[str, int, int], None] | None = None
) -> Report:
    """Return what is in `dataset` and everything that is wrong with it, not only the first thing.

    Every image and mask is decoded once; nothing but counts is kept.

    Args:
        dataset: What to look over.
        splits: Which of its splits; None means all of them.
        on_progress: Called with (split, images done, images in all).

    Raises:
        DataError: When there is no folder, or not even the names of the classes can be read.
    """
    if isinstance(dataset, FileDataset):
        dataset.require_folder()
    num_classes, problems, notes = len(dataset.classes), [], []
    reports: list[SplitReport] = []
    places: dict[str, list[tuple[str, str]]] = defaultdict(list)

    def look(item: Item) -> _Seen | str:
        try:
            image, mask = decode(item, num_classes)
        except DataError as error:
            return str(error)
        digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).hexdigest()
        height, width = mask.shape
        return _Seen(item.id, (height, width), np.bincount(mask.ravel(), minlength=256), digest)

    for split in dict.fromkeys(dataset.splits if splits is None else splits):
        try:
            items = _listed(dataset, split)
        except DataError as error:
            problems.append(str(error))
            continue
        histogram, occurs = np.zeros(256, dtype=np.int64), np.zeros(256, dtype=np.int64)
        sizes: Counter[tuple[int, int]] = Counter()
        for done, seen in enumerate(in_order(look, items), start=1):
            if isinstance(seen, str):
                problems.append(f"{split}: {seen}")
            else:
                histogram += seen.histogram
                occurs += seen.histogram > 0
                sizes[seen.size] += 1
                places[seen.digest].append((split, seen.id))
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
    """Return the items of `split`, pairs that lack a file too, so that one missing mask does not hide the rest."""
    if isinstance(dataset, FileDataset) and (pairs := dataset.pairs(split)):
        return pairs
    return dataset.items(split)


def _add_duplicates(places: dict[str, list[tuple[str, str]]], problems: list[str], notes: list[str]) -> None:
    """Report images with equal pixels: between splits it is a leak of test images, within one it is redundancy."""
    for same in places.values():
        names = ", ".join(f"{split}/{name}" for split, name in same[:4])
        if len({split for split, _ in same}) > 1:
            problems.append(f"the same image lies in more than one split: {names}. Results would be too good.")
        elif len(same) > 1:
            notes.append(f"{len(same)} images are pixel for pixel the same: {names}.")
