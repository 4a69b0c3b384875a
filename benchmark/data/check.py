"""Validation of a data set: counts, sizes, class frequencies, and all findings at once."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data.clicks import click_source
from quadrat.benchmark.data.dataset import Dataset, Item, Oriented, items_of, part_of
from quadrat.benchmark.data.findings import ALL_VOID, MOSTLY_VOID, ONE_CLASS, Finding, class_findings, grouped, some
from quadrat.benchmark.data.inspection import Inspected, inspect_item
from quadrat.benchmark.data.loaders.pairs import FileDataset
from quadrat.benchmark.data.overlap import Split, identity, shared_items
from quadrat.benchmark.data.parallel import in_order
from quadrat.benchmark.data.statistics import SplitCounter, SplitStatistics
from quadrat.benchmark.errors import DataError

__all__ = ["GLANCE", "Report", "SplitReport", "check", "glance"]

GLANCE: Final = 8
"""Images of a split that `glance` looks at."""


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """Counts of one split.

    Attributes:
        split: Its name.
        sizes: Number of intact images of each (height, width).
        statistics: Counts over the intact images.
    """

    split: str
    sizes: Counter[tuple[int, int]]
    statistics: SplitStatistics

    @property
    def num_images(self) -> int:
        """Number of intact images."""
        return self.statistics.num_images

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
        name: Registered name of the data set, and its own name where it has one.
        classes: Names of the classes.
        mask_values: Values of each class in the masks, as text; None where its loader does not tell.
        splits: One report for each split that could be listed.
        findings: Everything that is wrong or notable.
    """

    name: str
    classes: tuple[str, ...]
    mask_values: tuple[str, ...] | None = None
    splits: tuple[SplitReport, ...]
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Why packing or a fair result is impossible, one sentence each; empty for a valid data set."""
        return tuple(found.text for found in self.findings if found.severity != "note")

    @property
    def notes(self) -> tuple[str, ...]:
        """Valid but notable facts, one sentence each."""
        return tuple(found.text for found in self.findings if found.severity == "note")

    def render(self) -> str:
        """Return the report as text for a terminal: counts of each split, then the findings by kind, worst first."""
        lines = [f"{self.name}: {len(self.classes)} classes"]
        for found in self.splits:
            counts = found.statistics
            labelled = int(counts.class_px.sum())
            lines += [
                "",
                f"{found.split}: {found.num_images} images, {found.size_range()}; {counts.num_px:,} pixels, "
                f"{100 * counts.void_share:.2f} % void",
            ]
            if found.num_images:
                names = _columns(("class", *self.classes), self.mask_values)
                lines.append(f"  {names[0]}  % of labelled pixels  images")
                for name, pixels, images in zip(
                    names[1:], counts.class_px.tolist(), counts.class_images.tolist(), strict=True
                ):
                    lines.append(f"  {name}  {100 * pixels / max(labelled, 1):21.3f}  {images:6d}")
        for group in grouped(self.findings):
            lines += ["", *group.lines()]
        return "\n".join([*lines, "", self._conclusion()])

    def _conclusion(self) -> str:
        num = len(self.problems)
        return f"{num:,} problem{'s' if num > 1 else ''}" if num else "no problems"


def _columns(names: Sequence[str], mask_values: Sequence[str] | None) -> list[str]:
    """Return names, and the mask values of each where they are known, as text of one width; the head comes first."""
    wide = max(map(len, names))
    if mask_values is None:
        return [f"{name:<{wide}}" for name in names]
    values = ("mask value", *mask_values)
    wide_values = max(map(len, values))
    return [f"{name:<{wide}}  {value:>{wide_values}}" for name, value in zip(names, values, strict=True)]


def check(
    dataset: Dataset, splits: Sequence[str] | None = None, on_progress: Callable[[str, int, int], None] | None = None
) -> Report:
    """Return counts and all findings of `dataset`, after decoding every image and mask once.

    Args:
        dataset: The data set.
        splits: Which of its splits, or parts of them; None means all.
        on_progress: Called with (split, images done, images in total).

    Raises:
        DataError: When the folder is missing, or the names of the classes can't be read.
    """
    if isinstance(dataset, FileDataset):
        dataset.require_folder()
    names = tuple(dict.fromkeys(dataset.splits if splits is None else splits))
    findings: list[Finding] = []
    reports: list[SplitReport] = []
    listed: list[Split] = []
    checked: dict[tuple[str, str], _Checked | None] = {}
    for name in names:
        try:
            listed.append(Split(name, _listed(dataset, name)))
        except DataError as error:
            findings.append(Finding(severity="error", kind=error.kind, text=str(error)))
    for split in listed:
        report, found = _check_split(dataset, split, checked, on_progress)
        reports.append(report)
        findings += found
    findings += _shared_lists(listed)
    findings += _duplicates([one for one in checked.values() if one is not None])
    if not listed and not findings:
        more = dataset.what_is_there() if isinstance(dataset, FileDataset) else ""
        findings.append(Finding(severity="error", kind="no split", text=f"{dataset.name} has no split.{more}"))
    title = getattr(dataset, "title", dataset.name)
    return Report(
        name=dataset.name if title == dataset.name else f"{dataset.name} ({title})",
        classes=dataset.classes,
        mask_values=getattr(dataset, "mask_values", None),
        splits=tuple(reports),
        findings=tuple(findings),
    )


class _Checked(NamedTuple):
    """An item that was decoded and checked: split and id under which it was found first, and what was counted."""

    split: str
    id: str
    size: tuple[int, int]
    histogram: npt.NDArray[np.int64]
    digest: str


def _check_split(
    dataset: Dataset,
    split: Split,
    checked: dict[tuple[str, str], _Checked | None],
    on_progress: Callable[[str, int, int], None] | None,
) -> tuple[SplitReport, list[Finding]]:
    """Return counts and findings of one split.

    Args:
        dataset: The data set.
        split: The split.
        checked: Items of earlier splits by what identifies them, None for broken ones; grows. A list such as `trainval`
            names images of other lists, which are neither decoded nor reported again.
        on_progress: As for `check`.
    """
    num_classes = len(dataset.classes)
    findings: list[Finding] = []
    counter, sizes = SplitCounter(num_classes), Counter[tuple[int, int]]()

    def inspect(item: Item) -> Inspected | DataError | None:
        if identity(split.name, item) in checked:
            return None
        try:
            return inspect_item(item, num_classes)
        except DataError as error:
            return error

    for done, (item, result) in enumerate(zip(split.items, in_order(inspect, split.items), strict=True), start=1):
        key = identity(split.name, item)
        if isinstance(result, DataError):
            checked[key] = None
            findings.append(Finding(severity="error", kind=result.kind, text=f"{split.name}: {result}"))
        elif result is not None:
            height, width = result.sample.mask.shape
            checked[key] = _Checked(split.name, item.id, (height, width), result.histogram, result.digest)
            findings += _turned(split.name, item)
        if (found := checked[key]) is not None:
            counter.add(found.histogram, found.digest)
            sizes[found.size] += 1
        if on_progress is not None:
            on_progress(split.name, done, len(split.items))
    statistics = counter.statistics()
    findings += class_findings(dataset, split.name, statistics)
    findings += _click_findings(split.name, split.items)
    return SplitReport(split=split.name, sizes=sizes, statistics=statistics), findings


def glance(dataset: Dataset, split: str) -> tuple[str, ...]:
    """Return what a few evenly spaced images show to be wrong with a split, a sentence each, in about a second.

    That a class is absent does not show in a few images; that there is one class alone, or mostly void, does.

    Raises:
        DataError: When the split cannot be listed, or one of the images cannot be decoded.
    """
    items = items_of(dataset, split)
    looked_at = [items[index] for index in np.linspace(0, len(items) - 1, min(GLANCE, len(items)), dtype=int)]
    counter = SplitCounter(len(dataset.classes))
    for found in in_order(lambda item: inspect_item(item, len(dataset.classes)), looked_at):
        counter.add(found.histogram, found.digest)
    place = split if len(looked_at) == len(items) else f"{split} ({len(looked_at)} of {len(items):,} images)"
    return tuple(
        found.text
        for found in class_findings(dataset, place, counter.statistics())
        if found.kind in (ALL_VOID, ONE_CLASS, MOSTLY_VOID)
    )


def _listed(dataset: Dataset, split: str) -> Sequence[Item]:
    """Return the items of `split`, including pairs with a missing file, so that all problems are found."""
    if not isinstance(dataset, FileDataset):
        return items_of(dataset, split)
    part = part_of(dataset, split)
    pairs = part.keep(dataset.pairs(part.name))
    dataset.require_names(split, pairs)
    return pairs or items_of(dataset, split)  # fails: it is empty


def _shared_lists(splits: Sequence[Split]) -> list[Finding]:
    """Return which splits list the same images.

    A list that holds another one whole, such as `trainval`, is a way to name images; lists that share some are a leak.
    Either way, a run refuses the two as pool and test set.
    """
    findings: list[Finding] = []
    for first, second in itertools.combinations(splits, 2):
        num = len(shared_items(first, second))
        if not num:
            continue
        small, large = sorted((first, second), key=lambda split: len(split.items))
        if num == len(small.items) < len(large.items):
            text = f"every image of {small.name} is in {large.name} too: a run takes only one of them."
            findings.append(Finding(severity="note", kind="lists that hold others", text=text))
        else:
            text = f"{first.name} and {second.name} list {num} images in common. Results would be too good."
            findings.append(Finding(severity="problem", kind="images listed in more than one split", text=text))
    return findings


def _turned(split: str, item: Item) -> list[Finding]:
    """Return a note on an image that is read turned, since nothing shows whether its mask was drawn so."""
    if not isinstance(item, Oriented) or (orientation := item.orientation) == 1:
        return []
    text = (
        f"{split}/{item.id} notes EXIF orientation {orientation} and is read as viewers show it: its mask must have "
        "been drawn so."
    )
    return [Finding(severity="note", kind="images that are turned by their EXIF orientation", text=text)]


def _click_findings(split: str, items: Sequence[Item]) -> list[Finding]:
    try:
        click_source(items)
    except DataError as error:
        return [Finding(severity="error", kind=error.kind, text=f"{split}: {error}")]
    return []


def _duplicates(checked: Sequence[_Checked]) -> list[Finding]:
    """Return files with equal images: a problem (leak) between splits, a note within one split."""
    places: dict[str, list[_Checked]] = defaultdict(list)
    for one in checked:
        places[one.digest].append(one)
    findings: list[Finding] = []
    for same in (same for same in places.values() if len(same) > 1):
        names = some([f"{one.split}/{one.id}" for one in same])
        if len({one.split for one in same}) > 1:
            text = f"the same image is in more than one split: {names}. Results would be too good."
            findings.append(Finding(severity="problem", kind="the same image in more than one split", text=text))
        else:
            text = f"{len(same)} images are pixel for pixel the same: {names}."
            findings.append(Finding(severity="note", kind="equal images in one split", text=text))
    return findings
